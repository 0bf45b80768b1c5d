package codec

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"batos/object"
)

// TestKeysOfWords demands that different words have different keys, whatever
// their length.
func TestKeysOfWords(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	seen := map[wordKey]string{}
	for n := 1; n <= wordBytes; n++ {
		for range 2000 {
			b := make([]byte, n)
			for i := range b {
				b[i] = "\x00aaab"[r.IntN(5)] // many are alike but for one place
			}
			k := keyOf(b)
			if was, ok := seen[k]; ok && was != string(b) {
				t.Fatalf("%q and %q have one key", was, b)
			}
			seen[k] = string(b)
		}
	}
}

// TestWordsAreWhatWasStored decodes text that is a word and text that is too
// long for one, from several sides, and more of it than the table holds.
func TestWordsAreWhatWasStored(t *testing.T) {
	var wg sync.WaitGroup
	for side := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(9, side))
			for range 20_000 {
				text := slices.Repeat([]byte("é"), r.IntN(6)) // up to 10 bytes, and more
				for range r.IntN(8) {
					text = append(text, byte('a'+r.IntN(26)))
				}
				s := object.NewState(object.Open, 0, object.Slot{Name: string(text) + "x", Value: object.Str(text)})
				got, err := DecodeState(EncodeState(s))
				if err != nil {
					t.Error(err)
					return
				}
				if v := got.Slots()[0]; v.Name != string(text)+"x" || v.Value != object.Value(object.Str(text)) {
					t.Errorf("%q holds %v instead of %q", v.Name, v.Value, text)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestWordsAreShared decodes one word often: it is in the table before long,
// and takes no more memory.
func TestWordsAreShared(t *testing.T) {
	data := EncodeValue(object.Str("a word like many"[:14]))
	for range 1000 { // one in eight misses is put there
		if _, err := DecodeValue(data); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = DecodeValue(data) }); n != 0 {
		t.Errorf("a known word takes %v allocations", n)
	}
}

// TestDamagedWordsAreRefused: what is no text does not become a word.
func TestDamagedWordsAreRefused(t *testing.T) {
	for range 100 {
		if v, err := DecodeValue([]byte("\xa3a\xffb")); err == nil {
			t.Fatalf("text that is not UTF-8 is taken for %v", v)
		}
	}
}
