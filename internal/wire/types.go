package wire

import (
	"encoding/hex"
	"time"

	"batos"
	"batos/object"
)

// Send is POST /api/v1/send.
type Send struct {
	ID       string           `json:"id,omitempty"` // the client's own; re-submitting it answers the same outcome
	Target   string           `json:"target"`       // root name, path or oid
	Selector string           `json:"selector"`
	Args     []Value          `json:"args,omitempty"`
	Kwargs   map[string]Value `json:"kwargs,omitempty"`
	Wait     float64          `json:"wait,omitempty"` // seconds to wait for the outcome; 0: answer at once
}

// Outcome is what became of a message.
type Outcome struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Value   *Value `json:"value,omitempty"` // when done
	Error   *Error `json:"error,omitempty"`
	Mission string `json:"mission,omitempty"` // it waits for
}

// Error is every error's form: {"error": {…}} with the code's HTTP status.
type Error struct {
	Code    batos.Code `json:"code"`
	Message string     `json:"message"`
}

// Err makes it a Go error again.
func (e *Error) Err() *batos.Error { return &batos.Error{Code: e.Code, Text: e.Message} }

// Problem is the body of an answer that is not 2xx.
type Problem struct {
	Error Error `json:"error"`
}

// New is POST /api/v1/objects.
type New struct {
	Name   string `json:"name"`
	Parent string `json:"parent,omitempty"`
	Slots  Value  `json:"slots,omitempty"` // a dict
}

// Created answers New.
type Created struct {
	OID  string `json:"oid"`
	Name string `json:"name"`
}

// Set is PUT /api/v1/objects/{target}/slots/{slot}.
type Set struct {
	Value Value `json:"value"`
}

// Changed answers Set.
type Changed struct {
	TID string `json:"tid"`
}

// Def is POST /api/v1/objects/{target}/methods.
type Def struct {
	Source string `json:"source"`
}

// Defined answers Def.
type Defined struct {
	Names []string `json:"names"`
}

// Eval is POST /api/v1/eval.
type Eval struct {
	Expression string `json:"expression"`
	Target     string `json:"target,omitempty"` // self; genesis_obj if empty
}

// Result answers Eval.
type Result struct {
	Value Value `json:"value"`
}

// Object is GET /api/v1/objects/{target}.
type Object struct {
	OID        string   `json:"oid"`
	Name       string   `json:"name,omitempty"`
	TID        string   `json:"tid"`
	Protection string   `json:"protection"`
	Creator    string   `json:"creator"`
	Parents    []string `json:"parents"`
	Slots      []Slot   `json:"slots"`
	Methods    []Method `json:"methods"`
}

// Slot is a data slot.
type Slot struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Value Value  `json:"value"`
	Text  string `json:"text"` // for people, shortened
}

// MethodInfo is what a method slot itself knows.
type MethodInfo struct {
	Selector   string `json:"selector"`
	Source     string `json:"source"`
	Author     string `json:"author"`
	AuthorName string `json:"author_name"`
	Mission    string `json:"mission,omitempty"`
	Version    int    `json:"version"`
}

// Method is a method slot with where it comes from.
type Method struct {
	MethodInfo
	TID        string `json:"tid,omitempty"`        // of the revision shown
	Provenance *Value `json:"provenance,omitempty"` // a dict: prompt, model, model_hash, adapter, verdicts, …
}

func methodInfo(m *object.Method) MethodInfo {
	i := MethodInfo{Selector: string(m.Selector), Source: m.Source, Author: m.Author.String(), AuthorName: m.AuthorName, Version: m.Version}
	if m.Mission != 0 {
		i.Mission = m.Mission.String()
	}
	return i
}

// MethodOf is the wire form of a method slot.
func MethodOf(m *object.Method) Method { return Method{MethodInfo: methodInfo(m)} }

// Mission is GET /api/v1/missions/{oid}; lists leave out Data and Brief.
type Mission struct {
	OID          string     `json:"oid"`
	Receiver     string     `json:"receiver"`
	Name         string     `json:"name"`
	Selector     string     `json:"selector"`
	State        string     `json:"state"`
	Status       string     `json:"status"`
	Began        time.Time  `json:"began"`
	Ended        *time.Time `json:"ended,omitempty"`
	Attempts     int        `json:"attempts"`
	Inferences   int        `json:"inferences"`
	Tokens       int64      `json:"tokens"`
	PromptTokens int64      `json:"prompt_tokens"`
	Waiting      []string   `json:"waiting"`
	Version      int64      `json:"version,omitempty"`
	Gone         bool       `json:"gone,omitempty"` // what was installed was taken back or replaced since
	Error        *Error     `json:"error,omitempty"`
	Data         *Value     `json:"data,omitempty"`
	Brief        *Value     `json:"brief,omitempty"`
}

// Decision is POST /api/v1/missions/{oid}/{approve,reject,cancel,undo}. On,
// for approve, names the parent that the method is put on.
type Decision struct {
	On string `json:"on,omitempty"`
}

// Codex is GET /api/v1/codex. PUT takes File, a name for errors, and Source.
type Codex struct {
	File      string     `json:"file,omitempty"`
	Source    string     `json:"source"`
	Loaded    *time.Time `json:"loaded,omitempty"`
	By        string     `json:"by,omitempty"`
	Workflows []string   `json:"workflows,omitempty"`
	Edited    []string   `json:"edited,omitempty"`
	TID       string     `json:"tid,omitempty"`
}

// Missions is GET /api/v1/missions. More says that there are older ones.
type Missions struct {
	Missions []Mission `json:"missions"`
	More     bool      `json:"more,omitempty"`
}

// Event is one line of GET /api/v1/events (server-sent events).
type Event struct {
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Mission string    `json:"mission,omitempty"`
	Message string    `json:"message,omitempty"`
	Data    Value     `json:"data"`
}

// Status is GET /api/v1/status.
type Status struct {
	Release  string    `json:"release"`
	Genesis  string    `json:"genesis"`
	Awakened time.Time `json:"awakened"`
	Image    string    `json:"image"`
	TID      string    `json:"tid"`
	Objects  int64     `json:"objects"`
	LogBytes int64     `json:"log_bytes"`
	Blobs    int64     `json:"blob_bytes"`
	Warnings []string  `json:"warnings,omitempty"` // about space
	Core     Core      `json:"core"`
}

// Core is the cognitive core's part of Status.
type Core struct {
	Online  bool   `json:"online"`
	Reason  string `json:"reason,omitempty"` // why not
	Model   string `json:"model,omitempty"`
	Hash    string `json:"hash,omitempty"`
	Profile string `json:"profile,omitempty"`
	Context int    `json:"context_tokens,omitempty"`
	Params  uint64 `json:"params,omitempty"`
}

// HashText is a SHA-256 as people read it.
func HashText(h [32]byte) string { return hex.EncodeToString(h[:]) }
