package llama

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"batos"
	"batos/internal/ggml"
	"batos/internal/mind"
)

// prefixes keeps states of the cache for beginnings that come again: the head
// of every chat, and of other prompts whatever was computed once before. A
// state is known by what computed it (release, processor, model, threads, the
// adapter's hash) and by its pieces, never by less. The bytes lie outside the
// Go heap, bounded; what was used longest ago goes first. Methods are safe for
// concurrent use.
type prefixes struct {
	who    string // what computes: everything a state depends on but adapter and tokens
	budget int64

	mu    sync.Mutex
	kept  map[prefixKey]*prefix
	bytes int64
	clock uint64
	seen  map[prefixKey]struct{} // computed once, and not kept
	order []prefixKey            // of seen, oldest first
}

type prefixKey [sha256.Size]byte

type prefix struct {
	key     prefixKey
	adapter string
	pieces  []piece
	state   []byte // mapped
	used    uint64
	readers int  // who is copying it; it is not unmapped meanwhile
	dropped bool // to be unmapped by the last reader
}

// maxSeen is how many beginnings are remembered without being kept.
const maxSeen = 4096

func newPrefixes(who string, budget int64) *prefixes {
	return &prefixes{who: who, budget: budget, kept: map[prefixKey]*prefix{}, seen: map[prefixKey]struct{}{}}
}

// keys names every beginning of a prompt, one for each piece.
func (p *prefixes) keys(adapter string, pieces []piece) []prefixKey {
	sum := prefixKey(sha256.Sum256(fmt.Appendf(nil, "%s\x00%s", p.who, adapter)))
	out := make([]prefixKey, len(pieces))
	for i, piece := range pieces {
		b := binary.LittleEndian.AppendUint32(sum[:], uint32(len(piece)))
		for _, t := range piece {
			b = binary.LittleEndian.AppendUint32(b, uint32(t))
		}
		sum = sha256.Sum256(b)
		out[i] = sum
	}
	return out
}

// longest finds the longest kept beginning with more than least pieces, and
// how many it has. Whoever gets one must release it.
func (p *prefixes) longest(keys []prefixKey, least int) (*prefix, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(keys); n > least; n-- {
		if k := p.kept[keys[n-1]]; k != nil {
			p.clock++
			k.used = p.clock
			k.readers++
			return k, n
		}
	}
	return nil, 0
}

func (p *prefixes) release(k *prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k.readers--
	p.unmap(k)
}

// worth says after how many pieces of a prompt its state should be kept: at
// the head of a chat, else at the last whole piece that was seen before. 0 is
// nowhere, because it is kept or nothing points to its coming again.
func (p *prefixes) worth(keys []prefixKey, head int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.budget <= 0 {
		return 0
	}
	if head > 0 {
		if p.kept[keys[head-1]] != nil {
			return 0
		}
		return head
	}
	at := 0
	for i, k := range keys[:len(keys)-1] {
		if _, ok := p.seen[k]; ok && p.kept[k] == nil {
			at = i + 1
		} else if p.kept[k] != nil {
			at = 0
		} else if !ok {
			p.seen[k] = struct{}{}
			p.order = append(p.order, k)
		}
	}
	if n := len(p.order) - maxSeen; n > 0 {
		for _, k := range p.order[:n] {
			delete(p.seen, k)
		}
		p.order = slices.Clone(p.order[n:])
	}
	return at
}

// put keeps the state that fill writes, size bytes of it, and lets others go
// for it. One that is larger than the budget is not kept; no error here
// matters to the request.
func (p *prefixes) put(key prefixKey, adapter string, pieces []piece, size int, fill func([]byte) error) error {
	if int64(size) > p.budget || size == 0 {
		return batos.Errorf(batos.Limit, "a prefix of %d bytes is more than the %d that are kept", size, p.budget)
	}
	state, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return batos.Errorf(batos.Limit, "no memory for a prefix of %d bytes", size)
	}
	if err := fill(state); err != nil {
		_ = unix.Munmap(state)
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept[key] != nil {
		_ = unix.Munmap(state) // another context was faster
		return nil
	}
	for p.bytes+int64(size) > p.budget {
		var oldest *prefix
		for _, k := range p.kept {
			if oldest == nil || k.used < oldest.used {
				oldest = k
			}
		}
		p.drop(oldest)
	}
	p.clock++
	own := make([]piece, len(pieces))
	for i, piece := range pieces {
		own[i] = slices.Clone(piece)
	}
	p.kept[key] = &prefix{key: key, adapter: adapter, pieces: own, state: state, used: p.clock}
	p.bytes += int64(size)
	return nil
}

func (p *prefixes) drop(k *prefix) {
	delete(p.kept, k.key)
	p.bytes -= int64(len(k.state))
	k.dropped = true
	p.unmap(k)
}

func (p *prefixes) unmap(k *prefix) {
	if k.dropped && k.readers == 0 && k.state != nil {
		_ = unix.Munmap(k.state)
		k.state = nil
	}
}

func (p *prefixes) held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

