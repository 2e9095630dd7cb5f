package gcp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloud.google.com/go/firestore"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"errand/shared/task"
)

// Load reads one record.
func (f *Firestore) Load(ctx context.Context, id string) (task.Record, error) {
	call, cancel := limited(ctx)
	defer cancel()
	r, err := f.read(call, id)
	switch {
	case code(err) == codes.NotFound:
		err = task.ErrNotFound
	case err == nil:
		err = r.Left(f.opts.Now())
	}
	if err != nil {
		f.skips.Skip(ctx, id, err)
		if !errors.Is(err, task.ErrDeleted) {
			r = task.Record{}
		}
		return r, fmt.Errorf("loading task %.40q: %w", id, failure(ctx, err))
	}
	return r, nil
}

// read reads one record, even an expired one.
func (f *Firestore) read(ctx context.Context, id string) (task.Record, error) {
	if err := ctx.Err(); err != nil {
		return task.Record{}, err
	}
	if !possible(id) {
		return task.Record{}, task.ErrNotFound
	}
	snap, err := reread(func() (*firestore.DocumentSnapshot, error) { return f.tasks.Doc(id).Get(ctx) })
	if err != nil {
		return task.Record{}, err
	}
	r, _, err := record(snap)
	return r, err
}

// List returns one page of an owner's records. The page and the two counts of its total are
// separate queries that run concurrently.
func (f *Firestore) List(ctx context.Context, q task.Query) (task.Page, error) {
	call, cancel := limited(ctx)
	defer cancel()
	now := f.opts.Now()
	var page task.Page
	var all, gone int
	g, part := errgroup.WithContext(call)

	g.Go(func() (err error) {
		page, err = f.page(part, f.listed(q), q.After, q.Limit, q.Bodies, now, listing)
		return err
	})

	if q.Count {
		counting := part
		if !q.Since.IsZero() {
			limited, cancel := context.WithTimeoutCause(part, f.opts.CountFor, task.ErrCount)
			defer cancel()
			counting = limited
		}

		g.Go(func() (err error) {
			all, err = count(counting, f.listed(q))
			return err
		})

		g.Go(func() (err error) {
			gone, err = count(counting, f.outdated(q, now))
			return err
		})
	}

	if err := g.Wait(); err != nil {
		return task.Page{}, fmt.Errorf("listing tasks: %w", failure(ctx, err))
	}

	page.Total = max(0, all-gone)
	return page, nil
}

