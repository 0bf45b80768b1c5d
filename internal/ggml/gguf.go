package ggml

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"math/bits"
)

// GGUF is the checked header of a GGUF file, version 3: metadata and where
// each tensor lies. It holds no weights.
type GGUF struct {
	Keys    []string // metadata keys, in file order
	Tensors []TensorInfo
	values  map[string]any
	data    int64 // offset of the first tensor
}

// TensorInfo says where a tensor lies in its file.
type TensorInfo struct {
	Name   string
	Type   Type
	Shape  []int64 // fastest dimension first, 1 to 4 of them
	Offset int64   // from the start of the file, bytes
	Size   int64   // bytes
}

// Elements is the number of values.
func (t TensorInfo) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Bounds that no honest file comes near.
const (
	maxGGUFEntries = 1 << 20  // metadata keys, and tensors
	maxGGUFKey     = 1 << 16  // bytes of a key or tensor name
	maxGGUFHeader  = 1 << 28  // bytes before the first tensor
	maxGGUFArray   = 16 << 20 // elements
	ggufAlignment  = 32       // bytes, unless general.alignment says otherwise
)

// ggufVersion is the version of the format that is read and written.
const ggufVersion = 3

// Value types of GGUF metadata.
const (
	ggufUint8 = iota
	ggufInt8
	ggufUint16
	ggufInt16
	ggufUint32
	ggufInt32
	ggufFloat32
	ggufBool
	ggufString
	ggufArray
	ggufUint64
	ggufInt64
	ggufFloat64
)

var ggufSizes = [...]int{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

// ReadGGUF reads and checks the header of a file of size bytes. It never
// allocates more than the file is long, and refuses a file whose tensors
// overlap, leave it, or are of an unknown type; the bytes of the tensors are
// not looked at.
func ReadGGUF(r io.ReaderAt, size int64) (*GGUF, error) {
	d := &ggufReader{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, min(size, maxGGUFHeader)), 1<<16), left: min(size, maxGGUFHeader)}
	g := d.header(size)
	if d.err != nil {
		return nil, fmt.Errorf("not a usable GGUF file: %w", d.err)
	}
	return g, nil
}

// String gives a metadata value that is text.
func (g *GGUF) String(key string) (string, bool) {
	s, ok := g.values[key].(string)
	return s, ok
}

// Int gives a metadata value that is a whole number.
func (g *GGUF) Int(key string) (int64, bool) {
	n, ok := g.values[key].(int64)
	return n, ok
}

