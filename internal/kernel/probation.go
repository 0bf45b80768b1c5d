package kernel

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/object"
)

// A generated method is on probation when it has been installed. After
// promoteAfter messages that it answered it is promoted; if demoteAfter
// messages fail in the method itself before that, it is taken back, and the
// next message that needs it becomes a mission again, which is told what was
// wrong. A message that the method refuses on purpose, with fail, is no
// failure, nor is one that fails in somebody else's code.
const (
	promoteAfter = 5
	demoteAfter  = 2
)

// probation is the kernel's sealed record of one generated method.
type probation struct {
	Holder              batos.OID
	Selector            batos.Selector
	Version             int64
	Mission             batos.OID
	Successes, Failures int64
	State               string // "probation", "promoted", "demoted"
	Source              string // of a method that was taken back
	Error               string // of its last failure
}

func probationOID(holder batos.OID, sel batos.Selector) batos.OID {
	return batos.DeriveOID("probation", holder.String()+"/"+string(sel))
}

func (p *probation) save(tx *image.Tx) error {
	return put(tx, probationOID(p.Holder, p.Selector), object.NewState(object.Sealed, batos.Genesis,
		object.Slot{Name: "kind", Value: object.Str("probation")},
		object.Slot{Name: "holder", Value: object.Ref(p.Holder)},
		object.Slot{Name: "selector", Value: object.Str(p.Selector)},
		object.Slot{Name: "version", Value: object.NewInt(p.Version)},
		object.Slot{Name: "mission", Value: object.Ref(p.Mission)},
		object.Slot{Name: "successes", Value: object.NewInt(p.Successes)},
		object.Slot{Name: "failures", Value: object.NewInt(p.Failures)},
		object.Slot{Name: "state", Value: object.Str(p.State)},
		object.Slot{Name: "source", Value: object.Str(p.Source)},
		object.Slot{Name: "error", Value: errorText(&batos.Error{Text: p.Error})},
	))
}

// loadProbation gives the record of a method, or nil.
func loadProbation(tx *image.Tx, holder batos.OID, sel batos.Selector) (*probation, error) {
	s, err := tx.Load(probationOID(holder, sel))
	if batos.CodeOf(err) == batos.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	get := func(name string) object.Value { v, _ := s.Slot(name); return v }
	if strOf(get("kind")) != "probation" {
		return nil, batos.Errorf(batos.Corrupt, "the record of %s.%s is a %s", holder, sel, strOf(get("kind")))
	}
	return &probation{
		Holder: holder, Selector: sel, Version: intOf(get("version")), Mission: refOf(get("mission")), Successes: intOf(get("successes")),
		Failures: intOf(get("failures")), State: strOf(get("state")), Source: strOf(get("source")), Error: strOf(get("error")),
	}, nil
}

// trials of probation count successes in this process only: they are many, and
// a restart that forgets some makes a probation longer, never shorter.
type conduct struct {
	mu sync.Mutex
	n  map[conductKey]int64
}

type conductKey struct {
	holder  batos.OID
	sel     batos.Selector
	version int
}

// mostCounted bounds what is counted in memory for each method, of this and of
// samples: when there is more, counting begins again, as after a restart.
const mostCounted = 1 << 14

// settled marks a method whose probation is over.
const settled = -1

// good counts a message that the method answered, and reports whether that
// was enough.
func (c *conduct) good(key conductKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil || len(c.n) >= mostCounted {
		c.n = map[conductKey]int64{}
	}
	if c.n[key] == settled {
		return false
	}
	c.n[key]++
	if c.n[key] < promoteAfter {
		return false
	}
	c.n[key] = settled
	return true
}

// methodOf is the generated method that answers a message, if one does.
func methodOf(tx *image.Tx, target batos.OID, sel batos.Selector) (*object.Method, batos.OID) {
	v, holder, ok, err := exec.Answering(tx, target, sel)
	m, is := v.(*object.Method)
	if err != nil || !ok || !is || m.Author != batos.Persona {
		return nil, 0
	}
	return m, holder
}

