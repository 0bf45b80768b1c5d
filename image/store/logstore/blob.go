package logstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"batos"
	"batos/image/store"
	"batos/internal/vfs"
)

// A blob is a file named by the SHA-256 of its content in hexadecimal, and a
// file of the same name with sumsSuffix that holds, little endian,
//
//	magic[8] version u32, 0 u32, size u64, a sum for each chunk, crc u32
//
// Hashing a chunk takes what the blob's SHA-256 is in the middle of (chain.go)
// at the chunk's beginning, which the sum before it is, to what it is at its
// end, which its own sum is; the last sum is the blob's hash. So any chunk can
// be verified without the others, and one pass over all of them makes, or
// proves, the name and all sums. In files of version 2 a sum is the SHA-256 of
// the chunk alone.
//
// The sums get their name first, so that a blob with a name has sums. They are
// for reading a part; whoever has lost them finds out from all of it.
const (
	sumsVersion = 3
	sumsSuffix  = ".sums"
	sumsMagic   = "BATOSSUM"
	sumsHeader  = 24
	stagePrefix = "staging-"

	// chunk is what is verified at once.
	chunk = 1 << 20
)

// blobs is the folder of blobs.
type blobs struct {
	s   *Store
	dir string

	naming sync.Mutex // held while a blob gets its name, so that nobody else gives the same

	mu     sync.Mutex               // held for moments only: commits wait for it
	sizes  map[store.BlobHash]int64 // of sealed and committed ones
	named  map[store.BlobHash]bool  // those that durable commits refer to
	sealed map[store.BlobHash]bool  // those sealed here that no commit has named since
	used   map[store.BlobHash]bool  // those that commits asked for since a pack began; nil: none goes on
	trash  []store.BlobHash         // moved there, and maybe still in the index file
	staged uint64                   // numbers the staging files
}

func newBlobs(s *Store) *blobs {
	return &blobs{s: s, dir: s.path(BlobDir), sizes: map[store.BlobHash]int64{}, named: map[store.BlobHash]bool{}, sealed: map[store.BlobHash]bool{}}
}

func (b *blobs) file(h store.BlobHash) string { return filepath.Join(b.dir, hex.EncodeToString(h[:])) }

func (b *blobs) has(h store.BlobHash) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.use(h)
	_, sealed := b.sizes[h]
	return sealed || b.named[h]
}

// use notes that a transaction is about to refer to a blob; mu is held.
func (b *blobs) use(h store.BlobHash) {
	if b.used != nil {
		b.used[h] = true
	}
}

// commit notes blobs that a durable transaction refers to.
func (b *blobs) commit(hashes []store.BlobHash) {
	if len(hashes) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range hashes {
		b.named[h] = true
		b.use(h)
		delete(b.sealed, h)
	}
}

func (b *blobs) committed() []store.BlobHash {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]store.BlobHash, 0, len(b.named))
	for h := range b.named {
		out = append(out, h)
	}
	return out
}

func (b *blobs) bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := int64(0)
	for h := range b.named {
		n += b.sizes[h]
	}
	return n
}

// recover looks through the folder once all commits are known: it removes
// what no commit refers to and notes what is missing.
func (b *blobs) recover(ctx context.Context) error {
	names, err := b.s.fsys.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		names, err = nil, nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		hexa, sums := strings.CutSuffix(name, sumsSuffix)
		raw, err := hex.DecodeString(hexa)
		isBlob := err == nil && len(raw) == len(store.BlobHash{})
		staging := strings.HasPrefix(name, stagePrefix) || strings.HasSuffix(name, sumsSuffix+".tmp")
		switch {
		case isBlob && b.named[store.BlobHash(raw)] && !sums:
			st, err := b.s.fsys.Stat(filepath.Join(b.dir, name))
			if err != nil {
				return err
			}
			b.sizes[store.BlobHash(raw)] = st.Size()
		case isBlob && b.named[store.BlobHash(raw)], !isBlob && !staging, b.s.o.ReadOnly:
		default:
			if err := b.s.fsys.Remove(filepath.Join(b.dir, name)); err != nil {
				return err
			}
			if !sums && !strings.HasSuffix(name, ".tmp") {
				b.s.recovery.BlobsRemoved++
			}
		}
	}
	if err := b.recoverTrash(); err != nil {
		return err
	}
	for h := range b.named {
		if _, ok := b.sizes[h]; !ok {
			b.s.recovery.BlobsMissing = append(b.s.recovery.BlobsMissing, h)
		}
	}
	return nil
}

