package vfs

// spacer is a filesystem that knows how much room there is.
type spacer interface {
	space(dir string) (free, total int64)
}

// Space gives how many bytes may still be written where dir is, and how many
// there are in all; zeros if that cannot be known.
func Space(fsys FS, dir string) (free, total int64) {
	if s, ok := fsys.(spacer); ok {
		return s.space(dir)
	}
	return 0, 0
}

func (f *Faulty) space(dir string) (free, total int64) { return Space(f.inner, dir) }
