package forge

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"strings"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf"
)

// Loss gives the mean loss in nats of the supervised tokens of examples 0 to
// n-1, and of those after them that fill the last step, for the model of
// c.Base under an adapter or, if a is nil, bare. Of c it uses Base and the
// sizes, threads and precision of Train.
func Loss(ctx context.Context, lib *ggml.Library, c AdapterConfig, a *Adapter, data Source, n int) (float64, error) {
	b, err := openBase(c.Base)
	if err != nil {
		return 0, err
	}
	defer b.close()
	c.Train.Arch, c.Train.Steps, c.Train.LR = b.arch, 1, 1 // a step that changes nothing
	c.Train = c.Train.withDefaults()
	if err := c.Train.check(); err != nil {
		return 0, err
	}
	c.Rank, c.Alpha = 1, 1
	var slots []slot
	if a != nil {
		if err := a.fits(b.arch); err != nil {
			return 0, err
		}
		c.Rank, c.Alpha, slots = a.Rank, a.Alpha, a.slots
	}
	net, err := newAdapterNetwork(lib, c, b, slots, lossOnly)
	if err != nil {
		return 0, err
	}
	defer net.close()
	if a != nil {
		net.load(a.tensors)
	}
	in := newBatch(c.Train)
	sum, count := 0.0, 0
	for next := 0; next < n; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if next, err = in.fill(data, next); err != nil {
			return 0, err
		}
		net.set(in)
		loss, err := net.run(in)
		if err != nil {
			return 0, err
		}
		sum, count = sum+loss*float64(in.supervised), count+in.supervised
	}
	return sum / float64(max(1, count)), nil
}

// fits refuses an adapter whose tensors are not of the model's shape.
func (a *Adapter) fits(arch Arch) error {
	all, err := adapterLayout(arch, a.Rank, Targets())
	if err != nil {
		return err
	}
	shapes := make(map[string][]int)
	for _, s := range all {
		shapes[s.name] = s.shape
	}
	for _, s := range a.slots {
		if want := shapes[s.name]; len(want) != 2 || want[0] != s.shape[0] || want[1] != s.shape[1] {
			return batos.Errorf(batos.Invalid, "adapter: its tensor %s of shape %d does not fit the model", s.name, s.shape)
		}
	}
	return nil
}

// ReadAdapter reads an adapter file of F32 or F16 tensors, as [WriteAdapter]
// writes them.
func ReadAdapter(file []byte) (*Adapter, error) {
	r := bytes.NewReader(file)
	f, err := gguf.Read(r, r.Size())
	if err == nil {
		err = gguf.CheckAdapter(f)
	}
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "adapter file: %w", err)
	}
	a := &Adapter{tensors: make(map[string][]float32)}
	v, _ := f.Get("adapter.lora.alpha")
	alpha, _ := v.Float()
	a.Alpha = float32(alpha)
	for _, t := range f.Tensors {
		if len(t.Dims) != 2 {
			return nil, batos.Errorf(batos.Invalid, "adapter file: tensor %s has %d dimensions, not 2", t.Name, len(t.Dims))
		}
		rank := int(t.Dims[1])
		if strings.HasSuffix(t.Name, loraB) {
			rank = int(t.Dims[0])
		}
		if a.Rank == 0 {
			a.Rank = rank
		}
		if rank != a.Rank {
			return nil, batos.Errorf(batos.Invalid, "adapter file: tensor %s has the rank %d, others %d", t.Name, rank, a.Rank)
		}
		values, err := floatsOf(r, t)
		if err != nil {
			return nil, err
		}
		a.slots = append(a.slots, slot{t.Name, []int{int(t.Dims[0]), int(t.Dims[1])}})
		a.tensors[t.Name] = values
	}
	return a, nil
}

func floatsOf(r io.ReaderAt, t gguf.Tensor) ([]float32, error) {
	raw := make([]byte, t.Size)
	if _, err := r.ReadAt(raw, t.Offset); err != nil && err != io.EOF {
		return nil, batos.Errorf(batos.Invalid, "adapter file: tensor %s: %w", t.Name, err)
	}
	out := make([]float32, t.Elements())
	for i := range out {
		switch t.Type {
		case gguf.F32:
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		case gguf.F16:
			out[i] = half(binary.LittleEndian.Uint16(raw[2*i:])).float()
		default:
			return nil, batos.Errorf(batos.Invalid, "adapter file: tensor %s is of type %v; F32 and F16 can be read", t.Name, t.Type)
		}
	}
	return out, nil
}
