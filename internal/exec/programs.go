package exec

import (
	"crypto/sha256"
	"sync"

	"batos/internal/method"
	"batos/object"
)

// maxPrograms bounds the compiled methods that are kept. When there are more,
// all are dropped: what is in use comes back at about 100 µs each.
const maxPrograms = 4096

// programs are compiled methods by the hash of their source, and by the method
// value they were compiled from, which spares the hash. Compiled methods are
// immutable; two runs that compile the same one at once both succeed.
type programs struct {
	mu       sync.RWMutex
	bySource map[[32]byte]*method.Program
	byMethod map[*object.Method]*method.Program
}

func (p *programs) get(m *object.Method) (*method.Program, error) {
	p.mu.RLock()
	prog := p.byMethod[m]
	p.mu.RUnlock()
	if prog != nil {
		return prog, nil
	}
	h := sha256.New()
	h.Write([]byte(m.Selector)) // it is part of every position in an error
	h.Write([]byte{0})
	h.Write([]byte(m.Source))
	var key [32]byte
	h.Sum(key[:0])
	p.mu.RLock()
	prog = p.bySource[key]
	p.mu.RUnlock()
	if prog == nil {
		var err error
		if prog, err = method.Compile(string(m.Selector), m.Source); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bySource == nil || len(p.bySource) >= maxPrograms || len(p.byMethod) >= maxPrograms {
		p.bySource, p.byMethod = map[[32]byte]*method.Program{}, map[*object.Method]*method.Program{}
	}
	p.bySource[key], p.byMethod[m] = prog, prog
	return prog, nil
}

// compiled is a method and what it compiled to.
type compiled struct {
	method  *object.Method
	program *method.Program
}

// fewPrograms is how many methods a run finds again without the lock.
const fewPrograms = 16

// program is programs.get, without the lock for what this run used first.
func (x *run) program(m *object.Method) (*method.Program, error) {
	for i := range x.programs {
		if x.programs[i].method == m {
			return x.programs[i].program, nil
		}
	}
	if m == x.candidate {
		return x.tried, nil
	}
	p, err := x.runner.programs.get(m)
	if err == nil && len(x.programs) < fewPrograms {
		x.programs = append(x.programs, compiled{m, p})
	}
	return p, err
}
