// Package genesis is the primordial image as readable source: one .star file
// for each object that a fresh image holds. A file is parsed, never executed;
// its definitions become method slots and its assignments data slots, all
// protected. The kernel loads them in one transaction at the first awakening
// (see kernel.Start).
//
// The name of a file is the root name of its object. Files are loaded in
// name order, but may refer to each other freely.
package genesis

import (
	"embed"
	"io/fs"
	"path"
	"sort"
	"strings"
)

//go:embed objects/*.star
var files embed.FS

// CodexName is the name of the document that [Codex] is.
const CodexName = "persona_codex.md"

// Codex is the Persona Codex as it ships: who the personas are and how a
// mission is worked on. The kernel reads it after the objects.
//
//go:embed persona_codex.md
var Codex string

// Release is the version of the primordial image; it is recorded beside every
// slot that genesis makes, so that a newer release knows what was edited.
const Release = "0.2.0"

// File is the source of one primordial object.
type File struct {
	Name   string // root name
	Source string
}

// Files lists the primordial objects in name order.
func Files() ([]File, error) {
	entries, err := fs.ReadDir(files, "objects")
	if err != nil {
		return nil, err
	}
	var out []File
	for _, e := range entries {
		src, err := files.ReadFile(path.Join("objects", e.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, File{Name: strings.TrimSuffix(e.Name(), ".star"), Source: string(src)})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}
