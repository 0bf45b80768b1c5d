// Package kernel is the universal virtual machine: it takes messages, runs
// each in a transaction of its own, keeps what must survive, and turns a
// message that nobody understands into a mission.
//
// Read in this order: [Kernel] and [Config]; [Request] and [Outcome], what a
// door hands in and gets back; run.go, the life of one message; mission.go,
// how a failed look-up parks its message and what wakes it; gate.go, the only
// way for generated code into a slot; effects.go, what messages may ask of
// the world; person.go, what people do directly; awaken.go and resume.go,
// the first start and every later one; upgrade.go, how a newer release changes
// an image; history.go, safe.go and retention.go, what keeps it in repair.
//
// What the kernel keeps in the image are sealed objects: records of messages,
// dockets of missions, verdicts, provenance, corrections. They are reached
// through the trees of kernel_obj or by OIDs derived from their names.
package kernel

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"batos"
	"batos/image"
	"batos/internal/catalog"
	"batos/internal/exec"
	"batos/internal/memory"
	"batos/internal/mind"
	"batos/internal/quarantine"
	"batos/object"
)

// Config is what a kernel is started with.
type Config struct {
	Image *image.Image
	// Mind finds the engine and its profile for the model in the image. Nil
	// means that the cognitive core is offline.
	Mind func(ctx context.Context, model Model) (mind.Engine, error)
	// Remote says that Mind asks a server, so that it needs no model in the
	// image and is given none.
	Remote bool
	// RemoteAdapters says that the server's model is the one in the image, so
	// that the image's adapters may be brought to it; without it a remote mind
	// answers as its bare model.
	RemoteAdapters bool
	// Profiles are the ways to speak to models, by name.
	Profiles []mind.Profile
	// Model is imported at the first awakening; nil leaves the image without.
	Model *ModelSource
	// Trial runs candidate methods in processes of their own; nil refuses all.
	Trial   *quarantine.Trials
	Limits  exec.Limits
	Lineage exec.Lineage // what one request at a door may spend; zero: DefaultLineage
	Queue   int          // messages that may wait in line; 0: 10000
	Release string       // of the binary, for provenance
	Safe    bool         // start without running any code of the image: see safe.go
	Log     *slog.Logger // nil: slog.Default
	Clock   func() time.Time
	// Trainer trains adapters, in processes of its own; nil trains none.
	// ForgeDir is the folder of its work.
	Trainer  Trainer
	ForgeDir string
	// PrefixKey is a secret of the image folder's own: what of the engine's
	// computed states the image keeps is sealed with it. Empty keeps none.
	PrefixKey []byte
	// Embedder makes vectors for the knowledge catalog; nil searches text only.
	Embedder mind.Embedder
	// Observe is told of everything that ended, if not nil. It must be quick
	// and may be called from any goroutine.
	Observe func(Observation)
}

// Kernel is a running image. All methods are safe for concurrent use.
type Kernel struct {
	config  Config
	im      *image.Image
	runner  *exec.Runner
	log     *slog.Logger
	clock   func() time.Time
	Events  Feed // what happened, for those who watch
	boxes   *mailboxes
	core    *core
	tiers   *memory.Tiers
	memo    catalog.Memo
	ledgers ledgers
	roots   roots
	safe    string // why no code of the image runs; "" if it does

	ctx    context.Context // ends when the kernel stops
	stop   context.CancelCauseFunc
	work   sync.WaitGroup // messages and effects under way
	closed atomic.Bool    // no more messages are taken

	closing atomic.Bool
	dead    atomic.Pointer[batos.Error] // why the image takes no more commits
	deaths  chan error                  // the same, once

	mu      sync.Mutex
	flights map[batos.MessageID]*flight // messages that are not final

	forging bool // a goroutine works on trainings; under mu

	missions sync.Mutex // one mission is joined, begun or ended at a time
	samples  samples
	conduct  conduct
}

// errStopping is the cause of contexts that end because the kernel stops.
var errStopping = errors.New("the system is stopping")

// Start awakens the image if it is new, in one transaction, or resumes it:
// whatever was queued, suspended or parked goes on. The result must be closed.
func Start(ctx context.Context, c Config) (*Kernel, error) {
	if c.Queue == 0 {
		c.Queue = 10000
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Lineage == (exec.Lineage{}) {
		c.Lineage = exec.DefaultLineage
	}
	k := &Kernel{config: c, im: c.Image, log: c.Log, clock: c.Clock, boxes: newMailboxes(c.Queue), flights: map[batos.MessageID]*flight{}, deaths: make(chan error, 1)}
	k.ctx, k.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	k.core = newCore(c.Mind, c.Profiles)
	k.runner = exec.New(exec.Config{Limits: c.Limits, Clock: c.Clock})
	k.tiers = k.newTiers()
	k.registerPrimitives()
	if err := k.awaken(ctx); err != nil {
		return nil, err
	}
	if err := k.checkGenesis(ctx); err != nil {
		return nil, err
	}
	if k.safe != "" {
		return k, nil
	}
	if err := k.openCore(ctx); err != nil {
		return nil, err
	}
	if err := k.resume(ctx); err != nil {
		return nil, err
	}
	k.wakeForge()
	return k, nil
}

// Close takes no more messages, lets those that run finish, and leaves what
// waits for an effect or a mission to the next start. After ctx ends it stops
// waiting; nothing acknowledged is lost either way. The image stays open.
func (k *Kernel) Close(ctx context.Context) error {
	if k.closing.Swap(true) {
		return nil
	}
	k.mu.Lock()
	k.closed.Store(true) // under mu: nothing is started any more
	k.mu.Unlock()
	k.stop(errStopping)
	for _, f := range k.boxes.empty() {
		go func() {
			defer k.work.Done()
			k.interrupted(f, context.Cause(k.ctx))
		}()
	}
	done := make(chan struct{})
	go func() { k.work.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = batos.Errorf(batos.Timeout, "the system did not come to rest in time (%w); what was under way goes on at the next start", ctx.Err())
	}
	k.keepPrefixes(ctx)
	k.tiers.CloseHot(ctx)
	k.core.close()
	err = errors.Join(err, k.tiers.Close())
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.flights {
		f.release(&batos.Error{Code: batos.Busy, Text: "the system is stopping; the message goes on at the next start"})
	}
	return err
}

// now is the clock as a slot holds it.
func (k *Kernel) now() object.Time { return object.Time(k.clock().UnixMicro()) }
