package zmtp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// echo is a socket that answers every message with itself.
func echo(t *testing.T, o Options) (address string, ended func() []error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var why []error
	o.Refused = func(_ net.Addr, err error) {
		mu.Lock()
		defer mu.Unlock()
		why = append(why, err)
	}
	r := NewRouter(l, o, func(p *Peer, frames [][]byte) { _ = p.Send(frames) })
	served := make(chan error, 1)
	go func() { served <- r.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), func() []error {
		mu.Lock()
		defer mu.Unlock()
		return append([]error(nil), why...)
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func greetingOf(mechanism string) []byte {
	g := make([]byte, greetingSize)
	g[0], g[9], g[10] = 0xff, 0x7f, 3
	copy(g[12:], mechanism)
	return g
}

func readyOf(kind string) []byte {
	body := appendProperty(appendProperty(appendName(nil, "READY"), "Socket-Type", kind), "Identity", "")
	return append([]byte{flagCommand, byte(len(body))}, body...)
}

// dealer is a connection after its handshake.
func dealer(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := dial(t, address)
	if _, err := c.Write(append(greetingOf("NULL"), readyOf("DEALER")...)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	if _, err := io.ReadFull(in, make([]byte, greetingSize)); err != nil {
		t.Fatal(err)
	}
	if _, err := hear(in, "READY"); err != nil {
		t.Fatal(err)
	}
	return c, in
}

func TestEcho(t *testing.T) {
	address, _ := echo(t, Options{})
	c, in := dealer(t, address)
	long := bytes.Repeat([]byte("x"), 300000)
	w := bufio.NewWriter(c)
	for _, f := range []frame{{more: true}, {more: true, body: long}, {body: []byte("end")}} {
		if err := writeFrame(w, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]byte{nil, long, []byte("end")} {
		f, err := readFrame(in, 1<<20)
		if err != nil || !bytes.Equal(f.body, want) || f.more != (i < 2) {
			t.Fatalf("frame %d: %d bytes, %v", i, len(f.body), err)
		}
	}
	ping := appendName(nil, "PING")
	ping = append(ping, 0, 10, 'h', 'i')
	if err := writeFrame(w, frame{command: true, body: ping}); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if echo, err := hear(in, "PONG"); err != nil || string(echo) != "hi" {
		t.Errorf("a PING was answered with %q, %v", echo, err)
	}
}

// Whatever a stranger sends, he is let go with a reason, and nobody else is.
func TestHostile(t *testing.T) {
	address, ended := echo(t, Options{Handshake: 200 * time.Millisecond, MaxMessage: 1 << 20, MaxFrames: 4})
	_, others := dealer(t, address)
	good := append(greetingOf("NULL"), readyOf("DEALER")...)
	after := func(b ...byte) []byte { return append(append([]byte(nil), good...), b...) }
	for name, c := range map[string]struct {
		say  []byte
		want string
	}{
		"silence":            {nil, "timeout"},
		"a web browser":      {[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "not ZeroMQ"},
		"an old version":     {append(append([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1}, make([]byte, 53)...), 0), "speaks ZMTP 1"},
		"another mechanism":  {greetingOf("PLAIN"), `"PLAIN"`},
		"another socket":     {append(greetingOf("NULL"), readyOf("PUB")...), `"PUB"`},
		"no READY":           {append(greetingOf("NULL"), 4, 3, 2, 'h', 'i'), "READY was due"},
		"a property cut off": {append(greetingOf("NULL"), append([]byte{4, 12}, []byte("\x05READY\x01a\xff\xff\xff\xff")...)...), "cut off"},
		"a huge frame":       {after(flagLong, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "larger"},
		"a negative frame":   {after(flagLong, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "larger"},
		"unknown flags":      {after(0x80, 0), "unknown flags"},
		"many frames":        {after(1, 0, 1, 0, 1, 0, 1, 0, 1, 0), "more than 4 frames"},
		"a command inside":   {after(1, 0, 4, 5, 4, 'P', 'I', 'N', 'G'), "inside a message"},
		"a nameless command": {after(4, 1, 9), "no name"},
		"a long PING":        {after(append([]byte{4, 27, 4, 'P', 'I', 'N', 'G'}, make([]byte, 22)...)...), "16 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(ended())
			conn := dial(t, address)
			if _, err := conn.Write(c.say); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil && !isReset(err) { // until the server ends it
				t.Fatal(err)
			}
			var why []error
			for deadline := time.Now().Add(5 * time.Second); len(why) <= before && time.Now().Before(deadline); { // the reason is told right after the end
				why = ended()
			}
			if len(why) != before+1 || !strings.Contains(why[before].Error(), c.want) {
				t.Errorf("ended for %v, want %q", why[min(before, len(why)):], c.want)
			}
		})
	}
	_ = others
	c, in := dealer(t, address)
	if _, err := c.Write([]byte{0, 2, 'o', 'k'}); err != nil {
		t.Fatal(err)
	}
	if f, err := readFrame(in, 10); err != nil || string(f.body) != "ok" {
		t.Errorf("the next one: %q, %v", f.body, err)
	}
}

// A client that does not take its answers is let go; it holds up nobody.
func TestSlowReader(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	big := bytes.Repeat([]byte("x"), 1<<20)
	r := NewRouter(l, Options{Queue: 8, Refused: func(_ net.Addr, err error) { gone <- err }}, func(p *Peer, frames [][]byte) {
		for p.Send([][]byte{big}) == nil { // much more than sockets buffer, until the queue is full
		}
	})
	served := make(chan error, 1)
	go func() { served <- r.Serve() }()
	c, _ := dealer(t, l.Addr().String())
	if _, err := c.Write([]byte{0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := <-gone; !errors.Is(err, ErrSlow) {
		t.Errorf("ended for %v", err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// While a handler runs, nothing more of its client is read.
func TestBackPressure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	let := make(chan struct{})
	entered := make(chan struct{}, 100)
	r := NewRouter(l, Options{}, func(p *Peer, frames [][]byte) {
		entered <- struct{}{}
		select {
		case <-let:
		case <-p.Context().Done():
		}
	})
	served := make(chan error, 1)
	go func() { served <- r.Serve() }()
	c, _ := dealer(t, l.Addr().String())
	if err := c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 1<<16)
	w := bufio.NewWriter(c)
	blocked := error(nil)
	for i := 0; i < 2000 && blocked == nil; i++ {
		blocked = writeFrame(w, frame{body: body})
	}
	var timeout net.Error
	if !errors.As(blocked, &timeout) || !timeout.Timeout() {
		t.Errorf("a fast client was not held back: %v", blocked)
	}
	<-entered
	if len(entered) != 0 {
		t.Error("a second message was handled beside the first")
	}
	close(let)
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestZ85(t *testing.T) {
	// The pair that ZeroMQ's own documentation uses.
	const public, secret = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
	k, err := ParseSecret(secret)
	if err != nil || Z85(k.Public) != public || Z85(k.Secret) != secret {
		t.Errorf("%v, %v", k, err)
	}
	for _, bad := range []string{"", "x", strings.Repeat("#", 40), strings.Repeat("é", 20)} {
		if _, err := ParseSecret(bad); err == nil {
			t.Errorf("%q was taken for a key", bad)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte{0, 2, 'o', 'k'})
	f.Add([]byte{1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &Peer{router: &Router{o: Options{MaxMessage: 1 << 16}.complete()}, out: make(chan outgoing, 100)}
		p.ctx, p.cancel = context.WithCancelCause(context.Background())
		defer p.cancel(nil)
		in := bufio.NewReader(bytes.NewReader(b))
		for range 100 {
			frames, err := p.readMessage(in)
			if err != nil {
				return
			}
			total := 0
			for _, f := range frames {
				total += len(f)
			}
			if total > len(b) {
				t.Fatalf("%d bytes of %d", total, len(b))
			}
		}
	})
}
