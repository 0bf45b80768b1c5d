package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"os"
	"strconv"
	"unicode/utf8"

	"batos"
)

// Bounds beyond what any real model has. The library compares every key with
// every other and every tensor name likewise, so the counts also bound time.
const (
	maxHeader  = 1 << 28 // bytes of metadata and tensor table
	maxKeys    = 1 << 12
	maxTensors = 1 << 14
	maxKey     = 1 << 10 // bytes
	maxName    = 63      // bytes of a tensor's name
	maxAlign   = 1 << 16
	maxItems   = 1 << 26 // of an array
)

// Version is the newest version of the format that is read, and the one that
// is written.
const Version = 3

// File is the header of a GGUF file: everything but the tensors' bytes.
type File struct {
	Version    uint32
	Alignment  int64
	Meta       []Entry  // in file order; keys are unique
	Tensors    []Tensor // in file order, which is the order of their data; names are unique
	DataOffset int64    // where tensor data begins
	Size       int64    // of the whole file
	index      map[string]int
}

// Entry is one key of the metadata.
type Entry struct {
	Key   string
	Value Value
}

// Tensor describes one tensor; its bytes lie in the file from Offset on.
type Tensor struct {
	Name   string
	Type   TensorType
	Dims   []int64 // 1 to 4, the fastest running first
	Offset int64   // from the file's beginning
	Size   int64   // bytes
}

// Elements is the product of the dimensions.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Get finds a metadata value.
func (f *File) Get(key string) (Value, bool) {
	i, ok := f.index[key]
	if !ok {
		return Value{}, false
	}
	return f.Meta[i].Value, true
}

// Text gives the string under key, or "".
func (f *File) Text(key string) string {
	v, _ := f.Get(key)
	s, _ := v.Text()
	return s
}

// Parameters is the number of weights in all tensors.
func (f *File) Parameters() uint64 {
	var n uint64
	for _, t := range f.Tensors {
		n += uint64(t.Elements())
	}
	return n
}

// Open reads the header of the file at path. Errors name the file; a missing
// one is not_found.
func Open(path string) (*File, error) {
	h, err := os.Open(path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, batos.Errorf(batos.NotFound, "model file %s does not exist", path)
		}
		return nil, batos.Errorf(batos.Invalid, "model file %s cannot be opened: %w", path, err)
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "model file %s cannot be examined: %w", path, err)
	}
	if !st.Mode().IsRegular() {
		return nil, batos.Errorf(batos.Invalid, "model file %s is not a regular file", path)
	}
	f, err := Read(h, st.Size())
	if err != nil {
		return nil, batos.Errorf(batos.CodeOf(err), "model file %s: %w", path, err)
	}
	return f, nil
}

