package ggml

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"batos"
	"batos/internal/gguf"
)

// Context is one KV cache and one compute buffer over a model. It belongs to
// one goroutine at a time, [Context.Cancel] and [Context.Resume] excepted.
type Context struct {
	model    *Model
	p        uintptr
	mem      uintptr
	batch    cBatch
	nBatch   int
	nSeq     int
	nCtx     int
	embds    bool
	pooled   bool
	shared   bool       // one cache for all sequences
	adapters []*Adapter // in force

	// stop is a word of C memory that the library reads between operations:
	// it asks strlen, so zero means go on and anything else means stop,
	// without a call back into Go per operation.
	mu   sync.Mutex // guards stop against Close
	stop *uint32
}

// ContextOptions says how large a context is. Zero fields take the default.
type ContextOptions struct {
	Tokens       int  // room in the KV cache; default: what the model was trained with
	Batch        int  // most items of one Decode; default 512
	Sequences    int  // independent sequences; default 1
	Threads      int  // default 1
	BatchThreads int  // for more than one item at a time; default Threads
	Embeddings   bool // Embedding and SequenceEmbedding instead of Logits
	Pooling      Pooling
	SharedCache  bool // sequences share the room instead of dividing it
	FullCache    bool // keys and values in 32 bits instead of 16, and attention step by step: twice the memory, and no rounding
}

// Pooling says how hidden vectors become one vector for a sequence.
type Pooling int32

// The poolings.
const (
	PoolingModel Pooling = iota // as the model says
	PoolingNone
	PoolingMean
	PoolingFirst
	PoolingLast
)

var poolingC = [...]int32{-1, 0, 1, 2, 3}

// NewContext makes a context over m.
func (m *Model) NewContext(o ContextOptions) (*Context, error) {
	if o.Tokens < 0 || o.Tokens > math.MaxInt32 || o.Pooling < 0 || int(o.Pooling) >= len(poolingC) {
		return nil, batos.Errorf(batos.Invalid, "context options make no sense: %+v", o)
	}
	p := wantContextParams
	p.nCtx = uint32(o.Tokens)
	p.nBatch = uint32(or(o.Batch, 512))
	p.nUbatch = p.nBatch
	p.nSeqMax = uint32(or(o.Sequences, 1))
	p.nThreads = int32(or(o.Threads, 1))
	p.nThreadsBatch = int32(or(o.BatchThreads, int(p.nThreads)))
	p.embeddings = o.Embeddings
	p.pooling = poolingC[o.Pooling]
	p.kvUnified = o.SharedCache
	if o.FullCache {
		p.typeK, p.typeV, p.flashAttn = int32(gguf.F32), int32(gguf.F32), 0
	}
	lib := m.lib
	stop := (*uint32)(lib.c.libc.calloc(2, 4))
	if stop == nil {
		return nil, batos.Errorf(batos.Limit, "no memory for a context")
	}
	p.abort, p.abortData = lib.c.libc.strlen, unsafe.Pointer(stop)
	var ptr uintptr
	words := lib.quietly(func() { ptr = lib.c.contextNew(m.p, p) })
	if ptr == 0 {
		lib.c.libc.free(unsafe.Pointer(stop))
		return nil, batos.Errorf(batos.Limit, "no context of %d tokens can be made%s", o.Tokens, said(words))
	}
	c := &Context{
		model: m, p: ptr, mem: lib.c.memory(ptr), stop: stop,
		nBatch: int(lib.c.contextBatch(ptr)), nSeq: int(p.nSeqMax), nCtx: int(lib.c.contextCtx(ptr)),
		embds: o.Embeddings, pooled: lib.c.contextPooling(ptr) > 0, shared: o.SharedCache,
	}
	c.batch = lib.c.batchInit(int32(c.nBatch), 0, 1)
	m.users.Add(1)
	return c, nil
}

func or(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Close frees the context and takes its adapters out of force.
func (c *Context) Close() {
	if c.p == 0 {
		return
	}
	lib := c.model.lib
	c.use(nil)
	lib.c.batchFree(c.batch)
	lib.c.contextFree(c.p)
	c.p, c.mem = 0, 0
	c.mu.Lock()
	lib.c.libc.free(unsafe.Pointer(c.stop))
	c.stop = nil
	c.mu.Unlock()
	c.model.users.Add(-1)
}

// Cancel stops the decode that is running, and refuses later ones until
// [Context.Resume]. Any goroutine may call it.
func (c *Context) Cancel() { c.setStop(1) }

// Resume allows decodes again.
func (c *Context) Resume() { c.setStop(0) }

func (c *Context) setStop(v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		atomic.StoreUint32(c.stop, v)
	}
}

