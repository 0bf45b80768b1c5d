package batos

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// OID names one object of an image for ever. Zero is no object. OIDs below
// [DerivedOID] are handed out in sequence; those above are computed from a
// name (see [DeriveOID]) and need no allocation.
type OID uint64

// DerivedOID is the first OID of the derived range.
const DerivedOID OID = 1 << 63

// String gives the form used on every wire and in every message: 0x12a.
func (o OID) String() string { return "0x" + strconv.FormatUint(uint64(o), 16) }

// Derived reports whether o was computed from a name.
func (o OID) Derived() bool { return o >= DerivedOID }

// ParseOID reads the 0x form or a decimal number.
func ParseOID(s string) (OID, error) {
	base, digits := 10, s
	if h, ok := strings.CutPrefix(s, "0x"); ok {
		base, digits = 16, h
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil || n == 0 {
		return 0, Errorf(Invalid, "%q is not an oid: write 0x12a or a decimal number", s)
	}
	return OID(n), nil
}

// DeriveOID computes the OID of a record that is found by name instead of by
// reference: 63 bits of SHA-256 over space and name. The record keeps its
// name, so that a collision is noticed instead of believed.
func DeriveOID(space, name string) OID {
	h := sha256.New()
	h.Write([]byte(space))
	h.Write([]byte{0})
	h.Write([]byte(name))
	var sum [32]byte
	return OID(binary.BigEndian.Uint64(h.Sum(sum[:0]))) | DerivedOID
}

// TID names one committed transaction. TIDs grow with commit order and are at
// least the wall clock's microseconds since 1970, so that a moment in time
// and a TID convert into each other. Zero is "before everything".
type TID uint64

// String gives the wire form: t followed by 16 hex digits.
func (t TID) String() string { return fmt.Sprintf("t%016x", uint64(t)) }

// Time is the moment the transaction was committed (never earlier than the
// truth, and later only if the clock was set back).
func (t TID) Time() time.Time { return time.UnixMicro(int64(t)) }

// TIDAt gives the largest TID that a transaction committed at or before m
// can have; before 1970 that is zero.
func TIDAt(m time.Time) TID { return TID(max(0, m.UnixMicro())) }

// ParseTID reads the t form.
func ParseTID(s string) (TID, error) {
	h, ok := strings.CutPrefix(s, "t")
	n, err := strconv.ParseUint(h, 16, 64)
	if !ok || len(h) != 16 || err != nil {
		return 0, Errorf(Invalid, "%q is not a tid: write t and 16 hex digits", s)
	}
	return TID(n), nil
}

// Selector is the name of a message or slot in its one canonical form.
type Selector string

// MaxSelector bounds a selector's length in bytes.
const MaxSelector = 128

// ParseSelector accepts the underscore and the Smalltalk form of a selector
// ("activateExpert:" is "activateExpert_") and refuses what the dialect could
// not define or what the kernel keeps for itself.
func ParseSelector(s string) (Selector, error) {
	c := strings.ReplaceAll(s, ":", "_")
	if c == "" || len(c) > MaxSelector {
		return "", Errorf(Invalid, "selector %s: want 1 to %d characters", quoteShort(s), MaxSelector)
	}
	for i := 0; i < len(c); i++ {
		b := c[i]
		letter := b == '_' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		if !letter && (i == 0 || b < '0' || b > '9') {
			return "", Errorf(Invalid, "selector %s: only letters, digits, _ and : are allowed, and no digit first", quoteShort(s))
		}
	}
	if strings.HasPrefix(c, "_p_") {
		return "", Errorf(Invalid, "selector %q: names beginning with _p_ belong to the kernel", c)
	}
	if reserved[c] {
		return "", Errorf(Invalid, "selector %q is a reserved word of the dialect", c)
	}
	return Selector(c), nil
}

var reserved = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields("and as assert async await break class continue def del elif else except finally for from global if import in is lambda load nonlocal not or pass raise return try while with yield True False None") {
		m[w] = true
	}
	return m
}()

func quoteShort(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return strconv.Quote(s)
}

// MessageID identifies one request for ever: re-submitting it answers the
// recorded outcome instead of doing the work again. Clients choose it.
type MessageID string

// NewMessageID makes a random id of 128 bits.
func NewMessageID() MessageID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails (it aborts the program)
	return MessageID("m" + hex.EncodeToString(b[:]))
}
