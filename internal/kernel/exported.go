package kernel

import (
	"context"
	"strings"

	"batos"
	"batos/image"
	"batos/internal/method"
	"batos/object"
)

// Tool is a method that the image shows to agents: one with a docstring and a
// public selector, of an object with a root name whose slot exported is True,
// or of an open parent of that object.
type Tool struct {
	Object   string // root name
	OID      batos.OID
	Selector batos.Selector
	Doc      string
	Params   []string // after self
	Required int      // the first so many have no default
	More     bool     // it takes further named arguments
	Source   string
}

// exportedSlot marks an object whose methods agents are shown.
const exportedSlot = "exported"

// Tools lists what the image shows to agents, by object and selector order.
func (k *Kernel) Tools(ctx context.Context) ([]Tool, error) {
	var out []Tool
	err := k.im.View(ctx, func(tx *image.Tx) error {
		out = nil
		for e, err := range tx.Names().Range(nil, nil) {
			if err != nil {
				return err
			}
			oid, name := refOf(e.Value), strOf(e.Key)
			v, _, ok, err := tx.Lookup(oid, exportedSlot)
			if err != nil {
				return err
			}
			if yes, isBool := v.(object.Bool); !ok || !isBool || !bool(yes) {
				continue
			}
			if out, err = k.toolsOf(tx, oid, name, out); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

func (k *Kernel) toolsOf(tx *image.Tx, oid batos.OID, name string, out []Tool) ([]Tool, error) {
	seen := map[string]bool{}
	err := object.Walk(oid, func(o batos.OID) ([]batos.OID, bool, error) {
		prot, err := tx.Protection(o)
		if err != nil || o != oid && prot != object.Open {
			return nil, false, err
		}
		st, err := tx.Load(o)
		if err != nil {
			return nil, false, err
		}
		for _, sl := range st.Slots() {
			m, isMethod := sl.Value.(*object.Method)
			if seen[sl.Name] || !isMethod {
				seen[sl.Name] = true
				continue
			}
			seen[sl.Name] = true
			if strings.HasPrefix(sl.Name, "_") {
				continue
			}
			p, err := method.Compile(sl.Name, m.Source)
			if err != nil || p.Doc() == "" {
				continue // what doesn't compile is not shown
			}
			t := Tool{Object: name, OID: oid, Selector: batos.Selector(sl.Name), Doc: p.Doc(), Source: m.Source}
			t.Params, t.Required, _, t.More = p.Params()
			out = append(out, t)
		}
		parents, err := tx.Parents(o)
		return parents, false, err
	})
	return out, err
}
