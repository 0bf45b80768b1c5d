package bridge

import (
	"context"
	"encoding/binary"
	"sync/atomic"
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
	wait := r.wait
	if wait < 0 {
		wait = defaultWait
	}
	s := &sent{client: c, envelope: envelope, ref: r.ref, h: h, wait: wait, notify: r.notify}
	if wait < soon {
		go s.attend()
		return
	}
	h.Then(s.ended)
	c.watch(s)
}

// sent is a message under way whose client waits for an answer.
type sent struct {
	client   *client
	envelope [][]byte
	ref      object.Value
	h        kernel.Handed
	wait     time.Duration
	notify   bool
	at       time.Time
	claimed  atomic.Bool // by who answers
}

// soon is how long a message usually takes at most. It is answered by whatever
// goroutine ends it; one that takes longer gets a goroutine that waits for it.
const soon = 20 * time.Millisecond

// ended answers a message that ended soon.
func (s *sent) ended(o kernel.Outcome) {
	if s.claimed.CompareAndSwap(false, true) {
		s.client.reply(s.envelope, outcomeOf(o, nil), s.ref)
		<-s.client.places
	}
}

// attend waits for a message's outcome and answers with it, or with where the
// message is.
func (s *sent) attend() {
	c := s.client
	defer func() { <-c.places }()
	if s.wait == 0 {
		o, err := s.h.Keep()
		c.reply(s.envelope, outcomeOf(o, err), s.ref)
		if err == nil && s.notify && !o.State.Final() {
			if o, err := s.h.Wait(c.peer.Context()); err == nil {
				c.tell(outcomeOf(o, nil).str("event", "outcome"))
			}
		}
		return
	}
	ctx, cancel := context.WithTimeout(c.bridge.ctx, s.wait)
	defer cancel()
	o, err := s.h.Wait(ctx)
	c.reply(s.envelope, outcomeOf(o, err), s.ref)
}

// watch sees to s if it does not end soon.
func (c *client) watch(s *sent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.at = time.Now()
	for len(c.watched) > 0 && c.watched[0].claimed.Load() {
		c.watched[0] = nil
		c.watched = c.watched[1:]
	}
	if s.claimed.Load() {
		return
	}
	c.watched = append(c.watched, s)
	if !c.watching {
		c.watching = true
		time.AfterFunc(soon, c.look)
	}
}

// look gives those that take long a goroutine, and looks again later if
// others are left.
func (c *client) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.watched[:0]
	for _, s := range c.watched {
		age := time.Since(s.at)
		switch {
		case s.claimed.Load():
		case age < soon:
			rest = append(rest, s)
		case s.claimed.CompareAndSwap(false, true):
			s.wait -= min(age, s.wait-1) // not 0, which would not wait
			go s.attend()
		}
	}
	clear(c.watched[len(rest):])
	c.watched, c.watching = rest, len(rest) > 0
	if c.watching {
		time.AfterFunc(soon, c.look)
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
	a := newAnswer().flag("ok", true)
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
	a := newAnswer().flag("ok", true)
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
	_ = c.peer.Send(append(envelope, a.bytes())) // in the place of the payload, which was read
}

// tell sends what was not asked for: an event.
func (c *client) tell(a *answer) { _ = c.peer.Send([][]byte{a.bytes()}) }

// answer is a map in the making: of at most 15 entries, of which no two have
// one name.
type answer struct {
	b []byte
	n byte
}

// fixedMap is the first byte of a map of no entries; it counts on from there.
const fixedMap = 0x80

func newAnswer() *answer { return &answer{b: append(make([]byte, 0, 128), fixedMap)} }

// name begins an entry.
func (a *answer) name(name string) {
	a.n++
	a.text(name)
}

// text appends a text.
func (a *answer) text(s string) {
	switch n := len(s); {
	case n < 32:
		a.b = append(a.b, 0xa0|byte(n))
	case n < 1<<8:
		a.b = append(a.b, 0xd9, byte(n))
	case n < 1<<16:
		a.b = binary.BigEndian.AppendUint16(append(a.b, 0xda), uint16(n))
	default:
		a.b = binary.BigEndian.AppendUint32(append(a.b, 0xdb), uint32(n))
	}
	a.b = append(a.b, s...)
}

func (a *answer) set(name string, v object.Value) *answer {
	a.name(name)
	a.b = wire.AppendMsgpack(a.b, v)
	return a
}

func (a *answer) str(name, v string) *answer {
	a.name(name)
	a.text(v)
	return a
}

func (a *answer) flag(name string, v bool) *answer {
	a.name(name)
	if v {
		a.b = append(a.b, 0xc3)
	} else {
		a.b = append(a.b, 0xc2)
	}
	return a
}

// problem appends an error.
func (a *answer) problem(code batos.Code, text string) *answer {
	a.name("error")
	a.b = append(a.b, fixedMap+2)
	for _, s := range []string{"code", string(code), "message", text} {
		a.text(s)
	}
	return a
}

// bytes is the finished map.
func (a *answer) bytes() []byte {
	a.b[0] = fixedMap + a.n
	return a.b
}

func failed(err error) *answer {
	code := batos.CodeOf(err)
	if code == "" {
		code = "internal"
	}
	return newAnswer().flag("ok", false).problem(code, err.Error())
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
	a := newAnswer().flag("ok", o.Err == nil).str("id", string(o.ID)).str("state", string(o.State))
	if o.Value != nil {
		a.set("value", o.Value)
	}
	if o.Mission != 0 {
		a.set("mission", object.Ref(o.Mission))
	}
	if o.Err != nil {
		a.problem(o.Err.Code, o.Err.Text)
	}
	return a
}

func eventOf(e kernel.Event) *answer {
	a := newAnswer().str("event", e.Kind).set("seq", object.NewInt(int64(e.Seq))).set("time", object.Time(e.Time.UnixMicro()))
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
