package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// NewMem makes an empty filesystem in memory.
func NewMem() FS { return newMemory() }

// memory is a tree of nodes. With power it also keeps, for every node, what
// a disk would still hold after a power failure.
type memory struct {
	mu    sync.Mutex
	root  *node
	locks map[string]*memLocks
	power *power // nil: nothing ever fails
}

// node is a folder or a file, apart from its names.
type node struct {
	dir     bool
	changed time.Time

	entries map[string]*node // of a folder
	content content          // of a file

	// With power only: the state that is safe, and what came after it.
	safeEntries map[string]*node
	safeContent content
	names       []nameChange
	writes      []fileChange
}

type memLocks struct {
	exclusive bool
	holders   int
}

func newMemory() *memory {
	return &memory{root: newDir(), locks: map[string]*memLocks{}}
}

func newDir() *node {
	return &node{dir: true, changed: time.Now(), entries: map[string]*node{}, safeEntries: map[string]*node{}}
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func split(name string) []string {
	name = strings.Trim(path.Clean("/"+filepath.ToSlash(name)), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

// find walks to a name; it gives the folder it is in, its last part, and the
// node, nil if there is none.
func (m *memory) find(op, name string) (dir *node, base string, n *node, err error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", m.root, nil
	}
	dir = m.root
	for i, part := range parts {
		n = dir.entries[part]
		if i == len(parts)-1 {
			return dir, part, n, nil
		}
		if n == nil {
			return nil, "", nil, pathError(op, name, fs.ErrNotExist)
		}
		if !n.dir {
			return nil, "", nil, pathError(op, name, syscall.ENOTDIR)
		}
		dir = n
	}
	return dir, "", n, nil
}

// setNames changes what a folder holds under some names; nil removes one.
func (m *memory) setNames(dir *node, change nameChange) {
	change.apply(dir.entries)
	if m.power != nil {
		dir.names = append(dir.names, change)
	}
}

// begin is called, locked, by everything that changes the disk. The power may
// fail in this very call: then failing is true, the change is made (it may
// have reached the disk) and the call answers errPower all the same.
func (m *memory) begin() (failing bool, err error) {
	if m.power == nil {
		return false, nil
	}
	return m.power.step()
}

func (m *memory) alive() error {
	if m.power != nil && m.power.off {
		return errPower
	}
	return nil
}

func (m *memory) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.alive(); err != nil {
		return nil, pathError("open", name, err)
	}
	dir, base, n, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	writable := flag&(os.O_RDWR|os.O_WRONLY) != 0
	switch {
	case n != nil && n.dir:
		return nil, pathError("open", name, syscall.EISDIR)
	case n != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, pathError("open", name, fs.ErrExist)
	case n == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, fs.ErrNotExist)
	case n == nil:
		failing, err := m.begin()
		if err != nil {
			return nil, pathError("open", name, err)
		}
		n = &node{changed: time.Now()}
		m.setNames(dir, nameChange{base: n})
		if failing {
			return nil, pathError("open", name, errPower)
		}
	case flag&os.O_TRUNC != 0:
		if err := m.change(n, fileChange{size: 0}); err != nil {
			return nil, pathError("open", name, err)
		}
	}
	return &memFile{m: m, n: n, name: name, writable: writable, life: m.life()}, nil
}

func (m *memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fromDir, fromBase, n, err := m.find("rename", from)
	if err != nil {
		return err
	}
	toDir, toBase, old, err := m.find("rename", to)
	if err != nil {
		return err
	}
	switch {
	case n == nil:
		return pathError("rename", from, fs.ErrNotExist)
	case n == m.root || toDir == nil || n.dir:
		return pathError("rename", from, syscall.EISDIR)
	case old != nil && old.dir:
		return pathError("rename", to, syscall.EISDIR)
	}
	failing, err := m.begin()
	if err != nil {
		return pathError("rename", from, err)
	}
	switch {
	case old == n:
	case fromDir == toDir:
		m.setNames(toDir, nameChange{toBase: n, fromBase: nil})
	default:
		m.setNames(toDir, nameChange{toBase: n})
		m.setNames(fromDir, nameChange{fromBase: nil})
	}
	if failing {
		return pathError("rename", from, errPower)
	}
	return nil
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, n, err := m.find("remove", name)
	if err != nil {
		return err
	}
	switch {
	case n == nil:
		return pathError("remove", name, fs.ErrNotExist)
	case n == m.root:
		return pathError("remove", name, syscall.EBUSY)
	case n.dir && len(n.entries) > 0:
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	failing, err := m.begin()
	if err != nil {
		return pathError("remove", name, err)
	}
	m.setNames(dir, nameChange{base: nil})
	if failing {
		return pathError("remove", name, errPower)
	}
	return nil
}

func (m *memory) MkdirAll(name string, _ fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := m.root
	for _, part := range split(name) {
		n := dir.entries[part]
		if n == nil {
			failing, err := m.begin()
			if err != nil {
				return pathError("mkdir", name, err)
			}
			n = newDir()
			m.setNames(dir, nameChange{part: n})
			if failing {
				return pathError("mkdir", name, errPower)
			}
		}
		if !n.dir {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		dir = n
	}
	return nil
}

func (m *memory) ReadDir(name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.folder("readdir", name)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(n.entries))
	for base := range n.entries {
		names = append(names, base)
	}
	slices.Sort(names)
	return names, nil
}

func (m *memory) folder(op, name string) (*node, error) {
	if err := m.alive(); err != nil {
		return nil, pathError(op, name, err)
	}
	_, _, n, err := m.find(op, name)
	switch {
	case err != nil:
		return nil, err
	case n == nil:
		return nil, pathError(op, name, fs.ErrNotExist)
	case !n.dir:
		return nil, pathError(op, name, syscall.ENOTDIR)
	}
	return n, nil
}

func (m *memory) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.alive(); err != nil {
		return nil, pathError("stat", name, err)
	}
	_, base, n, err := m.find("stat", name)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, pathError("stat", name, fs.ErrNotExist)
	}
	return memInfo{base, n.dir, n.content.size, n.changed}, nil
}

