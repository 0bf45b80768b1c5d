package image

import (
	"batos"
	"batos/internal/codec"
	"batos/object"
)

// Meta says on whose word a transaction was made. It is kept with the
// transaction for as long as that is. Without one the author is the least there
// is: imported, of no name.
type Meta struct {
	Author     batos.Authority
	AuthorName string          // a person's name, a persona's, "genesis 0.1.0"
	Message    batos.MessageID // the message that ran in it, or ""
	Note       string          // what was done, for the log
	Undoes     batos.TID       // the transaction that this one took back, or 0
}

func (m Meta) check() error {
	if m.Author > batos.Person {
		return batos.Errorf(batos.Invalid, "a transaction's author has no authority that exists")
	}
	for _, s := range []string{m.AuthorName, string(m.Message), m.Note} {
		if err := object.Check(object.Str(s)); err != nil {
			return err
		}
	}
	return nil
}

// encode gives m as the arguments of nobody: a short list of values.
func (m Meta) encode() []byte {
	if m == (Meta{}) {
		return nil
	}
	return codec.EncodeValue(&object.List{Items: []object.Value{
		object.NewInt(int64(m.Author)), object.Str(m.AuthorName), object.Str(m.Message), object.Str(m.Note), object.NewInt(int64(m.Undoes)),
	}})
}

func decodeMeta(tid batos.TID, data []byte) (Meta, error) {
	if len(data) == 0 {
		return Meta{}, nil
	}
	v, err := codec.DecodeValue(data)
	if err != nil {
		return Meta{}, batos.Errorf(batos.CodeOf(err), "transaction %s: %w", tid, err)
	}
	bad := batos.Errorf(batos.Corrupt, "transaction %s does not say properly who made it", tid)
	l, ok := v.(*object.List)
	if !ok || len(l.Items) != 5 {
		return Meta{}, bad
	}
	author, ok1 := l.Items[0].(object.Int)
	name, ok2 := l.Items[1].(object.Str)
	message, ok3 := l.Items[2].(object.Str)
	note, ok4 := l.Items[3].(object.Str)
	undoes, ok5 := l.Items[4].(object.Int)
	if !(ok1 && ok2 && ok3 && ok4 && ok5) {
		return Meta{}, bad
	}
	a, _ := author.Int64()
	u, fits := undoes.Int64()
	if a < 0 || a > int64(batos.Person) || u < 0 || !fits {
		return Meta{}, bad
	}
	return Meta{
		Author: batos.Authority(a), AuthorName: string(name), Message: batos.MessageID(message), Note: string(note), Undoes: batos.TID(u),
	}, nil
}
