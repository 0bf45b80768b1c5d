package wire

import (
	"time"

	"batos"
	"batos/object"
)

// Log is GET /api/v1/log: transactions, the newest first.
type Log struct {
	Entries []LogEntry `json:"entries"`
}

// LogEntry is one transaction.
type LogEntry struct {
	TID        string    `json:"tid"`
	Time       time.Time `json:"time"`
	Author     string    `json:"author"`
	AuthorName string    `json:"author_name,omitempty"`
	Message    string    `json:"message,omitempty"`
	Note       string    `json:"note,omitempty"`
	Undoes     string    `json:"undoes,omitempty"` // the tid it took back
	Objects    []Named   `json:"objects"`          // that it wrote or ended
	Trees      []string  `json:"trees"`            // in which it wrote
	Slots      []string  `json:"slots,omitempty"`  // with a target: what changed in it
	Deleted    bool      `json:"deleted,omitempty"`
}

// Named is an object with its root name, if it has one.
type Named struct {
	OID  string `json:"oid"`
	Name string `json:"name,omitempty"`
}

// Diff is GET /api/v1/diff: what two moments differ in.
type Diff struct {
	From    string   `json:"from"`
	To      string   `json:"to"`
	Changes []Change `json:"changes"`
	More    int      `json:"more,omitempty"` // changes that were left out
}

// Change is what became of one object or tree.
type Change struct {
	Named
	Tree       bool    `json:"tree,omitempty"`
	New        bool    `json:"new,omitempty"`
	Deleted    bool    `json:"deleted,omitempty"`
	Protection string  `json:"protection,omitempty"`
	Deltas     []Delta `json:"deltas"` // slots of an object, keys of a tree
}

// Delta is what became of one slot or key; a missing side was absent.
type Delta struct {
	Slot   string `json:"slot,omitempty"`
	Key    *Value `json:"key,omitempty"`
	Before *Side  `json:"before,omitempty"`
	After  *Side  `json:"after,omitempty"`
}

// Side is what a slot or key held: a method, or another value.
type Side struct {
	Method *MethodInfo `json:"method,omitempty"`
	Value  *Value      `json:"value,omitempty"`
	Text   string      `json:"text"` // for people, shortened
}

// sideWidth bounds a side's text, in bytes.
const sideWidth = 200

// SideOf is the wire form of what a slot or key held; nil if it was absent.
func SideOf(v object.Value) *Side {
	if v == nil {
		return nil
	}
	s := &Side{Text: object.Text(v, sideWidth)}
	if m, ok := v.(*object.Method); ok {
		info := methodInfo(m)
		s.Method = &info
		return s
	}
	s.Value = &Value{Value: v}
	return s
}

// Undo is POST /api/v1/undo. Changed answers it.
type Undo struct {
	TID string `json:"tid"`
}

// beginning is the earliest moment that can be asked for: nothing was there.
const beginning = batos.TID(1)

// clockForms are the ways to write a time beside RFC 3339: by the clock of the
// machine that reads it.
var clockForms = []string{"2006-01-02 15:04:05.999999", "2006-01-02T15:04:05.999999", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"}

// ParseMoment reads a tid or a time; "" is zero, which stands for now. Any
// other text stands for what it says: t and sixteen zeros, or a time before
// 1970, is before everything. A time without a zone is by this machine's
// clock, a day is its beginning.
func ParseMoment(s string) (batos.TID, error) {
	if s == "" {
		return 0, nil
	}
	if tid, err := batos.ParseTID(s); err == nil {
		return max(tid, beginning), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	for _, form := range clockForms {
		if err == nil {
			break
		}
		t, err = time.ParseInLocation(form, s, time.Local)
	}
	if err != nil {
		return 0, batos.Errorf(batos.Invalid, "%.60q is neither a tid (t and 16 hex digits) nor a time such as 2026-11-23T01:02:03Z or \"2026-11-23 01:02\"", s)
	}
	if t.Before(time.UnixMicro(int64(beginning))) {
		return beginning, nil
	}
	return batos.TIDAt(t), nil
}
