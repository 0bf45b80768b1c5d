package logstore

import (
	"crypto/sha256"
	"encoding"
	"hash"
)

// chain is a SHA-256 that can be stopped and taken up at the end of any chunk.
// What SHA-256 is in the middle of is eight words of 32 bits, and how much came
// before; [crypto/sha256] gives and takes them through encoding.BinaryMarshaler,
// and chain_test.go holds it to the form that is used here:
//
//	magic[4] eight words, the bytes of a block that is not full [64], length u64
type chain struct {
	h      hash.Hash
	length int64
}

const (
	chainMagic   = "sha\x03"
	chainedBytes = len(chainMagic) + sha256.Size + sha256.BlockSize + 8
)

func newChain() *chain { return &chain{h: sha256.New()} }

// chainAt takes a chain up where it was in a state after that many bytes, a
// multiple of the block size; nil is the beginning.
func chainAt(state []byte, length int64) *chain {
	c := &chain{h: sha256.New(), length: length}
	if state == nil {
		return c
	}
	var b [chainedBytes]byte
	copy(b[:], chainMagic)
	copy(b[len(chainMagic):], state)
	be.PutUint64(b[len(b)-8:], uint64(length))
	if err := c.h.(encoding.BinaryUnmarshaler).UnmarshalBinary(b[:]); err != nil {
		panic("logstore: crypto/sha256 has another state than expected: " + err.Error())
	}
	return c
}

func (c *chain) write(p []byte) {
	c.h.Write(p)
	c.length += int64(len(p))
}

// hash gives the SHA-256 of what was written up to now.
func (c *chain) hash() (sum [sha256.Size]byte) {
	c.h.Sum(sum[:0])
	return sum
}

// state gives what chainAt takes up, at the end of a block.
func (c *chain) state() (state [sha256.Size]byte) {
	var b [chainedBytes]byte
	out, err := c.h.(encoding.BinaryAppender).AppendBinary(b[:0])
	if err != nil || len(out) != chainedBytes {
		panic("logstore: crypto/sha256 has another state than expected")
	}
	copy(state[:], out[len(chainMagic):])
	return state
}
