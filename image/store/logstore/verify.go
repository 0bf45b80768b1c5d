package logstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"sort"

	"batos"
	"batos/image/store"
)

// errStop ends a verification that nobody listens to any more.
var errStop = errors.New("stop")

// verifier is one run of Verify. It reads the log from end to end with an
// index of its own beside, which it compares with the store's in the end, and
// then every object that exists.
type verifier struct {
	s    *Store
	o    store.VerifyOptions
	ctx  context.Context
	say  func(store.Problem) error
	snap store.Snapshot
	end  uint64 // what is newer is left to the next time

	seen    *index
	uses    map[store.BlobHash]use // the first revision that refers to a blob
	damaged bool                   // the log is, so that it cannot vouch for the rest
}

// use is a revision that refers to something.
type use struct {
	oid batos.OID
	tid batos.TID
}

// Verify implements [store.Verifier]. It holds 12 bytes for each object, and
// back what pack would remove.
func (s *Store) Verify(ctx context.Context, o store.VerifyOptions) iter.Seq2[store.Problem, error] {
	return func(yield func(store.Problem, error) bool) {
		snap, err := s.Snapshot(ctx)
		if err != nil {
			yield(store.Problem{}, err)
			return
		}
		v := &verifier{
			s: s, o: o, ctx: ctx, snap: snap, end: s.idx.now().end,
			seen: newIndex(), uses: map[store.BlobHash]use{},
			say: func(p store.Problem) error {
				if !yield(p, nil) {
					return errStop
				}
				return nil
			},
		}
		err = v.run()
		if e := snap.Close(); err == nil {
			err = e
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(store.Problem{}, fileError("verify the image", err))
		}
	}
}

