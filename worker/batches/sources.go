package batches

import (
	"context"
	"errors"
	"io"

	"errand/shared/batch"
	"errand/shared/objects"
	"errand/shared/uploads"
)

// Sources opens manifests where their submitters put them. It is a [Manifests].
type Sources struct {
	Uploads *uploads.Store
	Objects Objects // nil: there are none
}

// Objects reads objects of buckets, each by a right of its reader: an objects.Guarded.
type Objects interface {
	Open(ctx context.Context, owner, url string, generation, offset int64) (io.ReadCloser, error)
}

var _ Manifests = Sources{}

// Open implements Manifests.
func (s Sources) Open(ctx context.Context, owner string, in batch.Input, offset int64) (io.ReadCloser, error) {
	if in.Object == "" {
		_, content, err := s.Uploads.Open(ctx, owner, in.File, offset, -1)
		return content, gone(err)
	}
	if s.Objects == nil {
		return nil, ErrGone
	}
	content, err := s.Objects.Open(ctx, owner, in.Object, in.Generation, offset)
	if err != nil {
		return nil, gone(err)
	}
	return object{content}, nil
}

// An object tells in the words of this package that it has changed while it is read.
type object struct{ io.ReadCloser }

// Read implements io.Reader.
func (o object) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	return n, gone(err)
}

// gone adds ErrGone to the errors of manifests that will never be there again.
func gone(err error) error {
	for _, e := range []error{uploads.ErrNotFound, objects.ErrNotFound, objects.ErrChanged} {
		if errors.Is(err, e) {
			return errors.Join(ErrGone, err)
		}
	}
	return err
}
