package ggml

import (
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"

	"batos"
	"batos/internal/gguf"
)

// tensorOverhead is what one tensor takes in an arena: the struct and the
// library's link to it.
const tensorOverhead = 336 + 32

// graphSymbols are the functions of libggml-base.
type graphSymbols struct {
	devName, devDescription func(d uintptr) *byte
	devKind                 func(d uintptr) int32
	devMemory               func(d uintptr, free, total *uint64)
	devInit                 func(d uintptr, params uintptr) uintptr
	devReg                  func(d uintptr) uintptr
	procAddress             func(reg uintptr, name string) uintptr
	backendFree             func(b uintptr)
	bufferType              func(b uintptr) uintptr
	compute                 func(b, graph uintptr) int32
	allocTensors            func(c, b uintptr) uintptr
	bufferFree              func(b uintptr)
	bufferSize              func(b uintptr) uint64
	bufferClear             func(b uintptr, v uint8)
	allocNew                func(bufferType uintptr) uintptr
	allocFree               func(a uintptr)
	allocGraph              func(a, graph uintptr) bool
	allocSize               func(a uintptr, i int32) uint64
	tensorBytes             func(t *cTensor) uint64
	tensorGet               func(t *cTensor, dst unsafe.Pointer, off, n uint64)
	tensorSet               func(t *cTensor, src unsafe.Pointer, off, n uint64)

	initArena                                  func(p cInitParams) uintptr
	freeArena                                  func(c uintptr)
	tensorOverhead                             func() uint64
	graphOverhead                              func(n uint64, grads bool) uint64
	newGraph                                   func(c uintptr, n uint64, grads bool) uintptr
	expand                                     func(g uintptr, t *cTensor)
	graphNodes                                 func(g uintptr) int32
	setInput, setOutput, setParam              func(t *cTensor)
	new4                                       func(c uintptr, typ int32, a, b, d, e int64) *cTensor
	reshape4                                   func(c uintptr, t *cTensor, a, b, d, e int64) *cTensor
	cont4                                      func(c uintptr, t *cTensor, a, b, d, e int64) *cTensor
	permute                                    func(c uintptr, t *cTensor, a, b, d, e int32) *cTensor
	transpose, silu                            func(c uintptr, t *cTensor) *cTensor
	cont                                       func(c uintptr, t *cTensor) *cTensor
	cast                                       func(c uintptr, t *cTensor, typ int32) *cTensor
	getRows, add, mul, mulMat, outProd, swiglu func(c uintptr, a, b *cTensor) *cTensor
	siluBack, repeat, repeatBack, crossEntropy func(c uintptr, a, b *cTensor) *cTensor
	getRowsBack, crossEntropyBack              func(c uintptr, a, b, d *cTensor) *cTensor
	scale                                      func(c uintptr, a *cTensor, s float32) *cTensor
	rmsNorm                                    func(c uintptr, a *cTensor, eps float32) *cTensor
	rmsNormBack                                func(c uintptr, a, b *cTensor, eps float32) *cTensor
	softMax, softMaxBack                       func(c uintptr, a, b *cTensor, scale, bias float32) *cTensor
	rope, ropeBack                             func(c uintptr, a, pos, factors *cTensor, dims, mode, origCtx int32, base, scale, ext, attn, fast, slow float32) *cTensor
	adamW                                      func(c uintptr, w, grad, m, v, params *cTensor) *cTensor
}

