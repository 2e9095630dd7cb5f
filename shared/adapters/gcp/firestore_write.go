package gcp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/grpc/codes"

	"errand/shared/task"
)

// Create stores a new record.
func (f *Firestore) Create(ctx context.Context, r task.Record) (task.Record, error) {
	fields, err := f.document(&r)
	if err != nil {
		return task.Record{}, err
	}
	if !possible(r.ID()) {
		return task.Record{}, fmt.Errorf("creating task: no document can have the id %.40q", r.ID())
	}

	call, cancel := limited(ctx)
	defer cancel()

	err = f.unlessFormer(call, r.ID())
	var at time.Time
	if err == nil {
		at, err = create(call, f.tasks.Doc(r.ID()), fields, func() (int64, error) { return f.expired(call, r.ID()) })
	}
	if err != nil {
		return task.Record{}, fmt.Errorf("creating task %s: %w", r.ID(), failure(ctx, err))
	}

	r.Version = at.UnixMicro()
	return r, nil
}

// unlessFormer returns ErrExists if an earlier version has stored the record under its former
// id. Two documents cannot be in one condition, so this takes a read, but only in a database
// with records of an earlier version.
func (f *Firestore) unlessFormer(ctx context.Context, id string) error {
	former := task.Former(id)
	if former == "" {
		return nil
	}
	some, err := f.hasFormer(ctx)
	if err != nil || !some {
		return err
	}
	_, err = f.expired(ctx, former)
	return err
}

// hasFormer reports whether the database has a record of an earlier version. The first Create
// of a process asks, at the price of one read. The answer holds from then on, because this
// version stores no such record.
func (f *Firestore) hasFormer(ctx context.Context) (bool, error) {
	if known := f.former.Load(); known != nil {
		return *known, nil
	}
	docs, err := all(ctx, f.tasks.Select().OrderBy(firestore.DocumentID, firestore.Asc).StartAt(task.FormerFrom).Limit(1))
	if err != nil {
		return false, err
	}
	some := len(docs) > 0
	f.former.Store(&some)
	return some, nil
}

// expired returns the version of an expired record, which may be replaced, 0 if there is no
// record, and ErrExists for any other record.
func (f *Firestore) expired(ctx context.Context, id string) (version int64, err error) {
	old, err := f.read(ctx, id)
	switch {
	case code(err) == codes.NotFound:
		return 0, nil
	case err == nil && !old.Expired(f.opts.Now()):
		err = task.ErrExists
	}
	return old.Version, err
}

// replacings is how often another process may replace or purge an expired document just
// before we replace it.
const replacings = 5

// create creates a document. If the document exists, old returns the expired version to
// replace, or 0 if the document has been deleted meanwhile, or the reason why it must not be
// replaced.
func create(ctx context.Context, doc *firestore.DocumentRef, fields []firestore.Update, old func() (int64, error)) (time.Time, error) {
	data := map[string]any{}
	for _, u := range fields {
		if u.Value != firestore.Delete {
			data[u.Path] = u.Value
		}
	}

	var err error
	for range replacings {
		var res *firestore.WriteResult
		if res, err = doc.Create(ctx, data); err == nil {
			return res.UpdateTime, nil
		}
		if code(err) != codes.AlreadyExists {
			return time.Time{}, err
		}

		version, lerr := old()
		if lerr != nil {
			return time.Time{}, lerr
		}
		if version == 0 {
			continue
		}

		at, uerr := update(ctx, doc, version, fields)
		if uerr == nil || !refused(uerr) {
			return at, uerr
		}
	}

	return time.Time{}, err
}

