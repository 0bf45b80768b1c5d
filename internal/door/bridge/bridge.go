// Package bridge is the Synaptic Bridge: a ZeroMQ ROUTER socket that speaks
// MessagePack. docs/bridge.md describes its frames for people who write
// clients.
//
// Read in this order: [Config] and [Listen]; request.go, what a frame may ask;
// serve.go, how it is answered. What is on the wire below MessagePack is
// internal/zmtp's.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"batos"
	"batos/internal/door/access"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/internal/zmtp"
)

// Config is what the bridge needs.
type Config struct {
	Kernel *kernel.Kernel
	Keys   *access.Keyring
	Curve  *zmtp.KeyPair // encrypts all traffic; needed beyond loopback
	Log    *slog.Logger

	// InFlight is how many messages of one client may be under way; more of it
	// is not read until one is answered. 0: 256.
	InFlight int
}

// Bridge is a socket that serves.
type Bridge struct {
	config Config
	router *zmtp.Router
	addr   string
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	clients map[*zmtp.Peer]*client
}

// Scheme begins the addresses of ZeroMQ over TCP.
const Scheme = "tcp://"

// Bind takes an address such as tcp://127.0.0.1:5555. Beyond loopback it is
// denied unless traffic will be encrypted.
func Bind(address string, encrypted bool) (net.Listener, error) {
	host, ok := strings.CutPrefix(address, Scheme)
	if !ok {
		return nil, batos.Errorf(batos.Invalid, "--zmq %.80q: write %s127.0.0.1:5555, or none", address, Scheme)
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "--zmq %.80q: write %s127.0.0.1:5555, or none", address, Scheme)
	}
	if name == "*" {
		name = ""
	}
	if ip := net.ParseIP(name); !encrypted && name != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, batos.Errorf(batos.Denied, "--zmq %s can be reached from other machines, and so must be encrypted: add --zmq-curve", address)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(name, port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, batos.Errorf(batos.Busy, "the address %s is taken: another batos up may run there; give --zmq another port, or none", address)
	}
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "cannot listen on %s: %w", address, err)
	}
	return l, nil
}

// CurveFile is the name of the file with the server's secret key in the image
// folder.
const CurveFile = "curve.key"

// EnsureCurve gives the image's CURVE key, made at the first call and kept in
// a file only its owner can read.
func EnsureCurve(dir string) (*zmtp.KeyPair, error) {
	name := filepath.Join(dir, CurveFile)
	b, err := os.ReadFile(name)
	if err == nil {
		k, err := zmtp.ParseSecret(string(b))
		if err != nil {
			return nil, batos.Errorf(batos.Invalid, "%s: %w; remove it to have a new one made", name, err)
		}
		return k, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, batos.Errorf(batos.Denied, "the CURVE key cannot be read: %w", err)
	}
	k, err := zmtp.NewKeyPair()
	if err != nil {
		return nil, err
	}
	if err := wire.WriteSecret(name, zmtp.Z85(k.Secret)); err != nil {
		return nil, batos.Errorf(batos.Denied, "the CURVE key cannot be written: %w", err)
	}
	return k, nil
}

// New makes a bridge of an address that was bound.
func New(l net.Listener, c Config) *Bridge {
	if c.InFlight <= 0 {
		c.InFlight = 256
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	b := &Bridge{config: c, addr: l.Addr().String(), clients: map[*zmtp.Peer]*client{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.router = zmtp.NewRouter(l, zmtp.Options{Curve: c.Curve, MaxMessage: maxFrame, Refused: func(remote net.Addr, err error) {
		c.Log.Debug("the bridge ended a connection", "remote", remote, "reason", err)
	}}, b.take)
	return b
}

// maxFrame bounds a request, in bytes.
const maxFrame = 16 << 20

// Address is where the bridge answers.
func (b *Bridge) Address() string { return Scheme + b.addr }

// Serve answers until Close.
func (b *Bridge) Serve() error { return b.router.Serve() }

// Close stops taking requests and writes the answers that are ready until ctx
// ends. What is under way lives on in the kernel.
func (b *Bridge) Close(ctx context.Context) error {
	b.cancel()
	if err := b.router.Close(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing the bridge: %w", err)
	}
	return nil
}

// client is what the bridge knows of a connection.
type client struct {
	bridge *Bridge
	peer   *zmtp.Peer
	places chan struct{} // one for each message under way

	mu       sync.Mutex
	who      *access.Caller // as of the newest token
	events   context.CancelFunc
	watched  []*sent // in the order in which they came; answered ones too, for a while
	watching bool    // look will be called
}

// client finds or makes the state of a connection.
func (b *Bridge) client(p *zmtp.Peer) *client {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.clients[p]
	if c == nil {
		c = &client{bridge: b, peer: p, places: make(chan struct{}, b.config.InFlight)}
		b.clients[p] = c
		context.AfterFunc(p.Context(), func() {
			b.mu.Lock()
			delete(b.clients, p)
			b.mu.Unlock()
			c.unsubscribe()
		})
	}
	return c
}

// maxWait bounds how long one request waits for an outcome.
const maxWait = time.Hour
