package codec

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"unicode/utf8"

	"batos/object"
)

// Short text comes again and again: names of slots, states, tags, keys of
// dicts. The table of words has such text ready made, as the value it is, so
// that all objects that are decoded share one.
//
// It is a cache without a memory of use: a word has two places, one of which
// holds it until another word is put there, and only some of the words that are
// not found are put, so that text which never comes again costs little and
// pushes out little. Safe for concurrent use.

// wordBytes is up to what length text is a word.
const wordBytes = 15

// wordBits is the binary logarithm of the number of places.
const wordBits = 10

// word is one place's content. It never changes.
type word struct {
	key   wordKey
	text  string
	value object.Value // text as an object.Str
}

var words [1 << wordBits]atomic.Pointer[word]

// wordKey is the bytes of a word and, last, how many they are.
type wordKey struct{ low, high uint64 }

// keyOf gives the key of 1 to wordBytes bytes.
func keyOf(p []byte) (k wordKey) {
	n := uint(len(p))
	switch {
	case n >= 8:
		k.low, k.high = binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[n-8:])>>(8*(16-n))
	case n >= 4:
		k.low = uint64(binary.LittleEndian.Uint32(p)) | uint64(binary.LittleEndian.Uint32(p[n-4:]))<<(8*(n-4))
	default:
		k.low = uint64(p[0]) | uint64(p[n/2])<<(8*(n/2)) | uint64(p[n-1])<<(8*(n-1))
	}
	k.high |= uint64(n) << 56
	return k
}

// place is one of the two places; the other differs in the last bit.
func (k wordKey) place() uint64 {
	return (k.low ^ k.high*0xff51afd7ed558ccd) * 0x9e3779b97f4a7c15 >> (64 - wordBits)
}

// wordOf gives the word that text is, or nil if it is not in the table.
func wordOf(text []byte) *word {
	k := keyOf(text)
	p := k.place()
	if w := words[p].Load(); w != nil && w.key == k {
		return w
	}
	if w := words[p^1].Load(); w != nil && w.key == k {
		return w
	}
	return putWord(k, text)
}

// putWord puts text into one place of its two, or not: one time in eight.
func putWord(k wordKey, p []byte) *word {
	r := rand.Uint32()
	if r&7 != 0 || !utf8.Valid(p) {
		return nil
	}
	w := &word{key: k, text: string(p)}
	w.value = object.Str(w.text)
	words[k.place()^uint64(r>>3&1)].Store(w)
	return w
}
