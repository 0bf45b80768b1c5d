package logstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"batos"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
)

func problems(t *testing.T, s *logstore.Store, o store.VerifyOptions) map[store.ProblemKind][]store.Problem {
	t.Helper()
	out := map[store.ProblemKind][]store.Problem{}
	for p, err := range s.Verify(t.Context(), o) {
		must(t, err)
		if p.Text == "" || strings.Contains(p.Text, "\n") {
			t.Fatalf("%+v is not told in one line", p)
		}
		out[p.Kind] = append(out[p.Kind], p)
	}
	return out
}

// TestVerifyGraph: dangling references and unreachable objects, since when.
func TestVerifyGraph(t *testing.T) {
	s := open(t, vfs.NewMem(), "/image", logstore.Options{})
	defer s.Close()
	commit := func(w ...store.Write) batos.TID {
		t.Helper()
		tid, err := s.Commit(t.Context(), &store.Changes{Writes: w})
		must(t, err)
		return tid
	}
	made := commit(
		store.Write{OID: 1, Refs: []batos.OID{2, 3}},
		store.Write{OID: 2, Refs: []batos.OID{1}},
		store.Write{OID: 3},
		store.Write{OID: 4, Refs: []batos.OID{4, 9}}, // 9 never existed
	)
	if got := problems(t, s, store.VerifyOptions{Roots: []batos.OID{1, 4}}); len(got[store.Dangling]) != 1 || len(got) != 1 {
		t.Fatalf("problems: %+v", got)
	}
	ended := commit(store.Write{OID: 3, Base: made, Delete: true})
	got := problems(t, s, store.VerifyOptions{Roots: []batos.OID{1}})
	want := []store.Problem{
		{OID: 1, TID: made, Target: 3, Since: ended},
		{OID: 4, TID: made, Target: 9, Since: made},
	}
	if len(got[store.Dangling]) != len(want) {
		t.Fatalf("dangling: %+v", got[store.Dangling])
	}
	for i, w := range want {
		if p := got[store.Dangling][i]; p.OID != w.OID || p.TID != w.TID || p.Target != w.Target || p.Since != w.Since || p.Offset == 0 {
			t.Fatalf("dangling: %+v, want %+v", p, w)
		}
	}
	if u := got[store.Unreachable]; len(u) != 1 || u[0].OID != 4 {
		t.Fatalf("unreachable: %+v", u)
	}
	commit(store.Write{OID: 4, Base: made, Refs: []batos.OID{1}}) // the old revision still dangles
	if d := problems(t, s, store.VerifyOptions{})[store.Dangling]; len(d) != 2 || d[0].OID != 4 || d[0].TID != made {
		t.Fatalf("dangling: %+v", d)
	}
}

// TestVerifyPlaces: damage is told with the object and its place, and what is
// behind it is still looked at; blobs too.
func TestVerifyPlaces(t *testing.T) {
	disk, files := image(t)
	s := open(t, disk, "/image", logstore.Options{})
	defer s.Close()
	if got := problems(t, s, store.VerifyOptions{}); len(got) != 0 {
		t.Fatalf("a sound image has problems: %+v", got)
	}
	content, err := vfs.ReadFile(disk, files[1])
	must(t, err)
	for _, word := range []string{"cold", "hot"} {
		flip(t, disk, files[1], int64(strings.Index(string(content), word)), 2)
	}
	got := problems(t, s, store.VerifyOptions{})[store.Damaged]
	if len(got) != 2 || got[0].File != files[1] || got[0].OID == 0 || got[0].TID == 0 || got[0].Offset == 0 || got[0].OID == got[1].OID {
		t.Fatalf("damaged: %+v", got)
	}
	for _, f := range files {
		if strings.Contains(f, logstore.BlobDir) && !strings.HasSuffix(f, ".sums") {
			flip(t, disk, f, 2, 1)
			if b := problems(t, s, store.VerifyOptions{})[store.BlobAltered]; len(b) != 1 || b[0].OID != 10 || b[0].File != f {
				t.Fatalf("altered: %+v", b)
			}
			must(t, disk.Remove(f))
			if b := problems(t, s, store.VerifyOptions{SkipBlobs: true})[store.BlobMissing]; len(b) != 1 || b[0].OID != 10 {
				t.Fatalf("missing: %+v", b)
			}
		}
	}
	flip(t, disk, filepath.Join("/image", logstore.IndexFile), 100, 1)
	if w := problems(t, s, store.VerifyOptions{})[store.WrongIndex]; len(w) != 1 {
		t.Fatalf("index: %+v", w)
	}
}

