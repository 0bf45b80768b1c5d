package bridge

import (
	"context"
	"time"

	"batos"
	"batos/internal/door/access"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/internal/zmtp"
	"batos/object"
)

// take handles one message of a client, on the client's own goroutine: its
// messages stand in line in the order in which they came.
func (b *Bridge) take(p *zmtp.Peer, frames [][]byte) {
	c := b.client(p)
	// A REQ socket puts an empty frame before its payload, and wants it back.
	envelope, payload := frames[:len(frames)-1], frames[len(frames)-1]
	for _, f := range envelope {
		if len(f) > 0 {
			c.reply(nil, failed(batos.Errorf(batos.Invalid, "a request is one frame, after an empty one at most")), nil)
			return
		}
	}
	r, err := parse(payload)
	if err != nil {
		c.reply(envelope, failed(err), r.ref)
		return
	}
	who, err := c.recognise(r.token)
	if err != nil {
		c.reply(envelope, failed(err), r.ref)
		return
	}
	switch r.command {
	case cmdSend, cmdCycle:
		c.send(envelope, who, r)
	case cmdOutcome:
		c.outcome(envelope, who, r)
	case cmdSubscribe:
		err = who.May(access.Read)
		if err == nil {
			c.subscribe(r.after)
		}
		c.plain(envelope, r, err)
	case cmdUnsubscribe:
		c.unsubscribe()
		c.plain(envelope, r, nil)
	case cmdStatus:
		c.status(envelope, who, r)
	}
}

// recognise finds who sends: by the token of this request, or of an earlier
// one of the connection.
func (c *client) recognise(token string) (*access.Caller, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token == "" && c.who != nil {
		return c.who, nil
	}
	who, err := c.bridge.config.Keys.Caller(token)
	if err == nil {
		c.who = who
	}
	return who, err
}

// send hands a message to the kernel and answers with its outcome, or with
// where it is if that is all the client waits for.
func (c *client) send(envelope [][]byte, who *access.Caller, r request) {
	if err := who.May(access.Send); err != nil {
		c.plain(envelope, r, err)
		return
	}
	select {
	case c.places <- struct{}{}:
	case <-c.peer.Context().Done():
		return
	}
	h, err := c.bridge.config.Kernel.Hand(c.bridge.ctx, who.Request(r.message))
	if err != nil {
		<-c.places
		c.plain(envelope, r, err)
		return
	}
	go func() {
		defer func() { <-c.places }()
		c.answer(envelope, r, h)
	}()
}

func (c *client) answer(envelope [][]byte, r request, h kernel.Handed) {
	wait := r.wait
	if wait < 0 {
		wait = defaultWait
	}
	if wait == 0 {
		o, err := h.Keep()
		c.reply(envelope, outcomeOf(o, err), r.ref)
		if err == nil && r.notify && !o.State.Final() {
			if o, err := h.Wait(c.peer.Context()); err == nil {
				c.tell(outcomeOf(o, nil).str("event", "outcome"))
			}
		}
		return
	}
	ctx := c.bridge.ctx
	if !soon(h, wait) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	o, err := h.Wait(ctx)
	c.reply(envelope, outcomeOf(o, err), r.ref)
}

// atOnce is how long a message usually takes at most.
const atOnce = 20 * time.Millisecond

// soon reports whether a message ends at once, as most do: a timer costs less
// than a context.
func soon(h kernel.Handed, wait time.Duration) bool {
	if wait < atOnce {
		return false
	}
	t := time.NewTimer(atOnce)
	defer t.Stop()
	select {
	case <-h.Done():
		return true
	case <-t.C:
		return false
	}
}

func (c *client) outcome(envelope [][]byte, who *access.Caller, r request) {
	if err := who.May(access.Read); err != nil {
		c.plain(envelope, r, err)
		return
	}
	if r.wait <= 0 {
		o, err := c.bridge.config.Kernel.Peek(c.bridge.ctx, r.message.ID)
		c.reply(envelope, outcomeOf(o, err), r.ref)
		return
	}
	select {
	case c.places <- struct{}{}:
	case <-c.peer.Context().Done():
		return
	}
	go func() {
		defer func() { <-c.places }()
		ctx, cancel := context.WithTimeout(c.bridge.ctx, r.wait)
		defer cancel()
		o, err := c.bridge.config.Kernel.Wait(ctx, r.message.ID)
		c.reply(envelope, outcomeOf(o, err), r.ref)
	}()
}