func (s *graphSymbols) table() map[string]any {
	return map[string]any{
		"ggml_backend_dev_name":                &s.devName,
		"ggml_backend_dev_description":         &s.devDescription,
		"ggml_backend_dev_type":                &s.devKind,
		"ggml_backend_dev_memory":              &s.devMemory,
		"ggml_backend_dev_init":                &s.devInit,
		"ggml_backend_dev_backend_reg":         &s.devReg,
		"ggml_backend_reg_get_proc_address":    &s.procAddress,
		"ggml_backend_free":                    &s.backendFree,
		"ggml_backend_get_default_buffer_type": &s.bufferType,
		"ggml_backend_graph_compute":           &s.compute,
		"ggml_backend_alloc_ctx_tensors":       &s.allocTensors,
		"ggml_backend_buffer_free":             &s.bufferFree,
		"ggml_backend_buffer_get_size":         &s.bufferSize,
		"ggml_backend_buffer_clear":            &s.bufferClear,
		"ggml_gallocr_new":                     &s.allocNew,
		"ggml_gallocr_free":                    &s.allocFree,
		"ggml_gallocr_alloc_graph":             &s.allocGraph,
		"ggml_gallocr_get_buffer_size":         &s.allocSize,
		"ggml_backend_tensor_get":              &s.tensorGet,
		"ggml_backend_tensor_set":              &s.tensorSet,
		"ggml_nbytes":                          &s.tensorBytes,
		"ggml_init":                            &s.initArena,
		"ggml_free":                            &s.freeArena,
		"ggml_tensor_overhead":                 &s.tensorOverhead,
		"ggml_graph_overhead_custom":           &s.graphOverhead,
		"ggml_new_graph_custom":                &s.newGraph,
		"ggml_build_forward_expand":            &s.expand,
		"ggml_graph_n_nodes":                   &s.graphNodes,
		"ggml_set_input":                       &s.setInput,
		"ggml_set_output":                      &s.setOutput,
		"ggml_set_param":                       &s.setParam,
		"ggml_new_tensor_4d":                   &s.new4,
		"ggml_reshape_4d":                      &s.reshape4,
		"ggml_cont_4d":                         &s.cont4,
		"ggml_permute":                         &s.permute,
		"ggml_transpose":                       &s.transpose,
		"ggml_silu":                            &s.silu,
		"ggml_cont":                            &s.cont,
		"ggml_cast":                            &s.cast,
		"ggml_get_rows":                        &s.getRows,
		"ggml_add":                             &s.add,
		"ggml_mul":                             &s.mul,
		"ggml_mul_mat":                         &s.mulMat,
		"ggml_out_prod":                        &s.outProd,
		"ggml_swiglu_split":                    &s.swiglu,
		"ggml_silu_back":                       &s.siluBack,
		"ggml_repeat":                          &s.repeat,
		"ggml_repeat_back":                     &s.repeatBack,
		"ggml_cross_entropy_loss":              &s.crossEntropy,
		"ggml_get_rows_back":                   &s.getRowsBack,
		"ggml_cross_entropy_loss_back":         &s.crossEntropyBack,
		"ggml_scale":                           &s.scale,
		"ggml_rms_norm":                        &s.rmsNorm,
		"ggml_rms_norm_back":                   &s.rmsNormBack,
		"ggml_soft_max_ext":                    &s.softMax,
		"ggml_soft_max_ext_back":               &s.softMaxBack,
		"ggml_rope_ext":                        &s.rope,
		"ggml_rope_ext_back":                   &s.ropeBack,
		"ggml_opt_step_adamw":                  &s.adamW,
	}
}

// Device computes graphs on the CPU with a number of threads.
type Device struct {
	lib *Library
	p   uintptr
}

// NewDevice makes a CPU device. It belongs to one goroutine at a time.
func (l *Library) NewDevice(threads int) (*Device, error) {
	for i := range l.c.devCount() {
		dev := l.c.devGet(i)
		fn := l.c.base.procAddress(l.c.base.devReg(dev), "ggml_backend_set_n_threads")
		if goString(l.c.base.devName(dev)) != "CPU" || fn == 0 {
			continue
		}
		p := l.c.base.devInit(dev, 0)
		if p == 0 {
			break
		}
		var setThreads func(b uintptr, n int32)
		purego.RegisterFunc(&setThreads, fn)
		setThreads(p, int32(max(1, threads)))
		return &Device{lib: l, p: p}, nil
	}
	return nil, batos.Errorf(batos.Offline, "engine: no CPU device")
}

// Close frees the device, after everything made on it.
func (d *Device) Close() {
	if d.p != 0 {
		d.lib.c.base.backendFree(d.p)
		d.p = 0
	}
}

// Arena holds tensors. Tensors made by New are storage and get memory from
// [Arena.Alloc]; tensors made by an operation are steps of a [Graph] and get
// memory from it.
//
// An operation whose operands do not fit each other ends the process: shapes
// are the caller's proof.
type Arena struct {
	dev    *Device
	p      uintptr
	buffer uintptr
	left   int
}

// NewArena makes room for a number of tensors and for graphs of so many nodes
// in all.
func (d *Device) NewArena(tensors, nodes int) (*Arena, error) {
	c := &d.lib.c.base
	size := uint64(tensors)*c.tensorOverhead() + c.graphOverhead(uint64(nodes), false) + 4096
	p := c.initArena(cInitParams{memSize: size, noAlloc: true})
	if p == 0 {
		return nil, batos.Errorf(batos.Limit, "no memory for %d tensors", tensors)
	}
	return &Arena{dev: d, p: p, left: tensors}, nil
}

