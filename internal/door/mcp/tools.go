package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"batos"
	"batos/internal/door/access"
	"batos/internal/door/view"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/object"
)

// Tools that every image has.
const (
	toolSend    = "send"
	toolInspect = "inspect"
	toolOutcome = "outcome"
)

// callWait is how long a call waits for its outcome. Clients have time-outs of
// their own; the message lives on, and the tool outcome asks again.
const callWait = 10 * time.Minute

// schema is a JSON schema of an object.
type schema struct {
	Type       string         `json:"type"`
	Properties map[string]any `json:"properties,omitempty"`
	Required   []string       `json:"required,omitempty"`
	Additional *bool          `json:"additionalProperties,omitempty"`
}

func property(kind, about string) map[string]any {
	return map[string]any{"type": kind, "description": about}
}

var (
	no           = false
	builtinTools = []*mcp.Tool{
		{
			Name: toolSend, Title: "Send a message",
			Description: "Send a message to an object and get its answer. What the object does not understand gets written, if this token may.",
			InputSchema: schema{Type: "object", Additional: &no, Required: []string{"target", "selector"}, Properties: map[string]any{
				"target":   property("string", "a name, a path such as genesis.shelf, or an oid such as 0x12a"),
				"selector": property("string", "what the object is to do, such as increment_by"),
				"args":     property("array", "arguments by position"),
				"kwargs":   property("object", "arguments by name"),
				"id":       property("string", "an id of your own; sending it again never does the work twice"),
			}},
		},
		{
			Name: toolInspect, Title: "Look at an object", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true},
			Description: "Show the slots, methods and parents of an object, and where its methods come from.",
			InputSchema: schema{Type: "object", Additional: &no, Required: []string{"target"}, Properties: map[string]any{
				"target": property("string", "a name, a path or an oid"),
			}},
		},
		{
			Name: toolOutcome, Title: "Ask for an outcome", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true},
			Description: "Tell what became of a message that took too long, by its id; waits for it again.",
			InputSchema: schema{Type: "object", Additional: &no, Required: []string{"id"}, Properties: map[string]any{
				"id": property("string", "the message's id"),
			}},
		},
	}
)

// listTools gives the built-in tools and all that the image exports.
func (d *door) listTools(ctx context.Context, r *mcp.ListToolsRequest) (*mcp.ListToolsResult, error) {
	if _, err := d.may(r.Extra, access.Read); err != nil {
		return nil, err
	}
	tools, err := d.config.Kernel.Tools(ctx)
	if err != nil {
		return nil, err
	}
	out := &mcp.ListToolsResult{Tools: slices.Clone(builtinTools)}
	for _, t := range tools {
		s := schema{Type: "object", Properties: map[string]any{}, Required: t.Params[:t.Required]}
		if !t.More {
			s.Additional = &no
		}
		for _, p := range t.Params {
			s.Properties[p] = map[string]any{}
		}
		out.Tools = append(out.Tools, &mcp.Tool{Name: toolName(t), Description: t.Doc, InputSchema: s})
	}
	return out, nil
}

// toolName joins object and selector. Neither can hold a hyphen, and every
// client allows one.
func toolName(t kernel.Tool) string { return t.Object + "-" + string(t.Selector) }

func (d *door) call(ctx context.Context, r *mcp.CallToolRequest) (mcp.Result, error) {
	who, err := d.caller(r.Extra)
	if err != nil {
		return nil, err
	}
	switch r.Params.Name {
	case toolInspect:
		return d.inspect(ctx, who, r), nil
	case toolOutcome:
		return d.outcome(ctx, who, r), nil
	}
	var req kernel.Request
	if r.Params.Name == toolSend {
		req, err = sendArguments(r.Params.Arguments)
	} else {
		req, err = toolArguments(r.Params.Name, r.Params.Arguments)
	}
	if err == nil {
		err = who.May(access.Send)
	}
	if err != nil {
		return failed(err), nil
	}
	req.ID = cmpID(req.ID)
	if takesTasks(r.Params.Meta) {
		return d.callOrTask(ctx, who.Request(req))
	}
	stop := d.progress(ctx, r, req.ID)
	defer stop()
	wait, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	o, err := d.config.Kernel.Send(wait, who.Request(req))
	return told(o, err), nil
}

func cmpID(id batos.MessageID) batos.MessageID {
	if id == "" {
		return batos.NewMessageID()
	}
	return id
}

// decode reads a tool's arguments strictly.
func decode(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		if batos.CodeOf(err) != "" {
			return err
		}
		return batos.Errorf(batos.Invalid, "the arguments are not as the tool's schema says: %w", err)
	}
	return nil
}

func sendArguments(raw json.RawMessage) (kernel.Request, error) {
	var in struct {
		Target, Selector, ID string
		Args                 []wire.Value
		Kwargs               wire.Value
	}
	if err := decode(raw, &in); err != nil {
		return kernel.Request{}, err
	}
	r := kernel.Request{ID: batos.MessageID(in.ID), Target: batos.Ref{Name: in.Target}, Selector: in.Selector}
	for _, a := range in.Args {
		v := a.Value
		if v == nil {
			v = object.None{}
		}
		r.Args = append(r.Args, v)
	}
	var err error
	r.Kwargs, err = named(in.Kwargs.Value)
	return r, err
}

