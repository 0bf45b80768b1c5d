package memory

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"batos"
)

// Sizes around the chunks' bounds, copied side by side, arrive whole.
func TestSealIsWhole(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{1, copyChunk - 1, copyChunk, copyChunk + 1, 9*copyChunk + 7} {
		want := make([]byte, size)
		if _, err := r.Read(want); err != nil {
			t.Fatal(err)
		}
		f, err := seal(t.Context(), memSource{bytes.NewReader(want)}, name(0))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d came, %v", size, len(got), err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// halfSource is damaged from its middle on.
type halfSource struct{ memSource }

func (s halfSource) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.Size()/2 {
		return 0, batos.Errorf(batos.Corrupt, "the hash does not fit")
	}
	return s.memSource.ReadAt(p, off)
}

func TestSealTellsDamageOnce(t *testing.T) {
	src := halfSource{memSource{bytes.NewReader(make([]byte, 8*copyChunk))}}
	if _, err := seal(t.Context(), src, name(0)); batos.CodeOf(err) != batos.Corrupt || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := seal(ctx, memSource{bytes.NewReader(make([]byte, 8*copyChunk))}, name(0)); err == nil {
		t.Error("it went on after its end")
	}
}
