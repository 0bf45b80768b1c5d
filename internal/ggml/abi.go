package ggml

//lint:file-ignore U1000 fields mirror the C structs, used here or not

import (
	"unsafe"

	"batos/internal/gguf"
)

// The structs below have the layout of the C headers of release v0.5.0 on
// linux/amd64. TestLayout compares them with the header's offsets, and Load
// compares the libraries' default parameters with the want… values.

type cModelParams struct { // struct llama_model_params
	devices, tensorBuftOverrides  uintptr
	nGPULayers                    int32
	splitMode, loadMode, lazyMode int32
	mainGPU                       int32
	_                             int32
	tensorSplit                   uintptr
	progress, progressData        uintptr
	kvOverrides                   uintptr
	vocabOnly, checkTensors       bool
	useExtraBufts, noHost         bool
	noAlloc, loadMTP              bool
	_                             [2]uint8
}

type cContextParams struct { // struct llama_context_params
	nCtx, nBatch, nUbatch, nSeqMax      uint32
	nRsSeq, nOutputsMax, nOutputsPerSeq uint32
	nThreads, nThreadsBatch             int32
	ctxType, ropeScaling                int32
	pooling, attention, flashAttn       int32
	ropeFreqBase, ropeFreqScale         float32
	yarnExt, yarnAttn                   float32
	yarnBetaFast, yarnBetaSlow          float32
	yarnOrigCtx                         uint32
	defragThold                         float32
	evalCallback, evalData              uintptr
	typeK, typeV                        int32
	abort                               uintptr
	abortData                           unsafe.Pointer
	embeddings, offloadKQV, noPerf      bool
	opOffload, swaFull, kvUnified       bool
	_                                   [2]uint8
	samplers, nSamplers, ctxOther       uintptr
}

type cQuantizeParams struct { // struct llama_model_quantize_params
	nThread, ftype                    int32
	outputType, embeddingType         int32
	allowRequantize, quantizeOutput   bool
	onlyCopy, pure, keepSplit, dryRun bool
	_                                 [2]uint8
	imatrix, kvOverrides, ttOverrides uintptr
	pruneLayers                       uintptr
	maxBufSize                        uint64
}

type cBatch struct { // struct llama_batch
	nTokens int32
	_       int32
	token   *int32
	embd    *float32
	pos     *int32
	nSeqID  *int32
	seqID   **int32
	logits  *int8
}

type cTokenData struct { // struct llama_token_data
	id       int32
	logit, p float32
}

type cTokenDataArray struct { // struct llama_token_data_array
	data     *cTokenData
	size     uint64
	selected int64
	sorted   bool
	_        [7]uint8
}

type cChainParams struct { // struct llama_sampler_chain_params
	noPerf bool
}

type cChatMessage struct { // struct llama_chat_message
	role, content *byte
}

type cMallinfo struct { // struct mallinfo2 of glibc
	arena, ordblks, smblks, hblks, hblkhd        uint64
	usmblks, fsmblks, uordblks, fordblks, keepct uint64
}

type cInitParams struct { // struct ggml_init_params
	memSize uint64
	buffer  uintptr
	noAlloc bool
	_       [7]uint8
}

// cTensor is struct ggml_tensor; only shape, data and flags are ever read.
type cTensor struct {
	typ      int32
	_        int32
	buffer   uintptr
	ne       [4]int64
	nb       [4]uint64
	op       int32
	opParams [16]int32
	flags    int32
	src      [10]uintptr
	viewSrc  uintptr
	viewOffs uint64
	data     unsafe.Pointer
	name     [64]byte
	extra    uintptr
	_        [8]byte
}

// wantModelParams is what llama_model_default_params of the pinned library
// answers.
var wantModelParams = cModelParams{
	nGPULayers: -1, splitMode: 1, loadMode: -1, lazyMode: 1, useExtraBufts: true,
}

// wantContextParams is what llama_context_default_params of the pinned library
// answers.
var wantContextParams = cContextParams{
	nCtx: 512, nBatch: 2048, nUbatch: 512, nSeqMax: 1, nOutputsPerSeq: 1, nThreads: 4, nThreadsBatch: 4,
	ropeScaling: -1, pooling: -1, attention: -1, flashAttn: -1,
	yarnExt: -1, yarnAttn: -1, yarnBetaFast: -1, yarnBetaSlow: -1, defragThold: -1,
	typeK: int32(gguf.F16), typeV: int32(gguf.F16), offloadKQV: true, noPerf: true, opOffload: true, swaFull: true,
}

// wantQuantizeParams is what llama_model_quantize_default_params of the pinned
// library answers.
var wantQuantizeParams = cQuantizeParams{
	ftype: int32(QuantQ8_0), outputType: 43, embeddingType: 43, quantizeOutput: true, maxBufSize: 8 << 30,
}

// goString copies a C string; "" for NULL.
func goString(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// firstOrNil is the address of s's first element, or nil.
func firstOrNil[T any](s []T) *T {
	if len(s) == 0 {
		return nil
	}
	return &s[0]
}
