package kernel

import (
	"context"

	"batos"
	"batos/genesis"
	"batos/image"
	"batos/internal/codex"
	"batos/object"
)

// The Persona Codex in the image is persona_codex_obj with one object for each
// workflow. It is made of a text, in one transaction; missions copy what they
// need of it when they begin, so a new text is for the missions after it.

const (
	codexObject    = "persona_codex_obj"
	workflowObject = "workflow_obj"
)

// Codex is the codex that an image follows.
type Codex struct {
	Source    string
	Loaded    object.Time
	By        string // who loaded it
	Workflows []string
	Edited    []string // workflows that were changed since, by messages
}

// LoadCodex makes the text the codex of the image, for the missions that begin
// after it. The error names the line that is wrong. Workflows that messages
// have made beside those of the codex stay.
func (k *Kernel) LoadCodex(ctx context.Context, p Person, file, text string) (batos.TID, error) {
	c, err := codex.Parse(file, text)
	if err != nil {
		return 0, err
	}
	return k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(p.meta("codex load " + file))
		return k.writeCodex(tx, c, file, p.Name)
	})
}

// Codex tells which codex the image follows.
func (k *Kernel) Codex(ctx context.Context) (out Codex, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		oid, ok, err := tx.Name(codexObject)
		if err != nil || !ok {
			return cmpNotFound(err, codexObject)
		}
		s, err := tx.Load(oid)
		if err != nil {
			return err
		}
		get := func(name string) object.Value { v, _ := s.Slot(name); return v }
		out = Codex{Source: strOf(get("source")), By: strOf(get("loaded_by"))}
		out.Loaded, _ = get("loaded").(object.Time)
		shipped := fieldsOf(get("steps_loaded"))
		workflows, _ := get("workflows").(*object.Dict)
		if workflows == nil {
			return nil
		}
		for _, e := range workflows.Entries {
			name := strOf(e.Key)
			out.Workflows = append(out.Workflows, name)
			steps, _, err := tx.Slot(refOf(e.Value), "steps")
			if err != nil {
				return err
			}
			if as := shipped.get(name); as != nil && steps != nil && !object.Equal(as, steps) {
				out.Edited = append(out.Edited, name)
			}
		}
		return nil
	})
	return out, err
}

func cmpNotFound(err error, name string) error {
	if err != nil {
		return err
	}
	return batos.Errorf(batos.NotFound, "the image has no %s; batos image upgrade makes it", name)
}

// writeCodex puts a codex into the image.
func (k *Kernel) writeCodex(tx *image.Tx, c *codex.Codex, file, by string) error {
	return writeCodex(tx, c, file, by, k.now())
}

func writeCodex(tx *image.Tx, c *codex.Codex, file, by string, now object.Time) error {
	oid, ok, err := tx.Name(codexObject)
	if err != nil || !ok {
		return cmpNotFound(err, codexObject)
	}
	prompts := &object.Dict{}
	for i := range c.Personas {
		p := &c.Personas[i]
		if err := tx.SetSlot(oid, p.Name, new(dict).str("title", p.Title).str("voice", p.Voice).str("duties", p.Duties).str("adapter", p.Adapter).value()); err != nil {
			return err
		}
		own := new(dict)
		for _, q := range p.Prompts {
			own.set(q.Kind+" for "+q.Profile, new(dict).str("text", p.Fill(q.Text)).str("grammar", q.Grammar).value())
		}
		prompts.Entries = append(prompts.Entries, object.Entry{Key: object.Str(p.Name), Value: own.value()})
	}
	old, _, err := tx.Slot(oid, "personas")
	if err != nil {
		return err
	}
	var names []string
	for _, p := range c.Personas {
		names = append(names, p.Name)
	}
	for _, gone := range stringsOf(old) {
		if c.Persona(gone) == nil {
			if err := tx.DeleteSlot(oid, gone); err != nil {
				return err
			}
		}
	}
	matrix := &object.List{}
	for _, r := range c.Matrix {
		matrix.Items = append(matrix.Items, new(dict).str("query", r.Query).str("type", r.Type).set("selectors", strList(r.Selectors)).
			str("workflow", r.Workflow).str("lead", r.Lead).str("checks", r.Checks).str("on demand", r.OnDemand).str("conclusion", r.Conclusion).value())
	}
	workflows, steps, err := writeWorkflows(tx, oid, c, file)
	if err != nil {
		return err
	}
	for _, s := range []object.Slot{
		{Name: "personas", Value: strList(names)}, {Name: "prompts", Value: prompts}, {Name: "matrix", Value: matrix}, {Name: "workflows", Value: workflows},
		{Name: "steps_loaded", Value: steps}, {Name: "source", Value: object.Str(c.Source)}, {Name: "loaded", Value: now}, {Name: "loaded_by", Value: object.Str(by)},
	} {
		if err := tx.SetSlot(oid, s.Name, s.Value); err != nil {
			return err
		}
	}
	return nil
}

