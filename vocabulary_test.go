package batos

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseSelector(t *testing.T) {
	for in, want := range map[string]Selector{
		"increment_by":           "increment_by",
		"activateExpert:":        "activateExpert_",
		"at:put:":                "at_put_",
		"_clone_persistent_":     "_clone_persistent_",
		strings.Repeat("a", 128): Selector(strings.Repeat("a", 128)),
	} {
		if got, err := ParseSelector(in); err != nil || got != want {
			t.Errorf("ParseSelector(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "9lives", "a-b", "a b", "naïve", "for", "None", "_p_changed", strings.Repeat("a", 129), "x\x00"} {
		if got, err := ParseSelector(in); CodeOf(err) != Invalid {
			t.Errorf("ParseSelector(%q) = %q, %v; want invalid", in, got, err)
		}
	}
}

func TestIDsRoundTrip(t *testing.T) {
	if o, err := ParseOID(OID(0x12a).String()); err != nil || o != 0x12a {
		t.Error(o, err)
	}
	if o, err := ParseOID("298"); err != nil || o != 298 {
		t.Error(o, err)
	}
	for _, bad := range []string{"", "0", "0x", "-1", "0x1g", "99999999999999999999"} {
		if _, err := ParseOID(bad); CodeOf(err) != Invalid {
			t.Errorf("ParseOID(%q): %v", bad, err)
		}
	}
	now := time.Now().Truncate(time.Microsecond)
	for _, early := range []time.Time{{}, time.Unix(-1, 0)} {
		if tid := TIDAt(early); tid != 0 {
			t.Errorf("TIDAt(%v) = %v, want that before everything", early, tid)
		}
	}
	if !TIDAt(now).Time().Equal(now) {
		t.Error("a moment must survive its tid")
	}
	if got, err := ParseTID(TID(7).String()); err != nil || got != 7 {
		t.Error(got, err)
	}
	if !DeriveOID("a", "b").Derived() || DeriveOID("a", "b") == DeriveOID("ab", "") || OID(1).Derived() {
		t.Error("derived oids must lie above, and depend on space and name apart")
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	err := fmt.Errorf("while: %w", Errorf(Limit, "too much: %w", cause))
	if CodeOf(err) != Limit || !errors.Is(err, cause) || !errors.Is(err, &Error{Code: Limit}) || errors.Is(err, &Error{Code: Denied}) {
		t.Error("an error must keep its code and cause")
	}
	for c, i := range codes {
		if c.HTTP() != i.http || c.Exit() != i.exit || i.http < 200 || i.exit == 0 {
			t.Errorf("%s: %d, %d", c, c.HTTP(), c.Exit())
		}
	}
	if Code("x").HTTP() != 500 || Code("x").Exit() != 1 {
		t.Error("an unknown code is an internal error")
	}
}
