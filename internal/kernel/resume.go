package kernel

import (
	"context"
	"sort"

	"batos"
	"batos/image"
)

// resume takes up every message that was not final when the image was last
// closed, or when the process died: in the order they were received, and with
// the journal of what had been done for them.
func (k *Kernel) resume(ctx context.Context) error {
	var recs []*record
	pending := map[batos.OID]*docket{} // dockets that messages are parked for
	err := k.im.View(ctx, func(tx *image.Tx) error {
		recs = nil
		for e, err := range tx.Tree(k.roots.live).Range(nil, nil) {
			if err != nil {
				return err
			}
			rec, err := loadRecord(tx, batos.MessageID(strOf(e.Key)))
			if err != nil {
				return err
			}
			if rec == nil {
				return batos.Errorf(batos.Corrupt, "message %s is to be resumed but has no record", strOf(e.Key))
			}
			if left, ok, err := leftAfter(tx, rec.Lineage, k.config.Lineage); err != nil {
				return err
			} else if ok {
				g := ledger{left: rec.Left}
				g.lower(left)
				rec.Left = g.left
			}
			recs = append(recs, rec)
			if rec.Waits != 0 && pending[rec.Waits] == nil {
				if pending[rec.Waits], err = loadDocket(tx, rec.Waits); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	sort.SliceStable(recs, func(i, j int) bool { return recs[i].Received < recs[j].Received })
	k.mu.Lock()
	var start []*flight
	for _, r := range recs {
		f := k.board(r, true)
		if r.State == batos.Parked {
			d := pending[r.Waits]
			if f.waits = d.Cycle; d.State == "pending" {
				f.pending(d.Cycle)
			}
			continue
		}
		start = append(start, f)
	}
	k.mu.Unlock()
	for _, f := range start {
		k.start(f)
	}
	if len(recs) > 0 {
		k.log.Info("messages go on where they were", "messages", len(recs))
	}
	return nil
}