// Float gives a metadata value that is a number.
func (g *GGUF) Float(key string) (float64, bool) {
	switch v := g.values[key].(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	return 0, false
}

// Bool gives a metadata value that is a truth value.
func (g *GGUF) Bool(key string) (value, ok bool) {
	value, ok = g.values[key].(bool)
	return value, ok
}

// Strings gives a metadata value that is an array of text.
func (g *GGUF) Strings(key string) ([]string, bool) {
	s, ok := g.values[key].([]string)
	return s, ok
}

// Ints gives a metadata value that is an array of whole numbers.
func (g *GGUF) Ints(key string) ([]int64, bool) {
	s, ok := g.values[key].([]int64)
	return s, ok
}

// Tensor finds a tensor by name.
func (g *GGUF) Tensor(name string) (TensorInfo, bool) {
	for _, t := range g.Tensors {
		if t.Name == name {
			return t, true
		}
	}
	return TensorInfo{}, false
}

// ggufReader reads little-endian values; after the first error every read
// gives zero.
type ggufReader struct {
	r    *bufio.Reader
	left int64
	read int64
	err  error
	buf  [8]byte
}

func (d *ggufReader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *ggufReader) bytes(n int) []byte {
	if d.err == nil && int64(n) > d.left {
		d.fail("it ends early, at byte %d", d.read)
	}
	if d.err != nil {
		return nil
	}
	b := d.buf[:]
	if n > len(b) {
		b = make([]byte, n)
	}
	if _, err := io.ReadFull(d.r, b[:n]); err != nil {
		d.fail("it ends early, at byte %d: %w", d.read, err)
		return nil
	}
	d.left -= int64(n)
	d.read += int64(n)
	return b[:n]
}

func (d *ggufReader) u32() uint32 {
	if b := d.bytes(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (d *ggufReader) u64() uint64 {
	if b := d.bytes(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

// count reads a number of things that each take at least each bytes.
func (d *ggufReader) count(what string, limit uint64, each int64) int {
	n := d.u64()
	if d.err == nil && (n > limit || n > uint64(d.left/each)) {
		d.fail("it claims %d %s", n, what)
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

func (d *ggufReader) text(what string, limit uint64) string {
	return string(d.bytes(d.count("bytes of "+what, limit, 1)))
}

func (d *ggufReader) header(size int64) *GGUF {
	if string(d.bytes(4)) != "GGUF" {
		d.fail("it does not begin with GGUF")
	}
	if v := d.u32(); d.err == nil && v != ggufVersion {
		d.fail("its format is version %d, not %d", v, ggufVersion)
	}
	nTensors := d.count("tensors", maxGGUFEntries, 24)
	nKeys := d.count("metadata keys", maxGGUFEntries, 12)
	g := &GGUF{values: make(map[string]any)}
	for i := 0; i < nKeys && d.err == nil; i++ {
		key := d.text("a key", maxGGUFKey)
		if _, twice := g.values[key]; twice {
			d.fail("key %q appears twice", key)
		}
		v := d.value(d.u32())
		if d.err == nil {
			g.Keys = append(g.Keys, key)
			g.values[key] = v
		}
	}
	align := int64(ggufAlignment)
	if a, ok := g.Int("general.alignment"); ok {
		align = a
	}
	if d.err == nil && (align <= 0 || align > 1<<16 || bits.OnesCount64(uint64(align)) != 1) {
		d.fail("its alignment is %d", align)
	}
	d.tensors(g, nTensors, size, align)
	if d.err != nil {
		return nil
	}
	return g
}

// tensors reads the tensor table. Offsets in the file count from the first
// tensor and must follow each other with nothing but padding between.
func (d *ggufReader) tensors(g *GGUF, n int, size, align int64) {
	names := make(map[string]bool)
	next := int64(0)
	for i := 0; i < n && d.err == nil; i++ {
		t := TensorInfo{Name: d.text("a tensor name", maxGGUFKey)}
		if names[t.Name] {
			d.fail("tensor %q appears twice", t.Name)
		}
		names[t.Name] = true
		dims := d.u32()
		if d.err == nil && (dims < 1 || dims > 4) {
			d.fail("tensor %q has %d dimensions", t.Name, dims)
			return
		}
		elements := uint64(1)
		for range dims {
			ne := d.u64()
			hi, lo := bits.Mul64(elements, ne)
			if d.err == nil && (ne == 0 || hi != 0 || lo > math.MaxInt64/16) {
				d.fail("tensor %q has an impossible shape", t.Name)
				return
			}
			elements = lo
			t.Shape = append(t.Shape, int64(ne))
		}
		t.Type = Type(d.u32())
		offset := d.u64()
		if d.err != nil {
			return
		}
		block, bytes := t.Type.block()
		if block == 0 {
			d.fail("tensor %q is of type %d, which is unknown", t.Name, t.Type)
			return
		}
		if t.Shape[0]%block != 0 {
			d.fail("tensor %q has rows of %d values, not a multiple of %d", t.Name, t.Shape[0], block)
			return
		}
		t.Size = int64(elements) / block * bytes
		if offset != uint64(next) {
			d.fail("tensor %q begins at %d, not at %d", t.Name, offset, next)
			return
		}
		if t.Size < 0 || t.Size > size-next {
			d.fail("tensor %q leaves the file", t.Name)
			return
		}
		t.Offset = next
		next += (t.Size + align - 1) / align * align
		g.Tensors = append(g.Tensors, t)
	}
	if d.err != nil {
		return
	}
	g.data = (d.read + align - 1) / align * align
	for i := range g.Tensors {
		t := &g.Tensors[i]
		t.Offset += g.data
		if t.Offset > size-t.Size {
			d.fail("tensor %q ends at byte %d, the file at %d", t.Name, t.Offset+t.Size, size)
		}
	}
}

// value reads a metadata value: bool, int64, float64, string, or an array of
// one of them. An unsigned number above the largest int64 is refused.
func (d *ggufReader) value(typ uint32) any {
	switch typ {
	case ggufString:
		return d.text("text", maxGGUFHeader)
	case ggufArray:
		return d.array(d.u32())
	}
	if typ > ggufFloat64 {
		d.fail("a metadata value is of type %d, which is unknown", typ)
		return nil
	}
	return d.scalar(typ)
}

func (d *ggufReader) scalar(typ uint32) any {
	b := d.bytes(ggufSizes[typ])
	if b == nil {
		return nil
	}
	switch typ {
	case ggufUint8:
		return int64(b[0])
	case ggufInt8:
		return int64(int8(b[0]))
	case ggufUint16:
		return int64(le.Uint16(b))
	case ggufInt16:
		return int64(int16(le.Uint16(b)))
	case ggufUint32:
		return int64(le.Uint32(b))
	case ggufInt32:
		return int64(int32(le.Uint32(b)))
	case ggufFloat32:
		return float64(math.Float32frombits(le.Uint32(b)))
	case ggufBool:
		if b[0] > 1 {
			d.fail("a truth value is %d", b[0])
		}
		return b[0] == 1
	case ggufUint64:
		if u := le.Uint64(b); u > math.MaxInt64 {
			d.fail("a whole number is too large: %d", u)
		}
		return int64(le.Uint64(b))
	case ggufInt64:
		return int64(le.Uint64(b))
	default:
		return math.Float64frombits(le.Uint64(b))
	}
}

func (d *ggufReader) array(typ uint32) any {
	if d.err != nil {
		return nil
	}
	if typ > ggufFloat64 || typ == ggufArray {
		d.fail("an array of type %d is not allowed", typ)
		return nil
	}
	each := int64(ggufSizes[typ])
	if typ == ggufString {
		each = 8
	}
	n := d.count("array elements", maxGGUFArray, each)
	switch typ {
	case ggufString:
		return collect(d, n, func() string { return d.text("text", maxGGUFHeader) })
	case ggufFloat32, ggufFloat64:
		return collect(d, n, func() float64 { f, _ := d.scalar(typ).(float64); return f })
	case ggufBool:
		return collect(d, n, func() bool { b, _ := d.scalar(typ).(bool); return b })
	default:
		return collect(d, n, func() int64 { i, _ := d.scalar(typ).(int64); return i })
	}
}

func collect[T any](d *ggufReader, n int, next func() T) []T {
	out := make([]T, 0, min(n, 1<<12))
	for i := 0; i < n && d.err == nil; i++ {
		out = append(out, next())
	}
	return out
}
