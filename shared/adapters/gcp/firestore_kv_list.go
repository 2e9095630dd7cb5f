package gcp

import (
	"context"
	"fmt"

	"cloud.google.com/go/firestore"

	"errand/shared/kv"
)

// looks limits the documents that a list checks before it reads values. Every check costs a
// read, even if the value does not fit into the list any more.
const looks = 100

// List reads entries in the order of their keys.
func (s entries) List(ctx context.Context, prefix, after string, limit int) ([]kv.Entry, error) {
	limit = min(max(limit, 1), looks)
	call, cancel := limited(ctx)
	defer cancel()
	for look := limit; ; look = looks {
		list, last, err := s.page(call, prefix, after, look, limit)
		if err != nil {
			return nil, fmt.Errorf("listing %.40q: %w", prefix, failure(ctx, err))
		}
		if len(list) > 0 || last == "" {
			return list, nil
		}
		after = last // all entries before it have expired
	}
}

// page checks some documents and then reads those that fit into one list. Some may have been
// deleted meanwhile, or have grown. The page ends at the key last. If last is empty, there
// are no more documents.
func (s entries) page(ctx context.Context, prefix, after string, look, limit int) (list []kv.Entry, last string, err error) {
	from, to, err := kv.Range(prefix, after)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil || from >= to {
		return nil, "", err
	}

	docs, err := all(ctx, s.ordered().StartAt(idOf.Replace(from)).EndBefore(idOf.Replace(to)).Limit(look).Select("expires", "size"))
	if err != nil {
		return nil, "", err
	}

	heads, err := s.fit(docs, limit)
	if len(heads) == 0 {
		if len(docs) == look {
			last = keyOf.Replace(docs[look-1].Ref.ID)
		}
		return nil, last, err
	}

	refs := make([]*firestore.DocumentRef, len(heads))
	for i, e := range heads {
		refs[i], last = s.doc(e.Key), e.Key
	}

	docs, err = reread(func() ([]*firestore.DocumentSnapshot, error) { return s.client.GetAll(ctx, refs) })
	if err == nil {
		list, err = s.fit(docs, limit)
	}

	return list, last, err
}

// fit decodes as many documents as fit into one list, without expired ones.
func (s entries) fit(docs []*firestore.DocumentSnapshot, limit int) (list []kv.Entry, err error) {
	size, now := 0, s.opts.Now()
	for _, snap := range docs {
		if !snap.Exists() {
			continue
		}
		e, bytes, err := entryOf(snap)
		if err != nil {
			return nil, err
		}
		if e.Expired(now) {
			continue
		}
		if size += bytes; len(list) == limit || size > kv.LimitList {
			break
		}
		list = append(list, e)
	}
	return list, nil
}

// ordered is a query for all documents in the order of their ids, which needs no index.
func (s entries) ordered() firestore.Query {
	return s.entries.OrderBy(firestore.DocumentID, firestore.Asc)
}
