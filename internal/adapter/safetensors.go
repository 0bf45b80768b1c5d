package adapter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"batos/internal/gguf"
)

// maxHeader is the format's own bound of a header, in bytes.
const maxHeader = 100 << 20

// maxTensors bounds how many tensors an adapter has.
const maxTensors = 1 << 16

// Safetensors is the header of a safetensors file.
type Safetensors struct {
	Meta    map[string]string
	Tensors []Matrix // in the order of their data
}

// Matrix is one tensor of a safetensors file; its bytes lie in the file from
// Offset on, rows one after another.
type Matrix struct {
	Name   string
	Type   gguf.TensorType // F32, F16 or BF16
	Shape  []int64         // the slowest running first
	Offset int64
	Size   int64 // bytes
}

// ReadSafetensors reads and checks a header: a length, JSON without repeated
// keys, and tensors of float types that fill the file to its end without gap
// or overlap.
func ReadSafetensors(r io.ReaderAt, size int64) (*Safetensors, error) {
	var head [8]byte
	if size < 8 {
		return nil, refuse("this is no safetensors file: it has %d bytes", size)
	}
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, refuse("the file cannot be read: %w", err)
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n < 2 || n > maxHeader || n > uint64(size-8) {
		return nil, refuse("this is no safetensors file: its header would have %d bytes, the file has %d", n, size)
	}
	b := make([]byte, n)
	if _, err := r.ReadAt(b, 8); err != nil {
		return nil, refuse("the header cannot be read: %w", err)
	}
	p := headerParser{d: json.NewDecoder(bytes.NewReader(b))}
	p.d.UseNumber()
	out, err := p.header()
	if err != nil {
		return nil, refuse("the header of the safetensors file: %w", err)
	}
	if tail, err := io.ReadAll(p.d.Buffered()); err != nil || len(bytes.Trim(tail, " ")) > 0 || p.d.More() {
		return nil, refuse("the header of the safetensors file: something follows its JSON")
	}
	return out, out.place(8+int64(n), size)
}

// place checks that the tensors fill the file's data, and turns their offsets
// into offsets of the file.
func (s *Safetensors) place(begin, size int64) error {
	slices.SortFunc(s.Tensors, func(a, b Matrix) int {
		switch {
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	at := int64(0)
	for i := range s.Tensors {
		t := &s.Tensors[i]
		if t.Offset != at {
			return refuse("tensor %.80q begins at byte %d, the one before it ends at %d", t.Name, t.Offset, at)
		}
		want, err := t.bytes()
		if err != nil {
			return err
		}
		if t.Size != want {
			return refuse("tensor %.80q has %d bytes, its shape and type need %d", t.Name, t.Size, want)
		}
		if at += t.Size; at > size-begin {
			return refuse("tensor %.80q goes beyond the end of the file: the file is cut off", t.Name)
		}
		t.Offset += begin
	}
	if at != size-begin {
		return refuse("%d bytes follow the last tensor", size-begin-at)
	}
	return nil
}

// bytes is what shape and type need, if that can be.
func (m Matrix) bytes() (int64, error) {
	n := int64(2)
	if m.Type == gguf.F32 {
		n = 4
	}
	for _, d := range m.Shape {
		if d < 0 || d != 0 && n > math.MaxInt64/d {
			return 0, refuse("tensor %.80q has an impossible shape", m.Name)
		}
		n *= d
	}
	return n, nil
}

// Types that are read, by their names.
var floatTypes = map[string]gguf.TensorType{"F32": gguf.F32, "F16": gguf.F16, "BF16": gguf.BF16}

// badShape is errShape with what the JSON reader had to say.
func badShape(err error) error {
	if err == nil {
		return errShape
	}
	return fmt.Errorf("%w: %w", errShape, err)
}

// headerParser reads the header token by token, since the standard library
// lets repeated keys pass.
type headerParser struct{ d *json.Decoder }

var errShape = errors.New("it is not a JSON object of tensors")

func (p *headerParser) header() (*Safetensors, error) {
	s := &Safetensors{Meta: map[string]string{}}
	seen := map[string]bool{}
	err := p.object(func(name string) error {
		if seen[name] {
			return refuse("%.80q appears twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			return p.object(func(key string) error {
				if _, twice := s.Meta[key]; twice {
					return refuse("__metadata__ has %.80q twice", key)
				}
				v, err := p.text()
				s.Meta[key] = v
				return err
			})
		}
		if len(s.Tensors) == maxTensors {
			return refuse("it names more than %d tensors", maxTensors)
		}
		if name == "" || len(name) > 1024 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
			return refuse("%.80q is no name of a tensor", name)
		}
		t, err := p.tensor(name)
		s.Tensors = append(s.Tensors, t)
		return err
	})
	return s, err
}

func (p *headerParser) tensor(name string) (Matrix, error) {
	m := Matrix{Name: name}
	seen := map[string]bool{}
	err := p.object(func(key string) error {
		if seen[key] {
			return refuse("tensor %.80q has %q twice", name, key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			text, err := p.text()
			if err != nil {
				return err
			}
			typ, ok := floatTypes[text]
			if !ok {
				return refuse("tensor %.80q is stored as %.20q; F32, F16 and BF16 are read", name, text)
			}
			m.Type = typ
			return nil
		case "shape":
			shape, err := p.numbers(8)
			m.Shape = shape
			return err
		case "data_offsets":
			o, err := p.numbers(2)
			if err != nil {
				return err
			}
			if len(o) != 2 || o[0] > o[1] {
				return refuse("tensor %.80q has no two offsets in order", name)
			}
			m.Offset, m.Size = o[0], o[1]-o[0]
			return nil
		}
		return refuse("tensor %.80q has the unknown key %.40q", name, key)
	})
	if err == nil && len(seen) != 3 {
		err = refuse("tensor %.80q lacks dtype, shape or data_offsets", name)
	}
	return m, err
}

// object reads an object; field reads the value of each key.
func (p *headerParser) object(field func(key string) error) error {
	if t, err := p.d.Token(); err != nil || t != json.Delim('{') {
		return badShape(err)
	}
	for p.d.More() {
		t, err := p.d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return badShape(err)
		}
		if err := field(key); err != nil {
			return err
		}
	}
	if _, err := p.d.Token(); err != nil {
		return badShape(err)
	}
	return nil
}

func (p *headerParser) text() (string, error) {
	t, err := p.d.Token()
	s, ok := t.(string)
	if err != nil || !ok {
		return "", badShape(err)
	}
	return s, nil
}

// numbers reads an array of at most that many integers from 0.
func (p *headerParser) numbers(most int) ([]int64, error) {
	if t, err := p.d.Token(); err != nil || t != json.Delim('[') {
		return nil, badShape(err)
	}
	out := []int64{}
	for p.d.More() {
		t, err := p.d.Token()
		n, ok := t.(json.Number)
		if err != nil || !ok {
			return nil, badShape(err)
		}
		i, err := n.Int64()
		if err != nil || i < 0 || len(out) == most {
			return nil, refuse("%.40q is no size or offset", n.String())
		}
		out = append(out, i)
	}
	_, err := p.d.Token()
	return out, err
}