// Commit replaces a stored record. The client repeats a write whose answer was lost, so Commit
// may return ErrConflict although its own write succeeded.
func (f *Firestore) Commit(ctx context.Context, r task.Record) (task.Record, error) {
	fields, err := f.document(&r)
	if err != nil {
		return task.Record{}, err
	}
	// Version 0 would become the condition "updated in 1970", which the emulator considers
	// true for a missing document.
	if r.Version <= 0 || !possible(r.ID()) {
		return task.Record{}, fmt.Errorf("committing task %.40q: %w", r.ID(), task.ErrConflict)
	}
	call, cancel := limited(ctx)
	defer cancel()
	at, err := update(call, f.tasks.Doc(r.ID()), r.Version, fields)
	switch {
	case err == nil:
		r.Version = at.UnixMicro()
		return r, nil
	case refused(err):
		err = fmt.Errorf("%w: %w", task.ErrConflict, err)
	}
	return task.Record{}, fmt.Errorf("committing task %s: %w", r.ID(), failure(ctx, err))
}

// update replaces that version of a document.
func update(ctx context.Context, doc *firestore.DocumentRef, version int64, fields []firestore.Update) (time.Time, error) {
	res, err := doc.Update(ctx, fields, firestore.LastUpdateTime(time.UnixMicro(version)))
	if err != nil {
		return time.Time{}, err
	}
	return res.UpdateTime, nil
}

// refused reports whether a write failed because the document has another version or does not
// exist.
func refused(err error) bool {
	return code(err) == codes.FailedPrecondition || code(err) == codes.NotFound
}

// policyAfter is the time after the expiry of a record at which the database deletes its
// document by its own policy. The sweep deletes a record an hour after its expiry, behind the
// steps of the task, which the policy would leave behind. So the policy takes only what the
// sweep has not found in a week.
const policyAfter = 7 * 24 * time.Hour

// document checks a record and makes the fields of its document. Head and body are the whole
// record. The other fields repeat the values that queries need, and are absent from the
// indexes if there is nothing to find.
func (f *Firestore) document(r *task.Record) ([]firestore.Update, error) {
	enc, err := r.ForStore()
	if err != nil {
		return nil, err
	}
	i := r.Indexed()
	if n := max(len(i.Lister), len(i.Context)); n > maxKey-ending {
		return nil, fmt.Errorf("task %s: owner or context has %d bytes, but only the first %d are compared", r.ID(), n, maxKey-ending)
	}

	var none any = firestore.Delete
	owner, due, lane, expires, bucket, gone, dead, whose, open, line := f.ranged(i.Lister, r.ID()), none, none, none, none, none, none, none, none, none
	if i.Deleted {
		owner = none // every list and count asks for an owner
	}
	if !i.Due.IsZero() {
		due, lane = i.Due, f.ranged(i.Lane, r.ID())
	}
	if !i.Expires.IsZero() {
		expires, bucket, gone = i.Expires, task.Bucket(r.ID()), i.Expires.Add(policyAfter)
	}
	if i.Dead {
		dead = true
		if i.Lister != i.Owner {
			whose = f.ranged(i.Owner, r.ID())
		}
	}
	if i.Open != "" {
		open, line = f.ranged(i.Open, r.ID()), i.Line
	}

	return []firestore.Update{
		{Path: "owner", Value: owner},
		{Path: "context", Value: i.Context},
		{Path: "state", Value: i.State},
		{Path: "stamp", Value: i.Stamp},
		{Path: "due", Value: due},
		{Path: "lane", Value: lane},
		{Path: "expires", Value: expires},
		{Path: "bucket", Value: bucket},
		{Path: "gone", Value: gone},
		{Path: "dead", Value: dead},
		{Path: "whose", Value: whose},
		{Path: "open", Value: open},
		{Path: "line", Value: line},
		{Path: "head", Value: enc.Head},
		{Path: "body", Value: enc.Body},
		{Path: "size", Value: enc.Size()},
		another(),
	}, nil
}

// another is a field with a new value in every write. A write without a change would keep the
// update time, and so the version.
func another() firestore.Update {
	return firestore.Update{Path: "write", Value: rand.Int64()}
}
