package ggml

import (
	"os"
	"sync/atomic"

	"batos"
	"batos/internal/gguf"
)

// Adapter is a LoRA adapter, loaded where its model's layers are.
type Adapter struct {
	model *Model
	p     uintptr
	bytes int64
	users atomic.Int32 // contexts that have it in force
}

// Scaled is an adapter and how strongly it acts; 1 is as trained.
type Scaled struct {
	Adapter *Adapter
	Scale   float32
}

// LoadAdapter makes an adapter from the bytes of a GGUF file; they may be
// dropped afterwards. It is [Model.LoadAdapterFile] for those who have no file.
func (m *Model) LoadAdapter(file []byte) (*Adapter, error) {
	fd, err := memoryFile(file)
	if err != nil {
		return nil, batos.Errorf(batos.Limit, "adapter: %w", err)
	}
	f := os.NewFile(uintptr(fd), "adapter")
	defer func() { _ = f.Close() }() // a memory file: nothing is lost
	return m.LoadAdapterFile(f)
}

// LoadAdapterFile makes an adapter from a GGUF file, on disk or in memory. The
// library reads it through a descriptor of its own, so f's position does not
// matter and does not move, and f may be closed afterwards. The header is
// checked in Go first, the weights are not: gguf.CheckFinite does that.
func (m *Model) LoadAdapterFile(f *os.File) (*Adapter, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "adapter: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, batos.Errorf(batos.Invalid, "adapter: not a regular file")
	}
	h, err := gguf.Read(f, st.Size())
	if err == nil {
		err = gguf.CheckAdapter(h)
	}
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "adapter: %w", err)
	}
	fd, err := reopen(f)
	if err != nil {
		return nil, batos.Errorf(batos.Limit, "adapter: %w", err)
	}
	lib := m.lib
	stream := lib.c.libc.fdopen(int32(fd), "rb")
	if stream == 0 {
		closeFD(fd)
		return nil, batos.Errorf(batos.Limit, "adapter: no file handle for %d bytes", st.Size())
	}
	var ptr uintptr
	words := lib.quietly(func() { ptr = lib.c.loraFromFile(m.p, stream) })
	lib.c.libc.fclose(stream)
	if ptr == 0 {
		return nil, batos.Errorf(batos.Invalid, "adapter does not fit the model%s", said(words))
	}
	m.users.Add(1)
	a := &Adapter{model: m, p: ptr}
	for _, t := range h.Tensors {
		a.bytes += (t.Size+tensorAlignment-1)&^(tensorAlignment-1) + adapterTensorOverhead
	}
	return a, nil
}

// What the library allocates for an adapter: each tensor in multiples of
// tensorAlignment, its description, and its entry in the adapter's table.
const (
	tensorAlignment       = 64
	adapterTensorOverhead = tensorOverhead + 96
)

// Bytes is what the adapter takes where its model's layers are: tensors and
// their descriptions.
func (a *Adapter) Bytes() int64 { return a.bytes }

// Close frees the adapter. It refuses while a context has it in force.
func (a *Adapter) Close() error {
	if n := a.users.Load(); n != 0 {
		return batos.Errorf(batos.Invalid, "adapter is in force in %d contexts", n)
	}
	if a.p == 0 {
		return nil
	}
	a.model.lib.loading.Lock()
	a.model.lib.c.loraFree(a.p)
	a.model.lib.loading.Unlock()
	a.p = 0
	a.model.users.Add(-1)
	return nil
}

// SetAdapters replaces the set of adapters in force; an empty set is the bare
// model. The cache is not touched: what it holds was computed under the old
// set, so the caller clears it or knows that it fits.
func (c *Context) SetAdapters(set []Scaled) error {
	for _, s := range set {
		if s.Adapter == nil || s.Adapter.p == 0 || s.Adapter.model != c.model {
			return batos.Errorf(batos.Invalid, "adapter is closed or belongs to another model")
		}
	}
	if rc := c.use(set); rc != 0 {
		return batos.Errorf(batos.Offline, "engine: adapters cannot be set (%d)", rc)
	}
	return nil
}

func (c *Context) use(set []Scaled) int32 {
	ptrs := make([]uintptr, len(set))
	scales := make([]float32, len(set))
	for i, s := range set {
		ptrs[i], scales[i] = s.Adapter.p, s.Scale
		s.Adapter.users.Add(1)
	}
	rc := c.model.lib.c.loraSet(c.p, firstOrNil(ptrs), uint64(len(set)), firstOrNil(scales))
	gone := c.adapters
	if rc == 0 {
		c.adapters = c.adapters[:0:0]
		for _, s := range set {
			c.adapters = append(c.adapters, s.Adapter)
		}
	} else {
		gone = nil
		for _, s := range set {
			gone = append(gone, s.Adapter)
		}
	}
	for _, a := range gone {
		a.users.Add(-1)
	}
	return rc
}
