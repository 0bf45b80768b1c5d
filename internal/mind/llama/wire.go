package llama

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/vmihailenco/msgpack/v5"

	"batos"
	"batos/internal/mind"
)

// A frame is four bytes of length, big endian, and that many bytes of
// MessagePack: a call on the way to the child, a reply on the way back. Both
// sides are the same binary, so there is no version to negotiate. The child
// handles other people's files in C, so the parent bounds and checks what
// comes from it like any stranger's words.
const (
	maxCall  = 512 << 20 // an adapter travels in one call
	maxReply = 64 << 20
)

type op string

const (
	opOpen     op = "open"     // first call: load the model; its reply is the child's facts
	opGenerate op = "generate" // one at a time
	opCount    op = "count"    // any time
	opAdapter  op = "adapter"  // hold these bytes as the adapter of that hash
	opCancel   op = "cancel"   // stop the call of that ID; has no reply of its own
	opProbe    op = "probe"    // load the library only, and tell about it
)

type call struct {
	ID      uint64
	Op      op
	Open    *openArgs     `msgpack:",omitempty"`
	Request *mind.Request `msgpack:",omitempty"`
	Text    string        `msgpack:",omitempty"`
	Hash    string        `msgpack:",omitempty"`
	Adapter []byte        `msgpack:",omitempty"`
}

type openArgs struct {
	LibDir, ModelPath string
	Threads, Context  int
}

// reply answers the call of the same ID: with an error, with what the call
// asked for, or with progress, after which more replies follow.
type reply struct {
	ID       uint64
	Progress bool         `msgpack:",omitempty"`
	Fraction float64      `msgpack:",omitempty"`
	Err      *fault       `msgpack:",omitempty"`
	Result   *mind.Result `msgpack:",omitempty"`
	Count    int          `msgpack:",omitempty"`
	Library  *Library     `msgpack:",omitempty"`
}

// fault is a *batos.Error on the wire.
type fault struct {
	Code batos.Code
	Text string
}

// wantAdapter is the code of a fault that asks for an adapter's bytes; it
// never leaves this package.
const wantAdapter batos.Code = "want_adapter"

func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	code := batos.CodeOf(err)
	if code == "" {
		code = batos.Offline
	}
	return &fault{code, err.Error()}
}

func (f *fault) error() error {
	if f == nil {
		return nil
	}
	return &batos.Error{Code: f.Code, Text: f.Text}
}

func writeFrame(w io.Writer, limit int, v any) error {
	buf := bytes.NewBuffer(make([]byte, 4, 512))
	if err := msgpack.NewEncoder(buf).Encode(v); err != nil {
		return err
	}
	b := buf.Bytes()
	if len(b)-4 > limit {
		return batos.Errorf(batos.Invalid, "a message of %d MiB to the engine is more than %d MiB", len(b)>>20, limit>>20)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, err := w.Write(b)
	return err
}

var errFrame = errors.New("malformed frame")

// readFrame reads one frame into v. Memory grows with what has really arrived,
// not with the announced length. io.EOF is the clean end between frames.
func readFrame(r io.Reader, limit int, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n == 0 || n > int64(limit) {
		return fmt.Errorf("%w: %d bytes announced", errFrame, n)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, n); err != nil {
		return io.ErrUnexpectedEOF
	}
	d := msgpack.NewDecoder(&body)
	d.DisallowUnknownFields(true)
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %v", errFrame, err)
	}
	if body.Len() != 0 {
		return fmt.Errorf("%w: %d bytes too many", errFrame, body.Len())
	}
	return nil
}
