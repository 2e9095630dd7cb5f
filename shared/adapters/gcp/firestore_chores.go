package gcp

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"cloud.google.com/go/firestore"
	"golang.org/x/sync/errgroup"

	"errand/shared/task"
)

// deletions limits the concurrent deletions of a purge.
const deletions = 16

// Due lists records with pending work in the queue. Times are rounded down to whole
// microseconds.
func (f *Firestore) Due(ctx context.Context, queue string, of task.Shard, before time.Time, from task.Ref, limit int) ([]task.Ref, error) {
	if limit <= 0 {
		return nil, nil
	}

	call, cancel := limited(ctx)
	defer cancel()
	query := f.tasks.Where("lane", "in", within(queue, of)).Where("due", "<=", before.Truncate(time.Microsecond)).
		OrderBy("due", firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc).Limit(limit).Select("due")
	if from != (task.Ref{}) {
		query = after(query, from)
	}

	docs, err := all(call, query)
	if err != nil {
		return nil, fmt.Errorf("listing due tasks: %w", failure(ctx, err))
	}

	refs := make([]task.Ref, len(docs))
	for i, snap := range docs {
		var d struct {
			Due time.Time `firestore:"due"`
		}
		if err := snap.DataTo(&d); err != nil {
			return nil, fmt.Errorf("listing due tasks: document %s: %w", snap.Ref.ID, err)
		}

		refs[i] = task.Ref{At: d.Due.UTC(), ID: snap.Ref.ID}
	}

	return refs, nil
}

// Expired lists expired records. With one shard it asks for expires alone, and so finds the
// documents of earlier versions too, which have no bucket. With more there is no such index.
func (f *Firestore) Expired(ctx context.Context, of task.Shard, before time.Time, from task.Ref, limit int) ([]task.Lapsed, error) {
	if limit <= 0 {
		return nil, nil
	}

	call, cancel := limited(ctx)
	defer cancel()
	query := f.tasks.Query
	if f.opts.Shards > 1 || of.Of > 1 {
		query = query.Where("bucket", "in", bucketsOf(of))
	}
	query = query.Where("expires", "<", before.Truncate(time.Millisecond)).
		OrderBy("expires", firestore.Asc).OrderBy(firestore.DocumentID, firestore.Asc).Limit(limit).Select("expires")
	if from != (task.Ref{}) {
		query = after(query, from)
	}

	docs, err := all(call, query)
	if err != nil {
		return nil, fmt.Errorf("listing expired tasks: %w", failure(ctx, err))
	}

	list := make([]task.Lapsed, len(docs))
	for i, snap := range docs {
		var d struct {
			Expires time.Time `firestore:"expires"`
		}
		if err := snap.DataTo(&d); err != nil {
			return nil, fmt.Errorf("listing expired tasks: document %s: %w", snap.Ref.ID, err)
		}

		list[i] = task.Lapsed{Ref: task.Ref{At: d.Expires.UTC(), ID: snap.Ref.ID}, Version: snap.UpdateTime.UnixMicro()}
	}

	return list, nil
}

// Replaced looks at the version of the document that has the id, at the price of one read.
func (f *Firestore) Replaced(ctx context.Context, l task.Lapsed) (bool, error) {
	call, cancel := limited(ctx)
	defer cancel()
	docs, err := all(call, f.tasks.Select().OrderBy(firestore.DocumentID, firestore.Asc).StartAt(l.ID).EndAt(l.ID))
	if err != nil {
		return false, fmt.Errorf("looking for a later task %s: %w", l.ID, failure(ctx, err))
	}
	return len(docs) > 0 && docs[0].UpdateTime.UnixMicro() != l.Version, nil
}

// Remove deletes expired records, each on the condition that it was not replaced meanwhile.
func (f *Firestore) Remove(ctx context.Context, list []task.Lapsed) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}

	var n atomic.Int64
	g, part := errgroup.WithContext(ctx)
	g.SetLimit(deletions)

	for _, l := range list {
		g.Go(func() error {
			part, cancel := limited(part)
			defer cancel()
			_, err := f.tasks.Doc(l.ID).Delete(part, firestore.LastUpdateTime(time.UnixMicro(l.Version)))

			switch {
			case err == nil:
				n.Add(1)
			case refused(err):
				err = nil
			}

			return err
		})
	}

	if err := g.Wait(); err != nil {
		return int(n.Load()), fmt.Errorf("purging tasks: %w", failure(ctx, err))
	}

	return int(n.Load()), nil
}
