// Package zmtp is the serving side of ZeroMQ's transport: a ROUTER socket that
// speaks ZMTP 3.0 and 3.1 (RFC 23 and 37) with the mechanisms NULL and CURVE
// (RFC 26) over connections that a listener accepts.
//
// Read in this order: [Options] and [Router]; [Peer], one connection; frame.go,
// the bytes on the wire; curve.go, the encrypted mechanism.
//
// It exists because the pure Go library of the field cannot stand at an open
// door: see docs/decisions/0050. What a peer sends is bounded before memory is
// taken for it, a slow or silent peer holds up nobody else, and a peer that
// does not read its answers is let go.
package zmtp

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options bound what a peer may do. Zero values are the defaults.
type Options struct {
	MaxMessage int           // bytes of all frames of one message; 0: 16 MiB
	MaxFrames  int           // of one message; 0: 64
	MaxPeers   int           // connections at a time; 0: 1024
	Queue      int           // messages that may wait to be written to one peer; 0: 1000
	Handshake  time.Duration // for greeting and mechanism; 0: 10 s
	Write      time.Duration // for one message to be taken by a peer's side; 0: 30 s
	Curve      *KeyPair      // of the server; nil serves NULL, else only CURVE
	// Refused is told why a connection was ended by this side; nil is nobody.
	// It may be called from several goroutines.
	Refused func(remote net.Addr, err error)
}

func (o Options) complete() Options {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.MaxMessage, 16<<20)
	set(&o.MaxFrames, 64)
	set(&o.MaxPeers, 1024)
	set(&o.Queue, 1000)
	if o.Handshake <= 0 {
		o.Handshake = 10 * time.Second
	}
	if o.Write <= 0 {
		o.Write = 30 * time.Second
	}
	if o.Refused == nil {
		o.Refused = func(net.Addr, error) {}
	}
	return o
}

// Router is a ROUTER socket on one listener.
type Router struct {
	listen net.Listener
	o      Options
	handle func(*Peer, [][]byte)
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	closing atomic.Bool

	mu    sync.Mutex
	peers map[*Peer]struct{}
	names map[string]*Peer // by the identity that a peer gave itself
}

// NewRouter makes a socket of a listener. handle is called with each message
// of a peer, in order, on a goroutine of that peer: while it runs, nothing
// more of that peer is read, which is how a server holds a fast one back. The
// frames are handle's to keep.
func NewRouter(l net.Listener, o Options, handle func(p *Peer, frames [][]byte)) *Router {
	r := &Router{listen: l, o: o.complete(), handle: handle, peers: map[*Peer]struct{}{}, names: map[string]*Peer{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Serve accepts connections until Close; its error is then nil.
func (r *Router) Serve() error {
	for pause := time.Duration(0); ; {
		c, err := r.listen.Accept()
		switch {
		case r.closing.Load():
			if err == nil {
				_ = c.Close() // nobody waits for it
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of descriptors: it may pass
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			t := time.NewTimer(pause)
			select {
			case <-t.C:
			case <-r.ctx.Done():
				t.Stop()
			}
			continue
		}
		pause = 0
		r.admit(c)
	}
}

func (r *Router) admit(c net.Conn) {
	p := &Peer{router: r, conn: c, out: make(chan outgoing, r.o.Queue)}
	p.ctx, p.cancel = context.WithCancelCause(r.ctx)
	r.mu.Lock()
	full := len(r.peers) >= r.o.MaxPeers
	stopped := r.closing.Load()
	if !full && !stopped {
		r.peers[p] = struct{}{}
		r.work.Add(1)
	}
	r.mu.Unlock()
	if full || stopped {
		_ = c.Close()
		p.cancel(nil)
		if full {
			r.o.Refused(c.RemoteAddr(), errors.New("there are too many connections"))
		}
		return
	}
	go func() {
		defer r.work.Done()
		p.run()
	}()
}

// name notes the identity of p. A peer that comes back under its identity takes
// the place of its old connection, which may be dead without our knowing.
func (r *Router) name(p *Peer) {
	if p.identity == "" {
		return
	}
	r.mu.Lock()
	old := r.names[p.identity]
	r.names[p.identity] = p
	r.mu.Unlock()
	if old != nil {
		old.close(errReplaced)
	}
}

func (r *Router) forget(p *Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, p)
	if r.names[p.identity] == p {
		delete(r.names, p.identity)
	}
}

// Peers is how many connections there are.
func (r *Router) Peers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.peers)
}

// Close ends the listener and every connection, and waits for handlers.
// Answers that are queued are written first, until ctx ends.
func (r *Router) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closing.Store(true)
	peers := make([]*Peer, 0, len(r.peers))
	for p := range r.peers {
		peers = append(peers, p)
	}
	r.mu.Unlock()
	err := r.listen.Close()
	for _, p := range peers {
		p.drain(ctx)
	}
	r.cancel()
	r.work.Wait()
	return err
}
