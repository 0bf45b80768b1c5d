#include "textflag.h"

// x^(2048+32) and x^(2048-32) modulo the polynomial, bits reversed and shifted
// by one: what the halves of 16 bytes are multiplied by to move them by 256
// bytes. The test computes them.
DATA powers<>+0(SB)/8, $0xdcb17aa4
DATA powers<>+8(SB)/8, $0xb9e02b86
GLOBL powers<>(SB), NOPTR|RODATA, $16

// func fold(last *[256]byte, p *byte, n int)
TEXT ·fold(SB), NOSPLIT, $0-24
	MOVQ last+0(FP), DI
	MOVQ p+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTI32X4 powers<>(SB), Z8
	VMOVDQU64 (DI), Z0
	VMOVDQU64 64(DI), Z1
	VMOVDQU64 128(DI), Z2
	VMOVDQU64 192(DI), Z3

	TESTQ CX, CX
	JLE   done

next:
	// Of each register the low halves, the high halves, and the next bytes, all added up.
	VPCLMULQDQ $0x00, Z8, Z0, Z4
	VPCLMULQDQ $0x00, Z8, Z1, Z5
	VPCLMULQDQ $0x00, Z8, Z2, Z6
	VPCLMULQDQ $0x00, Z8, Z3, Z7
	VPCLMULQDQ $0x11, Z8, Z0, Z0
	VPCLMULQDQ $0x11, Z8, Z1, Z1
	VPCLMULQDQ $0x11, Z8, Z2, Z2
	VPCLMULQDQ $0x11, Z8, Z3, Z3
	VPTERNLOGQ $0x96, (SI), Z4, Z0
	VPTERNLOGQ $0x96, 64(SI), Z5, Z1
	VPTERNLOGQ $0x96, 128(SI), Z6, Z2
	VPTERNLOGQ $0x96, 192(SI), Z7, Z3
	ADDQ $256, SI
	DECQ CX
	JNZ  next

done:
	VMOVDQU64 Z0, (DI)
	VMOVDQU64 Z1, 64(DI)
	VMOVDQU64 Z2, 128(DI)
	VMOVDQU64 Z3, 192(DI)
	VZEROUPPER
	RET
