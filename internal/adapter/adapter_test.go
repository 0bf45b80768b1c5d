package adapter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf"
)

func baseOf(t testing.TB, file []byte) *Base {
	t.Helper()
	f, err := gguf.Read(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := BaseOf(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func convert(base *Base, weights []byte, config string) ([]byte, Info, error) {
	c, err := ReadConfig([]byte(config))
	if err != nil {
		return nil, Info{}, err
	}
	s, err := ReadSafetensors(bytes.NewReader(weights), int64(len(weights)))
	if err != nil {
		return nil, Info{}, err
	}
	var out bytes.Buffer
	info, err := Convert(&out, base, bytes.NewReader(weights), s, c, nil)
	return out.Bytes(), info, err
}

// numpy runs a script with Debian's or any Python that has NumPy.
func numpy(t *testing.T, args ...string) []byte {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import numpy").Run() != nil {
			continue
		}
		out, err := exec.Command(python, args...).Output()
		if err != nil {
			t.Fatalf("%s: %v", args[0], err)
		}
		return out
	}
	t.Skip("python3 with numpy is missing (Debian: python3-numpy)")
	return nil
}

// The engine with a converted adapter computes what an independent forward
// pass computes from the files of the adapter's authors.
func TestConvertedEqualsForwardPass(t *testing.T) {
	dir, err := findLibrary()
	if err != nil {
		t.Skip(err)
	}
	lib, err := ggml.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	four := func(string) int { return 4 }
	for name, c := range map[string]struct {
		heads, kv int
		typ       gguf.TensorType
		rank      func(string) int
		config    string
	}{
		"plain":         {4, 4, gguf.F32, four, `{"peft_type": "LORA", "r": 4, "lora_alpha": 8}`},
		"grouped query": {8, 2, gguf.F32, four, `{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "modules_to_save": null}`},
		"bf16":          {4, 2, gguf.BF16, four, `{"peft_type": "LORA", "r": 4, "lora_alpha": 16}`},
		"rslora":        {4, 2, gguf.F32, four, `{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": true}`},
		"alpha pattern": {4, 2, gguf.F32, four, `{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"model.layers.1.self_attn.q_proj": 2, "q_proj": 24, "down_proj": 3}}`},
		"rank pattern": {4, 2, gguf.F32, func(m string) int {
			if strings.HasSuffix(m, "v_proj") {
				return 2
			}
			return 4
		}, `{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": {"v_proj": 2}, "use_rslora": true}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3, c.heads, c.kv)
			theirs := safetensors(t, w.adapter(5, c.typ, c.rank))
			ours, info, err := convert(baseOf(t, w.ours), theirs, c.config)
			if err != nil {
				t.Fatal(err)
			}
			if info.Layers != 14 || info.Rank != 4 || len(info.Targets) != 7 {
				t.Errorf("%+v", info)
			}
			folder := t.TempDir()
			put := func(name string, b []byte) string {
				path := filepath.Join(folder, name)
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			tokens := []ggml.Token{72, 101, 108, 108, 111, 32, 119}
			text, _ := json.Marshal(tokens)
			out := numpy(t, "testdata/forward.py", put("model.safetensors", safetensors(t, w.theirs)), put("adapter.safetensors", theirs), put("config.json", []byte(c.config)),
				string(text), strconv.Itoa(c.heads), strconv.Itoa(c.kv), "10000", "1e-5")
			var want []float64
			if err := json.Unmarshal(out, &want); err != nil {
				t.Fatal(err)
			}

			m, err := lib.LoadModel(put("model.gguf", w.ours), ggml.ModelOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			a, err := m.LoadAdapter(ours)
			if err != nil {
				t.Fatal(err)
			}
			got := logits(t, m, tokens, []ggml.Scaled{{Adapter: a, Scale: 1}})
			bare := logits(t, m, tokens, nil)
			far, same := 0.0, true
			for i := range want {
				far = max(far, math.Abs(float64(got[i])-want[i]))
				same = same && got[i] == bare[i]
			}
			// The engine rounds what it multiplies with BF16 matrices to BF16 too:
			// that is its arithmetic, not the conversion's.
			bound := 1e-4
			if c.typ == gguf.BF16 {
				bound = 5e-2
			}
			if !(far <= bound) || same {
				t.Errorf("the logits are up to %g apart; the adapter changes nothing: %v", far, same)
			}
		})
	}
}

func logits(t *testing.T, m *ggml.Model, tokens []ggml.Token, set []ggml.Scaled) []float32 {
	t.Helper()
	c, err := m.NewContext(ggml.ContextOptions{Tokens: 64, Threads: 1, FullCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetAdapters(set); err != nil {
		t.Fatal(err)
	}
	items := make([]ggml.Item, len(tokens))
	for i, tok := range tokens {
		items[i] = ggml.Item{Token: tok, Pos: i, Output: i == len(tokens)-1}
	}
	if err := c.Decode(items); err != nil {
		t.Fatal(err)
	}
	v, err := c.Logits(-1)
	if err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), v...)
}

func findLibrary() (string, error) {
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return "", err
	}
	dir = ggml.Dir(dir)
	if _, err := os.Stat(filepath.Join(dir, ggml.MainFile)); err != nil {
		return "", batos.Errorf(batos.Offline, "the engine libraries are not installed: %w", err)
	}
	return dir, nil
}

const plain = `{"peft_type": "LORA", "r": 4, "lora_alpha": 8}`

// What is not done exactly is refused by its name.
func TestRefusesByName(t *testing.T) {
	for config, want := range map[string]string{
		`{`: "no JSON", `[]`: "no JSON", `{}`: "type", `{"peft_type": "IA3"}`: "IA3",
		`{"peft_type": "LORA", "lora_alpha": 8}`:                                               "rank",
		`{"peft_type": "LORA", "r": 0, "lora_alpha": 8}`:                                       "rank",
		`{"peft_type": "LORA", "r": 4}`:                                                        "lora_alpha",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 0}`:                                       "lora_alpha",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_dora": true}`:                     "DoRA",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "all"}`:                        "biases",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_bias": true}`:                    "lora_bias",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "modules_to_save": ["lm"]}`:            "modules_to_save",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "trainable_token_indices": [1]}`:       "trainable_token_indices",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "layer_replication": [[0, 1]]}`:        "layer_replication",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_parameters": ["x"]}`:           "target_parameters",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "fan_in_fan_out": true}`:               "fan_in_fan_out",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "init_lora_weights": "pissa_niter_4"}`: "pissa",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"q_proj": -1}}`:      "alpha_pattern",
		`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": {"(": 2}}`:             "rank_pattern",
	} {
		if _, err := ReadConfig([]byte(config)); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want a word about %s", config, err, want)
		}
	}

	w := newWorld(t, 3, 4, 2)
	base := baseOf(t, w.ours)
	good := w.adapter(5, gguf.F32, func(string) int { return 4 })
	if _, _, err := convert(base, safetensors(t, good), plain); err != nil {
		t.Fatal(err)
	}
	rename := func(i int, name string) []array {
		out := append([]array(nil), good...)
		out[i].name = name
		return out
	}
	const prefix = "base_model.model.model.layers.0."
	for name, c := range map[string]struct {
		arrays []array
		config string
		want   string
	}{
		"a trained embedding":   {rename(0, "base_model.model.model.embed_tokens.lora_embedding_A"), plain, "embed_tokens"},
		"a trained head":        {rename(0, "base_model.model.lm_head.lora_A.weight"), plain, "lm_head"},
		"a magnitude":           {rename(0, prefix+"self_attn.q_proj.lora_magnitude_vector"), plain, "magnitude"},
		"an unknown layer":      {rename(0, prefix+"self_attn.qkv_proj.lora_A.weight"), plain, "qkv_proj"},
		"half a pair":           {good[1:], plain, "only one"},
		"two of a side":         {rename(2, prefix+"self_attn.q_proj.lora_A.default.weight"), plain, "two matrices A"},
		"a layer beyond":        {append(rename(0, "base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"), random(randomSource(), "base_model.model.model.layers.9.self_attn.q_proj.lora_B.weight", 1, 64, 4)), plain, "only one"},
		"another rank":          {good, `{"peft_type": "LORA", "r": 8, "lora_alpha": 8}`, "rank 4"},
		"nothing":               {nil, plain, "no tensors"},
		"a model of other size": {newSized(w, 5), plain, "has 64"},
	} {
		if _, _, err := convert(base, safetensors(t, c.arrays), c.config); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a word about %q", name, err, c.want)
		}
	}
	other := *base
	other.Architecture = "gemma"
	if _, _, err := convert(&other, safetensors(t, good), plain); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), "gemma") {
		t.Errorf("another architecture: %v", err)
	}
}

