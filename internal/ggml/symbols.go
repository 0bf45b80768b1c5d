package ggml

import (
	"fmt"
	"path/filepath"
	"unsafe"

	"github.com/ebitengine/purego"
)

// symbols holds the C functions the package calls, named as in C.
type symbols struct {
	libc struct {
		fdopen   func(fd int32, mode string) uintptr
		fclose   func(f uintptr) int32
		calloc   func(n, size uint64) unsafe.Pointer
		free     func(p unsafe.Pointer)
		mallinfo func() cMallinfo
		strlen   uintptr // used by address only, see Context.Cancel
	}

	// libllama
	version, systemInfo    func() string
	backendInit            func()
	logSet                 func(cb, data uintptr)
	modelDefaultParams     func() cModelParams
	contextDefaultParams   func() cContextParams
	quantizeDefaultParams  func() cQuantizeParams
	modelLoad              func(path string, p cModelParams) uintptr
	modelFree              func(m uintptr)
	modelVocab             func(m uintptr) uintptr
	modelMeta              func(m uintptr, key string, buf *byte, n uint64) int32
	modelMetaCount         func(m uintptr) int32
	modelMetaKey           func(m uintptr, i int32, buf *byte, n uint64) int32
	modelMetaValue         func(m uintptr, i int32, buf *byte, n uint64) int32
	modelDesc              func(m uintptr, buf *byte, n uint64) int32
	modelCtxTrain          func(m uintptr) int32
	modelEmbd              func(m uintptr) int32
	modelLayers            func(m uintptr) int32
	modelSize, modelParams func(m uintptr) uint64
	modelHasDecoder        func(m uintptr) bool
	modelTemplate          func(m uintptr, name *byte) *byte
	chatApply              func(tmpl *byte, msgs *cChatMessage, n uint64, assistant bool, buf *byte, max int32) int32
	quantize               func(in, out string, p *cQuantizeParams) uint32

	vocabTokens                  func(v uintptr) int32
	vocabText                    func(v uintptr, t int32) *byte
	vocabIsEOG, vocabIsControl   func(v uintptr, t int32) bool
	vocabBOS, vocabEOS, vocabEOT func(v uintptr) int32
	vocabAddBOS                  func(v uintptr) bool
	tokenize                     func(v uintptr, text *byte, n int32, toks *int32, max int32, special, parse bool) int32
	tokenToPiece                 func(v uintptr, t int32, buf *byte, n, lstrip int32, special bool) int32
	detokenize                   func(v uintptr, toks *int32, n int32, buf *byte, max int32, remove, unparse bool) int32

	contextNew                        func(m uintptr, p cContextParams) uintptr
	contextFree                       func(c uintptr)
	contextCtx, contextBatch          func(c uintptr) uint32
	contextPooling                    func(c uintptr) int32
	setThreads                        func(c uintptr, n, batch int32)
	batchInit                         func(n, embd, seqs int32) cBatch
	batchFree                         func(b cBatch)
	decode                            func(c uintptr, b cBatch) int32
	logits, embeddings, seqEmbeddings func(c uintptr, i int32) *float32
	memory                            func(c uintptr) uintptr
	memClear                          func(m uintptr, data bool)
	memRemove                         func(m uintptr, seq, p0, p1 int32) bool
	memCopy                           func(m uintptr, from, to, p0, p1 int32)
	memKeep                           func(m uintptr, seq int32)
	memShift                          func(m uintptr, seq, p0, p1, delta int32)
	memCanShift                       func(m uintptr) bool
	memMin, memMax                    func(m uintptr, seq int32) int32
	stateSize                         func(c uintptr, seq int32) uint64
	stateGet                          func(c uintptr, dst *byte, n uint64, seq int32) uint64
	stateSet                          func(c uintptr, src *byte, n uint64, seq int32) uint64

	loraFromFile func(m, file uintptr) uintptr
	loraFree     func(a uintptr)
	loraSet      func(c uintptr, ads *uintptr, n uint64, scales *float32) int32

	chainInit                 func(p cChainParams) uintptr
	chainAdd                  func(c, s uintptr)
	dist                      func(seed uint32) uintptr
	temp                      func(t float32) uintptr
	topP, minP                func(p float32, keep uint64) uintptr
	topK                      func(k int32) uintptr
	grammar                   func(v uintptr, gbnf, root string) uintptr
	apply                     func(s uintptr, cands *cTokenDataArray)
	accept                    func(s uintptr, t int32)
	samplerReset, samplerFree func(s uintptr)

	// libggml
	loadBackends func(dir string)
	devCount     func() uint64
	devGet       func(i uint64) uintptr

	// libggml-base
	base graphSymbols
}

func (s *symbols) bind(dir string) error {
	llama, err := open(filepath.Join(dir, MainFile))
	if err != nil {
		return err
	}
	ggml, err := open(filepath.Join(dir, ggmlFile))
	if err != nil {
		return err
	}
	base, err := open(filepath.Join(dir, baseFile))
	if err != nil {
		return err
	}
	libc, err := open("libc.so.6")
	if err != nil {
		return err
	}
	if s.libc.strlen, err = purego.Dlsym(libc, "strlen"); err != nil {
		return err
	}
	for _, lib := range []struct {
		handle uintptr
		fns    map[string]any
	}{
		{libc, map[string]any{"fdopen": &s.libc.fdopen, "fclose": &s.libc.fclose, "calloc": &s.libc.calloc, "free": &s.libc.free, "mallinfo2": &s.libc.mallinfo}},
		{llama, s.llamaTable()},
		{ggml, map[string]any{
			"ggml_backend_load_all_from_path": &s.loadBackends,
			"ggml_backend_dev_count":          &s.devCount,
			"ggml_backend_dev_get":            &s.devGet,
		}},
		{base, s.base.table()},
	} {
		if err := register(lib.handle, lib.fns); err != nil {
			return err
		}
	}
	return nil
}

