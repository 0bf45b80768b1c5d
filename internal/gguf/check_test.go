package gguf_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"batos"
	"batos/internal/gguf"
	"batos/internal/gguf/gguftest"
)

func TestCheckModel(t *testing.T) {
	u, text := gguf.OfUint32, gguf.OfText
	e := func(key string, v gguf.Value) []gguf.Entry { return []gguf.Entry{{Key: key, Value: v}} }
	tokens := func(change func(toks []string)) gguf.Value {
		toks := make([]string, gguftest.Vocab)
		for i := range toks {
			toks[i] = strings.Repeat("x", i+1)
		}
		change(toks)
		return gguf.OfTexts(toks)
	}
	kinds := make([]int32, gguftest.Vocab)
	kinds[7] = 6
	for _, c := range []struct {
		name string
		meta []gguf.Entry
		says string // "": accepted
	}{
		{"as it is", nil, ""},
		{"general.type", e("general.type", text("model")), ""},
		{"other type", e("general.type", text("imatrix")), `"imatrix", want "model"`},
		{"part", e("split.count", u(3)), "one of 3 parts"},
		{"architecture number", e("general.architecture", u(3)), "general.architecture"},
		{"architecture path", e("general.architecture", text("../llama")), "general.architecture"},
		{"no layers", e("llama.block_count", u(0)), "block_count"},
		{"layers", e("llama.block_count", u(513)), "block_count"},
		{"layers text", e("llama.block_count", text("2")), "block_count"},
		{"width", e("llama.embedding_length", u(1<<21)), "embedding_length"},
		{"heads divide", e("llama.attention.head_count", u(5)), "divide"},
		{"heads", e("llama.attention.head_count", u(1<<30)), "head_count"},
		{"key-value heads", e("llama.attention.head_count_kv", u(3)), "divide"},
		{"no key-value heads", e("llama.attention.head_count_kv", u(0)), "divide"},
		{"heads per layer", e("llama.attention.head_count", gguf.OfInts([]int32{4, 4})), ""},
		{"heads for three layers", e("llama.attention.head_count", gguf.OfInts([]int32{4, 4, 4})), "array of 2"},
		{"negative heads", e("llama.attention.head_count", gguf.OfInts([]int32{4, -4})), "item of -4"},
		{"context", e("llama.context_length", u(math.MaxUint32)), "context_length"},
		{"rope", e("llama.rope.dimension_count", u(15)), "odd"},
		{"rope scaling", e("llama.rope.scaling.type", text("magic")), "magic"},
		{"epsilon", e("llama.attention.layer_norm_rms_epsilon", gguf.OfFloat(-1)), "epsilon is -1"},
		{"NaN", e("llama.rope.freq_base", gguf.OfFloat(float32(math.NaN()))), "freq_base is NaN"},
		{"experts used, none there", e("llama.expert_used_count", u(2)), "has none"},
		{"experts unused", e("llama.expert_count", u(4)), "uses 0 of 4"},
		{"experts", e("llama.expert_count", u(10000)), "expert_count"},
		{"predicting layers", e("llama.nextn_predict_layers", u(3)), "exceeds"},
		{"byte tokens", e("tokenizer.ggml.model", text("llama")), "no token for the byte"},
		{"alignment", e("general.alignment", u(16)), "multiples of 32"},
		{"no tokenizer", e("tokenizer.ggml.model", text("none")), "no tokenizer"},
		{"tokens", e("tokenizer.ggml.tokens", gguf.OfInts([]int32{1})), "no list"},
		{"no tokens", e("tokenizer.ggml.tokens", gguf.OfTexts(nil)), "no list"},
		{"token twice", e("tokenizer.ggml.tokens", tokens(func(ts []string) { ts[9] = ts[8] })), "repeats"},
		{"few types", e("tokenizer.ggml.token_type", gguf.OfInts(kinds[1:])), "259 items"},
		{"types of floats", e("tokenizer.ggml.token_type", gguf.OfFloats(make([]float32, gguftest.Vocab))), "of type int32"},
		{"byte token", e("tokenizer.ggml.token_type", gguf.OfInts(kinds)), "marked as a byte"},
		{"few scores", e("tokenizer.ggml.scores", gguf.OfFloats([]float32{1})), "259 items"},
		{"special token", e("tokenizer.ggml.eos_token_id", u(gguftest.Vocab)), "eos_token_id"},
		{"negative special token", e("tokenizer.ggml.unknown_token_id", gguf.OfInts([]int32{1})), "unknown_token_id"},
		{"adds a token it has not", e("tokenizer.ggml.add_sep_token", gguf.OfBool(true)), "add_sep_token"},
		{"adds a number", e("tokenizer.ggml.add_bos_token", u(1)), "no truth value"},
		{"merges", e("tokenizer.ggml.merges", u(1)), "merges"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := read(gguftest.ModelBytes(t, gguftest.Shape{Meta: c.meta}))
			if err != nil {
				t.Fatal(err)
			}
			err = gguf.CheckModel(f)
			if c.says == "" && err != nil || c.says != "" && (batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestCheckAdapter(t *testing.T) {
	good, _ := gguftest.Adapter(t, gguftest.Shape{}, 1)
	f, err := read(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := gguf.CheckAdapter(f); err != nil {
		t.Error(err)
	}
	if err := gguf.CheckModel(f); err == nil {
		t.Error("an adapter passed as a model")
	}
	if err := gguf.CheckFinite(f, bytes.NewReader(good)); err != nil {
		t.Error(err)
	}
	last := f.Tensors[len(f.Tensors)-1]
	for _, bits := range []uint32{0x7f800000, 0xff800000, 0x7fc00000} {
		bad := bytes.Clone(good)
		binary.LittleEndian.PutUint32(bad[last.Offset+last.Size-4:], bits)
		if err := gguf.CheckFinite(f, bytes.NewReader(bad)); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), last.Name) {
			t.Errorf("%x: %v", bits, err)
		}
	}

	base := []gguf.Entry{
		{Key: "general.type", Value: gguf.OfText("adapter")}, {Key: "general.architecture", Value: gguf.OfText("llama")},
		{Key: "adapter.type", Value: gguf.OfText("lora")}, {Key: "adapter.lora.alpha", Value: gguf.OfFloat(8)},
	}
	with := func(key string, v gguf.Value) []gguf.Entry {
		out := append([]gguf.Entry(nil), base...)
		for i := range out {
			if out[i].Key == key {
				out[i].Value = v
				return out
			}
		}
		return append(out, gguf.Entry{Key: key, Value: v})
	}
	type dims = []int64
	for _, c := range []struct {
		name    string
		meta    []gguf.Entry
		tensors map[string]dims
		says    string
	}{
		{"model", with("general.type", gguf.OfText("model")), map[string]dims{"w.lora_a": {8, 2}, "w.lora_b": {2, 8}}, "want \"adapter\""},
		{"no type", base[1:], map[string]dims{"w.lora_a": {8, 2}, "w.lora_b": {2, 8}}, "general.type is missing"},
		{"type number", with("adapter.type", gguf.OfUint32(1)), map[string]dims{"w.lora_a": {8, 2}, "w.lora_b": {2, 8}}, "adapter.type"},
		{"alpha text", with("adapter.lora.alpha", gguf.OfText("8")), map[string]dims{"w.lora_a": {8, 2}, "w.lora_b": {2, 8}}, "alpha"},
		{"alpha NaN", with("adapter.lora.alpha", gguf.OfFloat(float32(math.NaN()))), map[string]dims{"w.lora_a": {8, 2}, "w.lora_b": {2, 8}}, "alpha"},
		{"alpha integer", with("adapter.lora.alpha", gguf.OfUint32(8)), map[string]dims{"w.lora_a": {8, 2}, "w.lora_b": {2, 8}}, "alpha"},
		{"invocation", with("adapter.alora.invocation_tokens", gguf.OfInts(nil)), map[string]dims{"w.lora_a": {8, 2}, "w.lora_b": {2, 8}}, "invocation"},
		{"empty", base, nil, "no tensors"},
		{"half a pair", base, map[string]dims{"w.lora_a": {8, 2}}, "has no w.lora_b"},
		{"ranks", base, map[string]dims{"w.lora_a": {8, 2}, "w.lora_b": {3, 8}}, "do not multiply"},
		{"vectors", base, map[string]dims{"w.lora_a": {8}, "w.lora_b": {2, 8}}, "do not multiply"},
		{"norm", base, map[string]dims{"blk.0.attn_norm.weight": {8}}, "belongs to no LoRA pair"},
		{"nested", base, map[string]dims{"w.lora_a.lora_a": {8, 2}, "w.lora_a.lora_b": {2, 8}}, "nested"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var parts []gguf.Part
			for name, d := range c.tensors {
				n := int64(4)
				for _, x := range d {
					n *= x
				}
				parts = append(parts, gguf.Part{Tensor: gguf.Tensor{Name: name, Dims: d}, Data: bytes.NewReader(make([]byte, n))})
			}
			var b bytes.Buffer
			if err := gguf.Write(&b, c.meta, parts); err != nil {
				t.Fatal(err)
			}
			f, err := read(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if err := gguf.CheckAdapter(f); batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}
