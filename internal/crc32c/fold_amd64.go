package crc32c

import "golang.org/x/sys/cpu"

var canFold = cpu.X86.HasAVX512F && cpu.X86.HasAVX512VPCLMULQDQ

// fold folds last into the first of n blocks at p, that into the next, and so on,
// and leaves in last what has the remainder of them all.
//
//go:noescape
func fold(last *[block]byte, p *byte, n int)
