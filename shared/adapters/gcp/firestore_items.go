package gcp

import (
	"context"
	"fmt"

	"cloud.google.com/go/firestore"
	"golang.org/x/sync/errgroup"

	"errand/shared/task"
)

// Open counts the items of a batch that have not ended, at the price of one read for each
// thousand of them, and reads the line of the first one ([task.Items]). The two queries run at
// the same time. Items end for good, so if either finds none, there is none.
func (f *Firestore) Open(ctx context.Context, batch string, upTo int) (o task.Open, err error) {
	call, cancel := limited(ctx)
	defer cancel()
	query := f.open(batch).Where("line", "<=", upTo)
	g, part := errgroup.WithContext(call)

	g.Go(func() (err error) {
		o.N, err = count(part, query)
		return err
	})

	var first []int
	g.Go(func() (err error) {
		first, err = lines(part, query.Limit(1))
		return err
	})

	if err := g.Wait(); err != nil {
		return task.Open{}, fmt.Errorf("counting the open items of a batch: %w", failure(ctx, err))
	}
	if o.N == 0 || len(first) == 0 {
		return task.Open{}, nil
	}
	o.Lowest = first[0]
	return o, nil
}

// OpenLines lists the lines of items that have not ended.
func (f *Firestore) OpenLines(ctx context.Context, batch string, after, limit int) ([]int, error) {
	if limit <= 0 {
		return nil, nil
	}
	call, cancel := limited(ctx)
	defer cancel()
	list, err := lines(call, f.open(batch).Where("line", ">=", after+1).Limit(limit))
	if err != nil {
		return nil, fmt.Errorf("listing the open items of a batch: %w", failure(ctx, err))
	}
	return list, nil
}

// open finds the items of a batch that have not ended.
func (f *Firestore) open(batch string) firestore.Query {
	return f.tasks.Where("open", "in", anywhere(batch)).OrderBy("line", firestore.Asc)
}

// lines reads the lines that a query finds.
func lines(ctx context.Context, query firestore.Query) ([]int, error) {
	docs, err := all(ctx, query.Select("line"))
	if err != nil {
		return nil, err
	}
	list := make([]int, len(docs))
	for i, snap := range docs {
		var d struct {
			Line int `firestore:"line"`
		}
		if err := snap.DataTo(&d); err != nil {
			return nil, fmt.Errorf("document %s: %w", snap.Ref.ID, err)
		}
		list[i] = d.Line
	}
	return list, nil
}
