package logstore_test

import (
	"context"
	"fmt"

	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/vfs"
)

// Two transactions on one object, and the view before the second.
func Example() {
	ctx := context.Background()
	s, err := logstore.Open(ctx, vfs.NewMem(), "/image", logstore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	oid, _ := s.NewOIDs(ctx, 1)
	first, _ := s.Commit(ctx, &store.Changes{Writes: []store.Write{{OID: oid, Data: []byte("one")}}})
	before, _ := s.Snapshot(ctx)
	_, err = s.Commit(ctx, &store.Changes{Writes: []store.Write{{OID: oid, Base: first, Data: []byte("two")}}})
	fmt.Println("commit:", err)

	r, _ := before.Load(ctx, oid)
	fmt.Printf("before: %s\n", r.Data)
	for r := range s.History(ctx, oid) {
		fmt.Printf("history: %s\n", r.Data)
	}
	_, err = s.Commit(ctx, &store.Changes{Writes: []store.Write{{OID: oid, Base: first, Data: []byte("late")}}})
	fmt.Println("conflict:", err != nil)
	// Output:
	// commit: <nil>
	// before: one
	// history: two
	// history: one
	// conflict: true
}
