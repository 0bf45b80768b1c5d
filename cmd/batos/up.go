package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"batos"
	"batos/image"
	"batos/internal/door/access"
	"batos/internal/door/bridge"
	"batos/internal/door/cli"
	"batos/internal/door/http"
	"batos/internal/door/mcp"
	openaidoor "batos/internal/door/openai"
	"batos/internal/door/view"
	"batos/internal/gguf"
	"batos/internal/kernel"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/internal/mind/openai"
	"batos/internal/quarantine"
	"batos/internal/telemetry"
	"batos/internal/wire"
	"batos/internal/zmtp"
	"batos/seedmind"
)

// upFlags are the flags of batos up.
type upFlags struct {
	http, zmq        string
	model, lib       string
	adapters         string
	embedder         string
	curve            bool
	threads, context int
	gpuLayers        int
	serverAdapters   string
	parallel         int
	timeout          time.Duration
	cache            int // MiB
	verbose, quiet   bool
	safe             bool
}

// A graceful stop lets the door's requests end for so long, and then the
// kernel's messages.
const (
	doorStops   = time.Second
	kernelStops = 4 * time.Second
)

// brain is where a server's cognitive core comes from.
type brain struct {
	source   func(upFlags) (*kernel.ModelSource, error) // of a first awakening; nil for none
	profiles []mind.Profile
	open     func(upFlags) func(context.Context, kernel.Model) (mind.Engine, error)
}

// local is the engine child with the model in the image.
var local = brain{
	source:   modelSource,
	profiles: []mind.Profile{mind.Covenant{}, mind.Seed{}.WithPhrases(seedmind.Phrases())},
	open: func(f upFlags) func(context.Context, kernel.Model) (mind.Engine, error) {
		switch {
		case f.model == noModel:
			return nil
		case remote(f.model):
			return remoteMind(f)
		}
		return func(ctx context.Context, m kernel.Model) (mind.Engine, error) {
			return llama.Open(ctx, llama.Config{
				LibDir: f.lib, ModelPath: m.Path, ModelHash: wire.HashText(m.Blob.Hash), Threads: f.threads, Context: f.context,
				GPULayers: f.gpuLayers,
			})
		}
	},
}

// noModel is the value of --model that starts without one.
const noModel = "none"

func up(app *cli.App, b brain) *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up",
		Short: "Awaken an image, or resume it, and serve",
		Long: "Awaken the image folder if it is new, resume it otherwise, and serve until SIGINT or SIGTERM.\n" +
			"The first awakening takes the shipped seed model, or the GGUF file given with --model, into the image; later starts\n" +
			"load it from there. --model none starts without a model: everything but missions works.\n" +
			"--model http://host:port/v1#MODEL asks a server that speaks OpenAI's protocol instead, for as long as it is given;\n" +
			"the key for it is taken from " + openai.KeyEnv + ".",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), app, b, f) },
	}
	c.Flags().StringVar(&f.http, "http", "127.0.0.1:8420", "address of the HTTP door")
	c.Flags().StringVar(&f.zmq, "zmq", cmp.Or(app.Getenv("BATOS_ZMQ"), "tcp://127.0.0.1:5555"), "address of the ZeroMQ bridge, or none (BATOS_ZMQ)")
	c.Flags().BoolVar(&f.curve, "zmq-curve", false, "encrypt the bridge by CURVE with the key in the image folder; needed beyond loopback")
	c.Flags().StringVar(&f.model, "model", "", "GGUF file to take into the image and use, http://host:port/v1[#MODEL], or none")
	c.Flags().StringVar(&f.adapters, "adapters", stagingFolder, "folder of adapters to take into the image, if it is there")
	c.Flags().StringVar(&f.embedder, "embedder", "", "GGUF file of a model that makes vectors for the knowledge catalog, such as all-MiniLM-L6-v2")
	c.Flags().StringVar(&f.lib, "lib", "", "folder of the engine's libraries ("+llama.LibraryEnv+")")
	c.Flags().IntVar(&f.threads, "threads", 0, "threads of the engine (default: 2, or 1 on a single core)")
	c.Flags().IntVar(&f.context, "context", 0, "context of the engine in tokens (default: the model's, at most 8192, less where memory is short)")
	c.Flags().IntVar(&f.gpuLayers, "gpu-layers", 0, "layers on GPUs (default: as many as fit their free memory; -1: none)")
	c.Flags().IntVar(&f.cache, "cache", 128, "MiB of memory for objects that were read or written lately; when it is full the process takes about twice as much and 100 MiB")
	c.Flags().StringVar(&f.serverAdapters, "server-adapters", "", "let the server at --model, which must serve the image's model, use the image's adapters: the folder, as\n"+
		"the server sees it, that batos adapter export filled (vLLM, LoRAX), or \"sent\" for servers that read none (Ollama, llama-server)")
	c.Flags().IntVar(&f.parallel, "parallel", 0, "most requests at a time to the server at --model (default 4)")
	c.Flags().DurationVar(&f.timeout, "infer-timeout", 0, "most that one request to the server at --model may take, retries included (default 10m)")
	c.Flags().BoolVar(&f.safe, "safe", false, "run no code of the image: to look at it and repair it")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log more")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print only ready and errors")
	return c
}

