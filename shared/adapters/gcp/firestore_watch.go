package gcp

import (
	"context"
	"iter"
	"time"

	"cloud.google.com/go/firestore"

	"errand/shared/task"
)

// linger is how long a listener stays after the last watcher of its task has left, for a
// client that comes back. It also keeps the end of a listener apart from commits: if one
// ends during a commit, the emulator fails the commit and does not report it to other
// listeners.
const linger = time.Second

// Watch yields the record and then newer versions of it. All watchers of a task share
// one listener.
func (f *Firestore) Watch(ctx context.Context, id string) iter.Seq2[task.Record, error] {
	return f.topics.Watch(ctx, id)
}

// feed follows a task with a listener, or by polling while all listeners are in use.
func (f *Firestore) feed(ctx context.Context, id string, tell func(task.Record)) error {
	if !possible(id) {
		return task.ErrNotFound
	}

	tick := time.NewTicker(f.opts.Poll)
	defer tick.Stop()

	for {
		select {
		case c := <-f.slots:
			err := f.listen(ctx, c, id, tell)
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

		tell(r)
	}
}

// listen follows a task with a listener on a connection of the pool. The client itself
// resumes a broken stream.
func (f *Firestore) listen(ctx context.Context, c *firestore.Client, id string, tell func(task.Record)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream; Stop alone would only stop sending
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
		tell(r)
	}
}