// behaved notes that a message was answered by a generated method; tx is its
// own, still open.
func (k *Kernel) behaved(tx *image.Tx, rec *record) (promote func()) {
	m, holder := methodOf(tx, rec.Target, rec.Selector)
	if m == nil || !k.conduct.good(conductKey{holder, rec.Selector, m.Version}) {
		return nil
	}
	version, sel := int64(m.Version), rec.Selector
	return func() {
		_, err := k.im.Update(k.live(), func(tx *image.Tx) error {
			p, err := loadProbation(tx, holder, sel)
			if err != nil || p == nil || p.Version != version || p.State != "probation" {
				return err
			}
			p.State, p.Successes = "promoted", promoteAfter
			tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "kernel", Note: "promoted " + string(sel)})
			return p.save(tx)
		})
		if err != nil {
			k.log.Warn("a method could not be promoted", "selector", sel, "error", err)
		}
	}
}

// misbehaved notes that a message failed, and takes a method back that failed
// too often.
func (k *Kernel) misbehaved(rec *record, failure *batos.Error) {
	if failure.Code != batos.Raised && failure.Code != batos.Limit && failure.Code != batos.NoSlot || rec.Cycle != 0 {
		return
	}
	var told *probation
	_, err := k.im.Update(k.live(), func(tx *image.Tx) error {
		told = nil
		m, holder := methodOf(tx, rec.Target, rec.Selector)
		if m == nil || !failsItself(m, failure) {
			return nil
		}
		p, err := loadProbation(tx, holder, rec.Selector)
		if err != nil || p == nil || p.Version != int64(m.Version) || p.State != "probation" {
			return err
		}
		p.Failures++
		p.Error = failure.Text
		tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "kernel", Message: rec.ID, Note: "a failure of " + string(rec.Selector)})
		if p.Failures >= demoteAfter {
			p.State, p.Source = "demoted", m.Source
			told = p
			tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "kernel", Message: rec.ID, Note: "demoted " + string(rec.Selector)})
			if err := tx.DeleteSlot(holder, string(rec.Selector)); err != nil {
				return err
			}
			if err := k.forgetSamples(tx, holder, rec.Selector); err != nil {
				return err
			}
			if err := k.recordCorrection(tx, Person{"kernel"}, "demote", holder, string(rec.Selector), m.Mission, object.Str(m.Source), nil); err != nil {
				return err
			}
		}
		return p.save(tx)
	})
	if err != nil {
		k.log.Warn("a failure of a generated method could not be noted", "selector", rec.Selector, "error", err)
		return
	}
	if told != nil {
		k.Events.publish(Event{Kind: "demoted", Mission: told.Mission, Message: rec.ID, Data: new(dict).str("selector", string(told.Selector)).str("error", told.Error).value()})
	}
}

// failsItself reports whether an error is the method's own fault: it has the
// method's name in front, or a budget was used up, and the place it names is
// no fail(…).
func failsItself(m *object.Method, failure *batos.Error) bool {
	at, ok := strings.CutPrefix(failure.Text, string(m.Selector)+":")
	if !ok {
		return failure.Code == batos.Limit
	}
	number, _, _ := strings.Cut(at, ":")
	line, err := strconv.Atoi(number)
	lines := strings.Split(m.Source, "\n")
	if err != nil || line < 1 || line > len(lines) {
		return true
	}
	return !strings.Contains(lines[line-1], "fail(")
}

// forgetSamples takes the samples of a method away that was wrong: what it did
// is no example.
func (k *Kernel) forgetSamples(tx *image.Tx, holder batos.OID, sel batos.Selector) error {
	from := &object.Tuple{Items: []object.Value{object.NewInt(int64(holder)), object.Str(sel)}}
	var gone []object.Value
	for e, err := range tx.Tree(k.roots.samples).Range(from, nil) {
		if err != nil {
			return err
		}
		key := itemsOf(e.Key)
		if len(key) != 3 || batos.OID(uint64(intOf(key[0]))) != holder || strOf(key[1]) != string(sel) {
			break
		}
		gone = append(gone, e.Key)
	}
	for _, key := range gone {
		if _, err := tx.Tree(k.roots.samples).Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// Conduct is how a generated method has done since it was installed.
type Conduct struct {
	State               string // "probation", "promoted", "demoted"
	Successes, Failures int64
	Error               string
}

// Conduct tells how the method in a slot has done; ok is false for one that no
// mission wrote.
func (k *Kernel) Conduct(ctx context.Context, holder batos.OID, sel batos.Selector) (c Conduct, ok bool, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		p, err := loadProbation(tx, holder, sel)
		if err == nil && p != nil {
			c, ok = Conduct{p.State, p.Successes, p.Failures, p.Error}, true
		}
		return err
	})
	return c, ok, err
}
