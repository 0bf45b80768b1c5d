package exec

import (
	"batos"
	"batos/internal/method"
	"batos/object"
)

var _ method.Effects = (*run)(nil)

// Clone implements [method.Effects].
func (x *run) Clone(_ *method.Run, oid batos.OID) (batos.OID, error) {
	if x.halted != nil {
		return 0, errHalted
	}
	if err := x.mayRead(oid); err != nil {
		return 0, err
	}
	return x.clone(oid)
}

// Root implements [method.Effects].
func (x *run) Root(_ *method.Run, name string) (batos.OID, bool, error) {
	if x.halted != nil {
		return 0, false, errHalted
	}
	return x.tx.Name(name)
}

// Now implements [method.Effects].
func (x *run) Now(*method.Run) (object.Time, error) {
	v, err := x.now()
	if err != nil {
		return 0, err
	}
	t, ok := v.(object.Time)
	if !ok {
		return 0, batos.Errorf(batos.Corrupt, "the journal of %s holds a %s where a time should be", x.journal.message, v.Kind())
	}
	return t, nil
}

// Random implements [method.Effects].
func (x *run) Random(*method.Run) (float64, error) {
	v, err := x.random()
	if err != nil {
		return 0, err
	}
	f, ok := v.(object.Float)
	if !ok {
		return 0, batos.Errorf(batos.Corrupt, "the journal of %s holds a %s where a random number should be", x.journal.message, v.Kind())
	}
	return float64(f), nil
}

// Describe implements [method.Effects].
func (x *run) Describe(oid batos.OID) string { return "object " + oid.String() }
