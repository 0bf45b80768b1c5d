// Package crc32c computes the CRC-32C of long runs of bytes, at about twice
// the speed of hash/crc32 on processors that multiply polynomials 512 bits at a
// time (AVX-512 with VPCLMULQDQ), and at its speed elsewhere.
//
// It has one function, [Update].
package crc32c

import "hash/crc32"

var table = crc32.MakeTable(crc32.Castagnoli)

const (
	// block is what is folded at once: four registers of 64 bytes.
	block = 256
	// foldFrom is how many bytes are worth it.
	foldFrom = 4 << 10
)

// Update adds b to a sum that [hash/crc32.Update] or this function gave, or to
// 0, and gives the sum of all.
//
// A CRC is the remainder of the bytes as a polynomial over two elements. Moving
// a block by 256 bytes is a multiplication by x^2048, for which another block
// with the same remainder can be had, as short as itself: so blocks are folded
// into the next, one after the other, and the sum of the last one is that of
// all. What is left to do, hash/crc32 does.
func Update(sum uint32, b []byte) uint32 {
	if !canFold || len(b) < foldFrom {
		return crc32.Update(sum, table, b)
	}
	var last [block]byte
	copy(last[:], b)
	for i := range 4 { // the sum so far is as if it came before
		last[i] ^= byte(^sum >> (8 * i))
	}
	n := len(b)/block - 1
	fold(&last, &b[block], n)
	sum = crc32.Update(^uint32(0), table, last[:]) // begins at no remainder
	return crc32.Update(sum, table, b[block+n*block:])
}
