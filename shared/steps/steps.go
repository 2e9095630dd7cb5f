// Package steps says where the steps of tasks are kept, and deletes them (R16i).
//
// A step of a task is an entry of [kv] under step/TASK/LIFE/. The id of an expired task can
// come again, so each record draws a LIFE of its own, and no two records share a key. The
// package knows neither records nor what a step holds.
package steps

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"errand/shared/kv"
)

const (
	page = 100 // entries read at once, with their values
	side = 16  // entries deleted concurrently: they share the commits of the store
)

// ErrReplaced says that a later record has the id of the task. Its steps are kept, and so may
// be some of the earlier one.
var ErrReplaced = errors.New("steps: a later task has the id")

// Under returns the beginning of the keys of all steps of a task, in all of its lives, or ""
// if no key can name the task. Ids of [errand/shared/task.Derive] always fit into a key.
func Under(id string) string {
	if strings.Contains(id, "/") || kv.CheckKey("step/"+id+"/x") != nil {
		return ""
	}
	return "step/" + id + "/"
}

// Delete deletes all steps of a task that is deleted or expired. If there are steps, it asks
// replaced after each page that it has read and before it deletes the page: a step that it
// has read before then belongs to no later record. It ends with ErrReplaced if there is one.
// Without replaced there can be none.
//
// Steps that are written meanwhile may stay. After an error some steps may be left, and the
// caller calls again.
func Delete(ctx context.Context, store kv.Store, id string, replaced func(context.Context) (bool, error)) error {
	prefix := Under(id)
	if prefix == "" {
		return nil
	}

	for after := ""; ; {
		list, err := store.List(ctx, prefix, after, page)
		if err != nil || len(list) == 0 {
			return err
		}

		if replaced != nil {
			switch is, err := replaced(ctx); {
			case err != nil:
				return err
			case is:
				return fmt.Errorf("%w: %s", ErrReplaced, id)
			}
		}

		if err := deleteAll(ctx, store, list); err != nil {
			return err
		}
		after = list[len(list)-1].Key
	}
}

// deleteAll deletes entries in any version: a step may still get a result.
func deleteAll(ctx context.Context, store kv.Store, list []kv.Entry) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(side)
	for _, e := range list {
		g.Go(func() error { return store.Delete(ctx, e.Key, 0) })
	}
	return g.Wait()
}
