package adapter

import (
	"os"

	"batos/internal/gguf"
)

// What an engine takes for each tensor beside its bytes, at the most: a
// description, an entry in a table, and the rest of its last 64 bytes.
const tensorRoom = 640

// Weigh gives the most memory, in bytes, that an engine takes for an adapter's
// GGUF file. A file that is none weighs what it has; loading it tells.
func Weigh(file *os.File) int64 {
	st, err := file.Stat()
	if err != nil {
		return 0
	}
	f, err := gguf.Read(file, st.Size())
	if err != nil {
		return st.Size()
	}
	total := int64(0)
	for _, t := range f.Tensors {
		total += t.Size + tensorRoom
	}
	return total
}
