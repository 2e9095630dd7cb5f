package steps

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"errand/shared/kv"
)

// credentials begins the names of the credentials that a task was given.
const credentials = "y/"

// Copy copies the entries of a task, whose keys begin with from, to another task of the same
// owner: their keys begin with to instead. Of the steps of the model it copies those up to the
// number last, and of what the agent's own code has stored that of turns up to turn. Credentials are for the one
// task, and are not copied. What the other task has already stays as it is, so that a copy that
// was broken off is made again. After an error some entries may be missing, and the caller calls
// again.
func Copy(ctx context.Context, store kv.Store, from, to string, last, turn int) error {
	for after := ""; ; {
		list, err := store.List(ctx, from, after, page)
		if err != nil || len(list) == 0 {
			return err
		}

		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(side)
		for _, e := range list {
			name := strings.TrimPrefix(e.Key, from)
			if n, ofTurn := place(name); ofTurn && n > turn || !ofTurn && n > last || strings.HasPrefix(name, credentials) {
				continue
			}
			g.Go(func() error {
				_, err := store.Put(ctx, kv.Entry{Key: to + name, Owner: e.Owner, Value: e.Value, Expires: e.Expires})
				if errors.Is(err, kv.ErrConflict) {
					return nil
				}
				return err
			})
		}

		if err := g.Wait(); err != nil {
			return err
		}
		after = list[len(list)-1].Key
	}
}

// place is the number of the model's step to which a name under a task belongs (000012, or 000012.e3
// for its reply), or of the turn (t000003/NAME, and x/t000003/NAME for a memo).
func place(name string) (n int, ofTurn bool) {
	digits, ofTurn := strings.CutPrefix(strings.TrimPrefix(name, "x/"), "t")
	end := strings.IndexAny(digits, "./")
	if end >= 0 {
		digits = digits[:end]
	}
	n, _ = strconv.Atoi(digits)
	return n, ofTurn
}