// Alloc gives memory, zeroed, to every tensor of the arena that has none. It
// is called once, after the last New.
func (a *Arena) Alloc() error {
	c := &a.dev.lib.c.base
	a.buffer = c.allocTensors(a.p, a.dev.p)
	if a.buffer == 0 {
		return batos.Errorf(batos.Limit, "no memory for the tensors")
	}
	c.bufferClear(a.buffer, 0)
	return nil
}

// Bytes is the memory Alloc took.
func (a *Arena) Bytes() int64 {
	if a.buffer == 0 {
		return 0
	}
	return int64(a.dev.lib.c.base.bufferSize(a.buffer))
}

// Close frees the arena and its tensors.
func (a *Arena) Close() {
	c := &a.dev.lib.c.base
	if a.buffer != 0 {
		c.bufferFree(a.buffer)
		a.buffer = 0
	}
	if a.p != 0 {
		c.freeArena(a.p)
		a.p = 0
	}
}

// take counts a tensor; the library would abort where this panics.
func (a *Arena) take() {
	if a.left == 0 {
		panic("ggml: arena is full")
	}
	a.left--
}

// Type is how a tensor's values are stored: F32, I32, or any of a model file.
type Type = gguf.TensorType

// The types that the operations compute with.
const (
	F32       = gguf.F32
	BF16      = gguf.BF16
	I32  Type = 26
)

// Tensor is a tensor of an arena.
type Tensor struct {
	c   *cTensor
	dev *Device
}

func (a *Arena) wrap(c *cTensor) *Tensor { return &Tensor{c, a.dev} }

// New makes a storage tensor; missing dimensions are 1. The fastest dimension
// comes first.
func (a *Arena) New(typ Type, shape ...int) *Tensor {
	a.take()
	d := dims(shape)
	t := a.wrap(a.dev.lib.c.base.new4(a.p, int32(typ), d[0], d[1], d[2], d[3]))
	a.dev.lib.c.base.setInput(t.c)
	return t
}

func dims(shape []int) (d [4]int64) {
	d = [4]int64{1, 1, 1, 1}
	for i, n := range shape {
		d[i] = int64(n)
	}
	return d
}

// Elements is the number of values.
func (t *Tensor) Elements() int {
	return int(t.c.ne[0] * t.c.ne[1] * t.c.ne[2] * t.c.ne[3])
}

// Len is the length of dimension i, the fastest being 0.
func (t *Tensor) Len(i int) int { return int(t.c.ne[i]) }

// Type is how the values are stored.
func (t *Tensor) Type() Type { return Type(t.c.typ) }

func (t *Tensor) check(typ Type, n int) {
	if t.Type() != typ || t.Elements() != n || t.c.data == nil {
		panic("ggml: tensor copy of the wrong type or length, or before Alloc")
	}
}

// SetFloats copies v, as many values as the F32 tensor has, into it.
func (t *Tensor) SetFloats(v []float32) {
	t.check(F32, len(v))
	t.dev.lib.c.base.tensorSet(t.c, unsafe.Pointer(unsafe.SliceData(v)), 0, uint64(len(v))*4)
	runtime.KeepAlive(v)
}

// Floats copies the values of the F32 tensor into v.
func (t *Tensor) Floats(v []float32) {
	t.check(F32, len(v))
	t.dev.lib.c.base.tensorGet(t.c, unsafe.Pointer(unsafe.SliceData(v)), 0, uint64(len(v))*4)
	runtime.KeepAlive(v)
}

// SetInts copies v into the I32 tensor.
func (t *Tensor) SetInts(v []int32) {
	t.check(I32, len(v))
	t.dev.lib.c.base.tensorSet(t.c, unsafe.Pointer(unsafe.SliceData(v)), 0, uint64(len(v))*4)
	runtime.KeepAlive(v)
}

// SetBytes copies the stored form of the values, as a GGUF file has it.
func (t *Tensor) SetBytes(b []byte) {
	if uint64(len(b)) != t.dev.lib.c.base.tensorBytes(t.c) || t.c.data == nil {
		panic("ggml: tensor copy of the wrong length, or before Alloc")
	}
	t.dev.lib.c.base.tensorSet(t.c, unsafe.Pointer(unsafe.SliceData(b)), 0, uint64(len(b)))
	runtime.KeepAlive(b)
}

// Output keeps the tensor's memory after the graph has run, so that it can be
// read.
func (t *Tensor) Output() *Tensor {
	t.dev.lib.c.base.setOutput(t.c)
	return t
}

// Param marks a storage tensor as one that AdamW may change.
func (t *Tensor) Param() *Tensor {
	t.dev.lib.c.base.setParam(t.c)
	return t
}
