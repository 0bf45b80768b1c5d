package llama

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"batos"
	"batos/internal/gguf"
	"batos/internal/gguf/gguftest"
	"batos/internal/mind"
)

// Damaged and forged models either load and answer, or are refused with one
// line; this process lives in any case. BATOS_HOSTILE sets how many are tried.
func TestHostileModels(t *testing.T) {
	lib := libraries(t)
	n := 40
	if s := os.Getenv("BATOS_HOSTILE"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	small := gguftest.Shape{Layers: 1, Width: 32, Hidden: 32, Heads: 2, Context: 128}
	good := gguftest.ModelBytes(t, small)
	f, err := gguf.Read(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "hostile.gguf")
	var served, refused, died int
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		var bad []byte
		if seed%2 == 0 {
			bad = damaged(r, good, int(f.DataOffset))
		} else {
			shape := small
			shape.Meta = forged(r)
			bad = gguftest.ModelBytes(t, shape)
		}
		if h, err := gguf.Read(bytes.NewReader(bad), int64(len(bad))); err != nil || gguf.CheckModel(h) != nil {
			refused++
			continue
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		switch err := tryModel(t.Context(), lib, path); {
		case err == nil:
			served++
		case strings.ContainsAny(err.Error(), "\n\r") || batos.CodeOf(err) == "":
			t.Errorf("seed %d: %q", seed, err)
		case strings.Contains(err.Error(), "stay alive"):
			died++
			t.Logf("seed %d: %v", seed, err)
		case batos.CodeOf(err) == batos.Timeout:
			t.Errorf("seed %d hangs: %v", seed, err)
		default:
			refused++
		}
	}
	t.Logf("%d models: %d served, %d refused, %d killed their engine", n, served, refused, died)
}

// damaged changes a few bytes of the header.
func damaged(r *rand.Rand, good []byte, header int) []byte {
	bad := bytes.Clone(good)
	for range 1 + r.IntN(3) {
		at := 24 + r.IntN(header-24)
		switch r.IntN(3) {
		case 0:
			bad[at] = byte(r.Uint32())
		case 1:
			bad[at] ^= 1 << r.IntN(8)
		case 2:
			bad[at] += byte(1 + r.IntN(3))
		}
	}
	return bad
}

// forged gives well-formed metadata that makes little sense.
func forged(r *rand.Rand) []gguf.Entry {
	words := []string{"", "llama", "bert", "mamba", "rwkv6", "t5", "gemma3", "qwen2", "gpt2", "gpt-2", "plamo2", "default", "llama-bpe", "yarn", "linear", "longrope", "{{", "\x00", strings.Repeat("x", 1<<16)}
	numbers := []uint32{0, 1, 2, 3, 7, 16, 31, 32, 64, 255, 256, 1 << 16, 1<<31 - 1, 1 << 31, math.MaxUint32}
	var out []gguf.Entry
	for range 1 + r.IntN(2) {
		key := hostileKeys[r.IntN(len(hostileKeys))]
		v := gguf.OfUint32(numbers[r.IntN(len(numbers))])
		switch r.IntN(8) {
		case 0:
			v = gguf.OfText(words[r.IntN(len(words))])
		case 1:
			v = gguf.OfFloat([]float32{0, -1, 1e-30, 1e30, float32(math.NaN()), float32(math.Inf(1))}[r.IntN(6)])
		case 2:
			v = gguf.OfInts([]int32{1, -1, 2}[:1+r.IntN(3)])
		case 3:
			v = gguf.OfBool(r.IntN(2) == 0)
		case 4:
			v = gguf.OfTexts(words[:r.IntN(len(words))])
		}
		if strings.HasPrefix(key, "tokenizer.ggml.m") || strings.HasSuffix(key, ".type") || strings.HasSuffix(key, ".pre") || key == "general.architecture" {
			v = gguf.OfText(words[r.IntN(len(words))])
		}
		out = append(out, gguf.Entry{Key: key, Value: v})
	}
	return out
}

var hostileKeys = strings.Fields(`general.architecture general.alignment general.file_type general.name general.quantization_version
	llama.block_count llama.context_length llama.embedding_length llama.feed_forward_length llama.vocab_size llama.use_parallel_residual
	llama.attention.head_count llama.attention.head_count_kv llama.attention.key_length llama.attention.value_length
	llama.attention.layer_norm_rms_epsilon llama.attention.layer_norm_epsilon llama.attention.sliding_window llama.attention.causal
	llama.attention.scale llama.attention.temperature_scale llama.attention.clamp_kqv llama.attention.max_alibi_bias
	llama.expert_count llama.expert_used_count llama.expert_group_count llama.expert_group_used_count llama.expert_weights_scale
	llama.expert_feed_forward_length llama.expert_shared_count llama.leading_dense_block_count llama.interleave_moe_layer_step
	llama.rope.dimension_count llama.rope.freq_base llama.rope.scaling.type llama.rope.scaling.factor llama.rope.scale_linear
	llama.rope.scaling.original_context_length llama.rope.scaling.attn_factor llama.rope.scaling.finetuned llama.rope.scaling.yarn_log_multiplier
	llama.rope.dimension_sections llama.pooling_type llama.logit_scale llama.embedding_scale llama.residual_scale llama.nextn_predict_layers
	llama.tensor_data_layout llama.decoder_start_token_id llama.swin_norm llama.rescale_every_n_layers
	tokenizer.ggml.model tokenizer.ggml.pre tokenizer.ggml.token_type tokenizer.ggml.scores tokenizer.ggml.merges tokenizer.ggml.tokens
	tokenizer.ggml.bos_token_id tokenizer.ggml.eos_token_id tokenizer.ggml.eot_token_id tokenizer.ggml.padding_token_id
	tokenizer.ggml.add_bos_token tokenizer.ggml.add_eos_token tokenizer.ggml.add_space_prefix tokenizer.ggml.precompiled_charsmap
	tokenizer.ggml.remove_extra_whitespaces tokenizer.ggml.token_type_count tokenizer.ggml.suppress_tokens tokenizer.chat_template
	split.count split.no split.tensors.count quantize.imatrix.file`)

func tryModel(ctx context.Context, lib, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	e, err := Open(ctx, Config{LibDir: lib, ModelPath: path, Threads: 1, Context: 64})
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }() // what matters is Generate's error
	r, err := e.Generate(ctx, mind.Request{Text: "hello", MaxTokens: 4})
	if err == nil && len(r.Tokens) > 4 {
		return fmt.Errorf("%d tokens", len(r.Tokens))
	}
	return err
}