func (m *memory) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.folder("sync", name)
	if err != nil {
		return err
	}
	failing, err := m.begin()
	if err == nil && failing {
		err = errPower
	}
	if err != nil {
		return pathError("sync", name, err)
	}
	for _, change := range n.names {
		change.apply(n.safeEntries)
	}
	n.names = nil
	return nil
}

func (m *memory) Path(string) string { return "" }

func (m *memory) Lock(name string, shared bool) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.alive(); err != nil {
		return nil, pathError("lock", name, err)
	}
	key := strings.Join(split(name), "/")
	l := m.locks[key]
	if l == nil {
		l = &memLocks{}
		m.locks[key] = l
	}
	if l.holders > 0 && (l.exclusive || !shared) {
		return nil, &HeldError{Name: name, Holder: "this process"}
	}
	l.exclusive = !shared
	l.holders++
	return &memLock{m: m, l: l}, nil
}

type memLock struct {
	m    *memory
	l    *memLocks
	once sync.Once
}

func (k *memLock) Close() error {
	k.once.Do(func() {
		k.m.mu.Lock()
		defer k.m.mu.Unlock()
		k.l.holders--
	})
	return nil
}

// life tells files opened before a power failure from those after it.
func (m *memory) life() int {
	if m.power == nil {
		return 0
	}
	return m.power.life
}

// change does to a file what c says.
func (m *memory) change(n *node, c fileChange) error {
	failing, err := m.begin()
	if err != nil {
		return err
	}
	c.apply(&n.content)
	n.changed = time.Now()
	if m.power != nil {
		c.data = slices.Clone(c.data)
		n.writes = append(n.writes, c)
	}
	if failing {
		return errPower
	}
	return nil
}

// memFile is an open file of a memory.
type memFile struct {
	m        *memory
	n        *node
	name     string
	writable bool
	life     int
	closed   bool
}

var errReadOnlyFile = errors.New("opened for reading only")

// use checks, locked, that the file can still be used.
func (f *memFile) use(op string, write bool) error {
	switch {
	case f.closed:
		return pathError(op, f.name, fs.ErrClosed)
	case f.life != f.m.life():
		return pathError(op, f.name, errPower)
	case write && !f.writable:
		return pathError(op, f.name, errReadOnlyFile)
	}
	if err := f.m.alive(); err != nil {
		return pathError(op, f.name, err)
	}
	return nil
}

func (f *memFile) write(op string, c fileChange) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.use(op, true); err != nil {
		return err
	}
	if c.off < 0 || c.size < 0 {
		return pathError(op, f.name, syscall.EINVAL)
	}
	if err := f.m.change(f.n, c); err != nil {
		return pathError(op, f.name, err)
	}
	return nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.use("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	return f.n.content.readAt(p, off)
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.write("write", fileChange{data: p, off: off, size: keepSize}); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *memFile) Truncate(size int64) error {
	return f.write("truncate", fileChange{size: size})
}

func (f *memFile) Allocate(off, n int64) error {
	return f.write("fallocate", fileChange{size: off + n, grow: true})
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.use("stat", false); err != nil {
		return 0, err
	}
	return f.n.content.size, nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.use("sync", false); err != nil {
		return err
	}
	failing, err := f.m.begin()
	if err == nil && failing {
		err = errPower
	}
	if err != nil {
		return pathError("sync", f.name, err)
	}
	for _, c := range f.n.writes {
		c.apply(&f.n.safeContent)
	}
	f.n.writes = nil
	return nil
}

func (f *memFile) Datasync() error { return f.Sync() }

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

type memInfo struct {
	name    string
	dir     bool
	size    int64
	changed time.Time
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return i.changed }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }

func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
