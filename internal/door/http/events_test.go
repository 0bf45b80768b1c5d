package http

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"batos"
	"batos/internal/door/doortest"
	"batos/internal/kernel"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
)

// A watcher that comes back is given what it missed, whether it says so as
// browsers do or as our own client does, and also after the server was started
// again and counts from one.
func TestEventsGoOnWhereAWatcherStopped(t *testing.T) {
	w := doortest.Open(t, &mindtest.Script{Reply: func(int, mind.Request) mindtest.Answer { return mindtest.Answer{Text: "no method"} }})
	s := serve(t, w)
	if _, err := w.Kernel.Send(t.Context(), kernel.Request{ID: "m", Target: batos.Ref{Name: "counter"}, Selector: "fly_away", Authority: batos.Person, Synthesis: true}); err != nil {
		t.Fatal(err)
	}
	if w.Kernel.Events.Last() < 2 {
		t.Fatalf("%d events", w.Kernel.Events.Last())
	}
	for _, c := range []struct{ query, header, first string }{
		{"?after=0", "", "1"},
		{"?after=1", "", "2"},
		{"", "1", "2"},
		{"?after=0", "1", "2"},
		{"", "99", "1"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/api/v1/events"+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+doortest.Token)
		if c.header != "" {
			r.Header.Set("Last-Event-ID", c.header)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(res.Body).ReadString('\n')
		if got := strings.TrimSpace(strings.TrimPrefix(line, "id:")); err != nil || got != c.first {
			t.Errorf("%+v: %q, %v", c, line, err)
		}
		_ = res.Body.Close() // it has no end
	}
}
