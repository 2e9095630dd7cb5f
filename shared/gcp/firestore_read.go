package gcp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"

	"errand/shared/task"
)

// Load reads one record.
func (f *Firestore) Load(ctx context.Context, id string) (task.Record, error) {
	call, cancel := limited(ctx)
	defer cancel()
	r, err := f.read(call, id)
	if code(err) == codes.NotFound || err == nil && expired(r, f.opts.Now()) {
		err = task.ErrNotFound
	}
	if err != nil {
		return task.Record{}, fmt.Errorf("loading task %.40q: %w", id, failure(ctx, err))
	}
	return r, nil
}

// read reads one record, expired or not.
func (f *Firestore) read(ctx context.Context, id string) (task.Record, error) {
	if err := ctx.Err(); err != nil {
		return task.Record{}, err
	}
	if !possible(id) {
		return task.Record{}, task.ErrNotFound
	}
	snap, err := f.tasks.Doc(id).Get(ctx)
	if err != nil {
		return task.Record{}, err
	}
	return record(snap)
}

// List returns one page of an owner's records. The page and the counts of its total
// are queries of their own, side by side.
func (f *Firestore) List(ctx context.Context, q task.Query) (task.Page, error) {
	call, cancel := limited(ctx)
	defer cancel()
	now := f.opts.Now()
	var page task.Page
	var all, gone int
	g, part := errgroup.WithContext(call)
	g.Go(func() (err error) {
		page, err = f.page(part, q, now)
		return err
	})
	if q.Count {
		g.Go(func() (err error) {
			all, err = count(part, f.listed(q))
			return err
		})
		g.Go(func() (err error) {
			gone, err = count(part, f.outdated(q, now))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return task.Page{}, fmt.Errorf("listing tasks: %w", failure(ctx, err))
	}
	page.Total = max(0, all-gone)
	return page, nil
}

// filtered is what all queries of a list have in common.
func (f *Firestore) filtered(q task.Query) firestore.Query {
	query := f.tasks.Where("owner", "==", q.Owner)
	if q.Context != "" {
		query = query.Where("context", "==", q.Context)
	}
	if q.State != "" {
		query = query.Where("state", "==", string(q.State))
	}
	return query
}

// listed are all records that a query means, and those of them that have expired:
// a query cannot leave these out and be in the order of a list.
func (f *Firestore) listed(q task.Query) firestore.Query {
	query := f.filtered(q)
	if !q.Since.IsZero() {
		query = query.Where("stamp", ">=", ceilMilli(q.Since))
	}
	return query.OrderBy("stamp", firestore.Desc).OrderBy(firestore.DocumentID, firestore.Desc)
}

// outdated are those that have expired. It names both times whatever is asked, so
// that each combination of filters needs one index.
func (f *Firestore) outdated(q task.Query, now time.Time) firestore.Query {
	return f.filtered(q).Where("expires", "<=", now.Truncate(time.Millisecond)).Where("stamp", ">=", ceilMilli(q.Since)).
		OrderBy("expires", firestore.Asc).OrderBy("stamp", firestore.Asc)
}

// ceilMilli is the first whole millisecond not before t: a status at a fraction
// of a millisecond before t is not "at or after" it.
func ceilMilli(t time.Time) time.Time {
	ms := t.Truncate(time.Millisecond)
	if ms.Before(t) {
		ms = ms.Add(time.Millisecond)
	}
	return ms
}

func count(ctx context.Context, query firestore.Query) (int, error) {
	res, err := query.NewAggregationQuery().WithCount("n").Get(ctx)
	if err != nil {
		return 0, err
	}
	n, ok := res["n"].(*firestorepb.Value)
	if !ok {
		return 0, errors.New("a count has no result")
	}
	return int(n.GetIntegerValue()), nil
}

// page reads one page. Documents come as a stream, so a page that is full of large
// ones is left before the rest is read.
func (f *Firestore) page(ctx context.Context, q task.Query, now time.Time) (task.Page, error) {
	limit := min(max(q.Limit, 1), 100)
	query := f.listed(q).Limit(limit + 1)
	if !q.Bodies {
		query = query.Select("head")
	}
	if q.After != (task.Ref{}) {
		query = after(query, q.After)
	}
	var page task.Page
	size := 0
	for {
		read, last := 0, task.Ref{}
		err := each(ctx, query, func(snap *firestore.DocumentSnapshot) (more bool, err error) {
			r, err := record(snap)
			if err != nil {
				return false, err
			}
			read, last = read+1, task.Ref{At: r.Stamp(), ID: r.ID()}
			if expired(r, now) {
				return true, nil
			}
			if q.Bodies {
				enc, err := r.Encode()
				if err != nil {
					return false, err
				}
				size += enc.Size()
			}
			if n := len(page.Records); n == limit || n > 0 && size > task.PageBytes {
				page.More = true
				return false, nil
			}
			page.Records = append(page.Records, r)
			return true, nil
		})
		if err != nil || page.More || read <= limit {
			return page, err
		}
		query = after(query, last) // some had expired, and there are more
	}
}

// after begins a query after a record: at its time, if that id cannot exist.
func after(query firestore.Query, ref task.Ref) firestore.Query {
	id := ref.ID
	if !possible(id) {
		id = "-"
	}
	return query.StartAfter(ref.At.Truncate(time.Microsecond), id)
}

// each calls f with the documents of a query until f has had enough.
func each(ctx context.Context, query firestore.Query, f func(*firestore.DocumentSnapshot) (more bool, err error)) error {
	docs := query.Documents(ctx)
	defer docs.Stop()
	for {
		snap, err := docs.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return err
		}
		if more, err := f(snap); !more || err != nil {
			return err
		}
	}
}