// Held counts the tasks of an owner that wait or run, with one aggregation for each of the two
// states. The bytes are not counted.
func (f *Firestore) Held(ctx context.Context, owner string, most int) (task.Holding, error) {
	call, cancel := limited(ctx)
	defer cancel()
	g, part := errgroup.WithContext(call)
	states := []a2a.TaskState{a2a.TaskStateSubmitted, a2a.TaskStateWorking}
	n := make([]int, len(states))
	for i, state := range states {
		g.Go(func() (err error) {
			n[i], err = count(part, f.listed(task.Query{Owner: owner, State: state}).Limit(most+1))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return task.Holding{}, fmt.Errorf("counting the tasks of an owner: %w", failure(ctx, err))
	}
	return task.Holding{Waiting: min(n[0]+n[1], most+1), Bytes: -1}, nil
}

// filtered is the common part of all queries of a list.
func (f *Firestore) filtered(q task.Query) firestore.Query {
	lister, name := q.Keys()
	query := f.tasks.Where("owner", "in", anywhere(lister))
	if name != "" {
		query = query.Where("context", "==", name)
	}
	if q.State != "" {
		query = query.Where("state", "==", string(q.State))
	}
	return query
}

// listed finds the records that match a query, including expired ones: a query cannot
// exclude them and have the order of a list.
func (f *Firestore) listed(q task.Query) firestore.Query {
	query := f.filtered(q)
	if !q.Since.IsZero() {
		query = query.Where("stamp", ">=", task.CeilMilli(q.Since))
	}
	return query.OrderBy("stamp", firestore.Desc).OrderBy(firestore.DocumentID, firestore.Desc)
}

// outdated finds the matching records that have expired. It always filters by both times, so
// that each combination of the other filters needs one index.
func (f *Firestore) outdated(q task.Query, now time.Time) firestore.Query {
	return f.filtered(q).Where("expires", "<=", now.Truncate(time.Millisecond)).Where("stamp", ">=", task.CeilMilli(q.Since)).
		OrderBy("expires", firestore.Asc).OrderBy("stamp", firestore.Asc)
}

func count(ctx context.Context, query firestore.Query) (int, error) {
	res, err := reread(func() (firestore.AggregationResult, error) {
		return query.NewAggregationQuery().WithCount("n").Get(ctx)
	})
	if err != nil && errors.Is(context.Cause(ctx), task.ErrCount) {
		err = task.ErrCount
	}
	if err != nil {
		return 0, err
	}
	n, ok := res["n"].(*firestorepb.Value)
	if !ok {
		return 0, errors.New("a count has no result")
	}
	return int(n.GetIntegerValue()), nil
}

// Dead returns one page of the records that have a dead webhook. A record that was last
// written before the field dead existed is found only after its next write.
func (f *Firestore) Dead(ctx context.Context, q task.DeadQuery) (task.Page, error) {
	call, cancel := limited(ctx)
	defer cancel()
	page, err := f.page(call, f.dead(q), q.After, q.Limit, false, f.opts.Now(), record)
	if err != nil {
		return task.Page{}, fmt.Errorf("listing dead webhooks: %w", failure(ctx, err))
	}
	return page, nil
}

// dead finds the records with a dead webhook that match a query, including expired ones. Of
// an owner these are the tasks and, by another index, the items of batches.
func (f *Firestore) dead(q task.DeadQuery) firestore.Query {
	query := f.tasks.Query
	if q.All {
		query = query.Where("dead", "==", true)
	} else {
		var forms []firestore.EntityFilter
		for _, owner := range anywhere(q.Owner) {
			own := firestore.AndFilter{Filters: []firestore.EntityFilter{equal("dead", true), equal("owner", owner)}}
			forms = append(forms, own, equal("whose", owner))
		}
		query = query.WhereEntity(firestore.OrFilter{Filters: forms})
	}
	return query.OrderBy("stamp", firestore.Desc).OrderBy(firestore.DocumentID, firestore.Desc)
}

func equal(field string, value any) firestore.PropertyFilter {
	return firestore.PropertyFilter{Path: field, Operator: "==", Value: value}
}

// page reads one page of a query. It reads the heads first, which contain the sizes of the
// bodies, and then as many bodies as fit.
func (f *Firestore) page(ctx context.Context, query firestore.Query, from task.Ref, limit int, bodies bool, now time.Time,
	read func(*firestore.DocumentSnapshot) (task.Record, stored, error)) (task.Page, error) {
	limit = min(max(limit, 1), 100)
	query = query.Select("head", "size", "stamp").Limit(limit + 1)
	if from != (task.Ref{}) {
		query = after(query, from)
	}

	var page task.Page
	size := 0

	for {
		docs, err := all(ctx, query)
		if err != nil {
			return task.Page{}, err
		}

		var last task.Ref
		for _, snap := range docs {
			r, d, err := read(snap)
			if f.skips.Skip(ctx, snap.Ref.ID, err) {
				if len(page.Records) == limit { // the next page counts it
					page.More = true
					break
				}
				page.Unreadable++
				if last, err = place(snap); err != nil {
					return task.Page{}, err
				}
				continue
			}
			if err != nil {
				return task.Page{}, err
			}

			if !r.Expired(now) {
				size += d.read(bodies)
				if n := len(page.Records); n == limit || n > 0 && size > task.PageBytes {
					page.More = true
					break
				}
				page.Records = append(page.Records, r)
			}

			last = task.Ref{At: r.Stamp(), ID: r.ID()}
		}

		ended := page.More || len(docs) <= limit
		if ended && bodies {
			var bad int
			if page.Records, bad, err = f.bodies(ctx, page.Records); err != nil {
				return task.Page{}, err
			}
			page.Unreadable += bad
		}

		if ended && (len(page.Records) > 0 || !page.More) {
			return page, nil
		}

		// The page is not full, because some records have expired or cannot be read or all
		// have moved, and there are more.
		query, page.More = after(query, last), false
		if len(page.Records) == 0 {
			size = 0
		}
	}
}

// place is the place of a document in a list, by the fields that its query ordered it by.
func place(snap *firestore.DocumentSnapshot) (task.Ref, error) {
	stamp, err := snap.DataAt("stamp")
	at, ok := stamp.(time.Time)
	if err != nil || !ok {
		return task.Ref{}, fmt.Errorf("document %s is listed by a stamp of type %T", snap.Ref.ID, stamp)
	}
	return task.Ref{At: at, ID: snap.Ref.ID}, nil
}

// bodies reads the whole records for their heads. It omits a record that has moved in the list
// meanwhile, because the next page would then begin at the record's new place, and counts the
// records that it omits because they cannot be read.
func (f *Firestore) bodies(ctx context.Context, heads []task.Record) (whole []task.Record, bad int, err error) {
	refs := make([]*firestore.DocumentRef, len(heads))
	for i, r := range heads {
		refs[i] = f.tasks.Doc(r.ID())
	}
	docs, err := reread(func() ([]*firestore.DocumentSnapshot, error) { return f.client.GetAll(ctx, refs) })
	if err != nil {
		return nil, 0, err
	}

	for i, snap := range docs {
		if !snap.Exists() {
			continue
		}
		r, _, err := record(snap)
		if f.skips.Skip(ctx, snap.Ref.ID, err) {
			bad++
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		if r.Stamp().Equal(heads[i].Stamp()) {
			whole = append(whole, r)
		}
	}
	return whole, bad, nil
}

// after begins a query after a record, or at its time if the id cannot exist.
func after(query firestore.Query, ref task.Ref) firestore.Query {
	id := ref.ID
	if !possible(id) {
		id = "-"
	}
	return query.StartAfter(ref.At.Truncate(time.Microsecond), id)
}

// all reads a query to its end. Stopping earlier would cancel the stream, and then the
// emulator closes the whole connection if it still has documents to send.
func all(ctx context.Context, query firestore.Query) ([]*firestore.DocumentSnapshot, error) {
	return reread(func() ([]*firestore.DocumentSnapshot, error) { return query.Documents(ctx).GetAll() })
}

// reread repeats a read whose connection broke. The client itself repeats only a read whose
// answer has not begun.
func reread[T any](read func() (T, error)) (v T, err error) {
	for range 3 {
		if v, err = read(); code(err) != codes.Unavailable {
			break
		}
	}
	return v, err
}