func (k *prefix) info() mind.Prefix {
	return mind.Prefix{Key: hex.EncodeToString(k.key[:]), Adapter: k.adapter, Tokens: length(k.pieces), Bytes: int64(len(k.state))}
}

// list tells what is kept, last used first.
func (p *prefixes) list() []mind.Prefix {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*prefix, 0, len(p.kept))
	for _, k := range p.kept {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *prefix) int { return cmp.Compare(b.used, a.used) })
	out := make([]mind.Prefix, len(all))
	for i, k := range all {
		out[i] = k.info()
	}
	return out
}

// A saved prefix is the line prefixMagic, then as little-endian uint32 counts
// with their bytes or tokens behind them: who, the adapter's hash, the number
// of pieces and each piece; then the SHA-256 of the state, and the state to
// the end of the file.
const (
	prefixMagic   = "batos prefix 1\n"
	maxPrefixHead = 16 << 20
)

// save writes a kept prefix into f, from its beginning.
func (p *prefixes) save(key string, f *os.File) (mind.Prefix, error) {
	var k *prefix
	raw, err := hex.DecodeString(key)
	if err == nil && len(raw) == sha256.Size {
		k, _ = p.longest([]prefixKey{prefixKey(raw)}, 0)
	}
	if k == nil {
		return mind.Prefix{}, batos.Errorf(batos.NotFound, "no prefix %.16s is kept", key)
	}
	defer p.release(k)
	u32 := binary.LittleEndian.AppendUint32
	b := []byte(prefixMagic)
	for _, s := range []string{p.who, k.adapter} {
		b = append(u32(b, uint32(len(s))), s...)
	}
	b = u32(b, uint32(len(k.pieces)))
	for _, piece := range k.pieces {
		b = u32(b, uint32(len(piece)))
		for _, t := range piece {
			b = u32(b, uint32(t))
		}
	}
	sum := sha256.Sum256(k.state)
	b = append(b, sum[:]...)
	_, err = f.WriteAt(b, 0)
	if err == nil {
		_, err = f.WriteAt(k.state, int64(len(b)))
	}
	if err == nil {
		err = f.Truncate(int64(len(b) + len(k.state)))
	}
	if err != nil {
		return mind.Prefix{}, batos.Errorf(batos.Invalid, "prefix %.16s cannot be written: %w", key, err)
	}
	return k.info(), nil
}

// restore keeps what save wrote. The library trusts a state's bytes, so they
// must come from here: their hash shows damage, not malice.
func (p *prefixes) restore(f *os.File) (mind.Prefix, error) {
	st, err := f.Stat()
	if err != nil {
		return mind.Prefix{}, batos.Errorf(batos.Invalid, "prefix: %w", err)
	}
	head := make([]byte, min(st.Size(), maxPrefixHead))
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return mind.Prefix{}, batos.Errorf(batos.Invalid, "prefix: %w", err)
	}
	rest, ok := bytes.CutPrefix(head, []byte(prefixMagic))
	number := func() int {
		if len(rest) < 4 {
			ok = false
			return 0
		}
		n := binary.LittleEndian.Uint32(rest)
		if rest = rest[4:]; int64(n) > int64(len(rest)) {
			ok = false
			return 0
		}
		return int(n)
	}
	text := func() string {
		n := number()
		s := string(rest[:n])
		rest = rest[n:]
		return s
	}
	if !ok {
		return mind.Prefix{}, batos.Errorf(batos.Invalid, "this is no saved prefix")
	}
	who, adapter := text(), text()
	pieces := make([]piece, 0, 16)
	for range number() {
		n := number()
		if !ok || 4*n > len(rest) || n == 0 {
			ok = false
			break
		}
		piece := make(piece, n)
		for i := range piece {
			piece[i] = ggml.Token(binary.LittleEndian.Uint32(rest[4*i:]))
		}
		pieces, rest = append(pieces, piece), rest[4*n:]
	}
	if !ok || len(pieces) == 0 || len(rest) < sha256.Size {
		return mind.Prefix{}, batos.Errorf(batos.Invalid, "the saved prefix is damaged")
	}
	if who != p.who {
		return mind.Prefix{}, batos.Errorf(batos.Invalid, "the saved prefix was computed by %s, this is %s", who, p.who)
	}
	want := rest[:sha256.Size]
	from := int64(len(head) - len(rest) + sha256.Size)
	keys := p.keys(adapter, pieces)
	key := keys[len(keys)-1]
	err = p.put(key, adapter, pieces, int(st.Size()-from), func(state []byte) error {
		if _, err := f.ReadAt(state, from); err != nil {
			return batos.Errorf(batos.Invalid, "prefix: %w", err)
		}
		if sum := sha256.Sum256(state); !bytes.Equal(sum[:], want) {
			return batos.Errorf(batos.Corrupt, "the saved prefix is damaged: its state has another hash")
		}
		return nil
	})
	if err != nil {
		return mind.Prefix{}, err
	}
	return mind.Prefix{Key: hex.EncodeToString(key[:]), Adapter: adapter, Tokens: length(pieces), Bytes: st.Size() - from}, nil
}
