package gguf

import (
	"bufio"
	"encoding/binary"
	"io"

	"batos"
)

// Part is a tensor to write: its description, of which Offset and Size are
// filled in, and where its bytes come from. Data gives exactly the bytes of
// the type and dimensions, in the file's byte order (little endian).
type Part struct {
	Tensor
	Data io.Reader
}

// Write writes a file of the newest version with the given metadata and
// tensors, in their order; data is streamed. What it writes, [Read] accepts.
func Write(w io.Writer, meta []Entry, parts []Part) error {
	align, err := checkParts(meta, parts)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	h := append([]byte("GGUF"), 0, 0, 0, 0)
	le.PutUint32(h[4:], Version)
	h = le.AppendUint64(h, uint64(len(parts)))
	h = le.AppendUint64(h, uint64(len(meta)))
	for _, e := range meta {
		h = appendString(h, []byte(e.Key))
		h = le.AppendUint32(h, uint32(e.Value.typ))
		switch e.Value.typ {
		case String:
			h = appendString(h, e.Value.raw)
		case Array:
			h = le.AppendUint32(h, uint32(e.Value.elem))
			h = le.AppendUint64(h, uint64(e.Value.n))
			h = append(h, e.Value.raw...)
		default:
			h = append(h, e.Value.raw...)
		}
	}
	var offset int64
	for _, p := range parts {
		h = appendString(h, []byte(p.Name))
		h = le.AppendUint32(h, uint32(len(p.Dims)))
		for _, d := range p.Dims {
			h = le.AppendUint64(h, uint64(d))
		}
		h = le.AppendUint32(h, uint32(p.Type))
		h = le.AppendUint64(h, uint64(offset))
		offset = pad(offset+p.Size, align)
	}
	h = append(h, make([]byte, pad(int64(len(h)), align)-int64(len(h)))...)

	out := bufio.NewWriterSize(w, 1<<16)
	if _, err := out.Write(h); err != nil {
		return err
	}
	zeros := make([]byte, align)
	for _, p := range parts {
		n, err := io.Copy(out, io.LimitReader(p.Data, p.Size))
		if err != nil {
			return err
		}
		if n != p.Size {
			return batos.Errorf(batos.Invalid, "tensor %q has %d bytes of data, its shape needs %d", p.Name, n, p.Size)
		}
		if _, err := out.Write(zeros[:pad(n, align)-n]); err != nil {
			return err
		}
	}
	return out.Flush()
}

// checkParts fills in the sizes and gives the file's alignment.
func checkParts(meta []Entry, parts []Part) (int64, error) {
	align := int64(32)
	for _, e := range meta {
		if !e.Value.set || e.Key == "" {
			return 0, batos.Errorf(batos.Invalid, "key %q has no value", e.Key)
		}
		if n, ok := e.Value.Uint(); ok && e.Key == "general.alignment" && n > 0 && n <= maxAlign {
			align = int64(n)
		}
	}
	for i := range parts {
		p := &parts[i]
		if len(p.Dims) == 0 || len(p.Dims) > 4 || p.Name == "" || len(p.Name) > maxName {
			return 0, batos.Errorf(batos.Invalid, "tensor %q: want a name of up to %d bytes and 1 to 4 dimensions", p.Name, maxName)
		}
		size, err := p.bytes()
		if err != nil {
			return 0, batos.Errorf(batos.Invalid, "tensor %q: %w", p.Name, err)
		}
		p.Size = size
	}
	return align, nil
}

func appendString(b, s []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
