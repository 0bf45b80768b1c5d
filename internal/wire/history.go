package wire

import "time"

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
	Before *Value `json:"before,omitempty"`
	After  *Value `json:"after,omitempty"`
}

// Undo is POST /api/v1/undo. Changed answers it.
type Undo struct {
	TID string `json:"tid"`
}
