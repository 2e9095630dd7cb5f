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
	fields, err := document(&r)
	if err != nil {
		return task.Record{}, err
	}
	if !possible(r.ID()) {
		return task.Record{}, fmt.Errorf("creating task: no document can be called %.40q", r.ID())
	}

	call, cancel := limited(ctx)
	defer cancel()

	at, err := create(call, f.tasks.Doc(r.ID()), fields, func() (int64, error) {
		old, err := f.read(call, r.ID())
		switch {
		case code(err) == codes.NotFound:
			return 0, nil
		case err == nil && !old.Expired(f.opts.Now()):
			err = task.ErrExists
		}

		return old.Version, err
	})
	if err != nil {
		return task.Record{}, fmt.Errorf("creating task %s: %w", r.ID(), failure(ctx, err))
	}

	r.Version = at.UnixMicro()
	return r, nil
}

// replacings is how often a document that expired may be replaced or purged by
// somebody else just before we replace it.
const replacings = 5

// create creates a document. If there is one, old says which version of it has expired
// and is to be replaced, 0 if there is none any more, or why it is not to be.
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

// Commit replaces a stored record. The client repeats a write whose answer was
// lost, so its own success may come back as ErrConflict.
func (f *Firestore) Commit(ctx context.Context, r task.Record) (task.Record, error) {
	fields, err := document(&r)
	if err != nil {
		return task.Record{}, err
	}
	// A version of zero would be the condition "updated in 1970", which the emulator
	// finds true of a document that does not exist.
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

// refused says that the document is not as the condition says: another version of
// it, or none.
func refused(err error) bool {
	return code(err) == codes.FailedPrecondition || code(err) == codes.NotFound
}

// document makes the fields of the record's document, after the checks that a
// record must pass. Head and body are the whole record; the other fields repeat
// of it what is asked for, and are in no index when there is nothing to find.
func document(r *task.Record) ([]firestore.Update, error) {
	enc, err := r.ForStore()
	if err != nil {
		return nil, err
	}
	if n := max(len(r.Owner), len(r.Task.ContextID)); n > maxKey {
		return nil, fmt.Errorf("task %s: owner or context has %d bytes, at most %d can be told apart", r.ID(), n, maxKey)
	}

	i := r.Indexed()
	var due, lane, expires, dead any = firestore.Delete, firestore.Delete, firestore.Delete, firestore.Delete
	if !i.Due.IsZero() {
		due, lane = i.Due, i.Lane
	}
	if !i.Expires.IsZero() {
		expires = i.Expires
	}
	if i.Dead {
		dead = true
	}

	return []firestore.Update{
		{Path: "owner", Value: i.Owner},
		{Path: "context", Value: i.Context},
		{Path: "state", Value: i.State},
		{Path: "stamp", Value: i.Stamp},
		{Path: "due", Value: due},
		{Path: "lane", Value: lane},
		{Path: "expires", Value: expires},
		{Path: "dead", Value: dead},
		{Path: "head", Value: enc.Head},
		{Path: "body", Value: enc.Body},
		{Path: "size", Value: enc.Size()},
		another(),
	}, nil
}

// another is a field with a new value in every write. A write that changes nothing
// would leave the update time as it was, and with it the version.
func another() firestore.Update {
	return firestore.Update{Path: "write", Value: rand.Int64()}
}
