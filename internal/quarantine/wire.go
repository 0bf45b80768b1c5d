package quarantine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/vmihailenco/msgpack/v5"

	"batos"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/object"
)

// A frame is four bytes of length, big-endian, then a kind and a MessagePack
// array. The parent says one job, the child answers one verdict; in between
// the child asks, and the parent answers each question before the next. Slot
// values and revisions travel in the image's own encoding.
type frameKind byte

const (
	frameJob      frameKind = 'J' // parent: job
	frameGet      frameKind = 'G' // child: get, answered by a revision
	frameRevision frameKind = 'R' // parent: revision
	frameEffect   frameKind = 'E' // child: wanted, answered by a result
	frameClock    frameKind = 'C' // child: nothing, answered by a result
	frameResult   frameKind = 'A' // parent: result
	frameReport   frameKind = 'V' // child: report
)

// Bounds of a frame, in bytes. What the child says is bounded more tightly: the
// parent must stay small whatever it says.
const (
	maxSaid  = 48 << 20 // by the parent
	maxAsked = 16 << 20 // by the child
)

// errTooLong is what a frame beyond its bound is refused with.
var errTooLong = errors.New("a frame is too long")

type job struct {
	Memory, CPU int64 // bytes; seconds
	Limits      exec.Limits
	Snapshot    uint64
	Message     batos.Message
	Journal     []effect
	Lineage     exec.Lineage
	Receiver    uint64
	Selector    string
	Source      string
	// Probes are tried after a message that came to its end: the candidate,
	// then Second if it is not "", on states and arguments near to its own.
	Probes []probe
	Second string
	Watch  []string // data slots of the receiver that are looked at afterwards
}

// probe is a call of the candidate by itself: slots of the receiver to set
// before, and the arguments.
type probe struct {
	Names  []string
	Values [][]byte
	Args   []byte
}

// probed is what came of one probe.
type probed struct {
	Err       failure
	Value     []byte
	After     [][]byte // of the watched slots; nil where there is none
	Elsewhere string   // what else it changed, or ""
}

type get struct {
	OID uint64
}

type revision struct {
	Found bool
	TID   uint64
	Data  []byte
	Err   failure // if not found
}

type wanted struct {
	Kind     string
	External bool
	Args     []byte
	Seq      int
	Key      [16]byte
}

type result struct {
	Value []byte // nil if Err is set
	Err   failure
}

type report struct {
	Status  uint8
	Value   []byte
	Err     failure
	Missing *missing
	Diff    []byte
	Outbox  []later
	Reads   [32]byte
	Journal []effect
	Usage   exec.Usage
	Probed  []probed // by the candidate
	Second  []probed // by the other source
}

type later struct {
	Target   uint64
	Selector string
	Args     []byte
}

type missing struct {
	Receiver  uint64
	Selector  string
	Args      []byte
	Authority uint8
}

type effect struct {
	Kind     string
	Key      [16]byte
	External bool
	Result   []byte
	Err      failure
}

// failure is a *batos.Error; Code is "" for none.
type failure struct {
	Code, Text string
}

// maxErrorText bounds the text of an error that crosses the wall.
const maxErrorText = 16 << 10

func failureOf(err *batos.Error) failure {
	if err == nil {
		return failure{}
	}
	text := err.Text
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "…"
	}
	return failure{Code: string(err.Code), Text: text}
}

func (f failure) error() *batos.Error {
	if f.Code == "" {
		return nil
	}
	return &batos.Error{Code: batos.Code(f.Code), Text: f.Text}
}

func effectsOut(in []exec.Effect) []effect {
	out := make([]effect, len(in))
	for i, e := range in {
		out[i] = effect{Kind: e.Kind, Key: e.Key, External: e.External, Err: failureOf(e.Err)}
		if e.Result != nil {
			out[i].Result = codec.EncodeValue(e.Result)
		}
	}
	return out
}

func effectsIn(in []effect) ([]exec.Effect, error) {
	out := make([]exec.Effect, len(in))
	for i, e := range in {
		out[i] = exec.Effect{Kind: e.Kind, Key: e.Key, External: e.External, Err: e.Err.error()}
		if len(e.Result) > 0 {
			v, err := codec.DecodeValue(e.Result)
			if err != nil {
				return nil, err
			}
			out[i].Result = v
		}
	}
	return out, nil
}

func missingOut(m *method.NotUnderstood) *missing {
	if m == nil {
		return nil
	}
	return &missing{Receiver: uint64(m.Receiver), Selector: string(m.Selector), Args: codec.EncodeArgs(m.Args, m.Kwargs), Authority: uint8(m.Authority)}
}

func missingIn(m *missing) (*method.NotUnderstood, error) {
	if m == nil {
		return nil, nil
	}
	args, kwargs, err := codec.DecodeArgs(m.Args)
	if err != nil {
		return nil, err
	}
	return &method.NotUnderstood{Receiver: batos.OID(m.Receiver), Selector: batos.Selector(m.Selector), Args: args, Kwargs: kwargs, Authority: batos.Authority(m.Authority)}, nil
}

func valueOut(v object.Value) []byte {
	if v == nil {
		return nil
	}
	return codec.EncodeValue(v)
}

func valueIn(b []byte) (object.Value, error) {
	if len(b) == 0 {
		return nil, nil
	}
	return codec.DecodeValue(b)
}

// writeFrame says one frame of at most limit bytes; body may be nil.
func writeFrame(w io.Writer, limit int, kind frameKind, body any) error {
	var b bytes.Buffer
	b.Write([]byte{0, 0, 0, 0, byte(kind)})
	if body != nil {
		enc := msgpack.NewEncoder(&b)
		enc.UseArrayEncodedStructs(true) // both sides are the same binary
		if err := enc.Encode(body); err != nil {
			return err
		}
	}
	if b.Len() > limit {
		return errTooLong
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(b.Len()-4))
	_, err := w.Write(b.Bytes())
	return err
}

// readFrame reads one frame, whole. It never allocates more than has arrived,
// doubled.
func readFrame(r io.Reader, limit int) (frameKind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[:4])) - 1
	if n < 0 || n > int64(limit) {
		return 0, nil, errTooLong
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, n); err != nil {
		return 0, nil, err
	}
	return frameKind(head[4]), b.Bytes(), nil
}

// decode reads a frame's body, all of it.
func decode(data []byte, into any) error {
	r := bytes.NewReader(data)
	if err := msgpack.NewDecoder(r).Decode(into); err != nil {
		return err
	}
	if r.Len() > 0 {
		return batos.Errorf(batos.Invalid, "%d bytes after the end of a frame", r.Len())
	}
	return nil
}
