package gcp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/grpc/codes"

	"errand/shared/kv"
)

// entries is the kv.Store of a Firestore.
type entries struct{ *Firestore }

// KV returns the store of entries in the same database. The database deletes expired entries
// by its own policy, within about a day.
// https://firebase.google.com/docs/firestore/ttl
func (f *Firestore) KV() kv.Store { return entries{f} }

// The id of a document is the key with some characters replaced. The order stays the same. An
// id cannot contain '/', cannot be "." or "..", and cannot begin and end with "__".
// https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
var (
	idOf  = strings.NewReplacer("-", "+", ".", ",", "/", "-", "_", "=")
	keyOf = strings.NewReplacer("+", "-", ",", ".", "-", "/", "=", "_")
)

func (s entries) doc(key string) *firestore.DocumentRef { return s.entries.Doc(idOf.Replace(key)) }

// Get reads one entry.
func (s entries) Get(ctx context.Context, key string) (kv.Entry, error) {
	if err := kv.CheckKey(key); err != nil {
		return kv.Entry{}, err
	}
	call, cancel := limited(ctx)
	defer cancel()
	snap, err := reread(func() (*firestore.DocumentSnapshot, error) { return s.doc(key).Get(call) })
	var e kv.Entry
	if err == nil {
		e, _, err = entryOf(snap)
	}
	if code(err) == codes.NotFound || err == nil && e.Expired(s.opts.Now()) {
		err = kv.ErrNotFound
	}
	if err != nil {
		return kv.Entry{}, fmt.Errorf("reading %s: %w", key, failure(ctx, err))
	}
	return e, nil
}

// Put stores one entry. The client repeats a write whose answer was lost, so Put may return
// ErrConflict although its own write succeeded.
func (s entries) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	e, err := e.Stored()
	if err != nil {
		return kv.Entry{}, err
	}
	call, cancel := limited(ctx)
	defer cancel()
	var at time.Time
	if e.Version == 0 {
		at, err = s.create(call, e)
	} else {
		at, err = s.replace(call, e)
	}
	if err != nil {
		return kv.Entry{}, fmt.Errorf("storing %s: %w", e.Key, failure(ctx, err))
	}
	e.Version = at.UnixMicro()
	return e, nil
}

func (s entries) create(ctx context.Context, e kv.Entry) (time.Time, error) {
	return create(ctx, s.doc(e.Key), fieldsOf(e), func() (int64, error) {
		old, err := s.head(ctx, e.Key)
		if err == nil && old.Version != 0 && !old.Expired(s.opts.Now()) {
			err = kv.ErrConflict
		}
		return old.Version, err
	})
}

func (s entries) replace(ctx context.Context, e kv.Entry) (time.Time, error) {
	err := s.match(ctx, e.Key, e.Version)
	if errors.Is(err, kv.ErrNotFound) {
		return time.Time{}, kv.ErrConflict
	}
	if err != nil {
		return time.Time{}, err
	}
	at, err := update(ctx, s.doc(e.Key), e.Version, fieldsOf(e))
	if refused(err) {
		err = fmt.Errorf("%w: %w", kv.ErrConflict, err)
	}
	return at, err
}

// Delete deletes one entry.
func (s entries) Delete(ctx context.Context, key string, version int64) error {
	if err := kv.CheckKey(key); err != nil {
		return err
	}
	call, cancel := limited(ctx)
	defer cancel()
	var err error
	if version == 0 {
		_, err = s.doc(key).Delete(call)
	} else if err = s.match(call, key, version); err == nil {
		_, err = s.doc(key).Delete(call, firestore.LastUpdateTime(time.UnixMicro(version)))
		if refused(err) { // because of a write in between
			err = s.match(call, key, version)
		}
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return fmt.Errorf("deleting %s: %w", key, failure(ctx, err))
	}
	return nil
}

// Purge deletes nothing: the database deletes expired entries by its own policy.
func (s entries) Purge(ctx context.Context, _ time.Time, _ int) (int, error) { return 0, ctx.Err() }

// match checks an entry before a write that replaces a version of it. It returns ErrNotFound
// if there is no entry, and ErrConflict if the entry has another version. The condition of
// the write can name only the version and not the expiry, but the expiry of a version never
// changes.
func (s entries) match(ctx context.Context, key string, version int64) error {
	old, err := s.head(ctx, key)
	switch {
	case err != nil:
		return err
	case old.Version == 0 || old.Expired(s.opts.Now()):
		return kv.ErrNotFound
	case old.Version != version:
		return kv.ErrConflict
	}
	return nil
}

// head reads the version and the expiry of an entry, even of an expired one. Version 0 means
// that there is no entry.
func (s entries) head(ctx context.Context, key string) (kv.Entry, error) {
	id := idOf.Replace(key)
	docs, err := all(ctx, s.ordered().StartAt(id).EndAt(id).Select("expires"))
	if err != nil || len(docs) == 0 {
		return kv.Entry{}, err
	}
	e, _, err := entryOf(docs[0])
	return e, err
}

// fieldsOf makes the fields of an entry's document. No field is in an index, because entries
// are only found by their keys.
func fieldsOf(e kv.Entry) []firestore.Update {
	var expires any = firestore.Delete
	if !e.Expires.IsZero() {
		expires = e.Expires
	}
	return []firestore.Update{
		{Path: "owner", Value: e.Owner},
		{Path: "expires", Value: expires},
		{Path: "size", Value: e.Size()},
		{Path: "value", Value: e.Value},
		another(),
	}
}

// entryOf decodes a document, which may have only some of its fields, and returns the size of
// the whole entry.
func entryOf(snap *firestore.DocumentSnapshot) (e kv.Entry, size int, err error) {
	var d struct {
		Owner   string    `firestore:"owner"`
		Expires time.Time `firestore:"expires"`
		Size    int       `firestore:"size"`
		Value   []byte    `firestore:"value"`
	}
	if err := snap.DataTo(&d); err != nil {
		return kv.Entry{}, 0, fmt.Errorf("document %s: %w", snap.Ref.ID, err)
	}
	return kv.Entry{
		Key: keyOf.Replace(snap.Ref.ID), Owner: d.Owner, Value: d.Value, Version: snap.UpdateTime.UnixMicro(), Expires: d.Expires.UTC(),
	}, d.Size, nil
}
