package vfs

import (
	"io"
	"maps"
	"slices"
)

// pageSize is the unit in which a content in memory is kept: a hole costs
// nothing, so that reserving space is free.
const pageSize = 4096

// content is the bytes of a file in memory.
type content struct {
	pages []*[pageSize]byte // nil pages are zeros
	size  int64
}

func (c *content) readAt(p []byte, off int64) (int, error) {
	if off >= c.size {
		return 0, io.EOF
	}
	var err error
	if off+int64(len(p)) > c.size {
		p, err = p[:c.size-off], io.EOF
	}
	for n := 0; n < len(p); {
		i, at := int((off+int64(n))/pageSize), int((off+int64(n))%pageSize)
		room := min(len(p)-n, pageSize-at)
		if i < len(c.pages) && c.pages[i] != nil {
			copy(p[n:n+room], c.pages[i][at:])
		} else {
			clear(p[n : n+room])
		}
		n += room
	}
	return len(p), err
}

func (c *content) writeAt(p []byte, off int64) {
	c.size = max(c.size, off+int64(len(p)))
	for len(p) > 0 {
		i, at := int(off/pageSize), int(off%pageSize)
		for len(c.pages) <= i {
			c.pages = append(c.pages, nil)
		}
		if c.pages[i] == nil {
			c.pages[i] = new([pageSize]byte)
		}
		n := copy(c.pages[i][at:], p)
		p, off = p[n:], off+int64(n)
	}
}

func (c *content) truncate(size int64) {
	if size < c.size {
		if last := int((size + pageSize - 1) / pageSize); last < len(c.pages) {
			clear(c.pages[last:])
			c.pages = c.pages[:last]
		}
		if i, at := int(size/pageSize), int(size%pageSize); at > 0 && i < len(c.pages) && c.pages[i] != nil {
			clear(c.pages[i][at:])
		}
	}
	c.size = size
}

func (c *content) clone() content {
	d := content{size: c.size, pages: make([]*[pageSize]byte, len(c.pages))}
	for i, p := range c.pages {
		if p != nil {
			page := *p
			d.pages[i] = &page
		}
	}
	return d
}

func sortedNames(entries map[string]*node) []string {
	return slices.Sorted(maps.Keys(entries))
}