// Model is the model the context is over.
func (c *Context) Model() *Model { return c.model }

// Tokens is the room of the KV cache.
func (c *Context) Tokens() int { return c.nCtx }

// MaxBatch is the most items one Decode takes.
func (c *Context) MaxBatch() int { return c.nBatch }

// SetThreads changes how many threads compute one item, and several.
func (c *Context) SetThreads(one, several int) {
	c.model.lib.c.setThreads(c.p, int32(max(1, one)), int32(max(1, several)))
}

// Item is one token to process.
type Item struct {
	Token  Token
	Pos    int  // position in its sequence, from 0
	Seq    int  // sequence, from 0
	Output bool // Logits or Embedding will be read for it
}

// Decode processes at most [Context.MaxBatch] items. Afterwards Logits and
// Embedding answer for those with Output set, until the next Decode. On a
// limit error (the cache is full) the cache is as it was before; on any other
// error the affected sequences should be removed and computed again.
func (c *Context) Decode(items []Item) error {
	if len(items) == 0 || len(items) > c.nBatch {
		return batos.Errorf(batos.Invalid, "decode of %d items: the batch holds 1 to %d", len(items), c.nBatch)
	}
	tok := unsafe.Slice(c.batch.token, len(items))
	pos := unsafe.Slice(c.batch.pos, len(items))
	nSeq := unsafe.Slice(c.batch.nSeqID, len(items))
	seq := unsafe.Slice(c.batch.seqID, len(items))
	out := unsafe.Slice(c.batch.logits, len(items))
	for i, it := range items {
		if !c.model.known(it.Token) || it.Seq < 0 || it.Seq >= c.nSeq || it.Pos < 0 || it.Pos >= math.MaxInt32 {
			return batos.Errorf(batos.Invalid, "decode: token %d at position %d of sequence %d is out of range", it.Token, it.Pos, it.Seq)
		}
		tok[i], pos[i], nSeq[i], out[i] = int32(it.Token), int32(it.Pos), 1, 0
		*seq[i] = int32(it.Seq)
		if it.Output {
			out[i] = 1
		}
	}
	b := c.batch
	b.nTokens = int32(len(items))
	mark := c.model.lib.log.mark()
	switch rc := c.model.lib.c.decode(c.p, b); rc {
	case 0:
		return nil
	case 1:
		return batos.Errorf(batos.Limit, "the context of %d tokens is full", c.nCtx)
	case 2:
		return batos.Errorf(batos.Cancelled, "decode cancelled")
	case -1:
		return batos.Errorf(batos.Invalid, "decode: invalid batch%s", said(lastOf(c.model.lib.log.lines(mark))))
	default:
		return batos.Errorf(batos.Offline, "engine: decode failed with %d%s", rc, said(lastOf(c.model.lib.log.lines(mark))))
	}
}

func lastOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// Logits gives one value for each token of the vocabulary, after item i of the
// last Decode; -1 is its last output. The slice is C memory: read it before
// the next Decode, and never write to it.
func (c *Context) Logits(i int) ([]float32, error) {
	p := c.model.lib.c.logits(c.p, int32(i))
	if p == nil {
		return nil, batos.Errorf(batos.Invalid, "item %d of the last decode has no logits", i)
	}
	return unsafe.Slice(p, c.model.nVocab), nil
}

// Embedding gives a copy of the hidden vector after item i of the last Decode,
// in a context made with Embeddings and without pooling.
func (c *Context) Embedding(i int) ([]float32, error) {
	if !c.embds || c.pooled {
		return nil, batos.Errorf(batos.Invalid, "embedding: the context was not made for embeddings of single tokens")
	}
	return c.vector(c.model.lib.c.embeddings(c.p, int32(i)))
}

// SequenceEmbedding gives a copy of the pooled vector of sequence seq after
// the last Decode.
func (c *Context) SequenceEmbedding(seq int) ([]float32, error) {
	if !c.embds || !c.pooled {
		return nil, batos.Errorf(batos.Invalid, "embedding: the context was not made for pooled embeddings")
	}
	return c.vector(c.model.lib.c.seqEmbeddings(c.p, int32(seq)))
}

