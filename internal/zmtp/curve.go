package zmtp

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// KeyPair is a CURVE key of 32 bytes, public and secret.
type KeyPair struct{ Public, Secret [32]byte }

// NewKeyPair makes a key from the system's randomness.
func NewKeyPair() (*KeyPair, error) {
	pub, sec, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return &KeyPair{*pub, *sec}, nil
}

// ParseSecret makes a key pair of a secret key in Z85, as tools of ZeroMQ
// print it: 40 characters.
func ParseSecret(z85 string) (*KeyPair, error) {
	var k KeyPair
	if !fromZ85(k.Secret[:], strings.TrimSpace(z85)) {
		return nil, errors.New("a CURVE key has 40 characters of Z85")
	}
	pub, err := curve25519.X25519(k.Secret[:], curve25519.Basepoint)
	if err != nil {
		return nil, err
	}
	copy(k.Public[:], pub)
	return &k, nil
}

// Z85 writes 32 bytes of a key as 40 characters (RFC 32).
func Z85(key [32]byte) string {
	var b strings.Builder
	for i := 0; i < len(key); i += 4 {
		v := binary.BigEndian.Uint32(key[i:])
		var c [5]byte
		for j := 4; j >= 0; j-- {
			c[j] = z85Alphabet[v%85]
			v /= 85
		}
		b.Write(c[:])
	}
	return b.String()
}

const z85Alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

func fromZ85(out []byte, s string) bool {
	if len(s) != len(out)/4*5 {
		return false
	}
	for i := 0; i < len(s); i += 5 {
		v := uint64(0)
		for _, c := range []byte(s[i : i+5]) {
			d := strings.IndexByte(z85Alphabet, c)
			if d < 0 {
				return false
			}
			v = v*85 + uint64(d)
		}
		if v > 0xffffffff {
			return false
		}
		binary.BigEndian.PutUint32(out[i/5*4:], uint32(v))
	}
	return true
}

// secrets is the state of an encrypted connection after its handshake.
type secrets struct {
	shared   [32]byte // of both sides' keys for this connection
	sent     uint64   // nonce of the newest message of this side; the writer's
	received uint64   // and of the peer's; the reader's
}

// curveOverhead is what encryption adds to a frame's body at most.
const curveOverhead = 8 + 8 + 1 + box.Overhead

var errCurve = errors.New("the peer's CURVE handshake does not hold: it needs this server's public key")

// nonce is one of 24 bytes: a prefix and a number that never repeats.
func shortNonce(prefix string, n []byte) *[24]byte {
	var out [24]byte
	copy(out[:], prefix)
	copy(out[16:], n)
	return &out
}

func longNonce(prefix string, random []byte) *[24]byte {
	var out [24]byte
	copy(out[:], prefix)
	copy(out[8:], random)
	return &out
}

func key(b []byte) *[32]byte {
	var k [32]byte
	copy(k[:], b)
	return &k
}

// curve is the server's side of CurveZMQ (RFC 26): HELLO, WELCOME, INITIATE,
// READY. It gives the peer's properties.
func (p *Peer) curve(in *bufio.Reader) ([]byte, error) {
	own := p.router.o.Curve
	hello, err := hear(in, "HELLO")
	if err != nil {
		return nil, err
	}
	if len(hello) != 194 || hello[0] != 1 {
		return nil, errCurve
	}
	theirShort := key(hello[74:106]) // C'
	if _, ok := box.Open(nil, hello[114:], shortNonce("CurveZMQHELLO---", hello[106:114]), theirShort, &own.Secret); !ok {
		return nil, errCurve
	}

	ourShort, ourSecret, err := box.GenerateKey(rand.Reader) // S', s'
	if err != nil {
		return nil, err
	}
	// The cookie proves in INITIATE that the peer has seen WELCOME. The state it
	// carries is also kept here, since the connection is.
	var cookieKey [32]byte
	var random [16]byte
	_, _ = rand.Read(cookieKey[:]) // crypto/rand.Read never fails (it aborts the program)
	_, _ = rand.Read(random[:])
	cookie := append([]byte(nil), random[:]...)
	cookie = secretbox.Seal(cookie, append(theirShort[:], ourSecret[:]...), longNonce("COOKIE--", random[:]), &cookieKey)
	_, _ = rand.Read(random[:])
	welcome := append(appendName(nil, "WELCOME"), random[:]...)
	welcome = box.Seal(welcome, append(ourShort[:], cookie...), longNonce("WELCOME-", random[:]), theirShort, &own.Secret)
	if err := p.say(welcome); err != nil {
		return nil, err
	}

	initiate, err := hear(in, "INITIATE")
	if err != nil {
		return nil, err
	}
	if len(initiate) < 96+8+box.Overhead || string(initiate[:96]) != string(cookie) {
		return nil, errCurve
	}
	plain, ok := box.Open(nil, initiate[104:], shortNonce("CurveZMQINITIATE", initiate[96:104]), theirShort, ourSecret)
	if !ok || len(plain) < 32+16+80 {
		return nil, errCurve
	}
	theirLong := key(plain[:32]) // C
	vouch, ok := box.Open(nil, plain[48:128], longNonce("VOUCH---", plain[32:48]), theirLong, ourSecret)
	if !ok || string(vouch) != string(theirShort[:])+string(own.Public[:]) {
		return nil, errCurve
	}

	p.secure = &secrets{received: binary.BigEndian.Uint64(initiate[96:104]), sent: 1}
	box.Precompute(&p.secure.shared, theirShort, ourSecret)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], p.secure.sent)
	ready := append(appendName(nil, "READY"), n[:]...)
	ready = box.SealAfterPrecomputation(ready, ourMeta(), shortNonce("CurveZMQREADY---", n[:]), &p.secure.shared)
	return plain[128:], p.say(ready)
}

// Bits of the first byte inside an encrypted frame.
const (
	innerMore    = 1
	innerCommand = 2
)

// open decrypts a MESSAGE of the peer. Its nonces only grow, so nothing can be
// played twice.
func (s *secrets) open(f frame) (frame, error) {
	name, rest, err := cutName(f.body)
	if err != nil || name != "MESSAGE" || len(rest) < 8+box.Overhead+1 || f.more {
		return frame{}, errors.New("a frame is not encrypted")
	}
	n := binary.BigEndian.Uint64(rest)
	if n <= s.received {
		return frame{}, errors.New("an encrypted frame came twice")
	}
	plain, ok := box.OpenAfterPrecomputation(nil, rest[8:], shortNonce("CurveZMQMESSAGEC", rest[:8]), &s.shared)
	if !ok {
		return frame{}, errors.New("an encrypted frame is damaged")
	}
	s.received = n
	return frame{more: plain[0]&innerMore != 0, command: plain[0]&innerCommand != 0, body: plain[1:]}, nil
}

func (s *secrets) seal(f frame) frame {
	flags := byte(0)
	if f.more {
		flags |= innerMore
	}
	if f.command {
		flags |= innerCommand
	}
	s.sent++
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], s.sent)
	body := append(appendName(make([]byte, 0, len(f.body)+curveOverhead), "MESSAGE"), n[:]...)
	plain := append([]byte{flags}, f.body...)
	return frame{body: box.SealAfterPrecomputation(body, plain, shortNonce("CurveZMQMESSAGES", n[:]), &s.shared)}
}
