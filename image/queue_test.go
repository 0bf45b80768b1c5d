package image

import (
	"sync"
	"testing"

	"batos/object"
)

// Producers and consumers work at once: every entry is taken once, and those
// of one producer in the order in which they were put.
func TestQueue(t *testing.T) {
	im := open(t)
	var queue object.Tree
	update(t, im, func(tx *Tx) (err error) {
		queue, err = tx.NewTree()
		return err
	})
	const producers, consumers, each = 3, 2, 30
	var wg sync.WaitGroup
	for p := range int64(producers) {
		wg.Go(func() {
			for n := int64(0); n < each; n += 2 { // two to a transaction
				if _, err := im.Update(t.Context(), func(tx *Tx) error {
					q := tx.Queue(queue)
					if err := q.Put(list(i(p), i(n))); err != nil {
						return err
					}
					return q.Put(list(i(p), i(n+1)))
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	taken := make([][]*object.List, consumers)
	var mu sync.Mutex
	left := producers * each
	for c := range taken {
		wg.Go(func() {
			for {
				mu.Lock()
				end := left == 0
				mu.Unlock()
				if end {
					return
				}
				var got object.Value
				if _, err := im.Update(t.Context(), func(tx *Tx) (err error) {
					got, _, err = tx.Queue(queue).Take()
					return err
				}); err != nil {
					t.Error(err)
					return
				}
				if got != nil {
					taken[c] = append(taken[c], got.(*object.List))
					mu.Lock()
					left--
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, mine := range taken {
		last := map[string]int64{}
		for _, l := range mine {
			if name := object.Text(l, 40); seen[name] {
				t.Errorf("%s was taken twice", name)
			} else {
				seen[name] = true
			}
			n, _ := l.Items[1].(object.Int).Int64()
			p := object.Text(l.Items[0], 10)
			if before, ok := last[p]; ok && n <= before {
				t.Errorf("producer %s: %d was taken after %d", p, n, before)
			}
			last[p] = n
		}
	}
	if len(seen) != producers*each {
		t.Errorf("%d entries were taken, %d put", len(seen), producers*each)
	}
	view(t, im, func(tx *Tx) error {
		if n, err := tx.Queue(queue).Len(); n != 0 || err != nil {
			t.Errorf("%d are left, %v", n, err)
		}
		return nil
	})
}
