package gguf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"batos"
	"batos/internal/gguf"
	"batos/internal/gguf/gguftest"
)

func read(b []byte) (*gguf.File, error) { return gguf.Read(bytes.NewReader(b), int64(len(b))) }

func TestRoundTrip(t *testing.T) {
	meta := []gguf.Entry{
		{Key: "general.architecture", Value: gguf.OfText("llama")},
		{Key: "a.u32", Value: gguf.OfUint32(math.MaxUint32)},
		{Key: "a.u64", Value: gguf.OfUint64(math.MaxUint64)},
		{Key: "a.f", Value: gguf.OfFloat(-1.5)},
		{Key: "a.yes", Value: gguf.OfBool(true)},
		{Key: "a.texts", Value: gguf.OfTexts([]string{"", "é", "\x00\xff"})},
		{Key: "a.ints", Value: gguf.OfInts([]int32{-1, 0, math.MaxInt32})},
		{Key: "a.floats", Value: gguf.OfFloats([]float32{0.5})},
		{Key: "a.none", Value: gguf.OfTexts(nil)},
	}
	part := func(name string, typ gguf.TensorType, data string, dims ...int64) gguf.Part {
		return gguf.Part{Tensor: gguf.Tensor{Name: name, Type: typ, Dims: dims}, Data: strings.NewReader(data)}
	}
	data := strings.Repeat("abcdefgh", 100)
	parts := []gguf.Part{
		part("x", gguf.F32, data[:4*3*5], 3, 5),
		part("y", gguf.F16, data[:2*7], 7),
		part("z", gguf.Q8_0, data[:34*4], 64, 2),
	}
	var b bytes.Buffer
	if err := gguf.Write(&b, meta, parts); err != nil {
		t.Fatal(err)
	}
	f, err := read(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if f.Version != gguf.Version || len(f.Meta) != len(meta) || len(f.Tensors) != 3 || f.Parameters() != 15+7+128 {
		t.Errorf("%+v", f)
	}
	for i, want := range []string{data[:60], data[:14], data[:136]} {
		s := f.Tensors[i]
		if got := b.Bytes()[s.Offset : s.Offset+s.Size]; string(got) != want || s.Offset%f.Alignment != 0 {
			t.Errorf("tensor %s at %d has %q", s.Name, s.Offset, got)
		}
	}
	get := func(key string) gguf.Value {
		v, ok := f.Get(key)
		if !ok {
			t.Errorf("no %s", key)
		}
		return v
	}
	if n, ok := get("a.u64").Uint(); n != math.MaxUint64 || !ok {
		t.Errorf("u64 %d, %v", n, ok)
	}
	if n, ok := get("a.u32").Uint(); n != math.MaxUint32 || !ok {
		t.Errorf("u32 %d, %v", n, ok)
	}
	if x, ok := get("a.f").Float(); x != -1.5 || !ok {
		t.Errorf("float %g, %v", x, ok)
	}
	if y, ok := get("a.yes").Bool(); !y || !ok {
		t.Errorf("bool %v, %v", y, ok)
	}
	var texts []string
	seq, ok := get("a.texts").Strings()
	if !ok {
		t.Fatal("texts are no strings")
	}
	for _, s := range seq {
		texts = append(texts, string(s))
	}
	if strings.Join(texts, "|") != "|é|\x00\xff" {
		t.Errorf("texts %q", texts)
	}
	var ints []int64
	is, ok := get("a.ints").Ints()
	if !ok {
		t.Fatal("ints are no ints")
	}
	for _, n := range is {
		ints = append(ints, n)
	}
	if len(ints) != 3 || ints[0] != -1 || ints[2] != math.MaxInt32 {
		t.Errorf("ints %d", ints)
	}
	var zero gguf.Value
	if _, ok := zero.Uint(); ok {
		t.Error("no value is a number")
	}
	if _, ok := get("a.texts").Ints(); ok {
		t.Error("texts are ints")
	}
}

func TestWriteRefuses(t *testing.T) {
	part := func(p gguf.Tensor, data string) []gguf.Part {
		return []gguf.Part{{Tensor: p, Data: strings.NewReader(data)}}
	}
	for name, parts := range map[string][]gguf.Part{
		"short data":    part(gguf.Tensor{Name: "x", Dims: []int64{2}}, "1234567"),
		"no dimensions": part(gguf.Tensor{Name: "x"}, ""),
		"no name":       part(gguf.Tensor{Dims: []int64{1}}, "1234"),
		"half a block":  part(gguf.Tensor{Name: "x", Type: gguf.Q8_0, Dims: []int64{33}}, ""),
		"unknown type":  part(gguf.Tensor{Name: "x", Type: 99, Dims: []int64{1}}, ""),
		"empty rows":    part(gguf.Tensor{Name: "x", Dims: []int64{0}}, ""),
		"long name":     part(gguf.Tensor{Name: strings.Repeat("x", 64), Dims: []int64{1}}, "1234"),
		"huge":          part(gguf.Tensor{Name: "x", Dims: []int64{1 << 40, 1 << 40}}, ""),
	} {
		if err := gguf.Write(io.Discard, nil, parts); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// raw builds a file by hand, to build broken ones.
type raw struct{ b []byte }

func header(version uint32, tensors, keys uint64) *raw {
	r := &raw{b: []byte("GGUF")}
	return r.u32(version).u64(tensors).u64(keys)
}
func (r *raw) u32(n uint32) *raw    { r.b = binary.LittleEndian.AppendUint32(r.b, n); return r }
func (r *raw) u64(n uint64) *raw    { r.b = binary.LittleEndian.AppendUint64(r.b, n); return r }
func (r *raw) str(s string) *raw    { r.u64(uint64(len(s))); r.b = append(r.b, s...); return r }
func (r *raw) bytes(b ...byte) *raw { r.b = append(r.b, b...); return r }
func (r *raw) pad(n int) *raw       { r.b = append(r.b, make([]byte, n)...); return r }
func (r *raw) tensor(name string, typ uint32, offset uint64, dims ...uint64) *raw {
	r.str(name).u32(uint32(len(dims)))
	for _, d := range dims {
		r.u64(d)
	}
	return r.u32(typ).u64(offset)
}

func TestReadRefuses(t *testing.T) {
	const text, array, boolean, u32 = 8, 9, 7, 4
	for _, c := range []struct {
		name string
		file *raw
		says string
	}{
		{"empty", &raw{}, "not a GGUF file"},
		{"zip", (&raw{}).bytes([]byte("PK\x03\x04")...).pad(60), `begins with "PK\x03\x04"`},
		{"version 1", header(1, 0, 0).pad(8), "no longer supported"},
		{"version 9", header(9, 0, 0).pad(8), "newer"},
		{"other byte order", header(0x03000000, 0, 0).pad(8), "byte order"},
		{"many tensors", header(3, 1<<62, 0).pad(8), "tensors announced"},
		{"many keys", header(3, 0, 1<<62).pad(8), "keys announced"},
		{"keys that are not there", header(3, 0, 2).str("k").u32(u32).u32(1), "truncated"},
		{"empty key", header(3, 0, 1).str("").u32(u32).u32(1), "has 0 bytes"},
		{"long key", header(3, 0, 1).u64(1 << 40).pad(8), "bytes, want 1 to"},
		{"key of no text", header(3, 0, 1).str("\xff\xfe").u32(u32).u32(1), "not UTF-8"},
		{"key with a line break", header(3, 0, 1).str("a\nb").u32(u32).u32(1), "control character"},
		{"key twice", header(3, 0, 2).str("k").u32(u32).u32(1).str("k").u32(u32).u32(1), "twice"},
		{"unknown type", header(3, 0, 1).str("k").u32(77).pad(8), "unknown type 77"},
		{"bool of two", header(3, 0, 1).str("k").u32(boolean).bytes(2), "truth value of 2"},
		{"bools of two", header(3, 0, 1).str("k").u32(array).u32(boolean).u64(3).bytes(0, 1, 2), "truth value of 2"},
		{"long string", header(3, 0, 1).str("k").u32(text).u64(math.MaxUint64).pad(8), "truncated"},
		{"array of arrays", header(3, 0, 1).str("k").u32(array).u32(array).u64(1).pad(8), "array of array"},
		{"endless array", header(3, 0, 1).str("k").u32(array).u32(u32).u64(math.MaxUint64).pad(8), "items, more than"},
		{"long array", header(3, 0, 1).str("k").u32(array).u32(u32).u64(1 << 25).pad(8), "truncated"},
		{"long array of strings", header(3, 0, 1).str("k").u32(array).u32(text).u64(1 << 25).pad(8), "truncated"},
		{"array with a long string", header(3, 0, 1).str("k").u32(array).u32(text).u64(2).str("x").u64(1 << 60), "truncated"},
		{"alignment 0", header(3, 0, 1).str("general.alignment").u32(u32).u32(0), "power of two"},
		{"alignment 48", header(3, 0, 1).str("general.alignment").u32(u32).u32(48), "power of two"},
		{"alignment huge", header(3, 0, 1).str("general.alignment").u32(u32).u32(1 << 31), "power of two"},
		{"alignment text", header(3, 0, 1).str("general.alignment").u32(text).str("32"), "power of two"},
		{"no dimensions", header(3, 1, 0).tensor("x", 0, 0).pad(64), "0 dimensions"},
		{"five dimensions", header(3, 1, 0).tensor("x", 0, 0, 1, 1, 1, 1, 1).pad(64), "5 dimensions"},
		{"dimension 0", header(3, 1, 0).tensor("x", 0, 0, 4, 0).pad(64), "dimension of 0"},
		{"dimension negative", header(3, 1, 0).tensor("x", 0, 0, math.MaxUint64).pad(64), "dimension of -1"},
		{"overflow", header(3, 1, 0).tensor("x", 0, 0, 1<<33, 1<<33).pad(64), "too many elements"},
		{"overflow to small", header(3, 1, 0).tensor("x", 0, 0, 1<<32, 1<<32, 1, 1).pad(64), "too many elements"},
		{"unknown storage", header(3, 1, 0).tensor("x", 4, 0, 32).pad(64), "unknown storage type 4"},
		{"half a block", header(3, 1, 0).tensor("x", 8, 0, 33).pad(64), "do not divide"},
		{"tensor twice", header(3, 2, 0).tensor("x", 0, 0, 8).tensor("x", 0, 32, 8).pad(128), "twice"},
		{"overlap", header(3, 2, 0).tensor("x", 0, 0, 8).tensor("y", 0, 0, 8).pad(128), "expected 32"},
		{"gap", header(3, 2, 0).tensor("x", 0, 0, 8).tensor("y", 0, 64, 8).pad(128), "expected 32"},
		{"wrapping offset", header(3, 2, 0).tensor("x", 0, 0, 8).tensor("y", 0, math.MaxUint64-31, 8).pad(128), "expected 32"},
		{"long name", header(3, 1, 0).tensor(strings.Repeat("x", 64), 0, 0, 8).pad(64), "64 bytes, want 1 to 63"},
		{"data missing", header(3, 1, 0).tensor("x", 0, 0, 1024).pad(64), "truncated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(c.file.b)
			if batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestEveryTruncationIsSeen(t *testing.T) {
	b := gguftest.ModelBytes(t, gguftest.Shape{Layers: 1, Width: 8, Hidden: 8, Heads: 1})
	f, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	last := f.Tensors[len(f.Tensors)-1]
	for n := range last.Offset + last.Size {
		if _, err := read(b[:n]); batos.CodeOf(err) != batos.Invalid {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := read(append(b, "something behind it"...)); err != nil {
		t.Errorf("bytes behind the last tensor: %v", err)
	}
}

// A small file that announces much must not make the reader take much.
func TestMemoryIsBoundedByTheFile(t *testing.T) {
	r := header(3, 0, 1).str("k").u32(9).u32(8).u64(1 << 25).pad(1 << 10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := read(r.b); err == nil {
		t.Fatal("accepted")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<18 {
		t.Errorf("%d bytes taken for a file of %d", n, len(r.b))
	}
}

type brokenDisk struct{}

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, errors.New("the disk is on fire") }

func TestReadFails(t *testing.T) {
	if _, err := gguf.Read(brokenDisk{}, 1000); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("%v", err)
	}
	if _, err := gguf.Read(bytes.NewReader(make([]byte, 10)), 1000); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a file that shrank: %v", err)
	}
	if _, err := gguf.Open(filepath.Join(t.TempDir(), "none.gguf")); batos.CodeOf(err) != batos.NotFound {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := gguf.Open(os.DevNull); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a device: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(header(3, 1, 0).tensor("x", 0, 0, 8).pad(64).b)
	f.Add(header(3, 0, 2).str("general.alignment").u32(4).u32(64).str("k").u32(9).u32(8).u64(2).str("a").str("b").b)
	f.Add(header(3, 0, 1).str("k").u32(9).u32(7).u64(2).bytes(0, 1).b)
	small := gguftest.Shape{Layers: 1, Width: 8, Hidden: 8, Heads: 1}
	f.Add(gguftest.ModelBytes(f, small))
	adapter, _ := gguftest.Adapter(f, small, 1)
	f.Add(adapter)
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := read(b)
		if err != nil {
			if batos.CodeOf(err) != batos.Invalid || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q", err)
			}
			return
		}
		for _, s := range g.Tensors {
			if s.Offset < 0 || s.Size <= 0 || s.Offset+s.Size > int64(len(b)) {
				t.Fatalf("tensor %+v in a file of %d bytes", s, len(b))
			}
		}
		for _, e := range g.Meta {
			if seq, ok := e.Value.Strings(); ok {
				for range seq {
				}
			}
			if seq, ok := e.Value.Ints(); ok {
				for range seq {
				}
			}
			e.Value.Uint()
			e.Value.Float()
			e.Value.Bool()
			e.Value.Text()
		}
		_ = gguf.CheckModel(g)
		_ = gguf.CheckAdapter(g)
		if err := gguf.CheckFinite(g, bytes.NewReader(b)); err != nil && batos.CodeOf(err) != batos.Invalid {
			t.Fatal(err)
		}
		// What was read can be written, and reads the same.
		var parts []gguf.Part
		for _, s := range g.Tensors {
			parts = append(parts, gguf.Part{Tensor: gguf.Tensor{Name: s.Name, Type: s.Type, Dims: s.Dims}, Data: bytes.NewReader(b[s.Offset : s.Offset+s.Size])})
		}
		var again bytes.Buffer
		if err := gguf.Write(&again, g.Meta, parts); err != nil {
			t.Fatal(err)
		}
		h, err := read(again.Bytes())
		if err != nil || len(h.Meta) != len(g.Meta) || len(h.Tensors) != len(g.Tensors) || h.DataOffset != g.DataOffset {
			t.Fatalf("written again: %v", err)
		}
	})
}
