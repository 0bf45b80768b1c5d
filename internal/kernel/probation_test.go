package kernel

import (
	"context"
	"strings"
	"testing"

	"batos"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/object"
)

func (w *world) conduct(target, sel string) Conduct {
	w.t.Helper()
	oid, _, _ := w.slotOf(target, sel)
	c, ok, err := w.k.Conduct(context.Background(), oid, batos.Selector(sel))
	if err != nil || !ok {
		w.t.Fatalf("%s.%s has no record: %v", target, sel, err)
	}
	return c
}

// picks raises on an empty list; it holds in its trial and near to it.
const picks = "def pick_up(self, a):\n    return self.things[a]\n"

const picksWell = "def pick_up(self, a):\n    if a >= len(self.things):\n        return None\n    return self.things[a]\n"

func TestAMethodThatFailsInUseIsTakenBack(t *testing.T) {
	w := awakened(t, setup{script: writing(picks, picksWell)})
	w.new("box", "", slot("things", strList([]string{"a", "b"})))
	v, err := w.send("box", "pick_up", num(1))
	w.want(v, err, object.Str("b"))
	if c := w.conduct("box", "pick_up"); c.State != "probation" {
		t.Fatalf("%+v", c)
	}
	for range 2 {
		_, err = w.send("box", "pick_up", num(5))
		w.wantCode(err, batos.Raised)
	}
	if c := w.conduct("box", "pick_up"); c.State != "demoted" || c.Failures != 2 {
		t.Fatalf("%+v", c)
	}
	// The next message writes it anew, and the author is told what was wrong.
	v, err = w.send("box", "pick_up", num(5))
	w.want(v, err, object.None{})
	asked := methodRequests(w.script)
	if last := asked[len(asked)-1].Chat; len(last) != 4 {
		t.Errorf("the author was not told of the earlier version: %d turns", len(last))
	}
	// It does well often enough.
	for range promoteAfter {
		v, err = w.send("box", "pick_up", num(0))
		w.want(v, err, object.Str("a"))
	}
	if c := w.conduct("box", "pick_up"); c.State != "promoted" {
		t.Errorf("%+v", c)
	}
}

func TestARefusalOnPurposeIsNoFailure(t *testing.T) {
	w := awakened(t, setup{script: writing("def take_some(self, a):\n    if a > self.stock:\n        fail(\"not enough\")\n    self.stock = self.stock - a\n    self._p_changed = True\n    return self.stock\n")})
	w.new("shop", "", slot("stock", num(5)))
	v, err := w.send("shop", "take_some", num(2))
	w.want(v, err, num(3))
	for range 4 {
		_, err = w.send("shop", "take_some", num(50))
		w.wantCode(err, batos.Raised)
	}
	if c := w.conduct("shop", "take_some"); c.State != "probation" || c.Failures != 0 {
		t.Errorf("%+v", c)
	}
}

// A wrong method that answers the message is caught by what its name promises,
// and the right one takes its place.
func TestTheGateTriesAMethodNearTheMessage(t *testing.T) {
	for _, c := range []struct{ wrong, check string }{
		{"def increment_by(self, a):\n    self.count = self.count - a\n    self._p_changed = True\n    return self.count\n", "up is up and down is down"},
		{"def increment_by(self, a):\n    self.count = self.count + 1\n    self._p_changed = True\n    return self.count\n", "by the amount that was given"},
		{"def increment_by(self, a):\n    return self.count + a\n", "writer changes something"},
		{"def increment_by(self, a):\n    self.other = self.other + a\n    self._p_changed = True\n    return self.count + a\n", ""},
		{"def increment_by(self, a):\n    self.count = str(self.count + a)\n    self._p_changed = True\n    return self.count\n", "slots keep their kind"},
	} {
		w := awakened(t, setup{script: writing(c.wrong, incrementBy)})
		w.new("counter", "", slot("count", num(3)), slot("other", num(9)))
		v, err := w.send("counter", "increment_by", num(4))
		if c.check == "" {
			continue // nothing in the name says which of two numbers is meant
		}
		w.want(v, err, num(7))
		attempts := fieldsOf(w.lastMission().Data).list("attempts")
		if len(attempts) != 2 {
			t.Errorf("%s: %d attempts", c.check, len(attempts))
			continue
		}
		first := fieldsOf(attempts[0])
		if got := first.str("error"); len(got) < len(c.check) || got[:len(c.check)] != c.check {
			t.Errorf("%s: turned down with %q", c.check, got)
		}
		if first.str("code") != string(batos.Refused) {
			t.Errorf("%s: code %s", c.check, first.str("code"))
		}
	}
}

func TestASecondOpinionAndTestsTurnAMethodDown(t *testing.T) {
	wrong := "def bonus(self, a):\n    return self.count * a + 1\n"
	right := "def bonus(self, a):\n    return self.count * a\n"
	for _, c := range []struct{ kind, by string }{
		{"| VALIDATING | checks | second_opinion |", right},
		{"| VALIDATING | checks | tests |", `{"tests": [{"slots": {"count": 2}, "args": [5], "want": 10, "after": {}}]}`},
	} {
		script := writing(wrong, right)
		reply := script.Reply
		script.Reply = func(n int, r mind.Request) mindtest.Answer {
			if strings.HasPrefix(r.Chat[0].Text, "You check") || strings.HasPrefix(r.Chat[0].Text, "You write example") {
				return mindtest.Answer{Text: c.by}
			}
			return reply(n, r)
		}
		w := awakened(t, setup{script: script})
		w.loadPolicies(c.kind)
		w.new("counter", "", slot("count", num(3)))
		v, err := w.send("counter", "bonus", num(4))
		w.want(v, err, num(12))
		if m := w.lastMission(); m.Attempts != 2 {
			t.Errorf("%s: %d attempts", c.kind, m.Attempts)
		}
	}
}
