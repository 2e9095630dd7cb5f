package openai

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"unicode/utf8"

	"errand/cardserver/api"
	"errand/shared/audit"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/task"
	"errand/shared/uploads"
)

// Limits of a request, and sizes of a page of the list of batches.
const (
	maxBody  = 64 << 10
	pageSize = 20
	maxPage  = 100

	maxMetadata = 16  // keys
	maxKey      = 64  // characters of one
	maxValue    = 512 // characters of its value
)

// window is the only time that a batch may be given.
const window = "24h"

// A creation is the body of a request for a batch.
type creation struct {
	input    string
	metadata map[string]string
}

// create makes a batch, or finds the one of the same lines and metadata.
func (a *API) create(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := q.Read(&fields, maxBody, "OpenAI's interface"); err != nil {
		return err
	}
	in, err := parse(fields)
	if err != nil {
		return err
	}

	f, err := a.cfg.Uploads.Named(q.Context(), q.Caller.Owner, in.input)
	switch {
	case errors.Is(err, uploads.ErrNotFound):
		return invalid(inputField, codeValue, "is no file of yours, or it has ended: upload it again")
	case err != nil:
		return err
	case f.Purpose != uploads.Batch:
		return invalid(inputField, codeValue, "is not for batches: upload the file with the purpose "+uploads.Batch)
	}

	b, _, err := a.cfg.Batches.Again(q.Context(), q.Caller.Owner, batchdesk.Submission{
		Name: name(f.SHA256, in.metadata), Input: f.ID, Endpoint: batch.Endpoint, Metadata: in.metadata,
	})
	if err != nil {
		return err
	}
	audit.Of(q.Context()).Task(b.ID())
	return a.answer(q, b)
}

// name is the name of the batch of lines and metadata.
func name(sum string, metadata map[string]string) string {
	text, err := json.Marshal([]any{sum, metadata}) // the keys in order
	if err != nil {                                 // texts always encode
		panic(err)
	}
	return fmt.Sprintf("openai-%x", sha256.Sum256(text))
}

// Fields of a creation.
const (
	inputField    = "input_file_id"
	endpointField = "endpoint"
	windowField   = "completion_window"
	metadataField = "metadata"
	expiryField   = "output_expires_after"
)

// parse reads the fields of a creation.
func parse(fields map[string]json.RawMessage) (c creation, err error) {
	var endpoint, time string
	for _, f := range []struct {
		name string
		into *string
	}{{inputField, &c.input}, {endpointField, &endpoint}, {windowField, &time}} {
		text, ok := fields[f.name]
		if !ok {
			return c, missing(f.name)
		}
		if json.Unmarshal(text, f.into) != nil || *f.into == "" {
			return c, invalid(f.name, codeValue, "must be a text")
		}
	}

	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text := fields[name]
		switch name {
		case inputField, endpointField, windowField:
		case metadataField:
			c.metadata, err = parseMetadata(text)
		case expiryField:
			err = parseExpiry(text)
		default:
			err = unknown(name, inputField, endpointField, windowField, metadataField, expiryField)
		}
		if err != nil {
			return c, err
		}
	}

	switch {
	case endpoint != batch.Endpoint:
		return c, invalid(endpointField, codeValue, "must be "+batch.Endpoint+": the agent answers messages")
	case time != window:
		return c, invalid(windowField, codeValue, "must be "+window)
	}
	return c, nil
}

// parseMetadata reads metadata within OpenAI's limits. null and {} are none.
func parseMetadata(text json.RawMessage) (m map[string]string, err error) {
	if json.Unmarshal(text, &m) != nil {
		return nil, invalid(metadataField, codeValue, "must be an object whose values are texts")
	}
	if len(m) > maxMetadata {
		return nil, invalid(metadataField, codeValue, fmt.Sprintf("has more than %d keys", maxMetadata))
	}
	for k, v := range m {
		if k == "" || utf8.RuneCountInString(k) > maxKey || utf8.RuneCountInString(v) > maxValue {
			return nil, invalid(metadataField, codeValue, fmt.Sprintf("must have keys of 1 to %d characters, and values of at most %d", maxKey, maxValue))
		}
	}
	if len(m) == 0 {
		return nil, nil
	}
	return m, nil
}

