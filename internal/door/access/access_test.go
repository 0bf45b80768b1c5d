package access

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
	"batos/internal/kernel"
)

const ownersToken = "0123456789abcdef0123456789abcdef"

func open(t *testing.T, dir string) *Keyring {
	t.Helper()
	k, err := Open(dir, ownersToken, "owner")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTokensAreKeptHashedAndTakenBack(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir)
	token, _, err := k.Give("editor", []Scope{Read, Send}, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, GrantsFile))
	if err != nil || strings.Contains(string(b), token) {
		t.Errorf("the file must not hold the token: %s, %v", b, err)
	}
	if st, err := os.Stat(filepath.Join(dir, GrantsFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, _, err := k.Give("editor", []Scope{Read}, 0); batos.CodeOf(err) != batos.Conflict {
		t.Errorf("a second one of that name: %v", err)
	}

	again := open(t, dir)
	c, err := again.Caller(token)
	if err != nil || c.Name != "editor" || c.May(Send) != nil || batos.CodeOf(c.May(Synthesize)) != batos.Denied || batos.CodeOf(c.May(Admin)) != batos.Denied {
		t.Errorf("%+v, %v", c, err)
	}
	if err := again.TakeBack("editor"); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*Keyring{again, open(t, dir)} {
		if _, err := k.Caller(token); batos.CodeOf(err) != batos.Denied {
			t.Errorf("a token that was taken back: %v", err)
		}
	}
	if err := again.TakeBack("editor"); batos.CodeOf(err) != batos.NotFound {
		t.Errorf("taken back twice: %v", err)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	k := open(t, t.TempDir())
	owner, err := k.Caller(ownersToken)
	if err != nil {
		t.Fatal(err)
	}
	if r := owner.Request(kernel.Request{Selector: "x"}); r.Authority != batos.Person || !r.Underscore || !r.Synthesis || r.Sender != "owner" {
		t.Errorf("the owner's: %+v", r)
	}
	token, _, err := k.Give("agent", []Scope{Send, Synthesize}, 0)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := k.Caller(token)
	if err != nil {
		t.Fatal(err)
	}
	r := agent.Request(kernel.Request{Selector: "x", Authority: batos.Person, Underscore: true, Sender: "owner"})
	if r.Authority != batos.Persona || r.Underscore || !r.Synthesis || r.Sender != "agent" {
		t.Errorf("an agent's: %+v", r)
	}
	for _, bad := range []string{"", "x", ownersToken[1:], ownersToken + "0"} {
		if _, err := k.Caller(bad); batos.CodeOf(err) != batos.Denied {
			t.Errorf("token %q: %v", bad, err)
		}
	}
}

func TestQuota(t *testing.T) {
	k := open(t, t.TempDir())
	token, _, err := k.Give("busy", []Scope{Read}, 6)
	if err != nil {
		t.Fatal(err)
	}
	c, err := k.Caller(token)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.May(Read); err != nil {
		t.Fatal(err)
	}
	if err := c.May(Read); batos.CodeOf(err) != batos.Limit {
		t.Errorf("beyond the quota: %v", err)
	}
}

func TestBadGrants(t *testing.T) {
	k := open(t, t.TempDir())
	for name, try := range map[string]func() error{
		"no name":          func() error { _, _, err := k.Give(" ", []Scope{Read}, 0); return err },
		"no scope":         func() error { _, _, err := k.Give("a", nil, 0); return err },
		"an unknown scope": func() error { _, _, err := k.Give("a", []Scope{"root"}, 0); return err },
		"a negative quota": func() error { _, _, err := k.Give("a", []Scope{Read}, -1); return err },
	} {
		if err := try(); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, GrantsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, ownersToken, "owner"); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a damaged file: %v", err)
	}
}

// What clients of HTTP act upon without reading the text: who is not known, who
// may not, how long to wait, what is too large.
func TestStatus(t *testing.T) {
	k := open(t, t.TempDir())
	token, _, err := k.Give("busy", []Scope{Read}, 6)
	if err != nil {
		t.Fatal(err)
	}
	c, err := k.Caller(token)
	if err != nil {
		t.Fatal(err)
	}
	_, unknown := k.Caller("0000")
	_ = c.May(Read) // the one there is
	for _, want := range []struct {
		err           error
		status        int
		header, value string
	}{
		{unknown, 401, "WWW-Authenticate", "Bearer"},
		{c.May(Send), 403, "WWW-Authenticate", ""},
		{c.May(Read), 429, "Retry-After", "10"},
		{fmt.Errorf("in a door: %w", ErrTooLarge), 413, "Retry-After", ""},
		{batos.Errorf(batos.Limit, "a budget"), 429, "Retry-After", ""},
		{errors.New("our fault"), 500, "Retry-After", ""},
	} {
		h := http.Header{}
		if got := Status(h, want.err); got != want.status || h.Get(want.header) != want.value {
			t.Errorf("%v: %d, %v", want.err, got, h)
		}
	}
	for value, want := range map[string]string{"Bearer abc": "abc", "bearer abc": "abc", "BEARER  abc": "abc", "Basic abc": "", "abc": "", "": ""} {
		if got := Token(http.Header{"Authorization": {value}}); got != want {
			t.Errorf("%q: %q", value, got)
		}
	}
}
