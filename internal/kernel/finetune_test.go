package kernel

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"batos"
	"batos/internal/mind"
	"batos/internal/vfs"
)

// trainer stands for the training process: it checks what it is given, tells
// one step, and ends as the test says.
type trainer struct {
	t     *testing.T
	began chan TrainOrder
	end   chan TrainOutcome // closed: it stops with the system
	err   error
}

func (tr *trainer) train(ctx context.Context, o TrainOrder, progress func(step, steps int, loss float64)) (TrainOutcome, error) {
	if b, err := os.ReadFile(o.Data); err != nil || !strings.Contains(string(b), "increment_by") {
		tr.t.Errorf("the lessons are %q, %v", b, err)
	}
	progress(1, 20, 2.5)
	select {
	case tr.began <- o:
	case <-ctx.Done():
	}
	select {
	case out := <-tr.end:
		return out, tr.err
	case <-ctx.Done():
		return TrainOutcome{}, ctx.Err()
	}
}

func (tr *trainer) setup(t *testing.T) setup {
	dir := t.TempDir()
	return setup{script: writing(incrementBy), fs: vfs.NewMem(), change: func(c *Config) { c.Trainer, c.ForgeDir = tr.train, dir }}
}

func jobs(t *testing.T, k *Kernel) []Job {
	t.Helper()
	all, err := k.Jobs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestATrainingOutlivesAStop(t *testing.T) {
	tr := &trainer{t: t, began: make(chan TrainOrder), end: make(chan TrainOutcome)}
	s := tr.setup(t)
	w := awakened(t, s)
	ctx := context.Background()
	if _, err := w.k.Train(ctx, Person{"tester"}, TrainRequest{Persona: "brick"}); batos.CodeOf(err) != batos.Refused {
		t.Fatalf("with nothing to learn: %v, want refused", err)
	}
	if _, err := w.k.Train(ctx, Person{"tester"}, TrainRequest{Persona: "ROBIN"}); batos.CodeOf(err) != batos.Invalid {
		t.Fatalf("another persona: %v, want invalid", err)
	}
	w.new("counter", "", slot("count", num(3)))
	w.send("counter", "increment_by", num(4))
	j, err := w.k.Train(ctx, Person{"tester"}, TrainRequest{Persona: "brick"})
	if err != nil || j.Status != jobQueued || j.Name != "BRICK_LORA_V2" || j.Lessons != 1 || j.By != "tester" {
		t.Fatalf("%+v, %v", j, err)
	}
	first := <-tr.began
	if all := jobs(t, w.k); len(all) != 1 || all[0].Status != jobRunning || all[0].Step != 1 || all[0].Steps != 20 || all[0].Loss != 2.5 {
		t.Errorf("%+v", all)
	}
	w.close()
	w.start(s)
	if again := <-tr.began; again != first {
		t.Errorf("after a stop the order is %+v, not %+v", again, first)
	}
	tr.end <- TrainOutcome{Before: 1, After: 1.5}
	ended := waitFor(t, w.k)
	if ended.Status != jobRejected || ended.Before != 1 || ended.After != 1.5 || ended.Result != 0 {
		t.Errorf("%+v", ended)
	}
	w.close() // waits for the Forge to tidy up
	if _, err := os.Stat(first.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder of an ended job is left behind: %v", err)
	}
}

func TestATrainingThatFails(t *testing.T) {
	tr := &trainer{t: t, began: make(chan TrainOrder, 9), end: make(chan TrainOutcome, 9)}
	w := awakened(t, tr.setup(t))
	w.new("counter", "", slot("count", num(3)))
	w.send("counter", "increment_by", num(4))
	for name, c := range map[string]struct {
		out  TrainOutcome
		err  error
		says string
	}{
		"no memory": {err: batos.Errorf(batos.Limit, "the process died"), says: "the process died"},
		"no file":   {out: TrainOutcome{File: "/nowhere", Better: true}, says: "nowhere"},
	} {
		tr.err = c.err
		tr.end <- c.out
		if _, err := w.k.Train(context.Background(), Person{"tester"}, TrainRequest{Persona: "BRICK"}); err != nil {
			t.Fatal(err)
		}
		if j := waitFor(t, w.k); j.Status != jobFailed || !strings.Contains(j.Error, c.says) {
			t.Errorf("%s: %+v", name, j)
		}
	}
	w2 := awakened(t, setup{script: writing(incrementBy)})
	if _, err := w2.k.Train(context.Background(), Person{"tester"}, TrainRequest{Persona: "BRICK"}); batos.CodeOf(err) != batos.Offline {
		t.Errorf("without a trainer: %v, want offline", err)
	}
}

// waitFor waits until the newest job has ended.
func waitFor(t *testing.T, k *Kernel) Job {
	t.Helper()
	deadline := time.After(patience)
	for {
		all := jobs(t, k)
		if j := all[len(all)-1]; j.Status != jobQueued && j.Status != jobRunning {
			return j
		}
		select {
		case <-deadline:
			t.Fatal("the training does not end")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAdaptersDoTheirOwnWork(t *testing.T) {
	for _, c := range []struct {
		profile             mind.Profile
		persona, work, want string
	}{
		{mind.Seed{}, "BRICK", "method", "BRICK"},
		{mind.Seed{}, "ALFRED", "tests", "ALFRED"},
		{mind.Seed{}, "ALFRED", secondOpinion, ""},
		{mind.Seed{}, "ROBIN", "method", ""},
		{mind.Seed{}, "ROBIN", "", "ROBIN"}, // infer_ with a prompt of one's own
		{mind.Covenant{}, "ALFRED", secondOpinion, "ALFRED"},
	} {
		if got := adapterFor(c.profile, c.persona, c.work); got != c.want {
			t.Errorf("%s of %s by %s: under %q, want %q", c.work, c.persona, c.profile.Name(), got, c.want)
		}
	}
}

// A request comes through the image as it was.
func TestRequestKeepsItsWays(t *testing.T) {
	r := mind.Request{Tokens: []int32{1, 2}, Again: [][]int32{{3}, {4, 5}}, Draws: 8, MaxTokens: 9}
	got := requestFrom(requestValue(r))
	if got.Draws != r.Draws || len(got.Again) != 2 || got.Again[1][1] != 5 || got.Tokens[1] != 2 {
		t.Errorf("%+v became %+v", r, got)
	}
}
