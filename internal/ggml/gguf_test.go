package ggml

import (
	"bytes"
	"math"
	"reflect"
	"testing"
)

func TestGGUFRoundTrip(t *testing.T) {
	var w GGUFWriter
	w.String("s", "text\x00é")
	w.Uint32("u", 7)
	w.Float32("f", 0.5)
	w.Bool("b", true)
	w.Strings("ss", []string{"a", "", "ccc"})
	w.Int32s("is", []int32{-1, 2})
	if err := w.Tensor("half", F16, []int{3, 1}, []float32{1, -2, 0.1}); err != nil {
		t.Fatal(err)
	}
	if err := w.Tensor("full", F32, []int{2}, []float32{3, 4}); err != nil {
		t.Fatal(err)
	}
	b := written(t, &w)
	g, err := ReadGGUF(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := g.String("s"); s != "text\x00é" || !ok {
		t.Errorf("s: %q", s)
	}
	if n, ok := g.Int("u"); n != 7 || !ok {
		t.Errorf("u: %d", n)
	}
	if f, ok := g.Float("f"); f != 0.5 || !ok {
		t.Errorf("f: %g", f)
	}
	if v, ok := g.Bool("b"); !v || !ok {
		t.Errorf("b: %v", v)
	}
	if ss, ok := g.Strings("ss"); !reflect.DeepEqual(ss, []string{"a", "", "ccc"}) || !ok {
		t.Errorf("ss: %q", ss)
	}
	if is, ok := g.Ints("is"); !reflect.DeepEqual(is, []int64{-1, 2}) || !ok {
		t.Errorf("is: %d", is)
	}
	if _, ok := g.String("u"); ok {
		t.Error("a number was given as text")
	}
	full, ok := g.Tensor("full")
	if !ok || full.Type != F32 || full.Offset%ggufAlignment != 0 || math.Float32frombits(le.Uint32(b[full.Offset+4:])) != 4 {
		t.Errorf("full: %+v", full)
	}
	half, _ := g.Tensor("half")
	if half.Type != F16 || half.Size != 6 || Half(le.Uint16(b[half.Offset+2:])).Float32() != -2 {
		t.Errorf("half: %+v", half)
	}
}

func TestGGUFWriterRefuses(t *testing.T) {
	var w GGUFWriter
	w.Bool("twice", true)
	w.Bool("twice", false)
	if err := w.Write(new(bytes.Buffer)); err == nil {
		t.Error("a key twice was written")
	}
	if err := w.Tensor("t", F32, []int{2, 2}, make([]float32, 3)); err == nil {
		t.Error("a tensor of the wrong length was added")
	}
	if err := w.Tensor("t", Q8_0, []int{32}, make([]float32, 32)); err == nil {
		t.Error("a tensor of a type that cannot be written was added")
	}
}

// Reading hostile bytes gives an error or a header whose tensors lie inside
// the file, and never more memory than the file is long.
func FuzzReadGGUF(f *testing.F) {
	var w GGUFWriter
	w.Strings("tokens", []string{"a", "b"})
	w.Int32s("types", []int32{1, 1})
	w.Uint32("general.alignment", 32)
	if err := w.Tensor("t", F16, []int{4, 2}, make([]float32, 8)); err != nil {
		f.Fatal(err)
	}
	f.Add(written(f, &w))
	f.Add([]byte("GGUF\x03\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ReadGGUF(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, ti := range g.Tensors {
			if ti.Offset < 0 || ti.Size <= 0 || ti.Offset+ti.Size > int64(len(b)) {
				t.Errorf("tensor %q at %d+%d of %d bytes", ti.Name, ti.Offset, ti.Size, len(b))
			}
		}
	})
}

func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		f := Half(h).Float32()
		if got := HalfOf(f); got != Half(h) && !math.IsNaN(float64(f)) {
			t.Fatalf("%#04x is %g, which becomes %#04x", h, f, got)
		}
	}
	for _, c := range []struct {
		f    float32
		want Half
	}{
		{65519, 0x7bff}, {65520, 0x7c00}, {1e9, 0x7c00}, {-1e9, 0xfc00},
		{1 + 1.0/2048, 0x3c00}, {1 + 3.0/2048, 0x3c02}, {1.0/(1<<25) + 1.0/(1<<40), 1}, {1.0 / (1 << 25), 0},
	} {
		if got := HalfOf(c.f); got != c.want {
			t.Errorf("%g becomes %#04x, want %#04x", c.f, got, c.want)
		}
	}
	if !math.IsNaN(float64(HalfOf(float32(math.NaN())).Float32())) {
		t.Error("NaN became a number")
	}
}
