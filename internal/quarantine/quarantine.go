// Package quarantine tries a method before it may run in the kernel: in a
// child process of the same binary, on the very message that needs it, over a
// snapshot of the image.
//
// The child has nothing but one end of a socket pair: no environment, no files
// and no way to open one, and hard limits on memory and processor time. It
// asks for objects one by one, and the parent answers from the snapshot, up to
// a budget. What the message has recorded is replayed; the clock and every new
// effect that may be repeated are asked from the parent; effects on the world
// outside are refused. What the message would have changed comes back, and is
// never committed.
//
// Whatever the candidate does to the child, the parent gets a [Verdict]. An
// error of [Trials.Trial] is about the parent alone: the caller gave up, the
// snapshot can't be read, no process can be started.
//
// Read in this order: [Trials], [Request], [Verdict], [Bind]; inside,
// parent.go and child.go are the two sides, wire.go what they say to each
// other, and confine_linux.go the walls.
package quarantine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"batos"
	"batos/image"
	"batos/image/store"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/object"
)

// Command is the hidden subcommand of the binary that is the child: main
// calls [ChildMain] when its first argument is this.
const Command = "quarantine"

// Config sets up [Trials]. The zero value is good.
type Config struct {
	Limits exec.Limits   // of the run itself; zero fields have the dialect's defaults
	Memory int64         // bytes of data the child may have beyond what it starts with; 0: 192 MiB
	CPU    time.Duration // processor time of the child, in whole seconds; 0: 3 s
	Wall   time.Duration // elapsed time of the child, effects not counted; 0: 2.5 s
	Read   int64         // bytes of objects the child may read; 0: 64 MiB
	// Program and Args start the child; "" is the running binary with
	// [Command].
	Program string
	Args    []string
}

const (
	defaultMemory = 192 << 20
	defaultCPU    = 3 * time.Second
	defaultWall   = 2500 * time.Millisecond
	defaultRead   = 64 << 20
)

// Trials runs trials. Safe for concurrent use; every trial has a process of
// its own.
type Trials struct {
	config Config
	closed context.Context // done once Close was called
	stop   context.CancelFunc
}

// Open makes Trials ready. It starts nothing.
func Open(c Config) (*Trials, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.CPU == 0 {
		c.CPU = defaultCPU
	}
	if c.Wall == 0 {
		c.Wall = defaultWall
	}
	if c.Read == 0 {
		c.Read = defaultRead
	}
	if c.Program == "" {
		c.Program, c.Args = ownBinary, []string{Command}
	}
	t := &Trials{config: c}
	t.closed, t.stop = context.WithCancel(context.Background())
	return t, nil
}

// Close ends the trials under way: they return an error with code cancelled.
func (t *Trials) Close() error {
	t.stop()
	return nil
}

// Request is one trial.
type Request struct {
	// Snapshot is what the message sees. It stays open and the caller's.
	Snapshot store.Snapshot
	// Run is the message with its journal, what its lineage may spend, and
	// the candidate, which must be there.
	Run exec.Request
	// Effect carries out an effect that is not recorded yet. It is called one
	// at a time, never for an external effect, and never more often for
	// inferences than the lineage allows. Its result is recorded; so is its
	// error, which the method then meets. Nil refuses every effect.
	Effect func(ctx context.Context, w *exec.WantedEffect) (object.Value, error)
	// Clock is the time that the message sees; nil: time.Now.
	Clock func() time.Time
	// Probes are calls of the candidate by itself, on states near to that of
	// the message, tried in the same child once the message came to its end.
	// Second, if not "", is another method that is tried in the same probes.
	// Watch names the slots of the receiver that are looked at afterwards.
	Probes []Probe
	Second string
	Watch  []string
}

// Probe is one call of the candidate: what slots of its receiver hold, and
// the arguments. Effects are refused in it.
type Probe struct {
	Slots  []object.Slot
	Args   []object.Value
	Kwargs []object.Slot
}

// Probed is what came of a probe.
type Probed struct {
	Err       *batos.Error // nil: it came to its end
	Value     object.Value
	After     []object.Value // of the watched slots, None where there is none
	Elsewhere string         // what else it would have changed, in words, or ""
}

