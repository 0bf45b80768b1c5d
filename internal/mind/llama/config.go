package llama

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf"
)

// Phase says how far a start has come.
type Phase string

const (
	Checking Phase = "checking" // the model file is validated
	Loading  Phase = "loading"  // the child maps the library and the weights
	Ready    Phase = "ready"
)

// Config says which model to serve and how. Only ModelPath must be set.
type Config struct {
	Exe       string // the batos binary; "" is the running one
	LibDir    string // folder of the libraries; "" is searched for by [FindLibrary]
	ModelPath string
	ModelHash string // SHA-256 of the model in hex, if known; "" is computed by Open
	Threads   int    // 0: one for a small model, else two if there are two cores
	Context   int    // tokens of prompt and answer; 0: what the model was trained for, at most 8192, and less where memory is short
	GPULayers int    // layers on devices with memory of their own; 0: as many as fit; negative: none
	Contexts  int    // requests under way at a time; 0: one for a large model, else five

	// Prefixes bounds the bytes of prompt beginnings whose state is kept, such
	// as the personas' system prompts; 0: 256 MiB or an eighth of the free
	// memory, whichever is less; negative: none.
	Prefixes int64

	Queue   int           // most requests waiting; 0: 256
	Timeout time.Duration // most that one request may compute; 0: 10 minutes
	Grace   time.Duration // how long a cancelled child may take to stop before it is killed; 0: 3 s

	// Progress is told of every start of a child, first and later ones; nil
	// is nobody. fraction is 0 to 1 within the phase.
	Progress func(p Phase, fraction float64)
}

// The library's threads spin while they wait for each other, so each needs a
// core to itself: two on a busy machine were eighty times slower than one.
// Below this many weights one thread answers fast enough.
const smallModel = 200_000_000

const (
	defaultContext  = 8192
	defaultPrefixes = 256 << 20
	defaultQueue    = 256
	defaultTimeout  = 10 * time.Minute
	defaultGrace    = 3 * time.Second
)

// complete fills in defaults; f is the header of the model.
func (c Config) complete(f *gguf.File) (Config, error) {
	if c.Exe == "" {
		exe, err := os.Executable()
		if err != nil {
			return c, batos.Errorf(batos.Offline, "engine: the running binary cannot be found: %w", err)
		}
		c.Exe = exe
	}
	switch {
	case c.Threads > 0:
	case f.Parameters() < smallModel:
		c.Threads = 1
	default:
		c.Threads = min(2, runtime.NumCPU())
	}
	switch {
	case c.Contexts > maxContexts:
		return c, batos.Errorf(batos.Invalid, "%d contexts were asked for, at most %d make sense", c.Contexts, maxContexts)
	case c.Contexts > 0:
	case f.Parameters() < smallModel:
		c.Contexts = smallContexts
	default:
		c.Contexts = 1
	}
	trained := trainedContext(f)
	if c.Context > trained {
		return c, batos.Errorf(batos.Invalid, "a context of %d tokens was asked for, model %s was trained for %d", c.Context, c.ModelPath, trained)
	}
	if c.Prefixes == 0 {
		c.Prefixes = defaultPrefixes
		if free := availableMemory(); free > 0 {
			c.Prefixes = min(c.Prefixes, free/8)
		}
	}
	if c.Context <= 0 {
		c.Context = 0
		c.Context = planOf(f, c, nil, availableMemory()).Context
	}
	if c.Queue <= 0 {
		c.Queue = defaultQueue
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Grace <= 0 {
		c.Grace = defaultGrace
	}
	if c.Progress == nil {
		c.Progress = func(Phase, float64) {}
	}
	return c, nil
}

const maxContexts = 64

// smallContexts is one for each persona and one for the bare model. They cost
// a small model next to nothing, and a context whose adapter is in force
// already need not plan its graph anew, which takes the library milliseconds.
const smallContexts = 5

// parallel is how many contexts may compute at a time. More contexts than that
// take turns, decode by decode, so that no thread is without a core.
func (c Config) parallel() int { return max(1, runtime.NumCPU()/c.Threads) }

// graceOf is how long a child may take to stop a call. Loading cannot be
// interrupted, and a slow disk is no reason to lose a child.
func (c Config) graceOf(o op) time.Duration {
	if o.hasFile() {
		return max(c.Grace, time.Minute)
	}
	return c.Grace
}

// embedsOnly reports whether the model reads a text as a whole, and so writes
// none.
func embedsOnly(f *gguf.File) bool {
	arch := f.Text("general.architecture")
	switch arch {
	case "bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "eurobert", "gemma-embedding", "t5encoder":
		return true
	}
	v, _ := f.Get(arch + ".attention.causal")
	causal, ok := v.Bool()
	return ok && !causal
}

func trainedContext(f *gguf.File) int {
	v, _ := f.Get(f.Text("general.architecture") + ".context_length")
	n, _ := v.Uint() // CheckModel has seen that it is there and fits
	return int(n)
}

// LibraryEnv names the environment variable with the folder of the libraries.
const LibraryEnv = "BATOS_ENGINE_LIB"

// FindLibrary finds the folder of the engine's libraries: dir if it is given,
// else the environment's BATOS_ENGINE_LIB, else beside the executable, else in
// node_modules beside it, else in node_modules of the working folder. A folder
// that was named is answered unseen, so that the error is about that folder.
// The error of a vain search is offline and says how to get the libraries.
func FindLibrary(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv(LibraryEnv)
	}
	if dir != "" {
		return dir, nil
	}
	var tried []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		tried = append(tried, filepath.Dir(exe), ggml.Dir(filepath.Dir(exe)))
	}
	if wd, err := os.Getwd(); err == nil {
		tried = append(tried, ggml.Dir(wd))
	}
	for _, d := range tried {
		if _, err := os.Stat(filepath.Join(d, ggml.MainFile)); err == nil {
			return d, nil
		}
	}
	return "", batos.Errorf(batos.Offline, "the engine libraries are not installed: run `make engine` (npm ci), or name their folder with --lib or %s; looked in %s",
		LibraryEnv, strings.Join(tried, ", "))
}
