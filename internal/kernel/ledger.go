package kernel

import (
	"sync"

	"batos"
	"batos/internal/exec"
	"batos/object"
)

// ledgers hold what each lineage has left while any of its messages is in
// flight, so that all descendants of one request draw on one account. What is
// left is also written into every message record, and what messages spent that
// have ended into an account of the lineage (see spending.go); after a crash
// the smallest of them counts.
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

// users is how many messages of a lineage are in flight.
func (l *ledgers) users(lineage batos.MessageID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.by[lineage]; g != nil {
		return g.users
	}
	return 0
}

// have is what the account holds.
func (g *ledger) have() exec.Lineage {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

// take books what a run used that is about to commit. It refuses what is not
// left: a run looks at the account when it begins, and others of its lineage
// that run beside it may have drawn on it since.
func (g *ledger) take(u exec.Usage) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := g.left.Less(u)
	for _, part := range []struct {
		what       string
		used, left int64
	}{
		{"messages sent for later", int64(u.SendLater), int64(left.SendLater)},
		{"new objects", int64(u.NewObjects), int64(left.NewObjects)},
		{"bytes written", u.Written, left.Written},
	} {
		if part.used > 0 && part.left < 0 {
			return batos.Errorf(batos.Limit, "the request's budget of %s is used up", part.what)
		}
	}
	g.left = left
	return nil
}

// giveBack takes back what take booked for a run that did not commit.
func (g *ledger) giveBack(u exec.Usage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u.SendLater, u.NewObjects, u.Written = -u.SendLater, -u.NewObjects, -u.Written
	g.left = g.left.Less(u)
}

// usualTokens bounds an answer of the model that nothing else bounds.
const usualTokens = 2048

// infer books one inference and the tokens that it may write, at most want if
// that is positive; it refuses when nothing is left.
func (g *ledger) infer(want int) (tokens int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.left.Inferences <= 0 || g.left.Tokens <= 0 {
		return 0, batos.Errorf(batos.Limit, "the request's budget of inferences is used up (%d inferences and %d tokens left)", g.left.Inferences, g.left.Tokens)
	}
	if want <= 0 {
		want = usualTokens
	}
	tokens = min(want, g.left.Tokens)
	g.left.Inferences--
	g.left.Tokens -= tokens
	return tokens, nil
}

// unused gives back tokens that infer booked and the model did not write.
func (g *ledger) unused(tokens int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left.Tokens += tokens
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
