package exec

import (
	"sync"

	"go.starlark.net/starlark"

	"batos"
	"batos/internal/method"
	"batos/object"
)

// maxVolatile bounds the volatile slots of a process, in bytes.
const maxVolatile = 64 << 20

// volatile holds the slots that live in this process only: names that begin
// with _v_. They belong to one object (no delegation), are never stored and
// never cloned. A run sees what the runs before it left and what it wrote
// itself; what it wrote is there for others when it is done.
type volatile struct {
	mu    sync.RWMutex
	slots map[method.Owner]object.Value
	bytes int64
}

func (s *volatile) get(o method.Owner) (object.Value, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.slots[o]
	return v, ok
}

// publish takes over what a run wrote; nil removes. What does not fit is left
// out: a volatile slot may vanish at any time.
func (s *volatile) publish(written map[method.Owner]object.Value) {
	if len(written) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = map[method.Owner]object.Value{}
	}
	for o, v := range written {
		if old, ok := s.slots[o]; ok {
			s.bytes -= size(old)
			delete(s.slots, o)
		}
		if v == nil || s.bytes+size(v) > maxVolatile {
			continue
		}
		s.bytes += size(v)
		s.slots[o] = v
	}
}

// seesVolatile keeps generated code away from volatile slots: what they hold
// differs from process to process, and from run to run.
func (x *run) seesVolatile(name string) error {
	if a := x.top().authority; a < batos.Genesis {
		return batos.Errorf(batos.Denied, "slot %s is volatile: code of %s authority does not see it", name, a)
	}
	return nil
}

func (x *run) volatileValue(oid batos.OID, name string) (object.Value, bool) {
	o := method.Owner{OID: oid, Slot: name}
	if v, ok := x.volatile[o]; ok {
		return v, v != nil
	}
	return x.runner.volatile.get(o)
}

// volatileSlot gives code a volatile slot.
func (x *run) volatileSlot(oid batos.OID, name string) (starlark.Value, bool, error) {
	if err := x.seesVolatile(name); err != nil {
		return nil, false, err
	}
	v, ok := x.volatileValue(oid, name)
	if !ok {
		return nil, false, nil
	}
	tv, err := x.value(v, method.Owner{OID: oid, Slot: name})
	return tv, err == nil, err
}

func (x *run) putVolatile(o method.Owner, v object.Value) error {
	if size(v) > maxVolatile {
		return batos.Errorf(batos.Limit, "volatile slots hold at most %d MiB in all", maxVolatile>>20)
	}
	if x.volatile == nil {
		x.volatile = map[method.Owner]object.Value{}
	}
	x.volatile[o] = v
	return nil
}
