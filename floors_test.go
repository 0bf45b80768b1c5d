package batos_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors is the house: a package imports only packages of lower floors. A new
// package gets its line here, in the same commit.
var floors = map[string]int{
	"batos":                        0,
	"batos/internal/vfs":           1,
	"batos/internal/crc32c":        1,
	"batos/internal/gguf":          1,
	"batos/internal/gguf/gguftest": 2,
	"batos/internal/adapter":       2,
	"batos/internal/zmtp":          1,
	"batos/internal/codex":         1,
	"batos/genesis":                1,
	"batos/object":                 2,
	"batos/image/store":            2,
	"batos/internal/codec":         3,
	"batos/image/store/logstore":   3,
	"batos/image/store/storetest":  3,
	"batos/image/store/rawlog":     3,
	"batos/image":                  4,
	"batos/internal/method":        5,
	"batos/internal/mind":          5,
	"batos/internal/ggml":          5,
	"batos/internal/mind/llama":    6,
	"batos/internal/mind/openai":   6,
	"batos/internal/mind/mindtest": 6,
	"batos/internal/guardian":      6,
	"batos/internal/memory":        6,
	"batos/internal/catalog":       6,
	"batos/internal/exec":          6,
	"batos/internal/proof":         6,
	"batos/internal/quarantine":    7,
	"batos/internal/forge":         7,
	"batos/seedmind":               8,
	"batos/internal/kernel":        8,
	"batos/internal/wire":          9,
	"batos/internal/telemetry":     9,
	"batos/internal/door/access":   10,
	"batos/internal/door/view":     10,
	"batos/internal/door/care":     10,
	"batos/internal/door/doortest": 11,
	"batos/internal/door/mcp":      11,
	"batos/internal/door/openai":   11,
	"batos/internal/door/http":     11,
	"batos/internal/door/bridge":   11,
	"batos/internal/door/cli":      11,
	"batos/cmd/batos":              12,
	"batos/seedmind/cmd/seedmind":  12,
	"batos/bench":                  13,
}

// importsOf reads the imports of every Go file that is not a test.
func importsOf(t *testing.T) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (name == "node_modules" || strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Join("batos", filepath.ToSlash(filepath.Dir(name)))
		if out[pkg] == nil {
			out[pkg] = map[string]string{}
		}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			out[pkg][p] = name
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFloors(t *testing.T) {
	all := importsOf(t)
	for pkg, imports := range all {
		floor, ok := floors[pkg]
		if !ok {
			t.Errorf("package %s has no floor: add it to the table", pkg)
			continue
		}
		for imp, file := range imports {
			if imp != "batos" && !strings.HasPrefix(imp, "batos/") {
				if pkg == "batos" && strings.Contains(imp, ".") {
					t.Errorf("%s imports %s: the vocabulary uses the standard library only", file, imp)
				}
				continue
			}
			if lower, ok := floors[imp]; ok && lower >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", file, floor, imp, lower)
			}
		}
	}
	for pkg := range floors {
		if all[pkg] == nil {
			t.Errorf("the table names %s, which is not there", pkg)
		}
	}
}

// TestUnsafe holds unsafe code in one room.
func TestUnsafe(t *testing.T) {
	for pkg, imports := range importsOf(t) {
		if file, ok := imports["unsafe"]; ok && pkg != "batos/internal/ggml" {
			t.Errorf("%s imports unsafe; only internal/ggml may", file)
		}
	}
}
