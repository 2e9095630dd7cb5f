package batchdesk

import (
	"context"
	"errors"
	"strings"

	"errand/shared/batch"
	"errand/shared/objects"
)

// ObjectsOf returns the Object of a [Config] that reads by the rights of callers.
func ObjectsOf(g objects.Guarded) func(ctx context.Context, owner, name string) (batch.Input, error) {
	return func(ctx context.Context, owner, name string) (batch.Input, error) {
		o, err := g.Stat(ctx, owner, name)
		switch {
		case errors.Is(err, objects.ErrNotFound):
			return batch.Input{}, ErrInput
		case errors.Is(err, objects.ErrURL), errors.Is(err, objects.ErrEncoded), errors.Is(err, objects.ErrCredentials):
			return batch.Input{}, &FieldError{"input", "cannot be read: " + strings.TrimPrefix(err.Error(), "objects: ")}
		}
		return batch.Input{Object: o.URL, Generation: o.Generation, Size: o.Size}, err
	}
}
