package front

import (
	"context"
	"iter"
	"sync"

	"errand/shared/task"
)

// follows keeps one watch per task and process, which feeds all streams and waits
// of that task (R15).
type follows struct {
	store task.Store
	mu    sync.Mutex
	all   map[string]*follow
}

// A follow is the newest known state of one watched record. Readers take it at
// their own pace: a slow one skips states, and delays nobody.
type follow struct {
	readers int // guarded by follows.mu
	stop    context.CancelFunc

	mu      sync.Mutex
	now     task.Record
	known   bool
	ended   bool
	changed chan struct{} // closed at the next change
}

func newFollows(store task.Store) *follows {
	return &follows{store: store, all: map[string]*follow{}}
}

// records yields the states of a record that come after r, until ctx ends or the
// watch breaks off. States may be skipped, the newest never.
func (f *follows) records(ctx context.Context, r task.Record) iter.Seq[task.Record] {
	return func(yield func(task.Record) bool) {
		w := f.join(r.ID())
		defer f.leave(r.ID(), w)
		seq := r.Seq
		for {
			now, known, ended, changed := w.state()
			if known && now.Seq > seq {
				seq = now.Seq
				if !yield(now) {
					return
				}
				continue
			}
			if ended {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}
}

func (f *follows) join(id string) *follow {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.all[id]
	if w == nil {
		ctx, stop := context.WithCancel(context.Background())
		w = &follow{stop: stop, changed: make(chan struct{})}
		f.all[id] = w
		go f.run(ctx, id, w)
	}
	w.readers++
	return w
}

func (f *follows) leave(id string, w *follow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.readers--; w.readers == 0 {
		w.stop()
		if f.all[id] == w {
			delete(f.all, id)
		}
	}
}

// run copies the watch into the follow. When it breaks off, new readers start
// another one.
func (f *follows) run(ctx context.Context, id string, w *follow) {
	for r, err := range f.store.Watch(ctx, id) {
		if err != nil {
			break
		}
		w.set(r, false)
	}
	f.mu.Lock()
	if f.all[id] == w {
		delete(f.all, id)
	}
	f.mu.Unlock()
	w.set(task.Record{}, true)
}

func (w *follow) set(r task.Record, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ended {
		w.ended = true
	} else {
		w.now, w.known = r, true
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *follow) state() (now task.Record, known, ended bool, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now, w.known, w.ended, w.changed
}
