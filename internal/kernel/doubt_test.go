package kernel

import (
	"context"
	"testing"

	"batos"
	"batos/internal/mind"
)

// doubting is a profile that doubts every method.
type doubting struct{ mind.Covenant }

func (d doubting) Read(t mind.Task, earlier []mind.Attempt, r *mind.Result) (mind.Answer, error) {
	a, err := d.Covenant.Read(t, earlier, r)
	a.Doubt = "asked in 3 ways, the model answered the same in 2"
	return a, err
}

// A method that its model doubts is proved, and then waits for a person.
func TestADoubtIsForAPerson(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy), change: func(c *Config) { c.Profiles = []mind.Profile{doubting{}} }})
	ctx := context.Background()
	w.new("counter", "", slot("count", num(3)))
	o, err := w.k.Send(ctx, request("counter", "increment_by", num(4)))
	if err != nil || o.Err == nil || o.Err.Code != batos.ApprovalPending {
		t.Fatalf("%+v, %v", o, err)
	}
	if _, _, has := w.slotOf("counter", "increment_by"); has {
		t.Fatal("it is installed")
	}
	if err := w.k.Approve(ctx, Person{"tester"}, o.Mission); err != nil {
		t.Fatal(err)
	}
	v, serr := w.send("counter", "increment_by", num(1))
	w.want(v, serr, num(8)) // the message that waited has added 4
}