func (c *client) status(envelope [][]byte, who *access.Caller, r request) {
	if err := who.May(access.Read); err != nil {
		c.plain(envelope, r, err)
		return
	}
	a := new(answer).flag("ok", true)
	info, err := c.bridge.config.Kernel.Core()
	if err != nil {
		a.str("offline", err.Error())
	} else {
		a.str("model", info.ModelID)
	}
	c.reply(envelope, a, r.ref)
}

// subscribe begins to tell events, those kept after seq first.
func (c *client) subscribe(after uint64) {
	c.unsubscribe()
	ctx, cancel := context.WithCancel(c.peer.Context())
	c.mu.Lock()
	c.events = cancel
	c.mu.Unlock()
	events := &c.bridge.config.Kernel.Events
	if after == 0 {
		after = events.Last()
	}
	feed, end := events.Subscribe(after)
	go func() {
		defer end()
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-feed:
				c.tell(eventOf(e))
			}
		}
	}()
}

func (c *client) unsubscribe() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events != nil {
		c.events()
		c.events = nil
	}
}

// plain answers a request that has no outcome.
func (c *client) plain(envelope [][]byte, r request, err error) {
	a := new(answer).flag("ok", true)
	if err != nil {
		a = failed(err)
	}
	c.reply(envelope, a, r.ref)
}

// reply sends an answer. A client that is gone is not told.
func (c *client) reply(envelope [][]byte, a *answer, ref object.Value) {
	if ref != nil {
		a.set("ref", ref)
	}
	_ = c.peer.Send(append(envelope[:len(envelope):len(envelope)], a.bytes()))
}

// tell sends what was not asked for: an event.
func (c *client) tell(a *answer) { _ = c.peer.Send([][]byte{a.bytes()}) }

// answer is a map in the making.
type answer struct{ d object.Dict }

func (a *answer) set(name string, v object.Value) *answer {
	a.d.Entries = append(a.d.Entries, object.Entry{Key: object.Str(name), Value: v})
	return a
}

func (a *answer) str(name, v string) *answer       { return a.set(name, object.Str(v)) }
func (a *answer) flag(name string, v bool) *answer { return a.set(name, object.Bool(v)) }
func (a *answer) bytes() []byte                    { return wire.AppendMsgpack(nil, &a.d) }

func problem(code batos.Code, text string) *object.Dict {
	return &new(answer).str("code", string(code)).str("message", text).d
}

func failed(err error) *answer {
	code := batos.CodeOf(err)
	if code == "" {
		code = "internal"
	}
	return new(answer).flag("ok", false).set("error", problem(code, err.Error()))
}

// outcomeOf is the answer about a message; err, if any, is why it could not be
// waited for.
func outcomeOf(o kernel.Outcome, err error) *answer {
	if err != nil {
		a := failed(err)
		if o.ID != "" {
			a.str("id", string(o.ID)).str("state", string(o.State))
		}
		return a
	}
	a := new(answer).flag("ok", o.Err == nil).str("id", string(o.ID)).str("state", string(o.State))
	if o.Value != nil {
		a.set("value", o.Value)
	}
	if o.Mission != 0 {
		a.set("mission", object.Ref(o.Mission))
	}
	if o.Err != nil {
		a.set("error", problem(o.Err.Code, o.Err.Text))
	}
	return a
}

func eventOf(e kernel.Event) *answer {
	a := new(answer).str("event", e.Kind).set("seq", object.NewInt(int64(e.Seq))).set("time", object.Time(e.Time.UnixMicro()))
	if e.Mission != 0 {
		a.set("mission", object.Ref(e.Mission))
	}
	if e.Message != "" {
		a.str("message", string(e.Message))
	}
	if e.Data != nil {
		a.set("data", e.Data)
	}
	return a
}
