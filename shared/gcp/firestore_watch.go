package gcp

import (
	"context"
	"fmt"
	"iter"
	"time"

	"cloud.google.com/go/firestore"

	"errand/shared/task"
)

// linger is how long a task is listened to after its last watcher left, for a client
// that comes back. It also keeps the ends of listeners away from commits: the emulator
// fails a commit, and tells other listeners nothing of it, when one ends just then.
const linger = time.Second

// A topic is one task that is watched. All its watchers share one listener, and take
// what it brings at their own pace. Guarded by Firestore.mu.
type topic struct {
	watchers int
	left     *time.Timer // ends the topic some time after the last watcher left
	stop     context.CancelFunc
	newest   task.Record
	err      error         // ends the topic
	changed  chan struct{} // closed and replaced at every change
}

// Watch yields the record and then newer versions of it.
func (f *Firestore) Watch(ctx context.Context, id string) iter.Seq2[task.Record, error] {
	return func(yield func(task.Record, error) bool) {
		t, err := f.join(id)
		if err != nil {
			yield(task.Record{}, fmt.Errorf("watching task %.40q: %w", id, err))
			return
		}
		defer f.leave(id, t)
		// The listener is begun first, so nothing falls between it and this read.
		last, err := f.Load(ctx, id)
		if err != nil {
			if ctx.Err() == nil {
				yield(task.Record{}, err)
			}
			return
		}
		for yield(last, nil) {
			newer, changed, err := f.state(t)
			for newer.Version <= last.Version {
				if err != nil {
					yield(task.Record{}, fmt.Errorf("watching task %s: %w", id, err))
					return
				}
				select {
				case <-changed:
					newer, changed, err = f.state(t)
				case <-ctx.Done():
					return
				}
			}
			last = newer
		}
	}
}

func (f *Firestore) join(id string) (*topic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errStoreClosed
	}
	t := f.topics[id]
	if t == nil {
		ctx, stop := context.WithCancel(f.watching)
		t = &topic{stop: stop, changed: make(chan struct{})}
		f.topics[id] = t
		if possible(id) {
			f.feeds.Go(func() { f.feed(ctx, id, t) })
		}
	}
	if t.watchers++; t.left != nil {
		t.left.Stop()
	}
	return t, nil
}

func (f *Firestore) leave(id string, t *topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.watchers--; t.watchers > 0 {
		return
	}
	t.left = time.AfterFunc(linger, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if t.watchers == 0 {
			t.stop()
			f.drop(id, t)
		}
	})
}

// drop makes the next watcher begin a new topic.
func (f *Firestore) drop(id string, t *topic) {
	if f.topics[id] == t {
		delete(f.topics, id)
	}
}

func (f *Firestore) state(t *topic) (task.Record, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return t.newest, t.changed, t.err
}

// tell brings watchers a newer record, or the error that ends the topic.
func (f *Firestore) tell(id string, t *topic, r task.Record, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		t.err = err
		f.drop(id, t)
	case r.Version > t.newest.Version:
		t.newest = r
	default:
		return
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// feed follows a task by a listener, or by polling as long as all are in use.
func (f *Firestore) feed(ctx context.Context, id string, t *topic) {
	err := f.follow(ctx, id, t)
	select {
	case <-f.closing:
		err = errStoreClosed
	default:
	}
	f.tell(id, t, task.Record{}, err)
}

func (f *Firestore) follow(ctx context.Context, id string, t *topic) error {
	tick := time.NewTicker(f.opts.Poll)
	defer tick.Stop()
	for {
		select {
		case c := <-f.slots:
			err := f.listen(ctx, c, id, t)
			f.slots <- c
			return err
		default:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		r, err := f.Load(ctx, id)
		if err != nil {
			return err
		}
		f.tell(id, t, r, nil)
	}
}

// listen follows a task by a listener on a connection of the pool. The client takes
// a broken stream up again by itself.
func (f *Firestore) listen(ctx context.Context, c *firestore.Client, id string, t *topic) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream; Stop alone only stops sending
	snaps := c.Collection(collection).Doc(id).Snapshots(ctx)
	defer snaps.Stop()
	for {
		snap, err := snaps.Next()
		if err != nil {
			return err
		}
		if !snap.Exists() {
			return task.ErrNotFound
		}
		r, _, err := record(snap)
		if err != nil {
			return err
		}
		f.tell(id, t, r, nil)
	}
}