func (v *verifier) run() error {
	for _, step := range []func() error{v.log, v.index, v.indexFile, v.objects, v.blobs} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// log reads all transactions.
func (v *verifier) log() error {
	s := v.s
	var r reader
	for pos := uint64(0); pos < v.end; {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		seg := s.segs.find(pos)
		if pos == seg.base {
			if err := v.header(seg); err != nil {
				return err
			}
			pos += segmentHeader
			continue
		}
		t, err := r.next(seg, pos, s.seed)
		if err == nil && t.pos >= v.end {
			return nil
		}
		if err == nil {
			err = v.transaction(&t)
		}
		switch {
		case err == nil:
			pos = t.end()
		case errors.Is(err, errEnd):
			pos = seg.packed.end
		case errors.Is(err, fs.ErrClosed) && s.segs.find(pos) != seg:
		case errors.Is(err, errBad):
			if err := v.damage(seg, pos, &t); err != nil {
				return err
			}
			if pos, err = v.resume(seg, pos, &t); err != nil {
				return err
			}
			r = reader{}
		case errors.Is(err, errStop) || batos.CodeOf(err) != "":
			return err
		default:
			return readError(s, pos, err)
		}
	}
	return nil
}

// header looks at a segment's head again, as it was at opening.
func (v *verifier) header(seg *segment) error {
	var r reader
	b, err := r.bytes(seg, seg.base, segmentHeader)
	if errors.Is(err, fs.ErrClosed) {
		return nil // just replaced
	}
	if err != nil {
		return readError(v.s, seg.base, err)
	}
	if info, err := parseSegmentHeader(b); err == nil && info.version == FormatVersion && info.image == v.s.id && info.base == seg.base {
		return nil
	}
	v.damaged = true
	return v.say(store.Problem{Kind: store.Damaged, File: seg.name, Text: seg.name + " is damaged at byte 0: its header fails its checksum"})
}

// transaction takes one transaction in and looks at its references.
func (v *verifier) transaction(t *txn) error {
	s := v.s
	type newRecord struct {
		pos uint64
		record
	}
	var found []newRecord
	_, err := t.each(s.seed, func(pos uint64, r *record) error {
		if !r.stub {
			found = append(found, newRecord{pos, *r})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if t.tid <= v.seen.last {
		return errBad
	}
	for i := range found {
		r := &found[i]
		if known := v.seen.lookup(r.OID).pos(); r.prev != known && !v.damaged {
			seg := s.segs.find(r.prev)
			if r.prev < known || seg.packed == nil {
				err := v.say(v.at(t, r.pos, &r.record, store.Damaged, fmt.Sprintf("the revision %v of object %v does not follow the one before it", r.TID, r.OID)))
				if err != nil {
					return err
				}
			}
		}
		v.seen.set(r.OID, makeEntry(r.pos, r.TID, r.Delete))
		for _, h := range r.Blobs {
			if _, ok := v.uses[h]; !ok {
				v.uses[h] = use{r.OID, r.TID}
			}
		}
	}
	v.seen.add(t.tid, t.pos, t.end(), t.next)
	if v.damaged || s.snaps.past(t.tid) {
		return nil // what they refer to may be among what is gone
	}
	for i := range found {
		r := &found[i]
		if s.idx.get(r.OID).tid == r.TID {
			continue // looked at among the objects
		}
		for _, target := range r.Refs {
			if v.seen.lookup(target).live() {
				continue
			}
			p := v.at(t, r.pos, &r.record, store.Dangling, fmt.Sprintf("the old revision %v of object %v refers to object %v, which did not exist then", r.TID, r.OID, target))
			p.Target = target
			if err := v.say(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// at makes a problem with a record.
func (v *verifier) at(t *txn, pos uint64, r *record, kind store.ProblemKind, text string) store.Problem {
	off := t.seg.offset(pos)
	return store.Problem{
		Kind: kind, File: t.seg.name, Offset: off, OID: r.OID, TID: r.TID, Since: r.TID,
		Text: fmt.Sprintf("%s (%s byte %d)", text, t.seg.name, off),
	}
}

// damage tells of what is not a transaction, and whose revisions in it fail if
// that can be seen.
func (v *verifier) damage(seg *segment, pos uint64, t *txn) error {
	v.damaged = true
	p := store.Problem{Kind: store.Damaged, File: seg.name, Offset: seg.offset(pos), TID: t.tid, Since: t.tid}
	p.Text = fmt.Sprintf("%s is damaged at byte %d: a transaction fails its checksum", seg.name, p.Offset)
	failing := suspects(t, v.s.seed)
	if len(failing) == 0 {
		return v.say(p)
	}
	for _, f := range failing {
		p.OID, p.Offset = f.oid, f.off
		p.Text = fmt.Sprintf("%s is damaged at byte %d: the revision %v of object %v fails its checksum", seg.name, f.off, t.tid, f.oid)
		if err := v.say(p); err != nil {
			return err
		}
	}
	return nil
}

// suspect is a record that fails its checksum.
type suspect struct {
	oid batos.OID
	off int64 // in the file
}

// suspects gives the records of a transaction that fail, as far as that is to
// be seen.
func suspects(t *txn, seed uint32) (out []suspect) {
	at := txnHeader + int(t.meta)
	if t.seg == nil {
		return nil
	}
	packed := t.seg.packed != nil
	if packed {
		at = itemHeader + packedTxn + int(t.meta)
	}
	for len(t.b)-at >= recordHeader {
		length := 0
		if packed {
			it, err := parseItem(t.b[at:], seed)
			if at += itemHeader; err != nil || it.length > len(t.b)-at {
				return out
			}
			length = it.length
		}
		raw := rawRecord(t.b[at:])
		if _, _, err := parseRecord(t.b[at:], seed); err != nil {
			if raw.tid() == t.tid && raw.oid() != 0 {
				out = append(out, suspect{raw.oid(), t.off + int64(at)})
			}
			if !packed && (recordLevels(raw) > maxLevels || recordLength(raw) > uint64(len(t.b)-at)) {
				return out
			}
		}
		if !packed {
			length = int(recordLength(raw))
		}
		at += length
	}
	return out
}

// resume gives the position from which to go on after damage at pos: where the
// damaged transaction t ends, if its head can be believed, or else where the
// next whole one begins.
func (v *verifier) resume(seg *segment, pos uint64, t *txn) (uint64, error) {
	if p := seg.packed; p != nil {
		i := sort.Search(len(p.fences), func(i int) bool { return p.fences[i].pos > pos })
		if i == len(p.fences) {
			return p.end, nil
		}
		return p.fences[i].pos, nil
	}
	var r reader
	if t.seg != nil {
		if t.end() == v.s.segmentEnd(seg) || t.end() == v.end {
			return t.end(), nil
		}
		b, err := r.bytes(seg, t.end(), txnHeader)
		if err != nil {
			return 0, readError(v.s, pos, err)
		}
		if _, err := parseHeader(b, t.end()); err == nil {
			return t.end(), nil
		}
	}
	next, err := r.later(seg, pos, v.s.seed, func(header) bool { return true })
	if err != nil {
		return 0, readError(v.s, pos, err)
	}
	if next == 0 {
		next = v.s.segmentEnd(seg)
	}
	return next, nil
}

// index compares the store's index with the log.
func (v *verifier) index() error {
	if v.damaged {
		return nil
	}
	x := v.s.idx
	for oid, want := range v.seen.entries() {
		if have := x.get(oid); have != want && have.pos() < v.end {
			if err := v.wrongIndex(oid, want); err != nil {
				return err
			}
		}
	}
	for oid, have := range x.entries() {
		if have.live() && have.pos() < v.end && v.seen.lookup(oid).location == 0 {
			if err := v.wrongIndex(oid, have); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verifier) wrongIndex(oid batos.OID, e entry) error {
	return v.say(store.Problem{
		Kind: store.WrongIndex, File: v.s.path(IndexFile), OID: oid, TID: e.tid, Since: e.tid,
		Text: fmt.Sprintf("the index does not say what the log says of object %v; remove %s and start again", oid, v.s.path(IndexFile)),
	})
}

// indexFile looks whether the next start can use the index file.
func (v *verifier) indexFile() error {
	v.s.indexMu.Lock()
	_, err := loadIndex(v.s.fsys, v.s.path(IndexFile))
	v.s.indexMu.Unlock()
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOld) {
		return nil
	}
	return v.say(store.Problem{
		Kind: store.WrongIndex, File: v.s.path(IndexFile),
		Text: v.s.path(IndexFile) + " is damaged: nothing is lost, but the next start reads the whole log",
	})
}

// objects loads all that exist, those first to which the roots lead.
func (v *verifier) objects() error {
	met := oidSet{}
	next := slices.Clone(v.o.Roots)
	for len(next) > 0 {
		oid := next[len(next)-1]
		next = next[:len(next)-1]
		if !met.add(oid) {
			continue
		}
		refs, err := v.object(oid)
		if err != nil {
			return err
		}
		next = append(next, refs...)
	}
	for oid, e := range v.seen.entries() {
		if !e.live() || e.tid > v.snap.TID() || !met.add(oid) {
			continue
		}
		if _, err := v.object(oid); err != nil {
			return err
		}
		if len(v.o.Roots) == 0 {
			continue
		}
		seg := v.s.segs.find(e.pos())
		err := v.say(store.Problem{
			Kind: store.Unreachable, File: seg.name, Offset: seg.offset(e.pos()), OID: oid, TID: e.tid, Since: e.tid,
			Text: fmt.Sprintf("object %v of %v cannot be reached from the roots", oid, e.tid),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// object loads one and gives those it refers to that exist.
func (v *verifier) object(oid batos.OID) ([]batos.OID, error) {
	r, err := v.snap.Load(v.ctx, oid)
	switch code := batos.CodeOf(err); {
	case code == batos.NotFound:
		return nil, nil
	case code == batos.Corrupt && v.damaged: // told of already, with its place
		return nil, nil
	case code == batos.Corrupt:
		e := v.s.idx.get(oid)
		seg := v.s.segs.find(e.pos())
		return nil, v.say(store.Problem{
			Kind: store.Damaged, File: seg.name, Offset: seg.offset(e.pos()), OID: oid, TID: e.tid, Since: e.tid,
			Text: fmt.Sprintf("object %v: %v", oid, err),
		})
	case err != nil:
		return nil, err
	}
	refs := r.Refs[:0:0]
	for _, target := range r.Refs {
		e := v.s.idx.get(target)
		if e.tid > v.snap.TID() {
			var t record
			_, err := v.s.locate(&t, target, v.snap.TID(), nil)
			if err != nil && !errors.Is(err, errGone) {
				continue // its own turn tells
			}
			if e = (entry{}); err == nil {
				e = makeEntry(1, t.TID, t.Delete)
			}
		}
		if e.live() {
			refs = append(refs, target)
			continue
		}
		why, since := "never existed", r.TID
		if e.location != 0 {
			why, since = fmt.Sprintf("was deleted by %v", e.tid), max(r.TID, e.tid)
		}
		pos := v.s.idx.place(oid).pos()
		seg := v.s.segs.find(pos)
		err := v.say(store.Problem{
			Kind: store.Dangling, File: seg.name, Offset: seg.offset(pos), OID: oid, TID: r.TID, Target: target, Since: since,
			Text: fmt.Sprintf("object %v of %v refers to object %v, which %s", oid, r.TID, target, why),
		})
		if err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// blobs reads all blobs that revisions refer to.
func (v *verifier) blobs() error {
	hashes := make([]store.BlobHash, 0, len(v.uses))
	for h := range v.uses {
		hashes = append(hashes, h)
	}
	slices.SortFunc(hashes, func(a, b store.BlobHash) int {
		return cmp.Or(cmp.Compare(v.uses[a].tid, v.uses[b].tid), slices.Compare(a[:], b[:]))
	})
	for _, h := range hashes {
		kind := store.BlobAltered
		remade, err := v.blob(h)
		switch {
		case err == nil && !remade:
			continue
		case err == nil:
			kind = store.WrongSums
			err = fmt.Errorf("the checksums beside blob %x were lost: nothing else is, its content is whole", h)
		case errors.Is(err, fs.ErrNotExist):
			kind = store.BlobMissing
		case batos.CodeOf(err) != batos.Corrupt && batos.CodeOf(err) != batos.NewerFormat:
			return err
		}
		u := v.uses[h]
		err = v.say(store.Problem{
			Kind: kind, File: v.s.blobs.file(h), OID: u.oid, TID: u.tid, Blob: h, Since: u.tid,
			Text: fmt.Sprintf("%v (object %v of %v refers to it)", err, u.oid, u.tid),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// blob reads one, and says whether its sums had to be made again.
func (v *verifier) blob(h store.BlobHash) (remade bool, err error) {
	b, err := v.s.openBlob(v.ctx, h)
	if err != nil {
		return false, err
	}
	if !v.o.SkipBlobs {
		err = b.Verify(v.ctx)
	}
	if e := b.Close(); err == nil {
		err = e
	}
	return b.remade, err
}

// oidSet is a set of OIDs, of about a bit each where they are dense.
type oidSet map[batos.OID]*[pageLen / 64]uint64

// add reports whether oid was not in the set.
func (o oidSet) add(oid batos.OID) bool {
	page := o[oid>>pageBits]
	if page == nil {
		page = new([pageLen / 64]uint64)
		o[oid>>pageBits] = page
	}
	word, bit := &page[oid>>6%(pageLen/64)], uint64(1)<<(oid&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}
