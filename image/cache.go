package image

import (
	"sync"

	"batos"
)

// cache keeps the newest decoded revisions of an image whose store it is the
// only writer of, or is told of what others commit, within a bound of bytes
// of memory.
//
// It must never show a transaction a revision that the transaction's snapshot
// does not have, however commits, loads and evictions overtake each other. It
// keeps one revision of an object, the newest, and these rules:
//
//   - A commit marks the OIDs it may write as pending before the store sees
//     it, and takes the mark back only after the cache has learned the result.
//     While an OID is pending its entry is not used.
//   - An entry serves a snapshot if it is not newer than the snapshot. The
//     snapshot is older than the question, so a commit that is neither pending
//     nor known to the cache is not in the snapshot either.
//   - A loaded revision becomes an entry only if its snapshot is at least as
//     new as every commit the cache has learned of, in the same shard, or that
//     was there before the cache, and the OID is not pending. So a load that was overtaken by a commit does not
//     bring back what the commit replaced, even if its entry is gone already.
//   - Commits may report in another order than that of their TIDs: an older
//     one never replaces or re-creates an entry.
//
// Beside that it knows what pending commits are going to leave, as soon as they
// are accepted, for those that have to build on it. Such a revision is no entry,
// and it may never come to be: it serves only who names its TID.
type cache struct {
	shards [32]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[batos.OID]*entry
	pending map[batos.OID]pending
	newest  batos.TID // of the commits reported to this shard or older than it
	bytes   int64
	limit   int64
	lru     entry // ring: next is the most recently used

	hits, misses int64
}

// pending is an OID that commits under way may write.
type pending struct {
	commits  int
	accepted *revision // of the newest that is accepted, or nil: not known
}

type entry struct {
	rev        *revision
	prev, next *entry
}

// newCache makes a cache of at most limit bytes over a store whose newest commit
// is last.
func newCache(limit int64, last batos.TID) *cache {
	c := &cache{}
	for i := range c.shards {
		s := &c.shards[i]
		s.entries = map[batos.OID]*entry{}
		s.pending = map[batos.OID]pending{}
		s.limit = max(limit/int64(len(c.shards)), 1)
		s.newest = last
		s.lru.prev, s.lru.next = &s.lru, &s.lru
	}
	return c
}

func (c *cache) shard(oid batos.OID) *shard {
	return &c.shards[uint64(oid)*0x9e3779b97f4a7c15>>59]
}

// get gives the revision of oid that the snapshot at has, or nil if the cache
// cannot tell.
func (c *cache) get(oid batos.OID, at batos.TID) *revision {
	s := c.shard(oid)
	s.mu.Lock()
	e := s.entries[oid]
	if e == nil || e.rev.tid > at || s.pending[oid].commits > 0 {
		s.misses++
		s.mu.Unlock()
		return nil
	}
	s.touch(e)
	rev := e.rev
	s.hits++
	s.mu.Unlock()
	return rev
}

// exact gives the revision of oid that tid wrote, or is going to write, or nil.
func (c *cache) exact(oid batos.OID, tid batos.TID) *revision {
	s := c.shard(oid)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[oid]; e != nil && e.rev.tid == tid {
		return e.rev
	}
	if rev := s.pending[oid].accepted; rev != nil && rev.tid == tid {
		return rev
	}
	return nil
}

// contended reports whether a commit under way may write oid.
func (c *cache) contended(oid batos.OID) bool {
	s := c.shard(oid)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending[oid].commits > 0
}

// loaded offers a revision that the snapshot at has.
func (c *cache) loaded(rev *revision, at batos.TID) {
	s := c.shard(rev.oid)
	if rev.size > s.limit {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at >= s.newest && s.pending[rev.oid].commits == 0 {
		s.put(rev)
	}
}

// begin marks an OID as pending.
func (c *cache) begin(oid batos.OID) {
	s := c.shard(oid)
	s.mu.Lock()
	p := s.pending[oid]
	p.commits++
	s.pending[oid] = p
	s.mu.Unlock()
}

// accepted tells what the commit that has the newest place in the order is
// going to leave of an OID that it marked: rev, or nothing if that is nil.
func (c *cache) accepted(oid batos.OID, rev *revision) {
	s := c.shard(oid)
	s.mu.Lock()
	p := s.pending[oid]
	p.accepted = rev
	s.pending[oid] = p
	s.mu.Unlock()
}

// abandon takes back a mark of a commit that did not happen.
func (c *cache) abandon(oid batos.OID) {
	s := c.shard(oid)
	s.mu.Lock()
	s.unmark(oid)
	s.mu.Unlock()
}

// committed takes back a mark of the commit tid. Rev is what it wrote, or nil
// if it ended the object; wrote is false if in the end it left oid alone.
func (c *cache) committed(oid batos.OID, tid batos.TID, rev *revision, wrote bool) {
	s := c.shard(oid)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unmark(oid)
	if !wrote {
		return
	}
	if e := s.entries[oid]; e != nil && e.rev.tid < tid {
		s.drop(e)
	}
	if tid >= s.newest {
		s.newest = tid
		if rev != nil {
			s.put(rev)
		}
	}
}

// followed drops what a commit of another process replaced, before any snapshot
// shows that. Nil oids are all.
func (c *cache) followed(tid batos.TID, oids []batos.OID) {
	for _, oid := range oids {
		s := c.shard(oid)
		s.mu.Lock()
		if e := s.entries[oid]; e != nil && e.rev.tid < tid {
			s.drop(e)
		}
		s.newest = max(s.newest, tid)
		s.mu.Unlock()
	}
	if oids != nil {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, e := range s.entries {
			s.drop(e)
		}
		s.newest = max(s.newest, tid)
		s.mu.Unlock()
	}
}

func (s *shard) unmark(oid batos.OID) {
	p := s.pending[oid]
	if p.commits--; p.commits == 0 {
		delete(s.pending, oid)
		return
	}
	s.pending[oid] = p
}

func (s *shard) put(rev *revision) {
	if e := s.entries[rev.oid]; e != nil {
		if e.rev.tid >= rev.tid {
			return
		}
		s.drop(e)
	}
	if rev.size > s.limit {
		return
	}
	e := &entry{rev: rev}
	s.entries[rev.oid] = e
	s.bytes += rev.size
	s.link(e)
	for s.bytes > s.limit {
		s.drop(s.lru.prev)
	}
}

func (s *shard) drop(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	delete(s.entries, e.rev.oid)
	s.bytes -= e.rev.size
}

func (s *shard) link(e *entry) {
	e.prev, e.next = &s.lru, s.lru.next
	e.prev.next, e.next.prev = e, e
}

func (s *shard) touch(e *entry) {
	if s.lru.next == e {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	s.link(e)
}

// stats gives the memory of all entries, and how often get knew the
// answer and did not.
func (c *cache) stats() (bytes, hits, misses int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		bytes, hits, misses = bytes+s.bytes, hits+s.hits, misses+s.misses
		s.mu.Unlock()
	}
	return bytes, hits, misses
}
