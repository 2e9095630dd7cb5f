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
func (f *Firestore) Due(ctx context.Context, queue string, before time.Time, from task.Ref, limit int) ([]task.Ref, error) {
	if limit <= 0 {
		return nil, nil
	}

	call, cancel := limited(ctx)
	defer cancel()
	query := f.tasks.Where("lane", "==", queue).Where("due", "<=", before.Truncate(time.Microsecond)).
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

// Purge deletes expired records, each on the condition that it was not replaced meanwhile.
// The database deletes the rest by its own policy, within about a day.
// https://firebase.google.com/docs/firestore/ttl
func (f *Firestore) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	if limit <= 0 {
		return 0, nil
	}

	call, cancel := limited(ctx)
	defer cancel()
	query := f.tasks.Where("expires", "<", before.Truncate(time.Millisecond)).OrderBy("expires", firestore.Asc).Limit(limit).Select()
	docs, err := all(call, query)
	if err != nil {
		return 0, fmt.Errorf("purging: %w", failure(ctx, err))
	}

	var n atomic.Int64
	g, part := errgroup.WithContext(ctx)
	g.SetLimit(deletions)

	for _, snap := range docs {
		g.Go(func() error {
			part, cancel := limited(part)
			defer cancel()
			_, err := snap.Ref.Delete(part, firestore.LastUpdateTime(snap.UpdateTime))

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
		return int(n.Load()), fmt.Errorf("purging: %w", failure(ctx, err))
	}

	return int(n.Load()), nil
}
