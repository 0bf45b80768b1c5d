package kernel

import (
	"context"
	"slices"
	"time"

	"batos"
	"batos/image"
	"batos/image/store"
	"batos/object"
)

// PackOptions say what [Pack] may remove.
type PackOptions struct {
	Before time.Time // what is needed to see moments from then on stays
	Forget bool      // also old sources, provenance, verdicts and adapter lineage
	DryRun bool      // only count

	Progress func(store.PackProgress) // unless nil, told now and then
}

// PackReport says what Pack removed, or would remove.
type PackReport struct {
	store.PackReport
	Messages int // finished ones whose records ended
}

// outcomes are kept for so long: who submits a message again within it gets
// the recorded answer.
const outcomesKept = 7 * 24 * time.Hour

// sweepBatch bounds how many records end in one transaction.
const sweepBatch = 1000

// Pack removes what nobody can ask for any more: the records of messages that
// finished before o.Before (and before the time that outcomes are kept), and
// past states of objects that no moment from then on can see. Sources of
// methods, where they came from, verdicts on them, corrections, and the lineage
// of adapters stay for ever, unless o.Forget. It works on an image that is
// open, running or not.
func Pack(ctx context.Context, im *image.Image, o PackOptions) (PackReport, error) {
	var out PackReport
	var err error
	sweep := o.Before
	if kept := time.Now().Add(-outcomesKept); kept.Before(sweep) {
		sweep = kept
	}
	if out.Messages, err = sweepMessages(ctx, im, object.Time(sweep.UnixMicro()), o.DryRun); err != nil {
		return out, err
	}
	out.PackReport, err = im.Pack(ctx, image.PackOptions{Before: batos.TIDAt(o.Before), Forget: o.Forget, DryRun: o.DryRun, Keep: keptForEver, Progress: o.Progress})
	return out, err
}

// keptForEver reports whether a past state is a part of how methods came to be.
func keptForEver(s *image.Past) bool {
	if s.Protection() != object.Sealed {
		return false
	}
	v, _ := s.Slot("kind")
	switch strOf(v) {
	case "provenance", "verdict", "correction", "adapter":
		return true
	}
	return false
}

// sweepMessages ends the records of messages that finished before then, and the
// accounts of lineages whose first message has no record any more.
func sweepMessages(ctx context.Context, im *image.Image, before object.Time, dry bool) (int, error) {
	oids, err := im.Objects(ctx)
	if err != nil {
		return 0, err
	}
	oids = slices.DeleteFunc(oids, func(oid batos.OID) bool { return !oid.Derived() }) // records and accounts have derived OIDs
	var accounts []batos.OID
	n, err := sweep(ctx, im, oids, dry, func(tx *image.Tx, oid batos.OID) (bool, error) {
		kind, _, err := tx.Slot(oid, "kind")
		switch strOf(kind) {
		case "spending":
			accounts = append(accounts, oid)
		case "message":
			if err == nil {
				return finished(tx, oid, before)
			}
		}
		if batos.CodeOf(err) == batos.NotFound {
			err = nil
		}
		return false, err
	})
	if err != nil || dry {
		return n, err
	}
	slices.Sort(accounts)
	_, err = sweep(ctx, im, slices.Compact(accounts), false, func(tx *image.Tx, oid batos.OID) (bool, error) {
		lineage, _, err := tx.Slot(oid, "lineage")
		if err != nil || strOf(lineage) == "" { // one of an older release does not say
			return false, err
		}
		there, err := tx.Exists(recordOID(batos.MessageID(strOf(lineage))))
		return !there, err
	})
	return n, err
}

// sweep ends those of the objects that are over, and counts them; if dry it
// only counts.
func sweep(ctx context.Context, im *image.Image, oids []batos.OID, dry bool, over func(*image.Tx, batos.OID) (bool, error)) (n int, err error) {
	for some := range slices.Chunk(oids, sweepBatch) {
		swept := 0
		run := func(tx *image.Tx) error {
			swept = 0
			tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "batos image pack", Note: "end the records of finished messages"})
			for _, oid := range some {
				is, err := over(tx, oid)
				if err != nil {
					return err
				}
				if !is {
					continue
				}
				swept++
				if dry {
					continue
				}
				if err := tx.Delete(oid); err != nil {
					return err
				}
			}
			return nil
		}
		if dry {
			err = im.View(ctx, run)
		} else {
			_, err = im.Update(ctx, run)
		}
		if err != nil {
			return n, err
		}
		n += swept
	}
	return n, nil
}

// finished reports whether a message's record is final since before then.
func finished(tx *image.Tx, oid batos.OID, before object.Time) (bool, error) {
	state, _, err := tx.Slot(oid, "state")
	if err != nil || !batos.MessageState(strOf(state)).Final() {
		return false, err
	}
	at, _, err := tx.Slot(oid, "finished")
	t, ok := at.(object.Time)
	return ok && t < before, err
}
