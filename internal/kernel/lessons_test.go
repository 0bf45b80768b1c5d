package kernel

import (
	"context"
	"strings"
	"testing"

	"batos"
	"batos/object"
)

// The golden set has what people wrote instead, and what they let stand.
func TestLessons(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	ctx := context.Background()
	w.new("counter", "", slot("count", num(3)))
	w.new("meter", "", slot("count", num(3)))
	w.new("gauge", "", slot("count", num(3)))
	for _, o := range []string{"counter", "meter", "gauge"} {
		w.send(o, "increment_by", num(4))
	}
	const better = "def increment_by(self, n):\n    self.count += n * 2\n    self._p_changed = True\n    return self.count\n"
	w.def("counter", better)
	if _, err := w.k.Set(ctx, Person{"tester"}, batos.Ref{Name: "gauge"}, "increment_by", object.None{}); err != nil {
		t.Fatal(err)
	}
	got, skipped, err := w.k.Lessons(ctx)
	if err != nil || skipped != 0 || len(got) != 2 {
		t.Fatalf("%d lessons, %d skipped, %v", len(got), skipped, err)
	}
	if got[0].From != "correction" || got[0].Response != better || got[1].From != "kept" || strings.TrimSpace(got[1].Response) != strings.TrimSpace(incrementBy) {
		t.Errorf("%+v", got)
	}
	for _, l := range got {
		if !strings.Contains(l.Prompt, "increment_by") {
			t.Errorf("the model is told nothing of the message: %q", l.Prompt)
		}
	}
}
