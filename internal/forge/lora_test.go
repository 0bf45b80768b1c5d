package forge

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf"
)

// bases writes one random model in several storages. Rows are multiples of 32
// values, as quantized blocks demand.
func bases(t *testing.T) map[string]string {
	t.Helper()
	lib := library(t)
	a := small
	a.Dim, a.FF, a.KVHeads = 64, 96, 2
	w := spread(t, a)
	whole := saveModel(t, w, Meta{})
	q8 := filepath.Join(t.TempDir(), "q8.gguf")
	if err := lib.Quantize(whole, q8, ggml.QuantQ8_0, 1); err != nil {
		t.Fatal(err)
	}
	a.Tied = true
	w.Arch = a
	return map[string]string{"F32": whole, "F16": saveModel(t, w, Meta{Half: true}), "Q8_0": q8}
}

func adapterConfig(basePath string) AdapterConfig {
	return AdapterConfig{
		Base: basePath, Rank: 4, Alpha: 8,
		Train: Config{Steps: 40, BatchTokens: 96, RowTokens: 24, LR: 2e-2, Warmup: 5, Seed: 3},
	}
}

// A quantized base rounds activations, which is noise to a finite difference.
// Its gradients are compared with those over the base it was made from.
func TestAdapterGradients(t *testing.T) {
	files := bases(t)
	for _, name := range []string{"F32", "F16"} {
		t.Run(name, func(t *testing.T) {
			net, b := adapterNetwork(t, files[name])
			gradientCheck{step: 5e-3, tolerance: 0.02, elements: 3}.run(t, net, b)
		})
	}
	t.Run("Q8_0", func(t *testing.T) {
		whole, b := adapterNetwork(t, files["F32"])
		mustRun(t, whole, b)
		rounded, b := adapterNetwork(t, files["Q8_0"])
		mustRun(t, rounded, b)
		for i, p := range whole.params {
			x, y := make([]float32, p.elements()), make([]float32, p.elements())
			p.grad.Floats(x)
			rounded.params[i].grad.Floats(y)
			var xx, yy, xy float64
			for j := range x {
				xx += float64(x[j]) * float64(x[j])
				yy += float64(y[j]) * float64(y[j])
				xy += float64(x[j]) * float64(y[j])
			}
			if cos := xy / math.Sqrt(xx*yy); !(cos > 0.99) || !(yy > 0.9*xx && yy < 1.1*xx) {
				t.Errorf("%s: cosine %.4f, squared lengths %.4g and %.4g", p.name, cos, xx, yy)
			}
		}
	})
}

