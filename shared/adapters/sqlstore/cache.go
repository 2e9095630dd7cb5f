package sqlstore

import (
	"container/list"
	"hash/maphash"
	"sync"

	"errand/shared/task"
)

// A cache keeps the records that were written or read last. Their number and their encoded
// size are limited. Reads never go back in time: the writer calls the cache before and after
// each commit, and the cache does not keep a record that was read from the file while its id
// may have been written.
//
// On Postgres only get and newer are used, and the database is asked for the version.
type cache struct {
	records, bytes int
	seed           maphash.Seed

	mu      sync.Mutex
	size    int
	entries map[string]*list.Element // of *entry
	order   *list.List               // most recently used first
	stripes [256]stripe              // by hash of the id
}

type entry struct {
	record task.Record
	size   int
}

// A stripe counts the writes to the ids that share it.
type stripe struct {
	writes  uint64 // begun or ended
	running int    // begun and not yet ended
}

func newCache(records, bytes int) *cache {
	return &cache{
		records: records, bytes: bytes, seed: maphash.MakeSeed(),
		entries: map[string]*list.Element{}, order: list.New(),
	}
}

func (c *cache) stripe(id string) *stripe {
	return &c.stripes[maphash.String(c.seed, id)%uint64(len(c.stripes))]
}

// get returns the record, or a token with which the caller may add the record that it reads
// from the file.
func (c *cache) get(id string) (r task.Record, ok bool, token uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		c.order.MoveToFront(e)
		return e.Value.(*entry).record, true, 0
	}
	return task.Record{}, false, c.stripe(id).writes
}

// version returns a record if it has the version.
func (c *cache) version(id string, version int64) (task.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; e != nil {
		if r := e.Value.(*entry).record; r.Version == version {
			return r, true
		}
	}
	return task.Record{}, false
}

// add keeps a record that was read from the file after get gave the token.
func (c *cache) add(r task.Record, token uint64) {
	size := sizeOf(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.stripe(r.ID()); s.writes == token && s.running == 0 {
		c.put(r, size)
	}
}

// newer keeps a record unless there is a newer one. It is for a database with many writers,
// where the records of the cache may be old.
func (c *cache) newer(r task.Record) {
	size := sizeOf(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[r.ID()]; e == nil || e.Value.(*entry).record.Version < r.Version {
		c.put(r, size)
	}
}

// writing marks the beginning of a commit of the id. The caller calls wrote, keep or forget
// when the commit has ended.
func (c *cache) writing(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stripe(id)
	s.writes++
	s.running++
}

// wrote ends a commit and replaces the record by the committed one.
func (c *cache) wrote(r task.Record) {
	size := sizeOf(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended(r.ID())
	c.put(r, size)
}

// keep ends a commit that did not write the record.
func (c *cache) keep(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended(id)
}

// forget ends a commit and drops the record, because it was deleted or the outcome of the
// commit is unknown.
func (c *cache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended(id)
	if e := c.entries[id]; e != nil {
		c.drop(e)
	}
}

// reset drops all records, because records were written beside the cache.
func (c *cache) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.stripes {
		c.stripes[i].writes++
	}
	c.entries, c.size = map[string]*list.Element{}, 0
	c.order.Init()
}

func (c *cache) ended(id string) {
	s := c.stripe(id)
	s.writes++
	s.running--
}

func (c *cache) put(r task.Record, size int) {
	if c.records < 0 {
		return
	}
	if e := c.entries[r.ID()]; e != nil {
		c.drop(e)
	}
	c.entries[r.ID()] = c.order.PushFront(&entry{record: r, size: size})
	c.size += size
	for len(c.entries) > c.records || c.size > c.bytes {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	old := c.order.Remove(e).(*entry)
	delete(c.entries, old.record.ID())
	c.size -= old.size
}

func sizeOf(r task.Record) int {
	enc, err := r.Encode() // the encoding exists already: every record here was stored
	if err != nil {
		return 0
	}
	return enc.Size()
}
