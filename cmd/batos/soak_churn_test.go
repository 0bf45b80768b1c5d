package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"batos"
	"batos/internal/wire"
	"batos/object"
)

// churn is the work of clients that vanish without a word, and of missions
// that come to nothing: what a server holds for them it has to let go.
var churn = []work{
	{"gone from http", 6, (*soaker).goneFromHTTP, true},
	{"gone from events", 4, (*soaker).goneFromEvents, true},
	{"gone from the bridge", 6, (*soaker).goneFromBridge, true},
	{"gone from mcp", 4, (*soaker).goneFromMCP, true},
	{"gone from a chat", 2, (*soaker).goneFromChat, true},
	{"a mission that fails", 1, (*soaker).missionFails, true},
	{"a mission that is cancelled", 1, (*soaker).missionCancelled, true},
	{"the engine dies", 1, (*soaker).engineDies, true},
}

// vanish closes a connection as if the client had lost its power: no end is
// said, and what is under way is lost.
func vanish(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// raw sends bytes to an address and gives the connection.
func raw(ctx context.Context, address, text string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	until, _ := ctx.Deadline()
	if err := c.SetDeadline(until); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if _, err := io.WriteString(c, text); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// asked is a request as it goes over the wire; of its body only so much is
// there.
func (s *soak) asked(method, path, body string, there int) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: %d\r\n\r\n%s",
		method, path, s.address, s.token, len(body), body[:there])
}

// goneFromHTTP vanishes in the middle of what it asks, or before the answer.
func (w *soaker) goneFromHTTP(ctx context.Context) error {
	body := fmt.Sprintf(`{"target": "soak", "selector": "echo", "args": [%d], "wait": 5}`, w.rng.IntN(1e6))
	there := len(body)
	if w.rng.IntN(2) == 0 {
		there = w.rng.IntN(len(body))
	}
	c, err := raw(ctx, w.address, w.asked(http.MethodPost, "/api/v1/send", body, there))
	if err == nil {
		vanish(c)
	}
	return err
}

// goneFromEvents vanishes from a stream of events that has begun.
func (w *soaker) goneFromEvents(ctx context.Context) error {
	c, err := raw(ctx, w.address, w.asked(http.MethodGet, "/api/v1/events?after=0", "", 0))
	if err != nil {
		return err
	}
	defer vanish(c)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.Contains(line, "200") {
		err = fmt.Errorf("the stream begins with %q", line)
	}
	return err
}

// goneFromBridge vanishes in the handshake, in a frame, or with a subscription
// and an answer to come.
func (w *soaker) goneFromBridge(ctx context.Context) error {
	if w.rng.IntN(3) == 0 {
		c, err := raw(ctx, w.zmq, "\xff\x00\x00\x00")
		if err == nil {
			vanish(c)
		}
		return err
	}
	d, err := dial(ctx, w.zmq)
	if err != nil {
		return err
	}
	defer vanish(d.conn)
	entry := func(name, text string) object.Entry {
		return object.Entry{Key: object.Str(name), Value: object.Str(text)}
	}
	if _, err := d.ask(ctx, wire.AppendMsgpack(nil, &object.Dict{Entries: []object.Entry{entry("token", w.token), entry("command", "subscribe")}})); err != nil {
		return err
	}
	_, err = d.conn.Write([]byte{2, 0, 0, 0, 0, 0, 0, 1, 0, 'h', 'a', 'l', 'f'}) // of 256 bytes
	return err
}

// goneFromMCP greets and vanishes, as often before the answer as after.
func (w *soaker) goneFromMCP(ctx context.Context) error {
	body := `{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "soak", "version": "1"}}}`
	c, err := raw(ctx, w.address, w.asked(http.MethodPost, "/mcp", body, len(body)))
	if err != nil {
		return err
	}
	defer vanish(c)
	if w.rng.IntN(2) == 0 {
		return nil
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.Contains(line, "200") {
		err = fmt.Errorf("it answers %q", line)
	}
	return err
}

// goneFromChat vanishes when the first piece of an answer has come.
func (w *soaker) goneFromChat(ctx context.Context) error {
	if !w.isModel {
		return nil
	}
	w.engine.RLock()
	defer w.engine.RUnlock()
	body := `{"model": "brick", "stream": true, "max_tokens": 200, "messages": [{"role": "user", "content": "count"}]}`
	c, err := raw(ctx, w.address, w.asked(http.MethodPost, "/v1/chat/completions", body, len(body)))
	if err != nil {
		return err
	}
	defer vanish(c)
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil || strings.Contains(line, "data: ") {
			return err
		}
	}
}

// cameToNothing reports whether err is the end of a message whose mission did
// not write a method.
func cameToNothing(err error) bool {
	switch batos.CodeOf(err) {
	case batos.MissionFailed, batos.DoesNotUnderstand, batos.Refused, batos.Cancelled:
		return true
	}
	return false
}

// missionFails asks for what nobody can write.
func (w *soaker) missionFails(ctx context.Context) error {
	w.engine.RLock()
	defer w.engine.RUnlock()
	v, err := w.ask(ctx, fmt.Sprintf("thing%d", w.n), "defenestrate_quixotically")
	switch {
	case err == nil:
		return fmt.Errorf("it was answered %s", object.Text(v, 60))
	case cameToNothing(err):
		return nil
	}
	return err
}

// missionCancelled ends a mission as soon as it is there.
func (w *soaker) missionCancelled(ctx context.Context) error {
	w.engine.RLock()
	defer w.engine.RUnlock()
	var o wire.Outcome
	err := w.client.Do(ctx, http.MethodPost, "/send", wire.Send{Target: fmt.Sprintf("thing%d", w.n), Selector: "obliterate_vicariously"}, &o)
	for ; err == nil && !batos.MessageState(o.State).Final(); err = w.client.Do(ctx, http.MethodGet, "/messages/"+o.ID, nil, &o) {
		if o.Mission != "" {
			_ = w.client.Do(ctx, http.MethodPost, "/missions/"+o.Mission+"/cancel", nil, nil) // it may be over already
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	if cameToNothing(err) {
		return nil
	}
	return fmt.Errorf("message %s is %s: %w", o.ID, o.State, err)
}

// engineDies kills the engine's process while nobody waits for it. The next
// who needs it gets a new one.
func (w *soaker) engineDies(ctx context.Context) error {
	if !w.packs || !w.isModel {
		return nil
	}
	w.engine.Lock()
	for _, pid := range w.engines() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // one that has ended is as good
	}
	w.engine.Unlock()
	return w.chat(ctx)
}
