package image

import (
	"context"
	"testing"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

func open(t testing.TB) *Image {
	t.Helper()
	im, err := Open(context.Background(), "/image", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	})
	return im
}

func slots(nameValues ...any) *object.State {
	var out []object.Slot
	for i := 0; i < len(nameValues); i += 2 {
		out = append(out, object.Slot{Name: nameValues[i].(string), Value: nameValues[i+1].(object.Value)})
	}
	return object.NewState(object.Open, batos.Person, out...)
}

func update(t testing.TB, im *Image, fn func(*Tx) error) batos.TID {
	t.Helper()
	tid, err := im.Update(context.Background(), fn)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

func view(t testing.TB, im *Image, fn func(*Tx) error) {
	t.Helper()
	if err := im.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, im *Image, s *object.State) (oid batos.OID) {
	t.Helper()
	update(t, im, func(tx *Tx) (err error) {
		oid, err = tx.Create(s)
		return err
	})
	return oid
}

func wantSlot(t testing.TB, tx *Tx, oid batos.OID, name string, want object.Value) {
	t.Helper()
	got, _, err := tx.Slot(oid, name)
	if err != nil {
		t.Fatal(err)
	}
	if !object.Equal(got, want) {
		t.Fatalf("slot %s of %s is %s, want %s", name, oid, object.Text(got, 80), object.Text(want, 80))
	}
}

func wantCode(t testing.TB, err error, code batos.Code) {
	t.Helper()
	if batos.CodeOf(err) != code {
		t.Fatalf("error %v has code %q, want %q", err, batos.CodeOf(err), code)
	}
}

func i(n int64) object.Value { return object.NewInt(n) }

func TestObjectLife(t *testing.T) {
	im := open(t)
	oid := create(t, im, slots("count", i(3)))
	tid := update(t, im, func(tx *Tx) error { return tx.SetSlot(oid, "count", i(4)) })
	if tid != im.LastTID() {
		t.Errorf("commit gave %s, the image's last is %s", tid, im.LastTID())
	}
	view(t, im, func(tx *Tx) error {
		wantSlot(t, tx, oid, "count", i(4))
		if _, ok, err := tx.Slot(oid, "nothing"); ok || err != nil {
			t.Errorf("an absent slot: %v, %v", ok, err)
		}
		wantCode(t, tx.SetSlot(oid, "count", i(5)), batos.Denied)
		return nil
	})
	update(t, im, func(tx *Tx) error { return tx.Delete(oid) })
	view(t, im, func(tx *Tx) error {
		_, _, err := tx.Slot(oid, "count")
		wantCode(t, err, batos.NotFound)
		return nil
	})
}
