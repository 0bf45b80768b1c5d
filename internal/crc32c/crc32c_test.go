package crc32c

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestUpdate holds Update against hash/crc32 for all lengths near those where
// it does something else, at all alignments, after sums of all kinds.
func TestUpdate(t *testing.T) {
	if !canFold {
		t.Log("this processor cannot fold: only hash/crc32 is tried")
	}
	rng := rand.NewChaCha8([32]byte{7})
	b := make([]byte, 70_000)
	_, _ = rng.Read(b)
	check := func(sum uint32, b []byte) {
		t.Helper()
		if got, want := Update(sum, b), crc32.Update(sum, table, b); got != want {
			t.Fatalf("%d bytes after %#x: %#x, want %#x", len(b), sum, got, want)
		}
	}
	for n := range 5200 {
		check(uint32(rng.Uint64()), b[n%64:][:n])
	}
	for range 500 {
		at, n := int(rng.Uint64()%100), int(rng.Uint64()%69_000)
		check(uint32(rng.Uint64()), b[at:at+n])
	}
	for _, sum := range []uint32{0, 1, 1 << 31, ^uint32(0)} {
		check(sum, b[:5000])
		check(sum, make([]byte, 5000))
	}
	if got, want := Update(Update(0, b[:3001]), b[3001:]), crc32.Checksum(b, table); got != want {
		t.Fatalf("in two parts %#x, want %#x", got, want)
	}
}

// TestPowers computes the constants of the assembler.
func TestPowers(t *testing.T) {
	power := func(n int) uint64 { // of x, bits reversed
		v := uint32(1) << 31
		for range n {
			v = v>>1 ^ v&1*crc32.Castagnoli
		}
		return uint64(v) << 1
	}
	text, err := os.ReadFile("fold_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\$0x[0-9a-f]{8}\n`).FindAllString(string(text), -1)
	if want := fmt.Sprintf("$%#x\n$%#x\n", power(8*block+32), power(8*block-32)); strings.Join(found, "") != want {
		t.Errorf("%q, want %q", found, want)
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{4 << 10, 8 << 10, 128 << 10} {
		buf := make([]byte, n)
		for name, update := range map[string]func() uint32{
			"folded": func() uint32 { return Update(1, buf) }, "hash": func() uint32 { return crc32.Update(1, table, buf) },
		} {
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				b.SetBytes(int64(n))
				for range b.N {
					update()
				}
			})
		}
	}
}
