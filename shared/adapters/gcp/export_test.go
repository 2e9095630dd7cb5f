package gcp

import (
	"context"
	"time"

	"errand/shared/task"
)

// Purge deletes expired records, up to the limit.
func (f *Firestore) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	list, err := f.Expired(ctx, task.Shard{}, before, task.Ref{}, limit)
	if err != nil {
		return 0, err
	}
	return f.Remove(ctx, list)
}