// adapterNetwork builds the gradients of a non-zero adapter over a base, with
// a batch in place.
func adapterNetwork(t *testing.T, path string) (*network, *batch) {
	t.Helper()
	c := adapterConfig(path)
	b, err := openBase(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	c.Train.Arch = b.arch
	c.Train = c.Train.withDefaults()
	slots, err := adapterLayout(b.arch, c.Rank, Targets())
	if err != nil {
		t.Fatal(err)
	}
	net, err := newAdapterNetwork(library(t), c, b, slots, gradients)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(net.close)
	values := newAdapterValues(slots, 1)
	for name, v := range values {
		for i := range v {
			if strings.HasSuffix(name, loraB) { // zero would hide A's gradient
				v[i] = 0.1 * float32(math.Sin(float64(i)*2.3))
			}
		}
	}
	net.load(values)
	in := newBatch(c.Train)
	if _, err := in.fill(fewer, 0); err != nil {
		t.Fatal(err)
	}
	net.set(in)
	return net, in
}

func TestTrainAdapter(t *testing.T) {
	lib := library(t)
	for name, path := range bases(t) {
		t.Run(name, func(t *testing.T) {
			var first, last float64
			a, err := TrainAdapter(context.Background(), lib, adapterConfig(path), fewer, func(p Progress) {
				if p.Step == 1 {
					first = p.Loss
				}
				last = p.Loss
			})
			if err != nil {
				t.Fatal(err)
			}
			if !(last < 0.6*first) {
				t.Errorf("loss went from %.3f to %.3f", first, last)
			}
			var file, full bytes.Buffer
			if err := WriteAdapter(&file, a, Meta{Name: "counts", Half: true}); err != nil {
				t.Fatal(err)
			}
			if err := WriteAdapter(&full, a, Meta{Name: "counts"}); err != nil || full.Len() < file.Len()*3/2 {
				t.Errorf("the file takes %d bytes in half precision, %d in full, %v", file.Len(), full.Len(), err)
			}
			m := loadModel(t, path)
			loaded, err := m.LoadAdapter(file.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			bare := engineLoss(t, m, fewer, 30)
			adapted := engineLoss(t, m, fewer, 30, ggml.Scaled{Adapter: loaded, Scale: 1})
			if math.Abs(adapted-last) > 0.4*last || !(adapted < 0.6*bare) {
				t.Errorf("the engine's loss is %.3f bare, %.3f adapted; training ended at %.3f", bare, adapted, last)
			}
			if err := loaded.Close(); err != nil {
				t.Error(err)
			}
			c := AdapterConfig{Base: path, Train: Config{BatchTokens: 96, RowTokens: 24}}
			again, err := ReadAdapter(file.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			for want, a := range map[float64]*Adapter{bare: nil, adapted: again} {
				got, err := Loss(t.Context(), lib, c, a, fewer, 30)
				if err != nil || math.Abs(got-want) > 0.03*want {
					t.Errorf("Loss gives %.4f, %v; the engine %.4f over about the same examples", got, err, want)
				}
			}
		})
	}
}

func TestAdapterResumes(t *testing.T) {
	lib := library(t)
	c := adapterConfig(bases(t)["Q8_0"])
	c.Targets, c.Train.Steps = []string{"attn_q", "ffn_down"}, 12
	whole, err := TrainAdapter(context.Background(), lib, c, fewer, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.tensors) != 2*2*2 || whole.Tensor("blk.1.ffn_down.weight.lora_b") == nil {
		t.Errorf("%d tensors", len(whole.tensors))
	}
	c.Train.CheckpointDir = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := TrainAdapter(ctx, lib, c, fewer, func(p Progress) {
		if p.Step == 5 {
			cancel()
		}
	}); err == nil {
		t.Fatal("a cancelled run ended")
	}
	pieces, err := TrainAdapter(context.Background(), lib, c, fewer, nil)
	if err != nil || !reflect.DeepEqual(whole, pieces) {
		t.Errorf("the adapters differ: %v", err)
	}
	c.Rank = 2
	if _, err := TrainAdapter(context.Background(), lib, c, fewer, nil); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a checkpoint of another rank: %v", err)
	}
}

func TestTrainAdapterRefuses(t *testing.T) {
	lib := library(t)
	sound := saveModel(t, spread(t, small), Meta{})
	tensor := func(name string, dims ...int64) gguf.Part {
		n := int64(4)
		for _, d := range dims {
			n *= d
		}
		return gguf.Part{Tensor: gguf.Tensor{Name: name, Dims: dims}, Data: bytes.NewReader(make([]byte, n))}
	}
	key := func(name string, n uint32) gguf.Entry { return gguf.Entry{Key: name, Value: gguf.OfUint32(n)} }
	yarn := gguf.Entry{Key: "llama.rope.scaling.type", Value: gguf.OfText("yarn")}
	variant := func(arch string, keys []gguf.Entry, parts ...gguf.Part) string {
		keys = append(keys, gguf.Entry{Key: "general.architecture", Value: gguf.OfText(arch)})
		for name, n := range map[string]uint32{"block_count": 1, "embedding_length": 8, "feed_forward_length": 8, "attention.head_count": 2, "attention.head_count_kv": 2, "context_length": 32} {
			keys = append(keys, key(arch+"."+name, n))
		}
		var b bytes.Buffer
		if err := gguf.Write(&b, keys, parts); err != nil {
			t.Fatal(err)
		}
		return save(t, b.Bytes())
	}
	embd := func() gguf.Part { return tensor("token_embd.weight", 8, 4) }
	for _, c := range []struct {
		name   string
		base   string
		change func(*AdapterConfig)
		want   string
	}{
		{"no such file", filepath.Join(t.TempDir(), "none"), nil, "no such file"},
		{"not a model", save(t, []byte("text")), nil, "GGUF"},
		{"another architecture", variant("qwen3", nil), nil, `architecture is "qwen3"`},
		{"no embedding", variant("llama", nil), nil, "no token_embd.weight"},
		{"a bias", variant("llama", nil, embd(), tensor("blk.0.attn_q.bias", 8)), nil, "attn_q.bias has no place"},
		{"a tensor short", variant("llama", nil, embd()), nil, "is missing"},
		{"a wrong shape", variant("llama", nil, embd(), tensor("output_norm.weight", 9)), nil, "has the shape [9], not [8]"},
		{"scaled positions", variant("llama", []gguf.Entry{yarn}, embd()), nil, "yarn"},
		{"half turned", variant("llama", []gguf.Entry{key("llama.rope.dimension_count", 2)}, embd()), nil, "2 of 4"},
		{"no rank", sound, func(c *AdapterConfig) { c.Rank = 0 }, "rank 0"},
		{"unknown target", sound, func(c *AdapterConfig) { c.Targets = []string{"output"} }, `"output" is unknown`},
		{"target twice", sound, func(c *AdapterConfig) { c.Targets = []string{"attn_q", "attn_q"} }, "named twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := adapterConfig(c.base)
			if c.change != nil {
				c.change(&cfg)
			}
			_, err := TrainAdapter(context.Background(), lib, cfg, fewer, nil)
			if code := batos.CodeOf(err); code != batos.Invalid && code != batos.NotFound || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s…", err, c.want)
			}
		})
	}
}
