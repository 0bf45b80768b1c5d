package batos

import (
	"errors"
	"fmt"
)

// Code says what kind of thing went wrong. The set is closed: every error
// that leaves the system carries one of these, and doors translate it to an
// HTTP status and an exit code by [Code.HTTP] and [Code.Exit].
type Code string

const (
	NotFound          Code = "not_found"           // no such object, root name, message or mission
	NoSlot            Code = "no_slot"             // a plain read of a slot nobody has
	DoesNotUnderstand Code = "does_not_understand" // a send nobody has a method for
	Offline           Code = "offline"             // the cognitive core is offline
	Arity             Code = "arity"               // wrong number or names of arguments
	Raised            Code = "raised"              // the method itself failed
	Limit             Code = "limit"               // a budget of the message or its lineage is used up
	Covenant          Code = "covenant"            // the Guardian found a state change without its covenant
	Refused           Code = "refused"             // the gate, or the model itself, refused
	MissionFailed     Code = "mission_failed"      // a mission ended without a method
	ApprovalPending   Code = "approval_pending"    // a mission waits for a person
	Conflict          Code = "conflict"            // concurrent transactions, after all retries
	Diverged          Code = "diverged"            // a replay left its journal after an external effect
	OutcomeUnknown    Code = "outcome_unknown"     // an external effect was begun and its end is not known
	Timeout           Code = "timeout"             // no answer in time; the message may live on
	Cancelled         Code = "cancelled"           // stopped by a person
	Denied            Code = "denied"              // authority or token does not allow it
	Busy              Code = "busy"                // too much is queued
	Invalid           Code = "invalid"             // the request makes no sense as written
	Locked            Code = "locked"              // another process has the image open
	Corrupt           Code = "corrupt"             // stored bytes fail their checksum
	NewerFormat       Code = "newer_format"        // written by a newer release
	StorePoisoned     Code = "store_poisoned"      // a write or sync failed; the store accepts no more commits
	Packed            Code = "packed"              // that past was packed away
)

// Error is an error with a code. Its text is one line for a person: what is
// wrong, where, and what to do.
type Error struct {
	Code Code
	Text string
	Err  error // the cause, or nil
}

// Errorf makes an [Error]; %w keeps a cause reachable.
func Errorf(code Code, format string, args ...any) *Error {
	e := fmt.Errorf(format, args...)
	return &Error{Code: code, Text: e.Error(), Err: errors.Unwrap(e)}
}

func (e *Error) Error() string { return e.Text }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, &Error{Code: c}) match on the code alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Text == "" && t.Code == e.Code
}

// CodeOf gives the code of err's chain, or "" if no [Error] is in it.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

type codeInfo struct{ http, exit int }

var codes = map[Code]codeInfo{
	NotFound: {404, 1}, NoSlot: {404, 1}, DoesNotUnderstand: {404, 1}, Offline: {503, 1}, Arity: {400, 1},
	Raised: {422, 1}, Limit: {429, 1}, Covenant: {422, 1}, Refused: {422, 3}, MissionFailed: {422, 3},
	ApprovalPending: {202, 6}, Conflict: {409, 1}, Diverged: {409, 1}, OutcomeUnknown: {409, 1},
	Timeout: {504, 5}, Cancelled: {409, 1}, Denied: {403, 1}, Busy: {503, 1}, Invalid: {400, 2},
	Locked: {423, 4}, Corrupt: {500, 4}, NewerFormat: {500, 4}, StorePoisoned: {500, 4}, Packed: {410, 1},
}

// HTTP is the status a door answers with; 500 for an unknown code.
func (c Code) HTTP() int {
	if i, ok := codes[c]; ok {
		return i.http
	}
	return 500
}

// Exit is the exit status of the command line; 1 for an unknown code.
func (c Code) Exit() int {
	if i, ok := codes[c]; ok {
		return i.exit
	}
	return 1
}
