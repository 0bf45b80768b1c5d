package kernel

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/object"
)

// Person says who acts at a door, for the image's history.
type Person struct{ Name string }

func (p Person) meta(note string) image.Meta {
	return image.Meta{Author: batos.Person, AuthorName: p.Name, Note: note}
}

// New makes an object with a root name, a parent (genesis_obj if zero) and
// data slots. conflict if the name is taken.
func (k *Kernel) New(ctx context.Context, p Person, name string, parent batos.Ref, slots []object.Slot) (batos.OID, error) {
	if err := checkName(name); err != nil {
		return 0, err
	}
	if parent == (batos.Ref{}) {
		parent.OID = k.roots.genesis
	}
	var oid batos.OID
	_, err := k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(p.meta("new " + name))
		up, err := resolve(tx, parent)
		if err != nil {
			return err
		}
		all := []object.Slot{{Name: "parent*", Value: object.Ref(up)}}
		for _, s := range slots {
			if err := checkSlot(s.Name, s.Value); err != nil {
				return err
			}
			if s.Name == "parent*" {
				return batos.Errorf(batos.Invalid, "give the parent by itself, not as a slot")
			}
			all = append(all, s)
		}
		if oid, err = tx.Create(object.NewState(object.Open, batos.Person, all...)); err != nil {
			return err
		}
		return christen(tx, k.roots.labels, name, oid)
	})
	return oid, err
}

// checkName accepts what a root name may be: like a selector.
func checkName(name string) error {
	sel, err := batos.ParseSelector(name)
	if err != nil || string(sel) != name {
		return batos.Errorf(batos.Invalid, "%s cannot be a name: use letters, digits and _, no digit first", quote(name))
	}
	return nil
}

// checkSlot accepts what a person may put into a slot directly.
func checkSlot(name string, v object.Value) error {
	base := strings.TrimSuffix(name, "*")
	if _, err := batos.ParseSelector(base); err != nil || strings.Contains(base, ":") {
		return batos.Errorf(batos.Invalid, "%s cannot be a slot: use letters, digits and _, no digit first, and * at the end for a parent", quote(name))
	}
	if object.IsVolatile(name) {
		return batos.Errorf(batos.Invalid, "%s is volatile: it lives in one process and cannot be stored", quote(name))
	}
	if err := checkGiven(v); err != nil {
		return err
	}
	if !object.IsParent(name) {
		return nil
	}
	if _, ok := v.(object.Ref); ok {
		return nil
	}
	for _, it := range itemsOf(v) {
		if _, ok := it.(object.Ref); !ok {
			return batos.Errorf(batos.Invalid, "%s holds parents: give an object or a list of objects", quote(name))
		}
	}
	if _, ok := v.(*object.List); !ok {
		return batos.Errorf(batos.Invalid, "%s holds parents: give an object or a list of objects", quote(name))
	}
	return nil
}

// Set writes one slot as a person. Setting what generated code wrote is
// recorded as a correction.
func (k *Kernel) Set(ctx context.Context, p Person, target batos.Ref, slot string, v object.Value) (batos.TID, error) {
	if err := checkSlot(slot, v); err != nil {
		return 0, err
	}
	return k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(p.meta("set " + slot))
		oid, err := k.writable(tx, target)
		if err != nil {
			return err
		}
		before, _, err := tx.Slot(oid, slot)
		if err != nil {
			return err
		}
		if err := k.correct(tx, p, "set", oid, slot, before, v); err != nil {
			return err
		}
		return tx.SetSlot(oid, slot, v)
	})
}

// Def defines slots from source in the form of the genesis files: methods,
// and data slots beside them. A single def is the common case. It answers the
// names that were defined.
func (k *Kernel) Def(ctx context.Context, p Person, target batos.Ref, source string) ([]string, error) {
	defs, err := method.ParseFile("def", source)
	if err != nil {
		return nil, err
	}
	if len(defs) == 0 {
		return nil, batos.Errorf(batos.Invalid, "the source defines nothing: write def selector(self): …")
	}
	var names []string
	_, err = k.im.Update(ctx, func(tx *image.Tx) error {
		names = nil
		var note []string
		for _, d := range defs {
			note = append(note, d.Name)
		}
		tx.SetMeta(p.meta("def " + strings.Join(note, ", ")))
		oid, err := k.writable(tx, target)
		if err != nil {
			return err
		}
		find := func(name string) (batos.OID, error) { return resolve(tx, batos.Ref{Name: name}) }
		for _, d := range defs {
			if _, isPrimitive := d.Value.(object.Primitive); isPrimitive {
				return batos.Errorf(batos.Denied, "slot %s: primitives come with the release, they cannot be defined", d.Name)
			}
			before, _, err := tx.Slot(oid, d.Name)
			if err != nil {
				return err
			}
			if err := define(tx, oid, d, batos.Person, p.Name, find); err != nil {
				return err
			}
			after, _, err := tx.Slot(oid, d.Name)
			if err != nil {
				return err
			}
			if err := k.correct(tx, p, "def", oid, d.Name, before, after); err != nil {
				return err
			}
			names = append(names, d.Name)
		}
		return nil
	})
	return names, err
}

func (k *Kernel) writable(tx *image.Tx, target batos.Ref) (batos.OID, error) {
	oid, err := resolve(tx, target)
	if err != nil {
		return 0, err
	}
	prot, err := tx.Protection(oid)
	if err != nil {
		return 0, err
	}
	if prot == object.Sealed {
		return 0, batos.Errorf(batos.Denied, "%s is sealed: only the kernel writes it", oid)
	}
	return oid, nil
}