// toolArguments makes a message of a call of OBJECT-SELECTOR.
func toolArguments(name string, raw json.RawMessage) (kernel.Request, error) {
	target, selector, ok := strings.Cut(name, "-")
	if !ok {
		return kernel.Request{}, batos.Errorf(batos.NotFound, "there is no tool %.80q; tools are named OBJECT-SELECTOR", name)
	}
	var in wire.Value
	if err := decode(raw, &in); err != nil {
		return kernel.Request{}, err
	}
	kwargs, err := named(in.Value)
	return kernel.Request{Target: batos.Ref{Name: target}, Selector: selector, Kwargs: kwargs}, err
}

// named reads arguments by name, in the order they were given.
func named(v object.Value) ([]object.Slot, error) {
	switch v := v.(type) {
	case nil, object.None:
		return nil, nil
	case *object.Dict:
		var out []object.Slot
		for _, e := range v.Entries {
			k, ok := e.Key.(object.Str)
			if !ok {
				return nil, batos.Errorf(batos.Invalid, "an argument's name is a text")
			}
			out = append(out, object.Slot{Name: string(k), Value: e.Value})
		}
		return out, nil
	}
	return nil, batos.Errorf(batos.Invalid, "arguments come by name, as an object")
}

func (d *door) inspect(ctx context.Context, who *access.Caller, r *mcp.CallToolRequest) *mcp.CallToolResult {
	var in struct{ Target string }
	err := decode(r.Params.Arguments, &in)
	if err == nil {
		err = who.May(access.Read)
	}
	if err != nil {
		return failed(err)
	}
	found, err := d.config.Kernel.Inspect(ctx, batos.Ref{Name: in.Target}, 0)
	if err != nil {
		return failed(err)
	}
	return structured(view.Object(found), false)
}

func (d *door) outcome(ctx context.Context, who *access.Caller, r *mcp.CallToolRequest) *mcp.CallToolResult {
	var in struct{ ID string }
	err := decode(r.Params.Arguments, &in)
	if err == nil {
		err = who.May(access.Read)
	}
	if err != nil {
		return failed(err)
	}
	stop := d.progress(ctx, r, batos.MessageID(in.ID))
	defer stop()
	wait, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	return told(d.config.Kernel.Wait(wait, batos.MessageID(in.ID)))
}

// told is the result for what became of a message.
func told(o kernel.Outcome, err error) *mcp.CallToolResult {
	if err != nil && o.ID == "" {
		return failed(err)
	}
	out := view.Outcome(o)
	if err != nil {
		out.Error = &wire.Error{Code: batos.CodeOf(err), Message: err.Error() + " with the tool outcome"}
	}
	return structured(out, out.Error != nil)
}

// structured is a result as JSON, which is also its text. An outcome's text is
// its value, or its error.
func structured(v any, isError bool) *mcp.CallToolResult {
	b, err := json.Marshal(v)
	if err != nil {
		return failed(err)
	}
	text := string(b)
	if o, ok := v.(wire.Outcome); ok {
		switch {
		case o.Error != nil:
			text = fmt.Sprintf("%s: %s", o.Error.Code, o.Error.Message)
		case o.Value != nil:
			text = plain(o.Value.Value)
		}
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}, StructuredContent: json.RawMessage(b), IsError: isError}
}

// plain is a value as a language model reads it best: a text as it is, and
// anything else as JSON.
func plain(v object.Value) string {
	if s, ok := v.(object.Str); ok {
		return string(s)
	}
	return string(wire.AppendValue(nil, v))
}

// failed is the result of a call that did not work; the model is to see why.
func failed(err error) *mcp.CallToolResult {
	code := batos.CodeOf(err)
	text := err.Error()
	if code != "" {
		text = string(code) + ": " + text
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}, IsError: true}
}

// progress tells the client, if it asked for that, what the mission of a
// message comes to.
func (d *door) progress(ctx context.Context, r *mcp.CallToolRequest, id batos.MessageID) (stop func()) {
	token := r.Params.GetProgressToken()
	if token == nil {
		return func() {}
	}
	events := &d.config.Kernel.Events
	feed, end := events.Subscribe(events.Last())
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var mission batos.OID
		steps := 0.0
		for {
			select {
			case <-quit:
				return
			case e := <-feed:
				if e.Kind == "mission" && e.Message == id {
					mission = e.Mission
				}
				if mission == 0 || e.Mission != mission {
					continue
				}
				steps++
				_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: steps, Message: line(e)}) // a client that is gone shows in the answer
			}
		}
	}()
	return func() { end(); close(quit); <-done }
}

// line is an event in a line.
func line(e kernel.Event) string {
	if e.Data == nil {
		return e.Kind
	}
	return e.Kind + " " + object.Text(e.Data, 200)
}
