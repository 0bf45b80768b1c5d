package ggml

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"batos"
)

// Library is the loaded engine. A process has at most one, for its whole life:
// C libraries with worker threads cannot be unloaded safely.
type Library struct {
	c   symbols
	dir string
	log *logTail
	// loading serialises calls whose errors appear only in the log, so that
	// an error carries its own words, and adapter changes, which the library
	// does not lock.
	loading sync.Mutex
}

// Dir is the folder of the libraries below root, the folder that holds
// package.json and node_modules.
func Dir(root string) string {
	return filepath.Join(root, "node_modules", "@node-llama-cpp", "linux-x64", "bins", "linux-x64")
}

var process struct {
	sync.Mutex
	lib *Library
}

// Load maps the libraries of dir into the process, once: later calls with the
// same folder answer the same Library. It checks that every file is the pinned
// one, that the library names the release it was built from, and that default
// parameters cross the language border unchanged.
func Load(dir string) (*Library, error) {
	process.Lock()
	defer process.Unlock()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, batos.Errorf(batos.Offline, "engine library: %w", err)
	}
	if process.lib != nil {
		if process.lib.dir != dir {
			return nil, batos.Errorf(batos.Offline, "engine library: %s is loaded already, this process cannot load %s too", process.lib.dir, dir)
		}
		return process.lib, nil
	}
	if err := Check(dir); err != nil {
		return nil, err
	}
	lib := &Library{dir: dir, log: new(logTail)}
	if err := lib.c.bind(dir); err != nil {
		return nil, batos.Errorf(batos.Offline, "engine library %s does not load: %w", dir, err)
	}
	if err := lib.checkABI(); err != nil {
		return nil, err
	}
	lib.c.logSet(lib.log.callback(), 0)
	lib.c.loadBackends(dir)
	lib.c.backendInit()
	if lib.c.devCount() == 0 {
		return nil, batos.Errorf(batos.Offline, "engine library %s: no backend suits this processor", dir)
	}
	process.lib = lib
	return lib, nil
}

// Check verifies the files of dir without loading them. The error names the
// file and says what to do.
func Check(dir string) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return batos.Errorf(batos.Offline, "engine library: no build is pinned for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	if p := os.Getenv("GGML_BACKEND_PATH"); p != "" {
		return batos.Errorf(batos.Offline, "engine library: GGML_BACKEND_PATH=%s would load a library that is not pinned: unset it", p)
	}
	names := slices.Clone(coreFiles)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return batos.Errorf(batos.Offline, "engine library: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "libggml-") && e.Name() != baseFile {
			names = append(names, e.Name())
		}
	}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = checkLibrary(dir, name) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkLibrary(dir, name string) error {
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return batos.Errorf(batos.Offline, "engine library %s is missing from %s: npm ci installs %s", name, dir, Package)
	}
	if err != nil {
		return batos.Errorf(batos.Offline, "engine library: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return batos.Errorf(batos.Offline, "engine library %s: %w", name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != pins[name] {
		return notOurs(name, "its SHA-256 is "+got)
	}
	return nil
}

func notOurs(name, why string) error {
	return batos.Errorf(batos.Offline, "engine library %s is not the one this build was made for: %s; npm ci installs %s", name, why, Package)
}

// checkABI compares what the library says about itself with what this package
// was written against. The parameters come back as structs by value, so a
// shifted field shows here and not in a crash.
func (l *Library) checkABI() error {
	if v := l.c.version(); v != Version {
		return notOurs(MainFile, "it says it is release "+v+", not "+Version)
	}
	switch {
	case l.c.modelDefaultParams() != wantModelParams:
		return notOurs(MainFile, "its default model parameters differ")
	case l.c.contextDefaultParams() != wantContextParams:
		return notOurs(MainFile, "its default context parameters differ")
	case l.c.quantizeDefaultParams() != wantQuantizeParams:
		return notOurs(MainFile, "its default quantisation parameters differ")
	}
	if got, want := l.c.base.tensorOverhead(), uint64(tensorOverhead); got != want {
		return notOurs(baseFile, "its tensors have another size")
	}
	return nil
}

// Dir is the folder the library was loaded from.
func (l *Library) Dir() string { return l.dir }

// SystemInfo is the library's own line about the processor features it uses.
func (l *Library) SystemInfo() string { return strings.TrimSpace(l.c.systemInfo()) }

// Log gives the library's last warnings and errors, oldest first.
func (l *Library) Log() []string { return l.log.lines(0) }

// Allocated is how many bytes the C allocator has given out in this process and
// not got back: contexts, adapters and weights that are not mapped, not what
// lies on an accelerator.
func (l *Library) Allocated() int64 {
	m := l.c.libc.mallinfo()
	return int64(m.uordblks + m.hblkhd)
}

// quietly runs fn, which must not run beside other loading calls, and answers
// the warnings and errors the library logged meanwhile, as one line.
func (l *Library) quietly(fn func()) string {
	l.loading.Lock()
	defer l.loading.Unlock()
	mark := l.log.mark()
	fn()
	return strings.Join(l.log.lines(mark), "; ")
}

// said appends the library's words to a message, if it had any.
func said(words string) string {
	if words == "" {
		return ""
	}
	return ": " + words
}
