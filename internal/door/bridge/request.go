package bridge

import (
	"time"

	"batos"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/object"
)

// Commands of a request.
const (
	cmdSend        = "send"
	cmdCycle       = "initiate_cognitive_cycle"
	cmdOutcome     = "outcome"
	cmdSubscribe   = "subscribe"
	cmdUnsubscribe = "unsubscribe"
	cmdStatus      = "status"
)

// Types of a mission brief.
const (
	typeUnhandled = "unhandled_message"
	typeAudit     = "self_audit"
)

// auditSelector is what a mission of type self_audit sends the orchestrator.
const auditSelector = "perform_cognitive_efficiency_audit"

// defaultWait is how long a send waits for its outcome if it does not say.
const defaultWait = time.Minute

// request is one frame, decoded.
type request struct {
	command string
	token   string
	ref     object.Value // whatever the client wants back with the answer; nil for nothing
	message kernel.Request
	after   uint64
	wait    time.Duration
	notify  bool // tell the outcome later if it was not waited for
}

// parse reads a request. Its ref is filled in as soon as it can be read, so
// that an error reaches whoever asked.
func parse(frame []byte) (r request, err error) {
	v, err := wire.ParseMsgpack(frame)
	if err != nil {
		return r, err
	}
	d, ok := v.(*object.Dict)
	if !ok {
		return r, batos.Errorf(batos.Invalid, "a request is a map, not a %s", v.Kind())
	}
	f := fields{d: d}
	r.ref = f.get("ref")
	r.command, r.token = f.text("command"), f.text("token")
	r.message.ID = batos.MessageID(f.text("id"))
	r.notify = f.flag("notify")
	r.wait = f.seconds("wait", -1)
	switch r.command {
	case cmdSend:
		r.message.Target = f.target("target")
		r.message.Selector = f.needed("selector")
		f.arguments(&r.message)
	case cmdCycle:
		f.cycle(&r)
	case cmdOutcome:
		if r.message.ID == "" {
			f.wrong(`"id" is missing: the message to tell about`)
		}
	case cmdSubscribe:
		r.after = f.count("after")
	case cmdUnsubscribe, cmdStatus:
	case "":
		f.wrong(`"command" is missing`)
	default:
		f.wrong("there is no command %.60q; there are %s, %s, %s, %s, %s, %s", r.command, cmdSend, cmdCycle, cmdOutcome, cmdSubscribe, cmdUnsubscribe, cmdStatus)
	}
	f.rest()
	return r, f.err
}

// cycle reads the blueprint's own command: a mission brief for a target.
func (f *fields) cycle(r *request) {
	r.message.Target = f.target("target_oid")
	v := f.get("mission_brief")
	d, ok := v.(*object.Dict)
	if !ok {
		f.wrong(`"mission_brief" is missing or no map`)
		return
	}
	brief := fields{d: d}
	switch kind := brief.text("type"); kind {
	case typeUnhandled, "":
		r.message.Selector = brief.needed("selector")
		brief.arguments(&r.message)
	case typeAudit:
		r.message.Selector = auditSelector
		brief.get("selector")
		brief.arguments(&r.message)
	default:
		brief.wrong("there is no mission of type %.60q; there are %s and %s", kind, typeUnhandled, typeAudit)
	}
	brief.rest()
	if f.err == nil && brief.err != nil {
		f.err = batos.Errorf(batos.Invalid, "mission_brief: %w", brief.err)
	}
	if r.wait < 0 {
		r.wait = 0 // the caller is told at once that it is under way
	}
}

// fields reads a map strictly: the first thing that is wrong is kept, and what
// nobody asked for is wrong too.
type fields struct {
	d     *object.Dict
	asked int // how many entries were asked for: as many as there are, or one means nothing
	err   error
}

func (f *fields) wrong(format string, args ...any) {
	if f.err == nil {
		f.err = batos.Errorf(batos.Invalid, format, args...)
	}
}

// get gives the value of a key, or nil. A key is asked for once.
func (f *fields) get(name string) object.Value {
	for i, e := range f.d.Entries {
		k, ok := e.Key.(object.Str)
		if !ok || string(k) != name {
			continue
		}
		// What was asked for stands before what was not.
		f.d.Entries[i], f.d.Entries[f.asked] = f.d.Entries[f.asked], e
		f.asked++
		if _, none := e.Value.(object.None); none {
			return nil
		}
		return e.Value
	}
	return nil
}

func (f *fields) rest() {
	for _, e := range f.d.Entries[f.asked:] {
		f.wrong("the key %s means nothing here", object.Text(e.Key, 60))
	}
}

func (f *fields) text(name string) string {
	v := f.get(name)
	s, ok := v.(object.Str)
	if v != nil && !ok {
		f.wrong("%q is a text, not a %s", name, v.Kind())
	}
	return string(s)
}

func (f *fields) needed(name string) string {
	s := f.text(name)
	if s == "" {
		f.wrong("%q is missing", name)
	}
	return s
}

func (f *fields) flag(name string) bool {
	v := f.get(name)
	b, ok := v.(object.Bool)
	if v != nil && !ok {
		f.wrong("%q is true or false, not a %s", name, v.Kind())
	}
	return bool(b)
}

func (f *fields) count(name string) uint64 {
	v := f.get(name)
	if v == nil {
		return 0
	}
	i, ok := v.(object.Int)
	n, fits := int64(0), false
	if ok {
		n, fits = i.Int64()
	}
	if !fits || n < 0 {
		f.wrong("%q is a whole number from 0", name)
		return 0
	}
	return uint64(n)
}

func (f *fields) seconds(name string, or time.Duration) time.Duration {
	var s float64
	switch v := f.get(name).(type) {
	case nil:
		return or
	case object.Float:
		s = float64(v)
	case object.Int:
		n, _ := v.Int64()
		s = float64(n)
	default:
		f.wrong("%q is a number of seconds, not a %s", name, v.Kind())
	}
	if !(s >= 0) {
		f.wrong("%q is a number of seconds from 0", name)
		return 0
	}
	return time.Duration(min(s, maxWait.Seconds()) * float64(time.Second))
}

// target reads an object: its oid as a number, a reference, or text, or a name.
func (f *fields) target(name string) batos.Ref {
	switch v := f.get(name).(type) {
	case object.Str:
		if v != "" {
			return batos.Ref{Name: string(v)}
		}
	case object.Ref:
		return batos.Ref{OID: batos.OID(v)}
	case object.Int:
		if n, ok := v.Int64(); ok && n > 0 {
			return batos.Ref{OID: batos.OID(n)}
		}
	}
	f.wrong("%q is missing: an oid or a name", name)
	return batos.Ref{}
}

func (f *fields) arguments(m *kernel.Request) {
	switch v := f.get("args").(type) {
	case nil:
	case *object.List:
		m.Args = v.Items
	default:
		f.wrong(`"args" is a list, not a %s`, v.Kind())
	}
	switch v := f.get("kwargs").(type) {
	case nil:
	case *object.Dict:
		for _, e := range v.Entries {
			k, ok := e.Key.(object.Str)
			if !ok {
				f.wrong(`a key of "kwargs" is a name, not a %s`, e.Key.Kind())
				return
			}
			m.Kwargs = append(m.Kwargs, object.Slot{Name: string(k), Value: e.Value})
		}
	default:
		f.wrong(`"kwargs" is a map, not a %s`, v.Kind())
	}
}
