package sqlstore

import (
	"context"
	"iter"
	"sync"

	"errand/shared/task"
)

// A hub brings committed records to those who watch them. All watchers of a
// record share one topic, so a commit costs the same however many there are, and
// none of them can hold up the writer.
type hub struct {
	mu     sync.Mutex
	topics map[string]*topic
}

type topic struct {
	watchers int
	newest   task.Record   // zero: none committed since the first watcher came
	changed  chan struct{} // closed and replaced at every commit
}

func newHub() *hub { return &hub{topics: map[string]*topic{}} }

func (h *hub) join(id string) *topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[id]
	if t == nil {
		t = &topic{changed: make(chan struct{})}
		h.topics[id] = t
	}
	t.watchers++
	return t
}

func (h *hub) leave(id string, t *topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.watchers--; t.watchers == 0 {
		delete(h.topics, id)
	}
}

func (h *hub) publish(r task.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.topics[r.ID()]; t != nil {
		t.newest = r
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// state returns the newest record and what tells of a newer one.
func (h *hub) state(t *topic) (task.Record, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return t.newest, t.changed
}

// Watch yields the record and then newer versions of it. It ends with ErrClosed
// when the store is closed.
func (db *DB) Watch(ctx context.Context, id string) iter.Seq2[task.Record, error] {
	return func(yield func(task.Record, error) bool) {
		t := db.hub.join(id)
		defer db.hub.leave(id, t)
		last, err := db.Load(ctx, id)
		if err != nil {
			if ctx.Err() == nil {
				yield(task.Record{}, err)
			}
			return
		}
		for yield(last, nil) {
			newer, changed := db.hub.state(t)
			for newer.Version <= last.Version {
				select {
				case <-changed:
					newer, changed = db.hub.state(t)
				case <-ctx.Done():
					return
				case <-db.closing:
					yield(task.Record{}, ErrClosed)
					return
				}
			}
			last = newer
		}
	}
}
