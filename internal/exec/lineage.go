package exec

import "batos"

// Lineage is a budget: what a request at a door and everything that descends
// from it may still spend. Exhaustion is an error with code limit.
type Lineage struct {
	Inferences int   // inferences of the model
	Tokens     int   // tokens written by the model
	SendLater  int   // messages sent for later
	Hops       int   // the greatest [batos.Message.Hop] a message may have
	Missions   int   // methods to be written
	NewObjects int   // objects to be made
	Written    int64 // bytes of slot and tree values to be written
}

// DefaultLineage is the budget of a request at a door, unless configured
// otherwise.
var DefaultLineage = Lineage{
	Inferences: 8, Tokens: 16 << 10, SendLater: 1000, Hops: 32,
	Missions: 4, NewObjects: 10_000, Written: 64 << 20,
}

// Less gives what is left of l after a run that used u. Inferences, tokens and
// missions are spent by the kernel when it carries them out: a run only refuses
// to ask for what is not left.
func (l Lineage) Less(u Usage) Lineage {
	l.SendLater -= u.SendLater
	l.NewObjects -= u.NewObjects
	l.Written -= u.Written
	return l
}

// Usage is what a run took.
type Usage struct {
	Steps, Bytes uint64 // fuel of the dialect: operations, and bytes allocated by them
	Sends        int    // messages sent within the run
	Depth        int    // the deepest nesting of sends
	Effects      int    // effects asked for, replayed ones included
	SendLater    int    // messages put into the outbox
	NewObjects   int    // objects made
	Written      int64  // bytes of values the transaction would write
}

func spent(what string, budget any) *batos.Error {
	return batos.Errorf(batos.Limit, "the request's budget of %s is used up (%v left)", what, budget)
}