// name gives a staged and synced blob its name, durably. What has the same
// content is the same blob.
func (b *blobs) name(w *blobWriter, h store.BlobHash) error {
	b.naming.Lock()
	defer b.naming.Unlock()
	b.mu.Lock()
	_, known := b.sizes[h]
	b.sealed[h] = true
	b.mu.Unlock()
	if known {
		w.drop()
		return nil
	}
	fsys := b.s.fsys
	if err := vfs.WriteFile(fsys, b.file(h)+sumsSuffix, (&sums{size: w.size, chained: true, list: w.sums}).encode(), 0o600); err != nil {
		return err
	}
	if err := fsys.Rename(w.f.Name(), b.file(h)); err != nil {
		return err
	}
	if err := fsys.SyncDir(b.dir); err != nil {
		return err
	}
	w.ended = true
	b.mu.Lock()
	b.sizes[h] = w.size
	b.trash = slices.DeleteFunc(b.trash, func(x store.BlobHash) bool { return x == h })
	b.mu.Unlock()
	return w.f.Close()
}

// sums is what a file of sums says.
type sums struct {
	size    int64
	chained bool   // version 3
	list    []byte // a sum for each chunk
}

func (s *sums) encode() []byte {
	b := append([]byte(nil), sumsMagic...)
	version := uint32(sumsVersion)
	if !s.chained {
		version = 2
	}
	b = le.AppendUint32(b, version)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(s.size))
	b = append(b, s.list...)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseSums(b []byte) (s sums, err error) {
	if len(b) < sumsHeader+4 || string(b[:8]) != sumsMagic {
		return s, errBad
	}
	v := le.Uint32(b[8:])
	if v > sumsVersion {
		return s, batos.Errorf(batos.NewerFormat, "format %d, written by a newer release; this one reads up to %d: upgrade batos", v, sumsVersion)
	}
	body := b[:len(b)-4]
	n := le.Uint64(b[16:])
	s = sums{size: int64(n), chained: v == sumsVersion, list: body[sumsHeader:]}
	if v < 2 || crc32.Checksum(body, castagnoli) != le.Uint32(b[len(body):]) || len(s.list)%sha256.Size != 0 {
		return sums{}, errBad
	}
	chunks := uint64(len(s.list) / sha256.Size)
	if n > chunks*chunk || n+chunk <= chunks*chunk {
		return sums{}, errBad
	}
	return s, nil
}

// at gives the sum of chunk i.
func (s *sums) at(i int64) []byte { return s.list[i*sha256.Size : (i+1)*sha256.Size] }

// fits reports whether p is chunk i of the blob.
func (s *sums) fits(p []byte, i int64) bool {
	if !s.chained {
		sum := sha256.Sum256(p)
		return string(sum[:]) == string(s.at(i))
	}
	var before []byte
	if i > 0 {
		before = s.at(i - 1)
	}
	c := chainAt(before, i*chunk)
	c.write(p)
	var sum [sha256.Size]byte
	if (i+1)*chunk >= s.size {
		sum = c.hash()
	} else {
		sum = c.state()
	}
	return string(sum[:]) == string(s.at(i))
}

