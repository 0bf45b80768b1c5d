package zmtp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
)

// Bits of a frame's first byte.
const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4
)

// frameOverhead is what stands before a frame's body at most, in bytes.
const frameOverhead = 9

var errTooLarge = errors.New("a message is larger than this server takes")

type frame struct {
	more, command bool
	body          []byte
}

// readFrame reads a frame of at most most bytes. Memory is taken as the bytes
// arrive, not as the header promises.
func readFrame(in *bufio.Reader, most int) (frame, error) {
	flags, err := in.ReadByte()
	if err != nil {
		return frame{}, err
	}
	if flags&^(flagMore|flagLong|flagCommand) != 0 || flags&flagCommand != 0 && flags&flagMore != 0 {
		return frame{}, fmt.Errorf("a frame begins with the unknown flags %#x", flags)
	}
	var head [8]byte
	size := uint64(0)
	if flags&flagLong != 0 {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return frame{}, cut(err)
		}
		size = binary.BigEndian.Uint64(head[:])
	} else {
		b, err := in.ReadByte()
		if err != nil {
			return frame{}, cut(err)
		}
		size = uint64(b)
	}
	if size > uint64(max(most, 0)) {
		return frame{}, errTooLarge
	}
	f := frame{more: flags&flagMore != 0, command: flags&flagCommand != 0}
	const atOnce = 64 << 10
	if size <= atOnce {
		f.body = make([]byte, size)
		_, err = io.ReadFull(in, f.body)
		return f, cut(err)
	}
	var b bytes.Buffer
	b.Grow(atOnce)
	_, err = io.CopyN(&b, in, int64(size))
	f.body = b.Bytes()
	return f, cut(err)
}

// cut makes an end inside a frame an error that is not a plain end.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func writeFrame(w *bufio.Writer, f frame) error {
	flags := byte(0)
	if f.more {
		flags |= flagMore
	}
	if f.command {
		flags |= flagCommand
	}
	var head [frameOverhead]byte
	n := 2
	if len(f.body) > 255 {
		head[0] = flags | flagLong
		binary.BigEndian.PutUint64(head[1:], uint64(len(f.body)))
		n = 9
	} else {
		head[0], head[1] = flags, byte(len(f.body))
	}
	if _, err := w.Write(head[:n]); err != nil {
		return err
	}
	_, err := w.Write(f.body)
	return err
}

// The names of mechanisms in a greeting.
const (
	mechanismNull  = "NULL"
	mechanismCurve = "CURVE"
	greetingSize   = 64
	maxCommand     = 4096 // bytes of a handshake command
)

// handshake exchanges greetings and runs the mechanism.
func (p *Peer) handshake(in *bufio.Reader) error {
	mechanism := mechanismNull
	if p.router.o.Curve != nil {
		mechanism = mechanismCurve
	}
	var g [greetingSize]byte
	g[0], g[8], g[9], g[10], g[11] = 0xff, 1, 0x7f, 3, 1
	copy(g[12:32], mechanism)
	if mechanism == mechanismCurve {
		g[32] = 1 // this side is the server
	}
	if _, err := p.conn.Write(g[:]); err != nil {
		return err
	}
	var theirs [greetingSize]byte
	if _, err := io.ReadFull(in, theirs[:10]); err != nil {
		return err
	}
	if theirs[0] != 0xff || theirs[9] != 0x7f {
		return errors.New("this is not ZeroMQ: no ZMTP signature came")
	}
	if _, err := io.ReadFull(in, theirs[10:]); err != nil {
		return cut(err)
	}
	if theirs[10] < 3 {
		return fmt.Errorf("the peer speaks ZMTP %d, this server 3", theirs[10])
	}
	if name := string(bytes.TrimRight(theirs[12:32], "\x00")); name != mechanism {
		return fmt.Errorf("the peer wants the mechanism %.20q, this server speaks %s", name, mechanism)
	}
	var meta []byte
	var err error
	if mechanism == mechanismCurve {
		meta, err = p.curve(in)
	} else {
		meta, err = p.null(in)
	}
	if err != nil {
		return err
	}
	return p.introduced(meta)
}

// null is the mechanism without protection: both sides say READY.
func (p *Peer) null(in *bufio.Reader) ([]byte, error) {
	if err := p.say(append(appendName(nil, "READY"), ourMeta()...)); err != nil {
		return nil, err
	}
	return hear(in, "READY")
}

// say writes one handshake command.
func (p *Peer) say(body []byte) error {
	w := bufio.NewWriter(p.conn)
	if err := writeFrame(w, frame{command: true, body: body}); err != nil {
		return err
	}
	return w.Flush()
}

// hear reads the handshake command of that name, without the name.
func hear(in *bufio.Reader, want string) ([]byte, error) {
	f, err := readFrame(in, maxCommand)
	if err != nil {
		return nil, err
	}
	name, rest, err := cutName(f.body)
	if err != nil {
		return nil, err
	}
	if !f.command || name != want {
		return nil, fmt.Errorf("the peer said %.20q, %s was due", name, want)
	}
	return rest, nil
}

func ourMeta() []byte {
	return appendProperty(appendProperty(nil, "Socket-Type", "ROUTER"), "Identity", "")
}

// Sockets that may talk to a ROUTER.
var partners = map[string]bool{"DEALER": true, "REQ": true, "ROUTER": true}

// introduced reads the peer's properties.
func (p *Peer) introduced(meta []byte) error {
	kind := ""
	for len(meta) > 0 {
		name, rest, err := cutName(meta)
		if err != nil {
			return err
		}
		if len(rest) < 4 {
			return errors.New("a property has no value")
		}
		n := uint64(binary.BigEndian.Uint32(rest))
		if n > uint64(len(rest)-4) {
			return errors.New("a property is cut off")
		}
		value := string(rest[4 : 4+n])
		switch {
		case equalFold(name, "Socket-Type"):
			kind = value
		case equalFold(name, "Identity"):
			p.identity = value
		}
		meta = rest[4+n:]
	}
	if !partners[kind] {
		return fmt.Errorf("a socket of type %.20q cannot talk to a ROUTER", kind)
	}
	if len(p.identity) > 255 {
		return errors.New("an identity has at most 255 bytes")
	}
	return nil
}

func equalFold(a, b string) bool { return bytes.EqualFold([]byte(a), []byte(b)) }

func appendName(b []byte, name string) []byte { return append(append(b, byte(len(name))), name...) }

func appendProperty(b []byte, name, value string) []byte {
	b = binary.BigEndian.AppendUint32(appendName(b, name), uint32(len(value)))
	return append(b, value...)
}

func cutName(b []byte) (string, []byte, error) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return "", nil, errors.New("a command or property has no name")
	}
	n := int(b[0])
	return string(b[1 : 1+n]), b[1+n:], nil
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