func (c *Context) vector(p *float32) ([]float32, error) {
	if p == nil {
		return nil, batos.Errorf(batos.Invalid, "the last decode gave no such embedding")
	}
	return append([]float32(nil), unsafe.Slice(p, c.model.EmbeddingSize())...), nil
}

// Clear forgets every sequence.
func (c *Context) Clear() { c.model.lib.c.memClear(c.mem, false) }

// Remove forgets positions from ≤ p < to of a sequence; to < 0 means to its
// end. It reports whether the memory could do that: a recurrent model can only
// forget a whole sequence.
func (c *Context) Remove(seq, from, to int) bool {
	return c.seqOK(seq) && c.model.lib.c.memRemove(c.mem, int32(seq), int32(from), int32(to))
}

// Copy makes positions from ≤ p < to of sequence src also belong to dst, and
// reports whether it could: only sequences of a SharedCache can share.
func (c *Context) Copy(src, dst, from, to int) bool {
	if !c.shared || !c.seqOK(src) || !c.seqOK(dst) {
		return false
	}
	c.model.lib.c.memCopy(c.mem, int32(src), int32(dst), int32(from), int32(to))
	return true
}

// Keep forgets every sequence but one.
func (c *Context) Keep(seq int) {
	if c.seqOK(seq) {
		c.model.lib.c.memKeep(c.mem, int32(seq))
	}
}

// Shift adds delta to positions from ≤ p < to, and reports whether the memory
// can do that.
func (c *Context) Shift(seq, from, to, delta int) bool {
	if !c.seqOK(seq) || !c.model.lib.c.memCanShift(c.mem) {
		return false
	}
	c.model.lib.c.memShift(c.mem, int32(seq), int32(from), int32(to), int32(delta))
	return true
}

// Span gives the first and last position held of a sequence; -1, -1 if it is
// empty.
func (c *Context) Span(seq int) (first, last int) {
	if !c.seqOK(seq) {
		return -1, -1
	}
	return int(c.model.lib.c.memMin(c.mem, int32(seq))), int(c.model.lib.c.memMax(c.mem, int32(seq)))
}

func (c *Context) seqOK(seq int) bool { return seq >= 0 && seq < c.nSeq }

// State copies what the cache holds of a sequence. The bytes mean something
// only to the same build with the same model, the same options and the same
// adapters in force: keep them under a key that names all of these, because
// the library mixes states of different adapters without a word.
func (c *Context) State(seq int) ([]byte, error) {
	n, err := c.StateSize(seq)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, n)
	return buf, c.StateInto(seq, buf)
}

// StateSize is the length of [Context.State] now.
func (c *Context) StateSize(seq int) (int, error) {
	if !c.seqOK(seq) {
		return 0, batos.Errorf(batos.Invalid, "there is no sequence %d", seq)
	}
	n := c.model.lib.c.stateSize(c.p, int32(seq))
	if n == 0 || n > math.MaxInt {
		return 0, batos.Errorf(batos.Offline, "engine: the state of sequence %d cannot be read", seq)
	}
	return int(n), nil
}

// StateInto is State into a buffer of exactly [Context.StateSize] bytes.
func (c *Context) StateInto(seq int, buf []byte) error {
	if n, err := c.StateSize(seq); err != nil {
		return err
	} else if n != len(buf) {
		return batos.Errorf(batos.Invalid, "a state of %d bytes does not fit a buffer of %d", n, len(buf))
	}
	if got := c.model.lib.c.stateGet(c.p, &buf[0], uint64(len(buf)), int32(seq)); got != uint64(len(buf)) {
		return batos.Errorf(batos.Offline, "engine: the state of sequence %d cannot be read", seq)
	}
	return nil
}

// SetState puts bytes from [Context.State] into a sequence, replacing what it
// held. The bytes must come from this program: the library trusts them.
func (c *Context) SetState(seq int, state []byte) error {
	if !c.seqOK(seq) || len(state) == 0 {
		return batos.Errorf(batos.Invalid, "state of %d bytes for sequence %d makes no sense", len(state), seq)
	}
	mark := c.model.lib.log.mark()
	if n := c.model.lib.c.stateSet(c.p, &state[0], uint64(len(state)), int32(seq)); n == 0 {
		return batos.Errorf(batos.Invalid, "state of sequence %d cannot be restored%s", seq, said(lastOf(c.model.lib.log.lines(mark))))
	}
	return nil
}