func serve(ctx context.Context, app *cli.App, b brain, f upFlags) (err error) {
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	quiet := f.quiet || app.JSON() // with --json only an error is told
	log := slog.New(slog.NewTextHandler(app.Err, &slog.HandlerOptions{Level: level}))
	say := func(format string, args ...any) {
		if !quiet {
			fmt.Fprintf(app.Out, format+"\n", args...)
		}
	}

	if err := f.checkRemote(); err != nil {
		return err
	}
	model, err := b.source(f)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(app.Image())
	if err != nil {
		return err
	}
	if f.cache < 1 {
		return batos.Errorf(batos.Invalid, "--cache %d: give 1 MiB at least", f.cache)
	}
	cache := int64(f.cache) << 20
	limitMemory(ctx, cache)
	im, err := image.Open(ctx, dir, image.Options{CacheBytes: cache})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	token, err := wire.EnsureToken(dir)
	if err != nil {
		return err
	}
	keys, err := access.Open(dir, token, owner())
	if err != nil {
		return err
	}
	address, err := http.Bind(f.http)
	if err != nil {
		return err
	}
	defer address.Close() // for a start that fails; the door closes it first
	listen, curve, err := bindBridge(f, dir)
	if err != nil {
		return err
	}
	if listen != nil {
		defer listen.Close() // as above
	}
	fresh := im.LastTID() == 0
	if fresh {
		say("awakening %s", app.Image())
	} else {
		say("resuming %s", app.Image())
	}

	trials, err := quarantine.Open(quarantine.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trials.Close()) }()
	config := kernel.Config{
		Image: im, Mind: b.open(f), Model: model, Remote: remote(f.model), RemoteAdapters: f.serverAdapters != "", Profiles: b.profiles, Trial: trials, Release: release, Log: log, Safe: f.safe,
		Trainer: trainer(f.lib), ForgeDir: filepath.Join(dir, "forge"), PrefixKey: prefixKey(token),
	}
	if f.embedder != "" {
		e, err := llama.Open(ctx, llama.Config{LibDir: f.lib, ModelPath: f.embedder, Threads: 1})
		if err != nil {
			return batos.Errorf(batos.CodeOf(err), "--embedder %s: %w", f.embedder, err)
		}
		defer func() { err = errors.Join(err, e.Close()) }()
		config.Embedder = e
	}
	metrics, closeTraces, err := observe(ctx, &config)
	if err != nil {
		return err
	}
	defer closeTraces()
	k, err := kernel.Start(ctx, config)
	if err != nil {
		return err
	}
	metrics.Watch(k, im)
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), kernelStops)
		defer cancel()
		err = errors.Join(err, k.Close(stop))
	}()
	if !fresh && f.model != "" && model != nil && k.Safe() == "" {
		if _, err := k.UseModel(ctx, kernel.Person{Name: "batos up"}, *model); err != nil {
			return err
		}
	}
	if why := k.Safe(); why != "" {
		fmt.Fprintf(app.Out, "safe mode: %s\n", why)
	}
	info, offline := k.Core()
	if offline != nil {
		say("  %s", offline)
	} else if server := info.Meta["server"]; server != "" {
		say("  model %s at %s, context of %d tokens, profile %s", info.ModelID, server, info.ContextTokens, info.Profile)
	} else {
		say("  model %s, %d parameters, profile %s", info.ModelID, info.Params, info.Profile)
	}

	if offline == nil {
		if err := stageAdapters(ctx, k, f.adapters, say); err != nil {
			return err
		}
	}
	door := http.New(address, http.Config{Kernel: k, Image: im, Dir: dir, Keys: keys, Release: release, Log: log, Mounts: mounts(k, keys, metrics, log)})
	served := make(chan error, 2)
	go func() { served <- door.Serve() }()
	var zmq *bridge.Bridge
	if listen != nil {
		zmq = bridge.New(listen, bridge.Config{Kernel: k, Keys: keys, Curve: curve, Log: log})
		go func() { served <- zmq.Serve() }()
		defer func() {
			stop, cancel := context.WithTimeout(context.Background(), doorStops)
			defer cancel()
			err = errors.Join(err, zmq.Close(stop))
		}()
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), doorStops)
		defer cancel()
		err = errors.Join(err, door.Close(stop))
	}()

	if !quiet {
		stop := tell(k, app.Out)
		defer stop()
	}
	if fresh && offline == nil {
		if err := introduce(ctx, app, k, quiet); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			say("display_yourself: %s", err)
		}
	}
	space := time.NewTicker(spaceEvery)
	defer space.Stop()
	go watchSpace(ctx, func() []string { return im.Stats().Warnings() }, app.Out, space.C)
	fmt.Fprintf(app.Out, "ready at %s, image %s\n", door.URL(), app.Image())
	if zmq != nil {
		say("ZeroMQ at %s", zmq.Address())
	}
	if curve != nil {
		say("  its public key is %s", zmtp.Z85(curve.Public))
	}
	say("try: batos new counter --slots '{\"count\": 3}'\n     batos send counter increment_by 4\n     batos inspect counter")
	for {
		select {
		case <-ctx.Done():
			say("stopping")
			return nil
		case err := <-served:
			return err
		case err := <-k.Dead():
			log.Error("the image takes no more changes; what needs none is still answered", "reason", err)
		}
	}
}

