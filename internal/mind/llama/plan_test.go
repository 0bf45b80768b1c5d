package llama

import (
	"strings"
	"testing"

	"batos/internal/ggml"
	"batos/internal/gguf"
	"batos/internal/gguf/gguftest"
)

// planned is a model whose layers, at its whole context, have 1 MiB of cache
// each.
var planned = gguftest.Shape{Layers: 8, Width: 64, Hidden: 64, Heads: 1, Context: 4096}

func TestPlanOverDevices(t *testing.T) {
	f, err := gguf.Open(gguftest.Model(t, planned))
	if err != nil {
		t.Fatal(err)
	}
	processor := ggml.DeviceInfo{Name: "CPU", Kind: ggml.Processor, Free: 8 << 30, Total: 8 << 30}
	gpu := func(name string, free int64) ggml.DeviceInfo {
		return ggml.DeviceInfo{Name: name, Kind: ggml.GPU, Free: free, Total: free}
	}
	alone := planOf(f, Config{Contexts: 1}, []ggml.DeviceInfo{processor}, 8<<30)
	if alone.Layers != 0 || alone.Context != 4096 || alone.There != (Share{}) || alone.Own.KV != 8<<20 || alone.Own.Margin != 8<<30/10 {
		t.Errorf("without a GPU: %+v", alone)
	}
	for _, c := range []struct {
		what    string
		devices []ggml.DeviceInfo
		layers  int // asked for
		want    int
	}{
		{"a large GPU", []ggml.DeviceInfo{gpu("CUDA0", 8<<30), processor}, 0, 9},
		{"one with room for some", []ggml.DeviceInfo{gpu("CUDA0", 42<<20), processor}, 0, 4},
		{"one with room for the scratch alone", []ggml.DeviceInfo{gpu("CUDA0", 37<<20), processor}, 0, 0},
		{"one that says nothing of its memory", []ggml.DeviceInfo{gpu("CUDA0", 0), processor}, 0, 0},
		{"one in the processor's memory", []ggml.DeviceInfo{{Name: "iGPU", Kind: ggml.Integrated, Free: 8 << 30}, processor}, 0, 0},
		{"two", []ggml.DeviceInfo{gpu("CUDA0", 8<<30), gpu("CUDA1", 8<<30), processor}, 0, 9},
		{"so many by wish", []ggml.DeviceInfo{gpu("CUDA0", 8<<30), processor}, 2, 2},
		{"none by wish", []ggml.DeviceInfo{gpu("CUDA0", 8<<30), processor}, -1, 0},
		{"a wish without a GPU", []ggml.DeviceInfo{processor}, 4, 0},
	} {
		p := planOf(f, Config{Contexts: 1, GPULayers: c.layers}, c.devices, 8<<30)
		if p.Layers != c.want {
			t.Errorf("%s: %d layers, want %d: %q", c.what, p.Layers, c.want, p.Words())
		}
		if c.layers == 0 && p.Layers > 0 && p.There.Need() > p.There.Free {
			t.Errorf("%s: more than there is: %q", c.what, p.Words())
		}
		if sum := p.Own.Base + p.There.Base; sum != alone.Own.Base {
			t.Errorf("%s: %d bytes of weights of %d", c.what, sum, alone.Own.Base)
		}
		if sum := p.Own.KV + p.There.KV; sum != alone.Own.KV {
			t.Errorf("%s: %d bytes of caches of %d", c.what, sum, alone.Own.KV)
		}
	}
	words := strings.Join(planOf(f, Config{Contexts: 1}, []ggml.DeviceInfo{gpu("CUDA0", 42<<20)}, 8<<30).Words(), "\n")
	if !strings.Contains(words, "4 of 8 layers on CUDA0, 41 MiB of 42 free: base ") || !strings.Contains(words, "the rest in the machine's memory, ") {
		t.Errorf("in words: %s", words)
	}
}

func TestPlanFitsTheContextToMemory(t *testing.T) {
	f, err := gguf.Open(gguftest.Model(t, planned))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		free  int64
		asked int
		want  int
	}{
		{0, 0, 4096}, // not known
		{1 << 30, 0, 4096},
		{44 << 20, 0, 2048},
		{1 << 20, 0, 1024}, // no less, whatever there is
		{1 << 20, 4096, 4096},
	} {
		if p := planOf(f, Config{Contexts: 1, Context: c.asked}, nil, c.free); p.Context != c.want {
			t.Errorf("%d MiB free, %d asked: context of %d, want %d: %q", c.free>>20, c.asked, p.Context, c.want, p.Words())
		}
	}
}
