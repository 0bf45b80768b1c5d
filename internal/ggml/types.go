package ggml

import "fmt"

// Type is how a tensor's values are stored.
type Type int32

// The types that the project computes with; a GGUF file may hold others.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q8_0 Type = 8
	Q4_K Type = 12
	Q6_K Type = 14
	I32  Type = 26
	BF16 Type = 30
)

type typeInfo struct {
	name         string
	block, bytes int64 // values in a block, bytes it takes
}

var typeInfos = map[Type]typeInfo{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2}, I32: {"I32", 1, 4},
	24: {"I8", 1, 1}, 25: {"I16", 1, 2}, 27: {"I64", 1, 8}, 28: {"F64", 1, 8},
	Q4_0: {"Q4_0", 32, 18}, 3: {"Q4_1", 32, 20}, 6: {"Q5_0", 32, 22}, 7: {"Q5_1", 32, 24}, Q8_0: {"Q8_0", 32, 34},
	10: {"Q2_K", 256, 84}, 11: {"Q3_K", 256, 110}, Q4_K: {"Q4_K", 256, 144}, 13: {"Q5_K", 256, 176}, Q6_K: {"Q6_K", 256, 210},
	16: {"IQ2_XXS", 256, 66}, 17: {"IQ2_XS", 256, 74}, 18: {"IQ3_XXS", 256, 98}, 19: {"IQ1_S", 256, 50},
	20: {"IQ4_NL", 32, 18}, 21: {"IQ3_S", 256, 110}, 22: {"IQ2_S", 256, 82}, 23: {"IQ4_XS", 256, 136}, 29: {"IQ1_M", 256, 56},
	34: {"TQ1_0", 256, 54}, 35: {"TQ2_0", 256, 66}, 39: {"MXFP4", 32, 17},
}

// block gives how many values a block holds and how many bytes it takes; zeros
// for an unknown type.
func (t Type) block() (values, bytes int64) {
	i := typeInfos[t]
	return i.block, i.bytes
}

func (t Type) String() string {
	if i, ok := typeInfos[t]; ok {
		return i.name
	}
	return fmt.Sprintf("type %d", int32(t))
}
