package forge

// Names of an adapter's tensors, after the name of the matrix they change.
const (
	loraA = ".lora_a"
	loraB = ".lora_b"
)

// lowRank is the shape of an adapter; the zero value is none.
type lowRank struct {
	rank  int
	alpha float32
}

// scale is what the product of an adapter's matrices is multiplied by.
func (l lowRank) scale() float32 { return l.alpha / float32(l.rank) }
