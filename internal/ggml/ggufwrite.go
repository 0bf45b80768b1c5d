package ggml

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
)

// GGUFWriter collects metadata and tensors and writes them as a GGUF file, in
// the order they were added. The zero value is an empty file.
type GGUFWriter struct {
	keys    []string
	header  []byte
	tensors []writtenTensor
}

type writtenTensor struct {
	TensorInfo
	values []float32
}

var le = binary.LittleEndian

func appendText(b []byte, s string) []byte {
	return append(le.AppendUint64(b, uint64(len(s))), s...)
}

func (g *GGUFWriter) key(key string, typ uint32) {
	g.keys = append(g.keys, key)
	g.header = le.AppendUint32(appendText(g.header, key), typ)
}

func (g *GGUFWriter) array(key string, typ uint32, n int) {
	g.key(key, ggufArray)
	g.header = le.AppendUint64(le.AppendUint32(g.header, typ), uint64(n))
}

// String adds text.
func (g *GGUFWriter) String(key, v string) {
	g.key(key, ggufString)
	g.header = appendText(g.header, v)
}

// Uint32 adds a whole number.
func (g *GGUFWriter) Uint32(key string, v uint32) {
	g.key(key, ggufUint32)
	g.header = le.AppendUint32(g.header, v)
}

// Float32 adds a number.
func (g *GGUFWriter) Float32(key string, v float32) {
	g.key(key, ggufFloat32)
	g.header = le.AppendUint32(g.header, math.Float32bits(v))
}

// Bool adds a truth value.
func (g *GGUFWriter) Bool(key string, v bool) {
	g.key(key, ggufBool)
	b := byte(0)
	if v {
		b = 1
	}
	g.header = append(g.header, b)
}

// Strings adds an array of text.
func (g *GGUFWriter) Strings(key string, v []string) {
	g.array(key, ggufString, len(v))
	for _, s := range v {
		g.header = appendText(g.header, s)
	}
}

// Int32s adds an array of whole numbers.
func (g *GGUFWriter) Int32s(key string, v []int32) {
	g.array(key, ggufInt32, len(v))
	for _, n := range v {
		g.header = le.AppendUint32(g.header, uint32(n))
	}
}

// Tensor adds a tensor stored as typ, F32 or F16; the fastest dimension comes
// first. values is kept, not copied.
func (g *GGUFWriter) Tensor(name string, typ Type, shape []int, values []float32) error {
	t := writtenTensor{TensorInfo: TensorInfo{Name: name, Type: typ}, values: values}
	for _, d := range shape {
		t.Shape = append(t.Shape, int64(d))
	}
	if typ != F32 && typ != F16 {
		return fmt.Errorf("tensor %s: cannot be written as %s", name, typ)
	}
	if t.Elements() != int64(len(values)) || len(shape) < 1 || len(shape) > 4 {
		return fmt.Errorf("tensor %s: %d values do not have the shape %v", name, len(values), shape)
	}
	_, bytes := typ.block()
	t.Size = bytes * t.Elements()
	if n := len(g.tensors); n > 0 {
		last := g.tensors[n-1]
		t.Offset = (last.Offset + last.Size + ggufAlignment - 1) / ggufAlignment * ggufAlignment
	}
	g.tensors = append(g.tensors, t)
	return nil
}

// Write writes the file. A key or tensor that was added twice is an error.
func (g *GGUFWriter) Write(w io.Writer) error {
	names := slices.Clone(g.keys)
	for _, t := range g.tensors {
		names = append(names, "tensor "+t.Name)
	}
	slices.Sort(names)
	for i := range names {
		if i > 0 && names[i] == names[i-1] {
			return fmt.Errorf("%s appears twice", names[i])
		}
	}
	b := le.AppendUint32([]byte("GGUF"), ggufVersion)
	b = le.AppendUint64(b, uint64(len(g.tensors)))
	b = le.AppendUint64(b, uint64(len(g.keys)))
	b = append(b, g.header...)
	for _, t := range g.tensors {
		b = le.AppendUint32(appendText(b, t.Name), uint32(len(t.Shape)))
		for _, d := range t.Shape {
			b = le.AppendUint64(b, uint64(d))
		}
		b = le.AppendUint64(le.AppendUint32(b, uint32(t.Type)), uint64(t.Offset))
	}
	if _, err := w.Write(pad(b)); err != nil {
		return err
	}
	for _, t := range g.tensors {
		v := make([]byte, 0, t.Size+ggufAlignment)
		for _, f := range t.values {
			if t.Type == F16 {
				v = le.AppendUint16(v, uint16(HalfOf(f)))
			} else {
				v = le.AppendUint32(v, math.Float32bits(f))
			}
		}
		if _, err := w.Write(pad(v)); err != nil {
			return err
		}
	}
	return nil
}

func pad(b []byte) []byte {
	for len(b)%ggufAlignment != 0 {
		b = append(b, 0)
	}
	return b
}
