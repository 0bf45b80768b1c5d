package ggml

import (
	"testing"
	"unsafe"
)

// The expected numbers are sizeof and offsetof of the C headers of release
// v0.5.0 on linux/amd64.
func TestLayout(t *testing.T) {
	var (
		mp cModelParams
		cp cContextParams
		qp cQuantizeParams
		b  cBatch
		ts cTensor
	)
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"llama_model_params", unsafe.Sizeof(mp), 80},
		{"llama_model_params.n_gpu_layers", unsafe.Offsetof(mp.nGPULayers), 16},
		{"llama_model_params.main_gpu", unsafe.Offsetof(mp.mainGPU), 32},
		{"llama_model_params.tensor_split", unsafe.Offsetof(mp.tensorSplit), 40},
		{"llama_model_params.vocab_only", unsafe.Offsetof(mp.vocabOnly), 72},
		{"llama_model_params.load_mtp", unsafe.Offsetof(mp.loadMTP), 77},
		{"llama_context_params", unsafe.Sizeof(cp), 160},
		{"llama_context_params.n_threads", unsafe.Offsetof(cp.nThreads), 28},
		{"llama_context_params.ctx_type", unsafe.Offsetof(cp.ctxType), 36},
		{"llama_context_params.rope_freq_base", unsafe.Offsetof(cp.ropeFreqBase), 56},
		{"llama_context_params.defrag_thold", unsafe.Offsetof(cp.defragThold), 84},
		{"llama_context_params.cb_eval", unsafe.Offsetof(cp.evalCallback), 88},
		{"llama_context_params.type_k", unsafe.Offsetof(cp.typeK), 104},
		{"llama_context_params.abort_callback", unsafe.Offsetof(cp.abort), 112},
		{"llama_context_params.embeddings", unsafe.Offsetof(cp.embeddings), 128},
		{"llama_context_params.kv_unified", unsafe.Offsetof(cp.kvUnified), 133},
		{"llama_context_params.samplers", unsafe.Offsetof(cp.samplers), 136},
		{"llama_context_params.ctx_other", unsafe.Offsetof(cp.ctxOther), 152},
		{"llama_model_quantize_params", unsafe.Sizeof(qp), 64},
		{"llama_batch", unsafe.Sizeof(b), 56},
		{"llama_chat_message", unsafe.Sizeof(cChatMessage{}), 16},
		{"llama_token_data", unsafe.Sizeof(cTokenData{}), 12},
		{"llama_token_data_array", unsafe.Sizeof(cTokenDataArray{}), 32},
		{"llama_token_data_array.selected", unsafe.Offsetof(cTokenDataArray{}.selected), 16},
		{"llama_token_data_array.sorted", unsafe.Offsetof(cTokenDataArray{}.sorted), 24},
		{"mallinfo2", unsafe.Sizeof(cMallinfo{}), 80},
		{"mallinfo2.uordblks", unsafe.Offsetof(cMallinfo{}.uordblks), 56},
		{"llama_sampler_chain_params", unsafe.Sizeof(cChainParams{}), 1},
		{"ggml_init_params", unsafe.Sizeof(cInitParams{}), 24},
		{"ggml_tensor", unsafe.Sizeof(ts), 336},
		{"ggml_tensor.ne", unsafe.Offsetof(ts.ne), 16},
		{"ggml_tensor.flags", unsafe.Offsetof(ts.flags), 148},
		{"ggml_tensor.data", unsafe.Offsetof(ts.data), 248},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, the header says %d", c.name, c.got, c.want)
		}
	}
}