// TestPast: the way to any of 1,000 revisions is short, before and after a
// pack that keeps some, and a crash that loses the index.
func TestPast(t *testing.T) {
	disk := vfs.NewFaulty(vfs.NewMem())
	o := logstore.Options{SegmentBytes: 32 << 10}
	s := open(t, disk, "/image", o)
	tids := []batos.TID{0}
	for i := range 1000 {
		tids = append(tids, put(t, s, 1, tids[i], fmt.Sprint("revision ", i)))
	}
	reads := func(i int) int {
		t.Helper()
		p, err := s.SnapshotAt(t.Context(), tids[i+1])
		must(t, err)
		defer p.Close()
		before := disk.Calls(vfs.OpRead)
		r, err := p.Load(t.Context(), 1)
		must(t, err)
		if string(r.Data) != fmt.Sprint("revision ", i) {
			t.Fatalf("revision %d is %q", i, r.Data)
		}
		return disk.Calls(vfs.OpRead) - before
	}
	most, sum := 0, 0
	for i := 0; i < 1000; i += 9 {
		n := reads(i)
		most, sum = max(most, n), sum+9*n
	}
	if oldest := reads(0); oldest > 5 || most > 24 {
		t.Fatalf("the oldest takes %d reads, another %d", oldest, most)
	}
	t.Logf("oldest %d reads, on average %.1f, at most %d", reads(0), float64(sum)/1000, most)
	keep := func(_ []byte, r *store.Revision) bool { return strings.HasSuffix(string(r.Data), "50") }
	_, err := s.Pack(t.Context(), store.PackOptions{Before: tids[901], Keep: keep})
	must(t, err)
	for _, i := range []int{50, 150, 850, 900, 901, 999} {
		if n := reads(i); n > 120 { // many of the short ways lead to what is gone
			t.Fatalf("revision %d takes %d reads after a pack", i, n)
		}
	}
	p, err := s.SnapshotAt(t.Context(), tids[301])
	must(t, err)
	_, err = p.Load(t.Context(), 1)
	wantCode(t, err, batos.Packed, "packed away")
	must(t, p.Close())
	must(t, s.Close())
}

// TestPackReport: a dry run says what a pack then does, and an open snapshot
// holds it back.
func TestPackReport(t *testing.T) {
	s := open(t, vfs.NewMem(), "/image", logstore.Options{SegmentBytes: 1 << 10})
	defer s.Close()
	base := put(t, s, 1, 0, "first")
	p, err := s.Snapshot(t.Context())
	must(t, err)
	w, err := s.NewBlob(t.Context())
	must(t, err)
	_, err = w.Write([]byte("only for a while"))
	must(t, err)
	h, _, err := w.Seal()
	must(t, err)
	base, err = s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: 1, Base: base, Data: []byte("blob"), Blobs: []store.BlobHash{h}}}})
	must(t, err)
	for range 50 {
		base = put(t, s, 1, base, strings.Repeat("x", 100))
	}
	r, err := s.Pack(t.Context(), store.PackOptions{Before: base})
	must(t, err)
	if r.Before != p.TID() || r.Revisions != 0 {
		t.Fatalf("a snapshot of %v did not hold back %+v", p.TID(), r)
	}
	must(t, p.Close())
	dry, err := s.Pack(t.Context(), store.PackOptions{Before: base, DryRun: true})
	must(t, err)
	before := s.Stats()
	done, err := s.Pack(t.Context(), store.PackOptions{Before: base})
	must(t, err)
	after := s.Stats()
	if before.LogBytes-after.LogBytes != done.Bytes || before.BlobBytes-after.BlobBytes != done.BlobBytes || done.Blobs != 1 ||
		before.Transactions-after.Transactions != done.Transactions {
		t.Fatalf("from %+v to %+v by %+v", before, after, done)
	}
	if dry.Revisions != 51 || dry.Revisions != done.Revisions || dry.Blobs != done.Blobs || dry.Transactions > done.Transactions || dry.Bytes > 2*done.Bytes || done.Bytes > 2*dry.Bytes {
		t.Fatalf("a dry run said %+v, then it was %+v", dry, done)
	}
	_, err = s.OpenBlob(t.Context(), h)
	wantCode(t, err, batos.NotFound)
	if again, err := s.Pack(t.Context(), store.PackOptions{Before: base}); err != nil || again.Segments != 0 {
		t.Fatalf("a second pack did %+v, %v", again, err)
	}
}