// blob is an open blob.
type blob struct {
	f    vfs.File
	path string
	hash store.BlobHash
	sums
	remade bool // the file of its sums was lost

	mu     sync.Mutex
	cached []byte // the chunk verified last
	which  int64  // its number

	ahead readAhead
}

var _ store.Blob = (*blob)(nil)

// OpenBlob implements [store.Store].
func (s *Store) OpenBlob(ctx context.Context, hash store.BlobHash) (store.Blob, error) {
	b, err := s.openBlob(ctx, hash)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (s *Store) openBlob(ctx context.Context, hash store.BlobHash) (*blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.closing.Load() {
		return nil, errClosed
	}
	b := s.blobs
	b.mu.Lock()
	named := b.named[hash]
	b.mu.Unlock()
	if !named {
		return nil, batos.Errorf(batos.NotFound, "there is no blob %x", hash)
	}
	open, err := openBlob(ctx, s.fsys, b.dir, hash)
	if err == nil && open.remade && !s.o.ReadOnly {
		b.naming.Lock()
		err = vfs.WriteFile(s.fsys, b.file(hash)+sumsSuffix, open.sums.encode(), 0o600)
		b.naming.Unlock()
		if err != nil {
			_ = open.Close()
			return nil, fileError(fmt.Sprintf("mend the sums of blob %x", hash), err)
		}
	}
	return open, err
}

// openBlob opens a blob in a folder of blobs. Without its sums, or with damaged
// ones, its content alone says whether it is whole: then they are made again.
func openBlob(ctx context.Context, fsys vfs.FS, dir string, hash store.BlobHash) (*blob, error) {
	name := filepath.Join(dir, hex.EncodeToString(hash[:]))
	var known sums
	raw, err := vfs.ReadFile(fsys, name+sumsSuffix)
	if err == nil {
		known, err = parseSums(raw)
	}
	lost := err
	if err != nil && !errors.Is(err, errBad) && !errors.Is(err, fs.ErrNotExist) {
		if batos.CodeOf(err) != "" {
			return nil, err
		}
		return nil, missing(hash, err)
	}
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, missing(hash, err)
	}
	b := &blob{f: f, path: fsys.Path(name), hash: hash, sums: known, which: -1, ahead: readAhead{last: -2}}
	if lost != nil {
		b.remade, err = true, b.remake(ctx)
		if errors.Is(err, errBad) {
			err = batos.Errorf(batos.Corrupt, "the sums of blob %x are lost, and it holds something else; restore it from a backup", hash)
		}
	} else if have, e := f.Size(); e != nil || have != b.size {
		err = batos.Errorf(batos.Corrupt, "blob %x has %d bytes instead of %d; restore it from a backup", hash, have, b.size)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return b, nil
}

// remake makes the sums of a blob from its content; errBad says that this is
// not what the blob is called.
func (b *blob) remake(ctx context.Context) error {
	size, err := b.f.Size()
	if err != nil {
		return missing(b.hash, err)
	}
	b.sums = sums{size: size, chained: true}
	c := newChain()
	buf := make([]byte, min(chunk, size))
	for i := int64(0); i*chunk < size; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:b.length(i)]
		if _, err := b.f.ReadAt(p, i*chunk); err != nil && !errors.Is(err, io.EOF) {
			return batos.Errorf(batos.Corrupt, "blob %x cannot be read at byte %d: %w", b.hash, i*chunk, err)
		}
		c.write(p)
		sum := c.hash()
		if (i+1)*chunk < size {
			sum = c.state()
		}
		b.list = append(b.list, sum[:]...)
	}
	if c.hash() != b.hash {
		return errBad
	}
	return nil
}

