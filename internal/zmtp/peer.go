package zmtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"
)

// Errors of [Peer.Send] and of connections that this side ends.
var (
	ErrGone     = errors.New("the peer is gone")
	ErrSlow     = errors.New("the peer does not take its answers")
	errReplaced = errors.New("the peer connected again")
)

// Peer is one connection to the socket. Safe for concurrent use.
type Peer struct {
	router   *Router
	conn     net.Conn
	identity string // as the peer gave it; "" if it did not
	secure   *secrets
	out      chan outgoing
	ctx      context.Context
	cancel   context.CancelCauseFunc

	idle  sync.Mutex // held by the writer while it has something
	queue int
	empty chan struct{} // closed when queue is 0 and someone waits
}

// outgoing is a message in a peer's queue, or a command of one frame.
type outgoing struct {
	frames  [][]byte
	command bool
}

// Context ends when the connection does.
func (p *Peer) Context() context.Context { return p.ctx }

// Remote is the peer's address.
func (p *Peer) Remote() net.Addr { return p.conn.RemoteAddr() }

// Identity is what the peer calls itself, or "".
func (p *Peer) Identity() string { return p.identity }

// Send queues a message for the peer and does not wait. ErrGone if the
// connection has ended. A peer whose queue is full has not read for so long
// that it is let go: ErrSlow. frames must not be changed afterwards.
func (p *Peer) Send(frames [][]byte) error { return p.enqueue(outgoing{frames: frames}) }

func (p *Peer) enqueue(m outgoing) error {
	if p.ctx.Err() != nil {
		return ErrGone
	}
	p.idle.Lock()
	p.queue++
	p.idle.Unlock()
	select {
	case p.out <- m:
		return nil
	default:
		p.sent(1)
		p.close(ErrSlow)
		return ErrSlow
	}
}

// sent notes that n messages left the queue.
func (p *Peer) sent(n int) {
	p.idle.Lock()
	defer p.idle.Unlock()
	if p.queue -= n; p.queue == 0 && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
}

// drain waits until what is queued is written, the peer is gone or ctx ends.
func (p *Peer) drain(ctx context.Context) {
	p.idle.Lock()
	if p.queue == 0 {
		p.idle.Unlock()
		return
	}
	if p.empty == nil {
		p.empty = make(chan struct{})
	}
	done := p.empty
	p.idle.Unlock()
	select {
	case <-done:
	case <-p.ctx.Done():
	case <-ctx.Done():
	}
}

func (p *Peer) close(why error) {
	p.cancel(why)
	_ = p.conn.Close() // ends reader and writer
}

// run is the life of the connection.
func (p *Peer) run() {
	stop := context.AfterFunc(p.ctx, func() { _ = p.conn.Close() })
	defer stop()
	err := p.speak()
	p.close(err)
	p.router.forget(p)
	if cause := context.Cause(p.ctx); cause != nil && !quiet(cause) {
		p.router.o.Refused(p.conn.RemoteAddr(), cause)
	}
}

// quiet are ends of a connection that are nobody's fault.
func quiet(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, errReplaced) || isReset(err)
}

func (p *Peer) speak() error {
	in := bufio.NewReaderSize(p.conn, 1<<15)
	if err := p.conn.SetDeadline(time.Now().Add(p.router.o.Handshake)); err != nil {
		return err
	}
	if err := p.handshake(in); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if err := p.conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	p.router.name(p)
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		if err := p.writer(); err != nil {
			p.close(err)
		}
	}()
	err := p.reader(in)
	p.close(err)
	<-wrote
	return err
}

func (p *Peer) reader(in *bufio.Reader) error {
	for {
		frames, err := p.readMessage(in)
		if err != nil {
			return err
		}
		if frames != nil {
			p.router.handle(p, frames)
		}
	}
}

// readMessage reads one message; nil if it was a command.
func (p *Peer) readMessage(in *bufio.Reader) ([][]byte, error) {
	var frames [][]byte
	left := p.router.o.MaxMessage
	for {
		f, err := readFrame(in, left+curveOverhead)
		if err != nil {
			return nil, err
		}
		if p.secure != nil {
			if f, err = p.secure.open(f); err != nil {
				return nil, err
			}
		}
		if f.command {
			if len(frames) > 0 {
				return nil, errors.New("a command stands inside a message")
			}
			return nil, p.command(f.body)
		}
		if left -= len(f.body); left < 0 {
			return nil, errTooLarge
		}
		frames = append(frames, f.body)
		if !f.more {
			return frames, nil
		}
		if len(frames) == p.router.o.MaxFrames {
			return nil, fmt.Errorf("a message has more than %d frames", p.router.o.MaxFrames)
		}
	}
}

// command answers a PING; others say nothing to a ROUTER.
func (p *Peer) command(body []byte) error {
	name, rest, err := cutName(body)
	if err != nil {
		return err
	}
	if name != "PING" || len(rest) < 2 {
		return nil
	}
	echo := rest[2:] // after the time to live
	if len(echo) > 16 {
		return errors.New("a PING carries more than 16 bytes")
	}
	return p.enqueue(outgoing{frames: [][]byte{append(appendName(nil, "PONG"), echo...)}, command: true})
}

func (p *Peer) writer() error {
	w := bufio.NewWriterSize(p.conn, 1<<15)
	waiting := 0
	for {
		select {
		case <-p.ctx.Done():
			return nil
		case m := <-p.out:
			if waiting == 0 || m.size() > w.Available() { // only then is anything written, soon
				if err := p.conn.SetWriteDeadline(time.Now().Add(p.router.o.Write)); err != nil {
					return err
				}
			}
			if err := p.writeMessage(w, m); err != nil {
				return slow(err)
			}
			waiting++
			if len(p.out) == 0 {
				runtime.Gosched() // answers that are ready go out in one write
			}
			if len(p.out) > 0 {
				continue
			}
			if err := w.Flush(); err != nil {
				return slow(err)
			}
			p.sent(waiting)
			waiting = 0
		}
	}
}

// size is what m takes on the wire at most, in bytes.
func (m outgoing) size() (n int) {
	for _, b := range m.frames {
		n += len(b) + frameOverhead + curveOverhead
	}
	return n
}

func slow(err error) error {
	var t net.Error
	if errors.As(err, &t) && t.Timeout() {
		return ErrSlow
	}
	return err
}

func (p *Peer) writeMessage(w *bufio.Writer, m outgoing) error {
	for i, b := range m.frames {
		if err := p.writeFrame(w, frame{more: i < len(m.frames)-1, command: m.command, body: b}); err != nil {
			return err
		}
	}
	return nil
}

func (p *Peer) writeFrame(w *bufio.Writer, f frame) error {
	if p.secure != nil {
		f = p.secure.seal(f)
	}
	return writeFrame(w, f)
}