// Verdict is what came of a trial.
type Verdict struct {
	// OK says that the message was carried out to its end.
	OK bool
	// Value is the answer, if OK.
	Value object.Value
	// Err is why not, if not OK. Code limit covers everything that the child
	// was stopped for; see Stopped.
	Err *batos.Error
	// Stopped names the wall that the child ran into, or is "".
	Stopped Stop
	// Missing is the send that nobody understood, if that ended the run.
	Missing *method.NotUnderstood
	// Changes is what the message would have changed, Diff their encoding by
	// image.EncodeChanges, Outbox what it would have sent for later (targets,
	// selectors and arguments), Fingerprint the identity of both, and
	// Reads the identity of all that was read, by image.Tx.ReadDigest with
	// the candidate's own slot left out. A live run with equal Reads must have
	// an equal Fingerprint.
	Changes     []image.Change
	Diff        []byte
	Outbox      []batos.Message
	Fingerprint [32]byte
	Reads       [32]byte
	// Effects is the whole journal to keep for the live run; empty if Stopped.
	Effects []exec.Effect
	Usage   exec.Usage
	// Probed and Second are what came of the probes, in order. There may be
	// fewer than were asked for: all together are bounded.
	Probed, Second []Probed
	// Snapshot is the commit that the trial saw, Bound the hash of what the
	// verdict is about: see [Bind].
	Snapshot batos.TID
	Bound    [32]byte
	Elapsed  time.Duration // start of the child to its end
}

// Stop names what a child was stopped for.
type Stop string

const (
	Memory Stop = "memory"  // it had more data than Config.Memory
	CPU    Stop = "cpu"     // it took more processor time than Config.CPU
	Wall   Stop = "wall"    // it took more time than Config.Wall
	Read   Stop = "read"    // it asked for more than Config.Read
	Crash  Stop = "crash"   // it ended without a verdict
	Babble Stop = "garbled" // it said something that is not of the protocol
)

// Fingerprint identifies what a run does, its changes and the messages that it
// sends for later, for the comparison of a trial with the live run. It is
// image.Fingerprint without the methods of new objects. Code can't make
// methods, only clone the objects that hold them; and a clone of the receiver
// holds the tried method in the live run, but not in the trial.
func Fingerprint(changes []image.Change, outbox []batos.Message) ([32]byte, error) {
	out := slices.Clone(changes)
	for i := range out {
		if out[i].New {
			out[i].Slots = slices.DeleteFunc(slices.Clone(out[i].Slots), func(s image.SlotChange) bool {
				_, is := s.After.(*object.Method)
				return is
			})
		}
	}
	if len(outbox) > 0 {
		sent, err := sending(outbox)
		if err != nil {
			return [32]byte{}, err
		}
		out = append(out, sent)
	}
	return image.Fingerprint(out), nil
}

// sending shows messages as a change, so that new objects count in them by
// their order and not by their number, as they do in changes.
func sending(outbox []batos.Message) (image.Change, error) {
	c := image.Change{OID: batos.DeriveOID("quarantine", "outbox")}
	for i, m := range outbox {
		args, kwargs, err := codec.DecodeArgs(m.Args)
		if err != nil {
			return c, err
		}
		said := []object.Value{object.Ref(m.Target), object.Str(m.Selector), object.NewInt(int64(len(args)))}
		said = append(said, args...)
		for _, kw := range kwargs {
			said = append(said, object.Str(kw.Name), kw.Value)
		}
		c.Slots = append(c.Slots, image.SlotChange{Name: strconv.Itoa(i), After: &object.Tuple{Items: said}})
	}
	return c, nil
}

// Bind identifies what a verdict is about. A verdict counts for nothing else
// than this source, as this selector of this receiver, for this message, on
// this state of the image.
func Bind(source string, receiver batos.OID, sel batos.Selector, id batos.MessageID, snapshot batos.TID) [32]byte {
	h := sha256.New()
	for _, s := range []string{"batos verdict 1", source, string(sel), string(id)} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(receiver)))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(snapshot)))
	return [32]byte(h.Sum(nil))
}
