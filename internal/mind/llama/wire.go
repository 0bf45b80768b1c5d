package llama

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/vmihailenco/msgpack/v5"
	"golang.org/x/sys/unix"

	"batos"
	"batos/internal/mind"
)

// A frame is four bytes of length, big endian, and that many bytes of
// MessagePack: a call on the way to the child, a reply on the way back. Both
// sides are the same binary, so there is no version to negotiate. The child
// handles other people's files in C, so the parent bounds and checks what
// comes from it like any stranger's words.
//
// A call may carry one open file beside its frame: the descriptor travels with
// the frame's first byte. The large things, adapters and kept prefixes, go
// this way and never through a frame.
const (
	maxCall  = 128 << 20
	maxReply = 64 << 20
)

type op string

const (
	opOpen     op = "open"     // first call: load the model
	opGenerate op = "generate" // as many at a time as there are contexts
	opCount    op = "count"    // any time
	opEmbed    op = "embed"    // vectors of Texts
	opLoad     op = "load"     // hold the adapter in the file as the one of that hash
	opUnload   op = "unload"   // free the adapter of that hash
	opMemory   op = "memory"   // what is held
	opPrefixes op = "prefixes" // what prefix states are kept
	opSave     op = "save"     // write the kept prefix of that key into the file
	opRestore  op = "restore"  // keep what opSave wrote
	opCancel   op = "cancel"   // stop the call of that ID; has no reply of its own
	opProbe    op = "probe"    // load the library only, and tell about it
)

// hasFile reports whether calls of this kind carry a file.
func (o op) hasFile() bool { return o == opLoad || o == opSave || o == opRestore }

type call struct {
	ID      uint64
	Op      op
	Open    *openArgs     `msgpack:",omitempty"`
	Request *mind.Request `msgpack:",omitempty"`
	Stream  bool          `msgpack:",omitempty"` // tell the text in parts
	Text    string        `msgpack:",omitempty"`
	Texts   []string      `msgpack:",omitempty"`
	Hash    string        `msgpack:",omitempty"`

	file *os.File // travels beside the frame
}

type openArgs struct {
	LibDir             string
	ModelPath          string
	ModelHash          string
	Prefixes           int64 // bytes
	Threads, Context   int
	Contexts, Parallel int
	GPULayers          int
	EmbedsOnly         bool
}

// reply answers the call of the same ID: with an error, with what the call
// asked for, or with progress or a part of the text, after which more replies
// follow.
type reply struct {
	ID       uint64
	More     bool             `msgpack:",omitempty"`
	Fraction float64          `msgpack:",omitempty"` // of a start, if More
	Part     string           `msgpack:",omitempty"` // of a text, if More
	Err      *fault           `msgpack:",omitempty"`
	Result   *mind.Result     `msgpack:",omitempty"`
	Count    int              `msgpack:",omitempty"`
	Vectors  [][]float32      `msgpack:",omitempty"`
	Hot      *mind.HotAdapter `msgpack:",omitempty"`
	Memory   *mind.Memory     `msgpack:",omitempty"`
	Prefixes []mind.Prefix    `msgpack:",omitempty"`
	Library  *Library         `msgpack:",omitempty"`
}

// fault is a *batos.Error on the wire.
type fault struct {
	Code batos.Code
	Text string
}

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
	b, err := frame(limit, v)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

func frame(limit int, v any) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 4, 512))
	if err := msgpack.NewEncoder(buf).Encode(v); err != nil {
		return nil, err
	}
	b := buf.Bytes()
	if len(b)-4 > limit {
		return nil, batos.Errorf(batos.Invalid, "a message of %d MiB to the engine is more than %d MiB", len(b)>>20, limit>>20)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b, nil
}

// sendFrame writes a frame with an open file beside it.
func sendFrame(conn *net.UnixConn, limit int, v any, f *os.File) error {
	b, err := frame(limit, v)
	if err != nil {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return batos.Errorf(batos.Invalid, "file for the engine: %w", err)
	}
	n, werr := 0, error(nil)
	err = raw.Control(func(fd uintptr) {
		n, _, werr = conn.WriteMsgUnix(b, unix.UnixRights(int(fd)), nil)
	})
	if err != nil {
		return batos.Errorf(batos.Invalid, "file for the engine: %w", err)
	}
	if werr == nil {
		_, werr = conn.Write(b[n:])
	}
	return werr
}

// inbox reads the child's end of the sockets: bytes for whoever parses frames,
// and the files that came beside them, in order.
type inbox struct {
	conn  *net.UnixConn
	files []*os.File
}

// maxFiles is how many files one read may bring; the parent sends one a call.
const maxFiles = 16

func (in *inbox) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, _, _, err := in.conn.ReadMsgUnix(p, oob)
	if oobn > 0 {
		msgs, perr := unix.ParseSocketControlMessage(oob[:oobn])
		if perr != nil {
			return n, perr
		}
		for _, m := range msgs {
			fds, perr := unix.ParseUnixRights(&m)
			if perr != nil {
				return n, perr
			}
			for _, fd := range fds {
				in.files = append(in.files, os.NewFile(uintptr(fd), "from the parent"))
			}
		}
	}
	return n, err
}

// take gives the file that came with the call that was just read.
func (in *inbox) take() (*os.File, error) {
	if len(in.files) == 0 {
		return nil, batos.Errorf(batos.Invalid, "the call came without its file")
	}
	f := in.files[0]
	in.files = in.files[1:]
	return f, nil
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
