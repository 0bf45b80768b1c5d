package kernel

import (
	"context"
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

// sweepMessages ends the records of messages that finished before then.
func sweepMessages(ctx context.Context, im *image.Image, before object.Time, dry bool) (int, error) {
	oids, err := im.Objects(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for len(oids) > 0 {
		some := oids[:min(len(oids), sweepBatch)]
		oids = oids[len(some):]
		swept := 0
		run := func(tx *image.Tx) error {
			swept = 0
			tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "batos image pack", Note: "end the records of finished messages"})
			for _, oid := range some {
				over, err := finished(tx, oid, before)
				if err != nil {
					return err
				}
				if !over {
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

func finished(tx *image.Tx, oid batos.OID, before object.Time) (bool, error) {
	if !oid.Derived() {
		return false, nil // a message's record has a derived OID
	}
	kind, _, err := tx.Slot(oid, "kind")
	if batos.CodeOf(err) == batos.NotFound || strOf(kind) != "message" {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	state, _, err := tx.Slot(oid, "state")
	if err != nil || !batos.MessageState(strOf(state)).Final() {
		return false, err
	}
	at, _, err := tx.Slot(oid, "finished")
	if err != nil {
		return false, err
	}
	t, ok := at.(object.Time)
	return ok && t < before, nil
}
