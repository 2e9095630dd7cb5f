package front

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

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
// record is gone. States may be skipped, the newest never.
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

// How often the record is read beside a watch that seems healthy, and how soon one
// that broke off is begun again (R15).
const (
	safetyPoll = time.Minute
	firstRetry = time.Second
	lastRetry  = 10 * time.Second
)

// run copies the watch into the follow until its last reader leaves, or the record
// is gone. A watch that breaks off is begun again; its first value is the record as
// it is then.
func (f *follows) run(ctx context.Context, id string, w *follow) {
	go f.poll(ctx, id, w)
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		var err error
		for r, werr := range f.store.Watch(ctx, id) {
			if err = werr; err == nil {
				w.set(r, false)
				wait = firstRetry
			}
		}
		if errors.Is(err, task.ErrNotFound) {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
	f.mu.Lock()
	if f.all[id] == w {
		delete(f.all, id)
	}
	f.mu.Unlock()
	w.set(task.Record{}, true)
}

func (f *follows) poll(ctx context.Context, id string, w *follow) {
	tick := time.NewTicker(safetyPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if r, err := f.store.Load(ctx, id); err == nil {
			w.set(r, false)
		}
	}
}

func (w *follow) set(r task.Record, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case ended:
		w.ended = true
	case w.known && r.Seq < w.now.Seq: // read before what the watch has told since
		return
	default:
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
