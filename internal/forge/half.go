package forge

import (
	"encoding/binary"
	"math"
)

// half is a number in half precision, as F16 tensors store it.
type half uint16

// halfOf rounds f to the nearest half, to even on a tie; what is too large
// becomes infinite.
func halfOf(f float32) half {
	bits := math.Float32bits(f)
	sign := half(bits>>16) & 0x8000
	bits &= 0x7fffffff
	switch {
	case bits > 0x7f800000: // not a number
		return sign | 0x7e00
	case bits >= 0x47800000: // 65536 and more
		return sign | 0x7c00
	case bits < 0x38800000: // subnormal: count in units of 2^-24
		return sign | half(math.RoundToEven(float64(math.Float32frombits(bits))*(1<<24)))
	}
	// The exponent's bias changes by 112; rounding may carry into it, and past
	// the largest half to infinity, both of which are right.
	bits -= 112 << 23
	return sign | half((bits+0xfff+(bits>>13&1))>>13)
}

// halfBytes is v as a file stores it in half precision.
func halfBytes(v []float32) []byte {
	b := make([]byte, 0, 2*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint16(b, uint16(halfOf(f)))
	}
	return b
}

// float is the number itself; every half is a float32.
func (h half) float() float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0:
		f := float32(frac) / (1 << 24)
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}