// writeWorkflows makes one object for each workflow, or writes the one that
// has its name. It answers workflows by name, and their steps by name.
func writeWorkflows(tx *image.Tx, holder batos.OID, c *codex.Codex, file string) (workflows, loaded *object.Dict, err error) {
	proto, ok, err := tx.Name(workflowObject)
	if err != nil || !ok {
		return nil, nil, cmpNotFound(err, workflowObject)
	}
	states, ok, err := tx.Name("psm_prototypes_obj")
	if err != nil || !ok {
		return nil, nil, cmpNotFound(err, "psm_prototypes_obj")
	}
	before, _, err := tx.Slot(holder, "workflows")
	if err != nil {
		return nil, nil, err
	}
	have := fieldsOf(before)
	workflows, loaded = &object.Dict{}, &object.Dict{}
	for _, w := range c.Workflows {
		problems := codex.Problems{File: file}
		steps := new(dict)
		for _, s := range w.Steps {
			if _, ok, err := tx.Slot(states, s.State); err != nil {
				return nil, nil, err
			} else if !ok {
				problems.Found = append(problems.Found, codex.Problem{Line: s.Line, Text: "psm_prototypes_obj has no state " + s.State + ": make an object with that behaviour and set it there first"})
			}
			steps.set(s.State, stepValue(s))
		}
		if err := problems.Err(); err != nil {
			return nil, nil, err
		}
		context, ok, err := tx.Name(w.Context)
		if err != nil || !ok {
			return nil, nil, cmpNotFound(err, w.Context)
		}
		oid := have.ref(w.Name)
		if oid == 0 {
			s := object.NewState(object.Protected, batos.Genesis, object.Slot{Name: "parent*", Value: object.Ref(proto)})
			if oid, err = tx.Create(s); err != nil {
				return nil, nil, err
			}
		}
		for _, slot := range []object.Slot{
			{Name: "name", Value: object.Str(w.Name)}, {Name: "purpose", Value: object.Str(w.Purpose)}, {Name: "context", Value: object.Ref(context)},
			{Name: "start_state", Value: object.Str(w.Steps[0].State)}, {Name: "steps", Value: steps.value()},
		} {
			if err := tx.SetSlot(oid, slot.Name, slot.Value); err != nil {
				return nil, nil, err
			}
		}
		workflows.Entries = append(workflows.Entries, object.Entry{Key: object.Str(w.Name), Value: object.Ref(oid)})
		loaded.Entries = append(loaded.Entries, object.Entry{Key: object.Str(w.Name), Value: steps.value()})
	}
	if d, ok := before.(*object.Dict); ok {
		shipped, _, err := tx.Slot(holder, "steps_loaded")
		if err != nil {
			return nil, nil, err
		}
		for _, e := range d.Entries {
			if name := strOf(e.Key); c.Workflow(name) == nil && fieldsOf(shipped).get(name) == nil {
				workflows.Entries = append(workflows.Entries, e) // made by messages
			}
		}
	}
	return workflows, loaded, nil
}

func stepValue(s codex.Step) *object.Dict {
	works := &object.List{}
	for _, w := range s.Works {
		works.Items = append(works.Items, new(dict).str("persona", w.Persona).str("kind", w.Kind).str("policy", string(w.Policy)).set("except", strList(w.Except)).value())
	}
	other := s.Else
	if other == "" {
		other = "FAILED"
	}
	return new(dict).set("works", works).str("then", s.Then).str("else", other).value()
}

// codexShips reads the codex of this release into the image, if the image has
// none or still has the one that an earlier release shipped.
func codexShips(tx *image.Tx, kernel batos.OID, now object.Time) error {
	oid, ok, err := tx.Name(codexObject)
	if err != nil || !ok {
		return err
	}
	source, _, err := tx.Slot(oid, "source")
	if err != nil {
		return err
	}
	was, _, err := tx.Slot(kernel, "shipped_codex")
	if err != nil {
		return err
	}
	if has := strOf(source); has == genesis.Codex || has != "" && hashOf(has) != strOf(was) {
		return nil // up to date, or edited by people: it stays
	}
	c, err := codex.Parse(genesis.CodexName, genesis.Codex)
	if err != nil {
		return err
	}
	if err := writeCodex(tx, c, genesis.CodexName, "genesis "+genesis.Release, now); err != nil {
		return err
	}
	return tx.SetSlot(kernel, "shipped_codex", object.Str(hashOf(c.Source)))
}

// promptFor is what the codex tells a persona for a kind of work and a
// profile: text and grammar, "" if it has nothing.
func promptFor(tx *image.Tx, persona, kind, profile string) (text, grammar string, err error) {
	oid, ok, err := tx.Name(codexObject)
	if err != nil || !ok {
		return "", "", err
	}
	v, _, err := tx.Slot(oid, "prompts")
	if err != nil {
		return "", "", err
	}
	d, _ := v.(*object.Dict)
	if d == nil {
		return "", "", nil
	}
	key := kind + " for " + profile
	found := fieldsOf(fieldsOf(d).get(persona)).get(key)
	for i := 0; found == nil && i < len(d.Entries); i++ { // another persona's words are better than none
		found = fieldsOf(d.Entries[i].Value).get(key)
	}
	f := fieldsOf(found)
	return f.str("text"), f.str("grammar"), nil
}