// TestFollow: a reader beside the writer sees what it commits, through full
// segments, packs and a writer that starts anew.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	o := logstore.Options{SegmentBytes: 4 << 10, CheckpointBytes: 8 << 10}
	s := open(t, vfs.OS(), dir, o)
	ro := o
	ro.ReadOnly = true
	base := put(t, s, 1, 0, "first")
	reader := open(t, vfs.OS(), dir, ro)
	held, err := reader.Snapshot(t.Context())
	must(t, err)
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		defer s.Close()
		for i := range 300 {
			tid, err := s.Commit(context.Background(), &store.Changes{Writes: []store.Write{{OID: 1, Base: base, Data: fmt.Append(nil, i, strings.Repeat(".", 100))}}})
			if err != nil {
				t.Error(err)
				return
			}
			base = tid
			if i%60 == 59 {
				if _, err := s.Pack(context.Background(), store.PackOptions{Before: tid}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last := batos.TID(0)
	for {
		if last, err = reader.Wait(ctx, last); err != nil {
			t.Fatal(err)
		}
		p, err := reader.Snapshot(ctx)
		must(t, err)
		r, err := p.Load(ctx, 1)
		if err != nil || p.TID() < last || r.TID > p.TID() {
			t.Fatalf("at %v: %v, %v", p.TID(), r.TID, err)
		}
		must(t, p.Close())
		if strings.HasPrefix(string(r.Data), "299.") {
			break
		}
	}
	// The writer knows nothing of this snapshot: it may be packed, never wrong.
	if r, err := held.Load(ctx, 1); batos.CodeOf(err) != batos.Packed && (err != nil || string(r.Data) != "first") {
		t.Fatalf("the first snapshot became %q, %v", r.Data, err)
	}
	must(t, reader.Close())
	if names, err := os.ReadDir(dir); err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
}

// TestBackupRefusals: folders and courses that do not fit are refused.
func TestBackupRefusals(t *testing.T) {
	disk := vfs.NewMem()
	s := open(t, disk, "/image", logstore.Options{})
	first := put(t, s, 1, 0, "one")
	second := put(t, s, 1, first, "two")
	must(t, disk.MkdirAll("/full/of/things", 0o700))
	for _, dir := range []string{"/image", "/image/backup", "/image/../image/a/b"} {
		_, err := s.Backup(t.Context(), dir)
		wantCode(t, err, batos.Invalid, "own folder")
	}
	if names, err := disk.ReadDir("/image"); err != nil || slices.Contains(names, "log") || slices.Contains(names, "backup") {
		t.Fatalf("a backup that was refused left %v, %v", names, err)
	}
	_, err := s.Backup(t.Context(), "/full")
	wantCode(t, err, batos.Invalid, "no backup")
	r, err := s.Backup(t.Context(), "/backup")
	if err != nil || !r.First || r.Last != second {
		t.Fatalf("%+v, %v", r, err)
	}
	third := put(t, s, 1, second, "three")
	again, err := s.Backup(t.Context(), "/backup")
	if err != nil || again.First || again.Last != third || again.LogBytes >= r.LogBytes {
		t.Fatalf("%+v after %+v, %v", again, r, err)
	}
	_, err = logstore.Restore(t.Context(), disk, "/backup", "/image", third)
	wantCode(t, err, batos.Locked)
	must(t, s.Close())
	_, err = logstore.Restore(t.Context(), disk, "/backup", "/image", third)
	wantCode(t, err, batos.Invalid, "holds an image")
	_, err = logstore.Restore(t.Context(), disk, "/none", "/other", third)
	wantCode(t, err, batos.NotFound)
	_, err = logstore.Restore(t.Context(), disk, "/backup", "/other", second)
	must(t, err)
	other := open(t, disk, "/other", logstore.Options{})
	if other.LastTID() != second {
		t.Fatalf("restored %v, want %v", other.LastTID(), second)
	}
	put(t, other, 1, second, "another three, and longer")
	_, err = other.Backup(t.Context(), "/backup")
	wantCode(t, err, batos.Invalid, "another course")
	must(t, other.Close())
}

// TestBackupTakesBackWhatFailed: a backup that fails leaves what was there, on
// the disk as well.
func TestBackupTakesBackWhatFailed(t *testing.T) {
	inside := func(disk vfs.FS) (out []string) {
		for _, dir := range []string{"/backup", "/backup/log", "/backup/blob"} {
			names, err := disk.ReadDir(dir)
			if err != nil {
				continue
			}
			for _, name := range names {
				content, _ := vfs.ReadFile(disk, filepath.Join(dir, name)) // of a folder there is none
				if name != "backup.lock" {
					out = append(out, fmt.Sprintf("%s/%s %x", dir, name, sha256.Sum256(content)))
				}
			}
		}
		return out
	}
	fill := func(s *logstore.Store, oid batos.OID) {
		w, err := s.NewBlob(t.Context())
		must(t, err)
		_, err = w.Write([]byte(strings.Repeat("large ", 1000+int(oid))))
		must(t, err)
		h, _, err := w.Seal()
		must(t, err)
		_, err = s.Commit(t.Context(), &store.Changes{Writes: []store.Write{{OID: oid, Data: []byte("names it"), Blobs: []store.BlobHash{h}}}})
		must(t, err)
	}
	disk := vfs.NewFaulty(vfs.NewMem())
	s := open(t, disk, "/image", logstore.Options{})
	defer s.Close()
	for round := range 2 { // the first backup, and one that goes on from another
		fill(s, batos.OID(2*round+1))
		fill(s, batos.OID(2*round+2))
		had := inside(disk)
		for n := 1; ; n++ {
			disk.Fail(vfs.OpWrite, n, true, syscall.ENOSPC)
			_, err := s.Backup(t.Context(), "/backup")
			disk.Heal()
			if err == nil {
				if n < 4 {
					t.Fatalf("only %d writes", n)
				}
				break
			}
			wantCode(t, err, batos.Limit, "disk is full")
			if got := inside(disk); !slices.Equal(got, had) {
				t.Fatalf("after write %d of round %d:\n%s\nwas\n%s", n, round, strings.Join(got, "\n"), strings.Join(had, "\n"))
			}
			if _, err := disk.Stat("/backup"); round == 0 && !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("the folder is left: %v", err)
			}
		}
		_, err := logstore.Restore(t.Context(), disk, "/backup", fmt.Sprint("/restored", round), 1<<62)
		must(t, err)
	}
}

// TestVerifyNamesEach: of several revisions of one transaction that are damaged
// each is named, with its place, also in a packed segment.
func TestVerifyNamesEach(t *testing.T) {
	for _, packed := range []bool{false, true} {
		disk := vfs.NewMem()
		s := open(t, disk, "/image", logstore.Options{SegmentBytes: 2 << 10})
		c := &store.Changes{}
		for n := range 5 {
			c.Writes = append(c.Writes, store.Write{OID: batos.OID(n + 1), Data: fmt.Append(nil, "content of ", n+1)})
		}
		tid, err := s.Commit(t.Context(), c)
		must(t, err)
		base := put(t, s, 9, 0, "old")
		for range 3 {
			base = put(t, s, 9, base, strings.Repeat("x", 900))
		}
		if packed {
			r, err := s.Pack(t.Context(), store.PackOptions{Before: base})
			if err != nil || r.Segments == 0 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		name := filepath.Join("/image", logstore.LogDir, "0000000000000000.seg")
		content, err := vfs.ReadFile(disk, name)
		must(t, err)
		for _, n := range []int{2, 4} {
			flip(t, disk, name, int64(bytes.Index(content, fmt.Append(nil, "content of ", n))), 2)
		}
		got := problems(t, s, store.VerifyOptions{})[store.Damaged]
		if len(got) != 2 || got[0].OID != 2 || got[1].OID != 4 || got[0].TID != tid || got[0].Offset == got[1].Offset || got[0].File != name {
			t.Errorf("packed %v: %+v", packed, got)
		}
		must(t, s.Close())
	}
}
