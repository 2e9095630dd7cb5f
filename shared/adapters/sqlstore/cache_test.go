package sqlstore

import (
	"strconv"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

func version(id string, v int64) task.Record {
	return task.Record{Version: v, Schema: task.Schema, Task: &a2a.Task{ID: a2a.TaskID(id)}}
}

// cached returns the version in the cache, or 0.
func cached(c *cache, id string) int64 {
	r, _, _ := c.get(id)
	return r.Version
}

// A record from the file may be older than a commit that has ended meanwhile, or that others
// have read meanwhile.
func TestCacheKeepsNoOldRecord(t *testing.T) {
	for name, between := range map[string]struct {
		do   func(c *cache)
		want int64
	}{
		"nothing":          {func(*cache) {}, 1},
		"a commit began":   {func(c *cache) { c.writing("a") }, 0},
		"it ended":         {func(c *cache) { c.writing("a"); c.wrote(version("a", 2)) }, 2},
		"it was refused":   {func(c *cache) { c.writing("a"); c.keep("a") }, 0},
		"it failed":        {func(c *cache) { c.writing("a"); c.forget("a") }, 0},
		"it was evicted":   {func(c *cache) { c.writing("a"); c.wrote(version("a", 2)); evict(c) }, 0},
		"another was made": {func(c *cache) { c.writing("b"); c.wrote(version("b", 2)) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCache(4, 1<<20)
			for c.stripe("a") == c.stripe("b") { // ids may share a stripe, which only keeps some records out of the cache
				c = newCache(4, 1<<20)
			}

			_, _, token := c.get("a")
			between.do(c)
			c.add(version("a", 1), token)
			if got := cached(c, "a"); got != between.want {
				t.Errorf("the cache holds version %d, want %d", got, between.want)
			}
		})
	}

	c := newCache(4, 1<<20)
	c.writing("a")
	_, _, token := c.get("a") // during the commit the file may change at any moment
	c.add(version("a", 1), token)
	if got := cached(c, "a"); got != 0 {
		t.Errorf("the cache took version %d during a commit", got)
	}
}

func evict(c *cache) {
	for i := range 4 {
		id := "x" + strconv.Itoa(i)
		c.writing(id)
		c.wrote(version(id, 1))
	}
}

func TestCacheIsBounded(t *testing.T) {
	size := sizeOf(version("x0", 1))
	for name, tt := range map[string]struct{ records, bytes, want int }{
		"by number": {3, 1 << 20, 3},
		"by bytes":  {100, 5*size + 1, 5},
		"off":       {-1, 1 << 20, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCache(tt.records, tt.bytes)
			for range 2 {
				for i := range 9 {
					id := "x" + strconv.Itoa(i)
					c.writing(id)
					c.wrote(version(id, 1))
				}
			}

			if len(c.entries) != tt.want || c.order.Len() != tt.want || c.size != tt.want*size {
				t.Errorf("%d entries, %d in order, %d bytes, want %d", len(c.entries), c.order.Len(), c.size, tt.want)
			}

			for i := range 9 {
				if got := cached(c, "x"+strconv.Itoa(i)) != 0; got != (i >= 9-tt.want) {
					t.Errorf("x%d is kept: %t, want the last %d to be kept", i, got, tt.want)
				}
			}
		})
	}
}
