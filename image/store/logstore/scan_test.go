package logstore_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
)

// TestScanInPieces reads a log that several goroutines share without its index:
// transactions of many sizes, one larger than what is read at once. Everything
// is there as it was; what is cut off or damaged in the last transactions ends
// the log before it, also if pieces after it are whole.
func TestScanInPieces(t *testing.T) {
	const dir, name = "/image", "/image/live_image.fs/0000000000000000.seg"
	disk, r := vfs.NewMem(), rand.New(rand.NewPCG(7, 8))
	s := open(t, disk, dir, logstore.Options{CheckpointBytes: 1 << 40})
	const objects = 3000
	bases := make([]batos.TID, objects+1)
	ends := []int64{s.Stats().LogBytes}
	var content []map[batos.OID]string // after each transaction, what it wrote
	for n := 0; ends[len(ends)-1] < 4<<20; n++ {
		writes, wrote := []store.Write{}, map[batos.OID]string{}
		size := 1 + r.IntN(400)
		if n == 9 {
			size = 2500
		}
		for _, i := range r.Perm(objects)[:size] {
			oid := batos.OID(i + 1)
			data := bytes.Repeat([]byte{byte(n)}, 1+r.IntN(400))
			if n == 9 {
				data = append(data, make([]byte, 300)...)
			}
			writes = append(writes, store.Write{OID: oid, Base: bases[oid], Data: data})
			wrote[oid] = string(data)
		}
		tid, err := s.Commit(t.Context(), &store.Changes{Writes: writes})
		must(t, err)
		for oid := range wrote {
			bases[oid] = tid
		}
		content, ends = append(content, wrote), append(ends, s.Stats().LogBytes)
	}
	must(t, s.Close())
	must(t, disk.Remove(dir+"/"+logstore.IndexFile))
	whole, err := vfs.ReadFile(disk, name)
	must(t, err)

	check := func(t *testing.T, transactions int) {
		s := open(t, disk, dir, logstore.Options{ReadOnly: true})
		defer s.Close()
		if n, read := s.Stats().Transactions, s.Recovery().Replayed; n != int64(transactions) || read != n {
			t.Fatalf("%d transactions, %d of them by recovery, want %d", n, read, transactions)
		}
		want := map[batos.OID]string{}
		for _, wrote := range content[:transactions] {
			for oid, data := range wrote {
				want[oid] = data
			}
		}
		if n := s.Stats().Objects; n != int64(len(want)) {
			t.Fatalf("%d objects, want %d", n, len(want))
		}
		p, err := s.Snapshot(t.Context())
		must(t, err)
		defer p.Close()
		for oid, data := range want {
			got, err := p.Load(t.Context(), oid)
			if err != nil || string(got.Data) != data {
				t.Fatalf("object %v: %d bytes of %d, %v", oid, len(got.Data), len(data), err)
			}
		}
	}
	t.Run("whole", func(t *testing.T) { check(t, len(content)) })
	for _, cut := range []int{1, len(content) / 3, len(content) / 2, len(content) - 1} {
		t.Run(fmt.Sprint("cut in ", cut), func(t *testing.T) {
			at := (ends[cut] + ends[cut+1]) / 2
			must(t, vfs.WriteFile(disk, name, whole[:at], 0o600))
			check(t, cut)
			reserved := append(slices.Clone(whole[:at]), make([]byte, 1<<20)...)
			must(t, vfs.WriteFile(disk, name, reserved, 0o600))
			check(t, cut)
		})
		t.Run(fmt.Sprint("flipped in ", cut), func(t *testing.T) {
			damaged := slices.Clone(whole)
			damaged[(ends[cut]+ends[cut+1])/2] ^= 1
			must(t, vfs.WriteFile(disk, name, damaged, 0o600))
			if cut < len(content)-1 {
				_, err := logstore.Open(t.Context(), disk, dir, logstore.Options{ReadOnly: true})
				if batos.CodeOf(err) != batos.Corrupt {
					t.Fatalf("damage before whole transactions: %v", err)
				}
				return
			}
			check(t, cut)
		})
	}
}
