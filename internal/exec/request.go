package exec

import (
	"batos"
	"batos/internal/method"
	"batos/object"
)

// Request is one message to carry out.
type Request struct {
	Message batos.Message
	// Journal is what earlier runs of this message recorded, oldest first.
	Journal []Effect
	// Lineage is what the message's lineage may still spend. The zero Lineage
	// allows nothing; a message fresh from a door has [DefaultLineage].
	Lineage Lineage
	// Candidate, if not nil, is a method to try as if it were installed. Such
	// a run leaves no volatile slots behind; its transaction is a scratch one.
	Candidate *Candidate
	// Expression, if not "", is the method that answers the message, on the
	// message's own authority and stored nowhere: what a person typed.
	Expression string
}

// Candidate is a method that was written but not installed. Look-ups find its
// source in OID under Selector, before what that slot holds, and run it with
// the authority of generated code.
type Candidate struct {
	OID      batos.OID
	Selector batos.Selector
	Source   string
}

// Status says how a run ended.
type Status uint8

const (
	// Done: Value is the answer. The transaction holds the message's writes
	// and may be committed, with the outbox, in one go.
	Done Status = iota + 1
	// Failed: Err says why. The transaction must not be committed as it is.
	Failed
	// Suspended: the run needs the effect in Wanted. Drop the writes, carry it
	// out, append it to the journal, and run the message again.
	Suspended
	// NotUnderstood: nobody understood the message in Missing. Drop the
	// writes, keep the journal, and run again when there is a method.
	NotUnderstood
)

var statusNames = [...]string{"?", "done", "failed", "suspended", "not understood"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "?"
}

// Outcome is how a run ended.
type Outcome struct {
	Status Status
	Value  object.Value // the answer, if Done
	Err    *batos.Error // why, if Failed
	// Journal is the whole journal to keep with the message: what of the
	// request's journal still counts, and what this run added.
	Journal []Effect
	Wanted  *WantedEffect         // the effect to carry out, if Suspended
	Missing *method.NotUnderstood // receiver, selector and arguments, if NotUnderstood
	// Outbox is what the run sent for later, in order. It leaves with the
	// commit and only if Done.
	Outbox []batos.Message
	Usage  Usage
}