// correct records that a person changed what generated code had written:
// what was there, what is there now. The Forge learns from these.
func (k *Kernel) correct(tx *image.Tx, p Person, how string, oid batos.OID, slot string, before, after object.Value) error {
	m, ok := before.(*object.Method)
	if !ok || m.Author > batos.Persona {
		return nil
	}
	return k.recordCorrection(tx, p, how, oid, slot, m.Mission, object.Str(m.Source), after)
}

func (k *Kernel) recordCorrection(tx *image.Tx, p Person, how string, oid batos.OID, slot string, mission batos.OID, before, after object.Value) error {
	if m, ok := after.(*object.Method); ok {
		after = object.Str(m.Source)
	}
	if after == nil {
		after = object.None{}
	}
	at := k.now()
	slots := []object.Slot{
		{Name: "kind", Value: object.Str("correction")},
		{Name: "how", Value: object.Str(how)},
		{Name: "person", Value: object.Str(p.Name)},
		{Name: "at", Value: at},
		{Name: "object", Value: object.Ref(oid)},
		{Name: "slot", Value: object.Str(slot)},
		{Name: "before", Value: before},
		{Name: "after", Value: after},
	}
	if mission != 0 {
		slots = append(slots, object.Slot{Name: "mission", Value: object.Ref(mission)})
	}
	c, err := tx.Create(object.NewState(object.Sealed, batos.Genesis, slots...))
	if err != nil {
		return err
	}
	key := &object.Tuple{Items: []object.Value{at, object.NewInt(int64(c))}}
	return tx.Tree(k.roots.corrections).Set(key, object.Ref(c))
}

// Eval runs an expression of the dialect as a person, with self bound to the
// target (genesis_obj if zero). What it changes is committed.
func (k *Kernel) Eval(ctx context.Context, p Person, target batos.Ref, expression string) (object.Value, error) {
	if err := k.runs(); err != nil {
		return nil, err
	}
	if target == (batos.Ref{}) {
		target.OID = k.roots.genesis
	}
	source, shift, err := method.Snippet(evalName, evalSelector, expression)
	if err != nil {
		return nil, err
	}
	args := codec.EncodeArgs(nil, nil)
	for try := 0; ; try++ {
		tx, err := k.im.Begin(ctx)
		if err != nil {
			return nil, err
		}
		v, err := k.evalIn(ctx, tx, p, target, source, args)
		if err == nil {
			return v, nil
		}
		tx.Abort()
		if batos.CodeOf(err) != batos.Conflict || try >= conflictRetries {
			return nil, inText(err, shift)
		}
	}
}

// evalSelector names the method that holds a person's expression, evalName
// what was typed.
const (
	evalSelector = "eval_expression"
	evalName     = "expression"
)

var evalPosition = regexp.MustCompile(`\b` + evalSelector + `:(\d+):(\d+)`)

// inText moves the positions of an error from the method that was made of an
// expression into what was typed.
func inText(err error, shift func(line, col int) (int, int)) error {
	var e *batos.Error
	if !errors.As(err, &e) {
		return err
	}
	text := evalPosition.ReplaceAllStringFunc(e.Text, func(at string) string {
		m := evalPosition.FindStringSubmatch(at)
		line, _ := strconv.Atoi(m[1]) // digits, as the pattern has it
		col, _ := strconv.Atoi(m[2])
		line, col = shift(line, col)
		return fmt.Sprintf("%s:%d:%d", evalName, line, col)
	})
	return &batos.Error{Code: e.Code, Text: text, Err: err}
}

func (k *Kernel) evalIn(ctx context.Context, tx *image.Tx, p Person, target batos.Ref, source string, args []byte) (object.Value, error) {
	oid, err := resolve(tx, target)
	if err != nil {
		return nil, err
	}
	id := batos.NewMessageID()
	m := batos.Message{ID: id, Lineage: id, Sender: p.Name, Target: oid, Selector: evalSelector, Args: args, Authority: batos.Person}
	out := k.runner.Run(ctx, tx, exec.Request{
		Message: m, Lineage: k.config.Lineage,
		Expression: source,
	})
	switch out.Status {
	case exec.Done:
	case exec.Suspended:
		return nil, batos.Errorf(batos.Invalid, "an expression cannot wait for %s; send a message instead", out.Wanted.Kind)
	case exec.NotUnderstood:
		who, err := nameOf(tx, out.Missing.Receiver)
		if err != nil {
			return nil, err
		}
		return nil, batos.Errorf(batos.DoesNotUnderstand, "%s does not understand %q; send it the message to have the method written", who, out.Missing.Selector)
	default:
		return nil, out.Err
	}
	var outgoing []*record
	for _, o := range out.Outbox {
		r := &record{Message: o, State: batos.Queued, Received: k.now(), Left: k.config.Lineage.Less(out.Usage)}
		if err := k.enlist(tx, r); err != nil {
			return nil, err
		}
		outgoing = append(outgoing, r)
	}
	if tx.Dirty() {
		tx.SetMeta(p.meta("eval"))
		if _, err := tx.Commit(ctx); err != nil {
			return nil, err
		}
	} else {
		tx.Abort()
	}
	k.after(&turn{kernel: k}, outgoing)
	return out.Value, nil
}