// Attacks on the container: each is refused, without memory for what a header
// only claims.
func TestHostileSafetensors(t *testing.T) {
	file := func(header string, data int) []byte {
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), make([]byte, data)...)
	}
	for name, b := range map[string][]byte{
		"empty":               nil,
		"a pickle":            []byte("\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01u."),
		"a huge header":       append(binary.LittleEndian.AppendUint64(nil, 1<<62), "{}"...),
		"no JSON":             file("hello!", 0),
		"a list":              file("[]", 0),
		"a repeated tensor":   file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
		"a repeated key":      file(`{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}`, 4),
		"an overlap":          file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`, 6),
		"a gap":               file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12),
		"a tail":              file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 8),
		"beyond the end":      file(`{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}`, 4),
		"offsets backwards":   file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4),
		"a shape that wraps":  file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0),
		"a negative shape":    file(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4),
		"a wrong size":        file(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,4]}}`, 4),
		"integers":            file(`{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}`, 8),
		"an unknown key":      file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, 4),
		"a missing key":       file(`{"a":{"dtype":"F32","shape":[1]}}`, 4),
		"something after":     file(`{} x`, 0),
		"numbers as metadata": file(`{"__metadata__":{"a":1}}`, 0),
	} {
		if s, err := ReadSafetensors(bytes.NewReader(b), int64(len(b))); batos.CodeOf(err) != batos.Invalid || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestInspect(t *testing.T) {
	w := newWorld(t, 3, 4, 2)
	base := baseOf(t, w.ours)
	ours, want, err := convert(base, safetensors(t, w.adapter(5, gguf.F32, func(string) int { return 4 })), plain)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(bytes.NewReader(ours), int64(len(ours)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Inspect(f, base)
	if err != nil || got.Rank != want.Rank || got.Alpha != want.Alpha || got.Parameters != want.Parameters || len(got.Targets) != 7 {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := Inspect(f, baseOf(t, newWorld(t, 3, 8, 2).ours)); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a base of other shape: %v", err)
	}
	small := *base
	small.weights = map[string][2]int64{}
	if _, err := Inspect(f, &small); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("a base without those layers: %v", err)
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	w := &world{heads: 4, kv: 2, width: 8, hidden: 8, layers: 1}
	f.Add(safetensors(f, w.adapter(1, gguf.F32, func(string) int { return 2 })))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadSafetensors(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		total := int64(0)
		for _, m := range s.Tensors {
			total += m.Size
		}
		if total > int64(len(b)) {
			t.Fatalf("%d bytes of tensors in %d", total, len(b))
		}
		if pairs, err := pairsOf(s); err == nil && len(pairs) == 0 {
			t.Fatal("no pairs and no error")
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(plain))
	f.Add([]byte(`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"q_proj": 2}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ReadConfig(b)
		if err == nil && (c.Rank < 1 || !(c.scale("model.layers.0.self_attn.q_proj", 1) > 0)) {
			t.Fatalf("%+v", c)
		}
	})
}

// Whatever is converted without an error is an adapter that fits, and no
// larger than what it was made of asks for.
func FuzzConvert(f *testing.F) {
	w := newWorld(f, 3, 4, 2)
	base := baseOf(f, w.ours)
	good := safetensors(f, w.adapter(5, gguf.F32, func(string) int { return 4 }))
	for _, c := range []string{plain, `{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": true, "alpha_pattern": {"q_proj": 2}}`} {
		f.Add(good, []byte(c))
		f.Add(good[:len(good)-1], []byte(c))
	}
	f.Fuzz(func(t *testing.T, b, config []byte) {
		ours, _, err := convert(base, b, string(config))
		if err != nil {
			if batos.CodeOf(err) != batos.Invalid || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q", err)
			}
			return
		}
		if len(ours) > 2*len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(ours))
		}
		g, err := gguf.Read(bytes.NewReader(ours), int64(len(ours)))
		if err == nil {
			_, err = Inspect(g, base)
		}
		if err != nil {
			t.Fatal(err)
		}
		// Numbers are looked at last, where they will be loaded from.
		if err := gguf.CheckFinite(g, bytes.NewReader(ours)); err != nil && batos.CodeOf(err) != batos.Invalid {
			t.Fatal(err)
		}
	})
}
