package kernel

import (
	"context"

	"batos"
	"batos/image"
	"batos/internal/mind"
	"batos/object"
)

// Voice is a persona as those who talk to it see it.
type Voice struct {
	Name, Title, Voice, Duties string
	Adapter                    string // content hash of the adapter it answers with; "" is the bare model
}

// Voices lists the personas of the codex, in its order.
func (k *Kernel) Voices(ctx context.Context) ([]Voice, error) {
	var out []Voice
	err := k.im.View(ctx, func(tx *image.Tx) error {
		out = nil
		oid, ok, err := tx.Name(codexObject)
		if err != nil || !ok {
			return err
		}
		names, _, err := tx.Slot(oid, "personas")
		if err != nil {
			return err
		}
		for _, name := range stringsOf(names) {
			v, _, err := tx.Slot(oid, name)
			if err != nil {
				return err
			}
			d, ok := v.(*object.Dict)
			if !ok {
				continue
			}
			who := Voice{Name: name, Title: fieldsOf(d).str("title"), Voice: fieldsOf(d).str("voice"), Duties: fieldsOf(d).str("duties")}
			a, found, err := k.findAdapter(tx, name)
			if err != nil {
				return err
			}
			if found {
				who.Adapter = a.Hash
			}
			out = append(out, who)
		}
		return nil
	})
	return out, err
}

// Complete asks the model in use directly, with the adapter of a persona or of
// that name ("" and "base" are the bare model), outside of any message: for
// doors that lend the model to other programs. piece is called for each
// further part of the text if it is not nil; an engine that cannot stream tells
// all of it in one. Nothing is written into the image.
func (k *Kernel) Complete(ctx context.Context, who string, r mind.Request, piece func(string)) (*mind.Result, mind.Info, error) {
	engine, _, info, err := k.core.use()
	if err != nil {
		return nil, info, err
	}
	if k.closed.Load() {
		return nil, info, batos.Errorf(batos.Busy, "the system is stopping")
	}
	ctx, cancel := context.WithTimeout(ctx, inferTimeout)
	defer cancel()
	began := k.clock()
	f := &flight{}
	hash, release, err := k.lease(ctx, who)
	if err != nil {
		return nil, info, err
	}
	defer release()
	r.Adapter = hash
	var res *mind.Result
	if s, ok := engine.(mind.Streamer); ok && piece != nil {
		res, err = s.Stream(ctx, r, piece)
	} else if res, err = engine.Generate(ctx, r); err == nil && piece != nil {
		piece(res.Text)
	}
	if err != nil {
		k.observeInference(f, who, info.ModelID, hash, 0, 0, began, err)
		return nil, info, err
	}
	k.observeInference(f, who, info.ModelID, res.AdapterHash, len(res.Tokens), res.PromptTokens, began, nil)
	return res, info, nil
}