// observe has what ends counted, and told as traces if the environment names
// who collects them.
func observe(ctx context.Context, c *kernel.Config) (*telemetry.Metrics, func(), error) {
	metrics := telemetry.NewMetrics()
	c.Observe = metrics.Observe
	if os.Getenv(telemetry.EndpointEnv) == "" {
		return metrics, func() {}, nil
	}
	traces, err := telemetry.Export(ctx, release)
	if err != nil {
		return nil, nil, err
	}
	c.Observe = func(o kernel.Observation) {
		metrics.Observe(o)
		traces.Observe(o)
	}
	return metrics, func() {
		stop, cancel := context.WithTimeout(context.Background(), doorStops)
		defer cancel()
		if err := traces.Close(stop); err != nil {
			c.Log.Warn("traces were not all delivered", "error", err)
		}
	}, nil
}

// mounts are the doors for programs that speak somebody else's protocol.
func mounts(k *kernel.Kernel, keys *access.Keyring, metrics *telemetry.Metrics, log *slog.Logger) map[string]nethttp.Handler {
	return map[string]nethttp.Handler{
		"GET /metrics":      metrics.Handler(),
		"GET /debug/pprof/": profiles(keys),
		"/v1/":              openaidoor.Handler(openaidoor.Config{Kernel: k, Keys: keys, Log: log}),
		"/mcp":              mcp.Handler(mcp.Config{Kernel: k, Keys: keys, Release: release, Log: log}),
	}
}

// noBridge is the value of --zmq that starts without the bridge.
const noBridge = "none"

// bindBridge takes the bridge's address and reads its key, if there is to be
// one.
func bindBridge(f upFlags, dir string) (net.Listener, *zmtp.KeyPair, error) {
	if f.zmq == noBridge {
		return nil, nil, nil
	}
	l, err := bridge.Bind(f.zmq, f.curve)
	if err != nil || !f.curve {
		return l, nil, err
	}
	key, err := bridge.EnsureCurve(dir)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, key, nil
}

// prefixKey makes a key of its own of the folder's secret.
func prefixKey(token string) []byte {
	h := sha256.Sum256([]byte("kept prefixes of " + token))
	return h[:]
}

// owner is what history calls the person whose token may do everything.
func owner() string {
	if u := os.Getenv("USER"); u != "" {
		return u
	}
	return "person"
}

// modelSource is what a first awakening imports: the file that was named, or
// the seed model that ships with the program. It is nil for "none".
func modelSource(f upFlags) (*kernel.ModelSource, error) {
	name := f.model
	switch {
	case name == noModel:
		return nil, nil
	case remote(name):
		return nil, openai.Check(name)
	case name == "":
		return &kernel.ModelSource{ID: seedmind.ID, Open: seedmind.Open}, nil
	}
	header, err := gguf.Open(name)
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "--model %s: %w", name, err)
	}
	if err := gguf.CheckModel(header); err != nil {
		return nil, batos.Errorf(batos.Invalid, "--model %s: %w", name, err)
	}
	id := strings.TrimSuffix(filepath.Base(name), ".gguf")
	return &kernel.ModelSource{ID: id, Open: func() (io.ReadCloser, error) { return os.Open(name) }}, nil
}

// introduce sends a newborn image its first message and shows the answer.
func introduce(ctx context.Context, app *cli.App, k *kernel.Kernel, quiet bool) error {
	o, err := k.Send(ctx, kernel.Request{
		Target: batos.Ref{Name: "genesis_obj"}, Selector: "display_yourself", Sender: "awakening", Authority: batos.Person, Synthesis: true,
	})
	if err == nil && o.Err != nil {
		err = o.Err
	}
	if err == nil && !quiet {
		app.Show(o.Value)
	}
	return err
}

// tell prints what happens until the result is called.
func tell(k *kernel.Kernel, w io.Writer) (stop func()) {
	feed, end := k.Events.Subscribe(k.Events.Last())
	done := make(chan struct{})
	quit := make(chan struct{})
	go func() {
		defer close(done)
		p := cli.NewProgress(w)
		for {
			select {
			case e := <-feed:
				p.Show(view.Event(e))
			case <-quit:
				return
			}
		}
	}()
	return func() { end(); close(quit); <-done }
}