// copyBlob copies a blob from one folder of blobs to another, verifying it,
// and makes its content durable; the names are the caller's to make durable.
func copyBlob(ctx context.Context, fsys vfs.FS, from, to string, hash store.BlobHash) (n int64, err error) {
	b, err := openBlob(ctx, fsys, from, hash)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	name := filepath.Join(to, hex.EncodeToString(hash[:]))
	for _, suffix := range []string{sumsSuffix, ""} {
		f, err := createFile(fsys, name+suffix)
		if err != nil {
			return 0, err
		}
		if suffix != "" {
			_, err = f.WriteAt(b.sums.encode(), 0)
		} else {
			err = b.copyTo(ctx, f)
		}
		if err == nil {
			err = f.Sync()
		}
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			return 0, err
		}
	}
	return b.size, nil
}

// copyTo writes the blob into a file, verified.
func (b *blob) copyTo(ctx context.Context, f vfs.File) error {
	return b.each(ctx, func(p []byte, off int64) error {
		_, err := f.WriteAt(p, off)
		return err
	})
}

// each reads all chunks, verified, and then knows that they are the blob.
func (b *blob) each(ctx context.Context, fn func(p []byte, off int64) error) error {
	whole := sha256.New()
	buf := make([]byte, min(chunk, b.size))
	for i := int64(0); i*chunk < b.size; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := buf[:b.length(i)]
		if err := b.read(p, i); err != nil {
			return err
		}
		if !b.chained {
			whole.Write(p)
		}
		if err := fn(p, i*chunk); err != nil {
			return err
		}
	}
	is := whole.Sum(nil)
	if b.chained && b.size > 0 {
		is = b.at((b.size - 1) / chunk)
	}
	if string(is) != string(b.hash[:]) {
		return batos.Errorf(batos.Corrupt, "blob %x holds something else; restore it from a backup", b.hash)
	}
	return nil
}

// missing is the answer when the file of a committed blob cannot be opened.
func missing(hash store.BlobHash, err error) error {
	return batos.Errorf(batos.Corrupt, "blob %x cannot be opened: %w; restore it from a backup", hash, err)
}

func (b *blob) Size() int64  { return b.size }
func (b *blob) Path() string { return b.path }

func (b *blob) Close() error {
	b.ahead.end()
	return b.f.Close()
}

// length gives the length of chunk i.
func (b *blob) length(i int64) int64 { return min(chunk, b.size-i*chunk) }

// read fills p with chunk i, whose length it has, and verifies it.
func (b *blob) read(p []byte, i int64) error {
	if _, err := b.f.ReadAt(p, i*chunk); err != nil && !errors.Is(err, io.EOF) {
		return batos.Errorf(batos.Corrupt, "blob %x cannot be read at byte %d: %w", b.hash, i*chunk, err)
	}
	if !b.fits(p, i) {
		return batos.Errorf(batos.Corrupt, "blob %x is damaged between bytes %d and %d; restore it from a backup", b.hash, i*chunk, i*chunk+int64(len(p)))
	}
	return nil
}

func (b *blob) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, batos.Errorf(batos.Invalid, "a blob has no byte %d", off)
	}
	n := 0
	for n < len(p) && off < b.size {
		i := off / chunk
		length := b.length(i)
		var got int
		if rest := p[n:]; off%chunk == 0 && int64(len(rest)) >= length {
			if err := b.through(rest[:length], i); err != nil {
				return n, err
			}
			got = int(length)
		} else {
			var err error
			if got, err = b.readPart(rest, i, off%chunk); err != nil {
				return n, err
			}
		}
		n += got
		off += int64(got)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readPart copies from chunk i what begins at byte at of it.
func (b *blob) readPart(p []byte, i, at int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.which != i {
		b.which = -1
		if b.cached == nil {
			b.cached = make([]byte, min(chunk, b.size))
		}
		b.cached = b.cached[:b.length(i)]
		if err := b.through(b.cached, i); err != nil {
			return 0, err
		}
		b.which = i
	}
	return copy(p, b.cached[at:]), nil
}

func (b *blob) Verify(ctx context.Context) error {
	return b.each(ctx, func([]byte, int64) error { return nil })
}