func parseExpiry(text json.RawMessage) error {
	var v *struct {
		Anchor  string `json:"anchor"`
		Seconds int    `json:"seconds"`
	}
	if json.Unmarshal(text, &v) != nil {
		return invalid(expiryField, codeValue, `must be an object such as {"anchor": "created_at", "seconds": 86400}`)
	}
	if v == nil {
		return nil
	}
	return checkExpiry(expiryField, v.Anchor, v.Seconds)
}

// named is the id in the request's path. Its line in the audit log names it only if it has the
// form of one, because a caller may write anything there.
func named(q *api.Call) (string, error) {
	id := q.PathValue("batch")
	if task.IsBatch(id) {
		audit.Of(q.Context()).Task(id)
	}
	_, err := q.Query()
	return id, err
}

func (a *API) getBatch(q *api.Call) error {
	id, err := named(q)
	if err != nil {
		return err
	}
	b, err := a.cfg.Batches.Find(q.Context(), q.Caller.Owner, id)
	if err != nil {
		return noBatch(err)
	}
	return a.answer(q, b)
}

// noBatch is err, or says that there is no batch. One that its owner has deleted is none.
func noBatch(err error) error {
	if errors.Is(err, task.ErrNotFound) {
		return errNoBatch
	}
	return err
}

// cancel cancels a batch. One that has ended otherwise cannot be.
func (a *API) cancel(q *api.Call) error {
	id, err := named(q)
	if err != nil {
		return err
	}
	if err := q.Read(&struct{}{}, maxBody, "OpenAI's interface"); err != nil {
		return err
	}
	b, err := a.cfg.Batches.Cancel(q.Context(), q.Caller.Owner, id)
	if err != nil {
		return noBatch(err)
	}
	if s := status(b); s != cancelling && s != cancelled {
		return conflict("", "the batch cannot be cancelled: its status is "+s)
	}
	return a.answer(q, b)
}

// answer answers with a batch.
func (a *API) answer(q *api.Call, b batchdesk.Batch) error {
	v, err := a.view(q.Context(), b)
	if err != nil {
		return err
	}
	return q.JSON(http.StatusOK, v)
}

// listBatches lists the caller's batches, newest first.
func (a *API) listBatches(q *api.Call) error {
	query, err := q.Query("limit", "after")
	if err != nil {
		return err
	}
	limit, err := api.Number(query, "limit", pageSize, maxPage)
	if err != nil {
		return err
	}
	key, err := a.keyOf(q.Context(), q.Caller.Owner, query.Get("after"))
	if err != nil {
		return err
	}

	var data []batchView
	for more := true; more && len(data) == 0; { // a page of deleted ones may be empty
		var page []batchdesk.Batch
		if page, key, err = a.cfg.Batches.List(q.Context(), q.Caller.Owner, key, limit); err != nil {
			return err
		}
		for _, b := range page {
			v, err := a.view(q.Context(), b)
			if err != nil {
				return err
			}
			data = append(data, v)
		}
		more = key != ""
	}
	return q.JSON(http.StatusOK, newList(data, func(v batchView) string { return v.ID }, key != ""))
}

// keyOf returns the place of a batch in the list of its owner.
func (a *API) keyOf(ctx context.Context, owner, id string) (key string, err error) {
	if id == "" {
		return "", nil
	}
	b, err := a.cfg.Batches.Find(ctx, owner, id)
	if errors.Is(err, task.ErrNotFound) {
		err = invalid("after", codeValue, "is no batch of yours: begin again without it")
	}
	return b.Spec.Entry(owner).Key(owner), err
}
