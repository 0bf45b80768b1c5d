package kernel

import (
	"sync"

	"batos"
	"batos/internal/exec"
	"batos/object"
)

// ledgers hold what each lineage has left while any of its messages is in
// flight, so that all descendants of one request draw on one account. What is
// left is also written into every message record; after a crash the smallest
// of them counts.
type ledgers struct {
	mu sync.Mutex
	by map[batos.MessageID]*ledger
}

// ledger is one lineage's account.
type ledger struct {
	mu    sync.Mutex
	left  exec.Lineage
	users int
}

func (l *ledgers) open(lineage batos.MessageID, left exec.Lineage) *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[batos.MessageID]*ledger{}
	}
	g := l.by[lineage]
	if g == nil {
		g = &ledger{left: left}
		l.by[lineage] = g
	} else {
		g.lower(left)
	}
	g.users++
	return g
}

func (l *ledgers) close(lineage batos.MessageID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.by[lineage]
	if g == nil {
		return
	}
	if g.users--; g.users == 0 {
		delete(l.by, lineage)
	}
}

// have is what the account holds.
func (g *ledger) have() exec.Lineage {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

// take books what a committed run used.
func (g *ledger) take(u exec.Usage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = g.left.Less(u)
}

// infer books one inference; it refuses when none is left.
func (g *ledger) infer() *batos.Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left.Inferences <= 0 || g.left.Tokens <= 0 {
		return batos.Errorf(batos.Limit, "the request's budget of inferences is used up (%d inferences and %d tokens left)", g.left.Inferences, g.left.Tokens)
	}
	g.left.Inferences--
	return nil
}

// spent books generated tokens.
func (g *ledger) spent(tokens int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left.Tokens -= tokens
}

// mission books one mission; it refuses when none is left.
func (g *ledger) mission() *batos.Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left.Missions <= 0 {
		return batos.Errorf(batos.Limit, "the request's budget of missions is used up")
	}
	g.left.Missions--
	return nil
}

// noMission gives back what mission booked for one that never began.
func (g *ledger) noMission() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left.Missions++
}

// lower makes each part at most what other has.
func (g *ledger) lower(o exec.Lineage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := &g.left
	l.Inferences, l.Tokens, l.SendLater = min(l.Inferences, o.Inferences), min(l.Tokens, o.Tokens), min(l.SendLater, o.SendLater)
	l.Hops, l.Missions, l.NewObjects = min(l.Hops, o.Hops), min(l.Missions, o.Missions), min(l.NewObjects, o.NewObjects)
	l.Written = min(l.Written, o.Written)
}

func leftValue(l exec.Lineage) object.Value {
	t := &object.Tuple{}
	for _, n := range []int64{int64(l.Inferences), int64(l.Tokens), int64(l.SendLater), int64(l.Hops), int64(l.Missions), int64(l.NewObjects), l.Written} {
		t.Items = append(t.Items, object.NewInt(n))
	}
	return t
}

func leftOf(v object.Value) exec.Lineage {
	n := make([]int64, 7)
	for i, it := range itemsOf(v) {
		if i < len(n) {
			n[i] = intOf(it)
		}
	}
	return exec.Lineage{
		Inferences: int(n[0]), Tokens: int(n[1]), SendLater: int(n[2]), Hops: int(n[3]), Missions: int(n[4]), NewObjects: int(n[5]), Written: n[6],
	}
}