func open(file string) (uintptr, error) {
	return purego.Dlopen(file, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

// register points each Go function variable at the C function of that name.
func register(handle uintptr, fns map[string]any) error {
	for name, fn := range fns {
		sym, err := purego.Dlsym(handle, name)
		if err != nil {
			return fmt.Errorf("symbol %s: %w", name, err)
		}
		purego.RegisterFunc(fn, sym)
	}
	return nil
}

func (s *symbols) llamaTable() map[string]any {
	return map[string]any{
		"llama_version":                         &s.version,
		"llama_print_system_info":               &s.systemInfo,
		"llama_backend_init":                    &s.backendInit,
		"llama_log_set":                         &s.logSet,
		"llama_model_default_params":            &s.modelDefaultParams,
		"llama_context_default_params":          &s.contextDefaultParams,
		"llama_model_quantize_default_params":   &s.quantizeDefaultParams,
		"llama_model_load_from_file":            &s.modelLoad,
		"llama_model_free":                      &s.modelFree,
		"llama_model_get_vocab":                 &s.modelVocab,
		"llama_model_meta_val_str":              &s.modelMeta,
		"llama_model_meta_count":                &s.modelMetaCount,
		"llama_model_meta_key_by_index":         &s.modelMetaKey,
		"llama_model_meta_val_str_by_index":     &s.modelMetaValue,
		"llama_model_desc":                      &s.modelDesc,
		"llama_model_n_ctx_train":               &s.modelCtxTrain,
		"llama_model_n_embd":                    &s.modelEmbd,
		"llama_model_n_layer":                   &s.modelLayers,
		"llama_model_size":                      &s.modelSize,
		"llama_model_n_params":                  &s.modelParams,
		"llama_model_has_decoder":               &s.modelHasDecoder,
		"llama_model_chat_template":             &s.modelTemplate,
		"llama_chat_apply_template":             &s.chatApply,
		"llama_model_quantize":                  &s.quantize,
		"llama_vocab_n_tokens":                  &s.vocabTokens,
		"llama_vocab_get_text":                  &s.vocabText,
		"llama_vocab_is_eog":                    &s.vocabIsEOG,
		"llama_vocab_is_control":                &s.vocabIsControl,
		"llama_vocab_bos":                       &s.vocabBOS,
		"llama_vocab_eos":                       &s.vocabEOS,
		"llama_vocab_eot":                       &s.vocabEOT,
		"llama_vocab_get_add_bos":               &s.vocabAddBOS,
		"llama_tokenize":                        &s.tokenize,
		"llama_token_to_piece":                  &s.tokenToPiece,
		"llama_detokenize":                      &s.detokenize,
		"llama_init_from_model":                 &s.contextNew,
		"llama_free":                            &s.contextFree,
		"llama_n_ctx":                           &s.contextCtx,
		"llama_n_batch":                         &s.contextBatch,
		"llama_pooling_type":                    &s.contextPooling,
		"llama_set_n_threads":                   &s.setThreads,
		"llama_batch_init":                      &s.batchInit,
		"llama_batch_free":                      &s.batchFree,
		"llama_decode":                          &s.decode,
		"llama_get_logits_ith":                  &s.logits,
		"llama_get_embeddings_ith":              &s.embeddings,
		"llama_get_embeddings_seq":              &s.seqEmbeddings,
		"llama_get_memory":                      &s.memory,
		"llama_memory_clear":                    &s.memClear,
		"llama_memory_seq_rm":                   &s.memRemove,
		"llama_memory_seq_cp":                   &s.memCopy,
		"llama_memory_seq_keep":                 &s.memKeep,
		"llama_memory_seq_add":                  &s.memShift,
		"llama_memory_can_shift":                &s.memCanShift,
		"llama_memory_seq_pos_min":              &s.memMin,
		"llama_memory_seq_pos_max":              &s.memMax,
		"llama_state_seq_get_size":              &s.stateSize,
		"llama_state_seq_get_data":              &s.stateGet,
		"llama_state_seq_set_data":              &s.stateSet,
		"llama_adapter_lora_init_from_file_ptr": &s.loraFromFile,
		"llama_adapter_lora_free":               &s.loraFree,
		"llama_set_adapters_lora":               &s.loraSet,
		"llama_sampler_chain_init":              &s.chainInit,
		"llama_sampler_chain_add":               &s.chainAdd,
		"llama_sampler_init_dist":               &s.dist,
		"llama_sampler_init_temp":               &s.temp,
		"llama_sampler_init_top_p":              &s.topP,
		"llama_sampler_init_min_p":              &s.minP,
		"llama_sampler_init_top_k":              &s.topK,
		"llama_sampler_init_grammar":            &s.grammar,
		"llama_sampler_apply":                   &s.apply,
		"llama_sampler_accept":                  &s.accept,
		"llama_sampler_reset":                   &s.samplerReset,
		"llama_sampler_free":                    &s.samplerFree,
	}
}
