package kernel

import (
	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/object"
)

// spending is what one message of a lineage took from the account that all of
// them share. Where a lineage has several messages it is also written into a
// sealed object of counters, in the transaction that makes the taking durable:
// what a sibling spent that has come to its end stays spent after a restart.
// Counters of several messages merge without a conflict.
type spending struct {
	inferences, tokens, missions, later, objects, written int64
}

func (s spending) nothing() bool { return s == spending{} }

func usageOf(u exec.Usage) spending {
	return spending{later: int64(u.SendLater), objects: int64(u.NewObjects), written: u.Written}
}

func (s spending) plus(o spending) spending {
	return spending{s.inferences + o.inferences, s.tokens + o.tokens, s.missions + o.missions, s.later + o.later, s.objects + o.objects, s.written + o.written}
}

func (s *spending) slots() []struct {
	name string
	n    *int64
} {
	return []struct {
		name string
		n    *int64
	}{{"inferences", &s.inferences}, {"tokens", &s.tokens}, {"missions", &s.missions}, {"send_later", &s.later}, {"new_objects", &s.objects}, {"written", &s.written}}
}

func spendingOID(lineage batos.MessageID) batos.OID {
	return batos.DeriveOID("lineage", string(lineage))
}

// note adds what f spent to its lineage's durable account.
func (s spending) note(tx *image.Tx, lineage batos.MessageID) error {
	if s.nothing() {
		return nil
	}
	oid := spendingOID(lineage)
	exists, err := tx.Exists(oid)
	if err != nil {
		return err
	}
	if !exists {
		slots := []object.Slot{{Name: "kind", Value: object.Str("spending")}, {Name: "lineage", Value: object.Str(lineage)}}
		for _, c := range s.slots() {
			slots = append(slots, object.Slot{Name: c.name, Value: object.Counter(*c.n)})
		}
		return tx.CreateAt(oid, object.NewState(object.Sealed, batos.Genesis, slots...))
	}
	for _, c := range s.slots() {
		if *c.n == 0 {
			continue
		}
		if err := tx.AddCounter(oid, c.name, *c.n); err != nil {
			return err
		}
	}
	return nil
}

// leftAfter is what a lineage has left of its whole budget by its durable
// account; ok is false if it has none.
func leftAfter(tx *image.Tx, lineage batos.MessageID, whole exec.Lineage) (left exec.Lineage, ok bool, err error) {
	s, err := tx.Load(spendingOID(lineage))
	if batos.CodeOf(err) == batos.NotFound {
		return whole, false, nil
	}
	if err != nil {
		return whole, false, err
	}
	var spent spending
	for _, c := range spent.slots() {
		v, _ := s.Slot(c.name)
		*c.n = intOf(v)
	}
	left = whole
	left.Inferences -= int(spent.inferences)
	left.Tokens -= int(spent.tokens)
	left.Missions -= int(spent.missions)
	left.SendLater -= int(spent.later)
	left.NewObjects -= int(spent.objects)
	left.Written -= spent.written
	return left, true, nil
}

// shared reports whether f's lineage has, or had, other messages.
func (k *Kernel) shared(f *flight) bool {
	return f.rec.Hop > 0 || k.ledgers.users(f.rec.Lineage) > 1
}
