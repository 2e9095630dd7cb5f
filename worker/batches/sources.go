package batches

import (
	"context"
	"errors"
	"io"

	"errand/shared/batch"
	"errand/shared/uploads"
)

// Sources opens manifests where their submitters put them. It is a [Manifests].
type Sources struct {
	Uploads *uploads.Store
}

var _ Manifests = Sources{}

// Open implements Manifests.
func (s Sources) Open(ctx context.Context, owner string, in batch.Input, offset int64) (io.ReadCloser, error) {
	_, content, err := s.Uploads.Open(ctx, owner, in.File, offset, -1)
	if errors.Is(err, uploads.ErrNotFound) {
		err = errors.Join(ErrGone, err)
	}
	return content, err
}
