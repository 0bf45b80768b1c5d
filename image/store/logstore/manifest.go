package logstore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// A backup is a folder:
//
//	backup.json   the manifest: what belongs to the backup
//	backup.lock   says which process writes it
//	log/          copies of segments, named by their base as in an image; packed
//	              ones have numbers besides, that no two share a name
//	blob/         blobs and their sums, as in an image
//
// Only what the manifest names counts. It is JSON, one line with a checksum
// behind it, and is replaced last, all at once: until then the backup is what
// it was before.
const (
	manifestFile  = "backup.json"
	backupLock    = "backup.lock"
	backupLog     = "log"
	backupBlobs   = "blob"
	backupVersion = 1
)

// manifest is the content of a backup's manifest.
type manifest struct {
	Format   int          `json:"format"`
	Image    string       `json:"image"`
	End      uint64       `json:"end"`  // position after the last transaction
	LastPos  uint64       `json:"last"` // where it begins, 0 if there is none
	LastTID  batos.TID    `json:"tid"`
	Segments []savedPiece `json:"segments"` // by base
	Blobs    []string     `json:"blobs"`    // hashes in hexadecimal, sorted
}

// savedPiece is a copy of a segment, or of its beginning.
type savedPiece struct {
	File  string `json:"file"`
	Base  uint64 `json:"base"`
	End   uint64 `json:"end"` // position up to which it goes
	Bytes int64  `json:"bytes"`
	CRC   uint32 `json:"crc32c"`

	// Of a packed segment, to tell one from another of the same place.
	Gone   int64     `json:"gone,omitempty"`
	Before batos.TID `json:"before,omitempty"`
}

// Backup describes a backup.
type Backup struct {
	Image string    // the identity of the image
	Whole batos.TID // the oldest moment to which it can be restored; 0: the first
	Last  batos.TID // the newest
	Bytes int64     // of the log in it
	Blobs int
}

// ReadBackup describes the backup in a folder, by its manifest.
func ReadBackup(fsys vfs.FS, dir string) (Backup, error) {
	m, err := readManifest(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Backup{}, errNoBackup(dir)
	}
	if err != nil {
		return Backup{}, fileError("read the backup "+dir, err)
	}
	out := Backup{Image: m.Image, Last: m.LastTID, Blobs: len(m.Blobs)}
	for _, p := range m.Segments {
		out.Bytes += p.Bytes
		seg, err := openPiece(fsys, dir, m, p)
		if err != nil {
			return Backup{}, fileError("read the backup "+dir, err)
		}
		if seg.packed != nil {
			out.Whole = max(out.Whole, seg.packed.before)
		}
		if err := seg.f.Close(); err != nil {
			return Backup{}, err
		}
	}
	return out, nil
}

func errNoBackup(dir string) error {
	return batos.Errorf(batos.NotFound, "there is no backup in %s: it has no %s", dir, manifestFile)
}

func (m *manifest) encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(b, "\n%08x\n", crc32.Checksum(b, castagnoli)), nil
}

// parseManifest takes a manifest apart. It answers errBad for damage and code
// newer_format for a format of the future.
func parseManifest(b []byte) (*manifest, error) {
	line, sum, ok := bytes.Cut(b, []byte("\n"))
	crc, err := strconv.ParseUint(strings.TrimSuffix(string(sum), "\n"), 16, 32)
	if !ok || err != nil || len(sum) != 9 || crc32.Checksum(line, castagnoli) != uint32(crc) {
		return nil, errBad
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(line, &version); err != nil {
		return nil, errBad
	}
	if version.Format > backupVersion {
		return nil, batos.Errorf(batos.NewerFormat, "format %d, written by a newer release; this one reads up to %d: upgrade batos", version.Format, backupVersion)
	}
	m := &manifest{}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil || m.Format != backupVersion || len(m.Segments) == 0 {
		return nil, errBad
	}
	next := uint64(0)
	for _, p := range m.Segments {
		if p.Base != next || p.End < p.Base || p.Bytes < segmentHeader || p.File != filepath.Base(p.File) || !strings.HasSuffix(p.File, segmentSuffix) {
			return nil, errBad
		}
		next = p.End
	}
	if next != m.End || m.LastPos > m.End {
		return nil, errBad
	}
	for _, h := range m.Blobs {
		if raw, err := hex.DecodeString(h); err != nil || len(raw) != len(store.BlobHash{}) {
			return nil, errBad
		}
	}
	if _, err := m.image(); err != nil {
		return nil, errBad
	}
	return m, nil
}

// readManifest gives the manifest of a backup; an error that is
// fs.ErrNotExist if there is none.
func readManifest(fsys vfs.FS, dir string) (*manifest, error) {
	name := filepath.Join(dir, manifestFile)
	b, err := vfs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(b)
	if errors.Is(err, errBad) {
		return nil, batos.Errorf(batos.Corrupt, "%s is damaged: use another backup", name)
	}
	if err != nil {
		return nil, batos.Errorf(batos.NewerFormat, "%s has %w", name, err)
	}
	return m, nil
}

func (m *manifest) image() (id imageID, err error) {
	raw, err := hex.DecodeString(m.Image)
	if err != nil || len(raw) != len(id) {
		return id, errBad
	}
	copy(id[:], raw)
	return id, nil
}

// piece finds the copy of the segment with a base.
func (m *manifest) piece(base uint64) (int, bool) {
	return slices.BinarySearchFunc(m.Segments, base, func(p savedPiece, base uint64) int {
		switch {
		case p.Base < base:
			return -1
		case p.Base > base:
			return 1
		}
		return 0
	})
}

// has reports whether a blob is in the backup.
func (m *manifest) has(h store.BlobHash) bool {
	_, ok := slices.BinarySearch(m.Blobs, hex.EncodeToString(h[:]))
	return ok
}

// removeOthers deletes copies of segments that the manifest does not name.
func (m *manifest) removeOthers(fsys vfs.FS, dir string) error {
	names, err := fsys.ReadDir(filepath.Join(dir, backupLog))
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.ContainsFunc(m.Segments, func(p savedPiece) bool { return p.File == name }) {
			if err := fsys.Remove(filepath.Join(dir, backupLog, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