// Read reads the header of a file of size bytes and checks that every tensor
// it announces lies within the file. It reads nothing of the tensor data.
// Bytes after the last tensor are ignored, as the library ignores them.
func Read(r io.ReaderAt, size int64) (*File, error) {
	p := &parser{r: r, size: size}
	f, err := p.file()
	if err == nil {
		err = p.err
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// parser walks the header. Its buffer grows by doubling as the walk goes on,
// so a file is never read, nor memory taken, much beyond what was parsed; the
// first error sticks and every later read gives zero values.
type parser struct {
	r    io.ReaderAt
	size int64
	buf  []byte // the file's first bytes
	pos  int
	err  error
}

func (p *parser) fail(format string, args ...any) error {
	if p.err == nil {
		p.err = batos.Errorf(batos.Invalid, format, args...)
	}
	return p.err
}

// need makes n bytes from pos on available.
func (p *parser) need(n uint64, what string) bool {
	if p.err != nil {
		return false
	}
	if n > uint64(p.size)-uint64(p.pos) {
		p.fail("truncated: %s at byte %d needs %d bytes, the file ends at byte %d", what, p.pos, n, p.size)
		return false
	}
	end := p.pos + int(n)
	if end <= len(p.buf) {
		return true
	}
	if end > maxHeader {
		p.fail("the header is larger than %d MiB", maxHeader>>20)
		return false
	}
	grown := max(end, min(2*len(p.buf), maxHeader), 1<<16)
	grown = int(min(int64(grown), p.size))
	buf := make([]byte, grown)
	have := copy(buf, p.buf)
	if _, err := p.r.ReadAt(buf[have:], int64(have)); err != nil && err != io.EOF {
		p.fail("reading the header: %w", err)
		return false
	} else if err == io.EOF && int64(grown) < p.size {
		p.fail("truncated while it was read")
		return false
	}
	p.buf = buf
	return true
}

func (p *parser) bytes(n uint64, what string) []byte {
	if !p.need(n, what) {
		return nil
	}
	b := p.buf[p.pos : p.pos+int(n) : p.pos+int(n)]
	p.pos += int(n)
	return b
}

func (p *parser) u32(what string) uint32 {
	if b := p.bytes(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (p *parser) u64(what string) uint64 {
	if b := p.bytes(8, what); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// name reads a string that is used as a name: short, printable, not empty.
func (p *parser) name(limit int, what string) string {
	at := p.pos
	n := p.u64(what)
	if p.err == nil && (n == 0 || n > uint64(limit)) {
		p.fail("%s at byte %d has %d bytes, want 1 to %d", what, at, n, limit)
	}
	b := p.bytes(n, what)
	if p.err != nil {
		return ""
	}
	if !utf8.Valid(b) {
		p.fail("%s at byte %d is not UTF-8", what, at)
		return ""
	}
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			p.fail("%s at byte %d has a control character", what, at)
			return ""
		}
	}
	return string(b)
}

func (p *parser) file() (*File, error) {
	if p.size < 24 {
		return nil, p.fail("not a GGUF file: %d bytes are less than its header", p.size)
	}
	if magic := p.bytes(4, "magic"); p.err == nil && string(magic) != "GGUF" {
		return nil, p.fail("not a GGUF file: it begins with %s", strconv.QuoteToASCII(string(magic)))
	}
	f := &File{Version: p.u32("version"), Size: p.size, Alignment: 32}
	switch {
	case p.err != nil:
		return nil, p.err
	case f.Version == 1:
		return nil, p.fail("GGUF version 1 is no longer supported: convert the model again")
	case f.Version&0xffff == 0:
		return nil, p.fail("the file has the byte order of another kind of machine")
	case f.Version > Version:
		return nil, p.fail("GGUF version %d is newer than the newest known, %d", f.Version, Version)
	}
	tensors, keys := p.u64("tensor count"), p.u64("key count")
	if p.err == nil && tensors > maxTensors {
		return nil, p.fail("%d tensors announced, more than %d", tensors, maxTensors)
	}
	if p.err == nil && keys > maxKeys {
		return nil, p.fail("%d keys announced, more than %d", keys, maxKeys)
	}
	f.index = make(map[string]int)
	for i := range int(keys) {
		key := p.name(maxKey, "a key")
		v := p.value(key)
		if p.err != nil {
			return nil, p.err
		}
		if _, dup := f.index[key]; dup {
			return nil, p.fail("key %q appears twice", key)
		}
		f.index[key] = i
		f.Meta = append(f.Meta, Entry{key, v})
	}
	if v, ok := f.Get("general.alignment"); ok {
		n, _ := v.Uint()
		if v.Type() != Uint32 || n == 0 || n&(n-1) != 0 || n > maxAlign {
			return nil, p.fail("general.alignment must be a power of two up to %d, of type uint32", maxAlign)
		}
		f.Alignment = int64(n)
	}
	if err := p.table(f, int(tensors)); err != nil {
		return nil, err
	}
	return f, nil
}

func (p *parser) value(key string) Value {
	v := Value{typ: ValueType(p.u32("the type of a key")), set: true}
	if p.err != nil {
		return v
	}
	switch {
	case !v.typ.known():
		p.fail("key %q has the unknown %s", key, v.typ)
	case v.typ == String:
		v.raw = p.bytes(p.u64("a string"), "a string")
	case v.typ == Array:
		p.array(key, &v)
	default:
		v.raw = p.bytes(uint64(valueTypes[v.typ].size), "a number")
		if v.typ == Bool {
			p.checkBools(key, v.raw)
		}
	}
	return v
}

func (p *parser) array(key string, v *Value) {
	v.elem = ValueType(p.u32("the type of an array"))
	n := p.u64("the length of an array")
	switch {
	case p.err != nil:
		return
	case !v.elem.known() || v.elem == Array:
		p.fail("key %q is an array of %s, which is not allowed", key, v.elem)
		return
	case n > maxItems:
		p.fail("key %q is an array of %d items, more than %d", key, n, maxItems)
		return
	}
	v.n = int(n)
	if size := valueTypes[v.elem].size; size > 0 {
		v.raw = p.bytes(n*uint64(size), "an array")
		if v.elem == Bool {
			p.checkBools(key, v.raw)
		}
		return
	}
	if !p.need(8*n, "an array of strings") {
		return
	}
	start := p.pos
	for range n {
		p.bytes(p.u64("a string"), "a string of an array")
		if p.err != nil {
			return
		}
	}
	v.raw = p.buf[start:p.pos:p.pos]
}

func (p *parser) checkBools(key string, raw []byte) {
	for _, b := range raw {
		if b > 1 {
			p.fail("key %q has a truth value of %d", key, b)
			return
		}
	}
}

// table reads the tensor descriptions and checks them against the file.
func (p *parser) table(f *File, count int) error {
	seen := make(map[string]bool)
	var sum int64 // bytes of the data so far, padded
	for range count {
		t := Tensor{Name: p.name(maxName, "a tensor's name")}
		dims := p.u32("the dimensions of a tensor")
		if p.err == nil && (dims == 0 || dims > 4) {
			return p.fail("tensor %q has %d dimensions, want 1 to 4", t.Name, dims)
		}
		for range dims {
			t.Dims = append(t.Dims, int64(p.u64("a dimension")))
		}
		t.Type = TensorType(p.u32("the type of a tensor"))
		offset := p.u64("the offset of a tensor")
		if p.err != nil {
			return p.err
		}
		if seen[t.Name] {
			return p.fail("tensor %q appears twice", t.Name)
		}
		seen[t.Name] = true
		size, err := t.bytes()
		if err != nil {
			return p.fail("tensor %q: %w", t.Name, err)
		}
		if offset != uint64(sum) {
			return p.fail("tensor %q lies at offset %d, expected %d: tensors must follow each other", t.Name, offset, sum)
		}
		t.Offset, t.Size = sum, size
		if size > p.size || sum > p.size {
			return p.fail("truncated: tensor %q needs %d bytes, the file has %d", t.Name, size, p.size)
		}
		sum = pad(sum+size, f.Alignment)
		f.Tensors = append(f.Tensors, t)
	}
	f.DataOffset = pad(int64(p.pos), f.Alignment)
	for i := range f.Tensors {
		t := &f.Tensors[i]
		t.Offset += f.DataOffset
		if end := t.Offset + t.Size; end > p.size {
			return p.fail("truncated: tensor %q ends at byte %d, the file at byte %d", t.Name, end, p.size)
		}
	}
	return nil
}

// bytes is the size of t's data, checked against overflow.
func (t Tensor) bytes() (int64, error) {
	l, ok := layouts[t.Type]
	if !ok {
		return 0, fmt.Errorf("unknown storage %s", t.Type)
	}
	n := uint64(1)
	for _, d := range t.Dims {
		if d <= 0 {
			return 0, fmt.Errorf("dimension of %d elements", d)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > 1<<48 {
			return 0, fmt.Errorf("too many elements")
		}
		n = lo
	}
	if t.Dims[0]%int64(l.block) != 0 {
		return 0, fmt.Errorf("rows of %d elements do not divide into %s blocks of %d", t.Dims[0], l.name, l.block)
	}
	return int64(n) / int64(l.block) * int64(l.bytes), nil
}

func pad(n, to int64) int64 { return (n + to - 1) / to * to }
