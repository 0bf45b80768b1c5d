package ggml

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
)

const repoRoot = "../.."

// library loads the engine, or skips the test where npm ci has not run.
func library(t testing.TB) *Library {
	t.Helper()
	dir := Dir(repoRoot)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("engine library is not installed (npm ci installs %s)", Package)
	}
	lib, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

func TestLoad(t *testing.T) {
	lib := library(t)
	again, err := Load(Dir(repoRoot))
	if err != nil || again != lib {
		t.Fatalf("a second Load gave %p, %v; want the same library", again, err)
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, &batos.Error{Code: batos.Offline}) {
		t.Errorf("a second folder: %v", err)
	}
	if d := lib.Devices(); len(d) == 0 || d[len(d)-1].Name != "CPU" || d[len(d)-1].Kind != Processor || d[len(d)-1].Total <= 0 || d[len(d)-1].Free > d[len(d)-1].Total {
		t.Errorf("devices: %q", d)
	}
	t.Logf("%s; %q", lib.SystemInfo(), lib.Devices())
}

func TestCheckNamesTheWrongFile(t *testing.T) {
	library(t)
	copyAll := func(t *testing.T) string {
		dir := t.TempDir()
		for _, name := range coreFiles {
			if err := os.Symlink(absolute(t, filepath.Join(Dir(repoRoot), name)), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"sound", func(*testing.T, string) {}, ""},
		{"one byte more", func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, baseFile))
			if err != nil {
				t.Fatal(err)
			}
			replace(t, filepath.Join(dir, baseFile), append(b, 0))
		}, "engine library " + baseFile + " is not the one this build was made for"},
		{"missing", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, MainFile)); err != nil {
				t.Fatal(err)
			}
		}, "engine library " + MainFile + " is missing"},
		{"unknown backend", func(t *testing.T, dir string) {
			replace(t, filepath.Join(dir, "libggml-cuda.so"), []byte("\x7fELF"))
		}, "engine library libggml-cuda.so is not the one this build was made for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyAll(t)
			c.spoil(t, dir)
			err := Check(dir)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, &batos.Error{Code: batos.Offline}) {
				t.Errorf("got %v, want offline: %s…", err, c.want)
			}
		})
	}
}

func absolute(t *testing.T, p string) string {
	t.Helper()
	p, err := filepath.Abs(p)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func replace(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
