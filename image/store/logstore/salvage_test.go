package logstore_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
)

// TestSalvageSegments takes away, cuts and damages each segment of a log, packed
// ones among them, with and without the index. What can be read then is right;
// what is old or not there is either told of or an error.
func TestSalvageSegments(t *testing.T) {
	const dir, objects = "/image", 20
	disk := vfs.NewMem()
	o := logstore.Options{SegmentBytes: 4 << 10}
	s := open(t, disk, dir, o)
	bases := map[batos.OID]batos.TID{}
	want := map[batos.OID]string{}
	write := func(round int) {
		for n := range objects {
			oid := batos.OID(n + 1)
			data := fmt.Sprint(round, " of ", oid, make([]byte, 50))
			tid, err := s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: oid, Base: bases[oid], Data: []byte(data)}}})
			must(t, err)
			bases[oid], want[oid] = tid, data
		}
	}
	const together = 12 // made by one transaction and never changed
	c := &store.Changes{}
	for n := range together {
		oid := batos.OID(100 + n)
		want[oid] = fmt.Sprint("founding ", oid, make([]byte, 50))
		c.Writes = append(c.Writes, store.Write{OID: oid, Data: []byte(want[oid])})
	}
	_, err := s.Commit(t.Context(), c)
	must(t, err)
	for round := range 3 {
		write(round)
	}
	_, err = s.Pack(t.Context(), store.PackOptions{Before: s.LastTID()})
	must(t, err)
	write(3)
	must(t, s.Close())
	names, err := disk.ReadDir(dir + "/" + logstore.LogDir)
	must(t, err)
	if len(names) < 4 {
		t.Fatalf("only %d segments", len(names))
	}
	index, err := vfs.ReadFile(disk, dir+"/"+logstore.IndexFile)
	must(t, err)

	// check opens what is left and counts what is right.
	// What is cut off the end where no index tells of it nobody can notice.
	check := func(what string, ends bool) (right int) {
		s, err := logstore.Open(t.Context(), disk, dir, logstore.Options{Salvage: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		told := ends || len(s.Recovery().Damage) > 0
		p, err := s.Snapshot(t.Context())
		must(t, err)
		defer p.Close()
		for oid, data := range want {
			r, err := p.Load(t.Context(), oid)
			switch {
			case err == nil && string(r.Data) == data:
				right++
			case err == nil && told, batos.CodeOf(err) == batos.NotFound && told, batos.CodeOf(err) == batos.Corrupt:
			default:
				t.Fatalf("%s: object %v: %.20q, %v; told %v", what, oid, r.Data, err, s.Recovery().Damage)
			}
		}
		return right
	}
	for _, with := range []bool{true, false} {
		if with {
			must(t, vfs.WriteFile(disk, dir+"/"+logstore.IndexFile, index, 0o600))
		} else {
			must(t, disk.Remove(dir+"/"+logstore.IndexFile))
		}
		if n := check("whole", false); n != objects+together {
			t.Errorf("index %v: of a whole log %d of %d objects are right", with, n, objects+together)
		}
		all := 0
		for _, name := range names {
			path := filepath.Join(dir, logstore.LogDir, name)
			whole, err := vfs.ReadFile(disk, path)
			must(t, err)
			must(t, disk.Remove(path))
			ends := !with && name == names[len(names)-1]
			all += check(name+" gone", ends)
			for _, cut := range []int{10, 64, len(whole) / 2, len(whole) - 1} {
				must(t, vfs.WriteFile(disk, path, whole[:cut], 0o600))
				all += check(fmt.Sprint(name, " cut at ", cut), ends)
			}
			for off := 0; off < len(whole); off += 41 {
				damaged := slices.Clone(whole)
				damaged[off] ^= 4
				must(t, vfs.WriteFile(disk, path, damaged, 0o600))
				most := objects / 2
				if packed := whole[12] == 1; packed { // each item stands for itself
					most = objects + together - 1
				}
				if n := check(fmt.Sprint(name, " byte ", off), false); n < most && off > 64 && off < len(whole)-80 {
					t.Errorf("index %v: with %s damaged at byte %d, %d objects are right", with, name, off, n)
				}
			}
			if whole[12] == 1 {
				must(t, vfs.WriteFile(disk, path, whole[:len(whole)-5], 0o600)) // its trailer
				if n := check(name+" without its trailer", false); n != objects+together {
					t.Errorf("index %v: with %s cut at its end, %d objects are right", with, name, n)
				}
			}
			must(t, vfs.WriteFile(disk, path, whole, 0o600))
		}
		if all == 0 {
			t.Errorf("index %v: nothing survives the loss of a segment", with)
		}
	}
}
