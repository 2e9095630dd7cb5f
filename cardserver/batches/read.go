package batches

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"errand/cardserver/api"
	"errand/shared/batch"
	"errand/shared/batchdesk"
)

// Sizes of a page of the list, in batches.
const (
	pageSize = 20
	maxPage  = 100
)

// list lists the caller's batches, newest first.
func (a *API) list(q *api.Call) error {
	query, err := q.Query("pageSize", "pageToken")
	if err != nil {
		return err
	}
	limit, err := api.Number(query, "pageSize", pageSize, maxPage)
	if err != nil {
		return err
	}
	after, err := parseToken(q.Caller.Owner, query.Get("pageToken"))
	if err != nil {
		return err
	}

	page, more, err := a.cfg.Batches.List(q.Context(), q.Caller.Owner, after, limit)
	if err != nil {
		return err
	}
	out := listView{Batches: []view{}, Next: token(q.Caller.Owner, more)}
	for _, b := range page {
		out.Batches = append(out.Batches, a.view(b))
	}
	return q.JSON(http.StatusOK, out)
}

// token is the token of the page that begins behind a key. It needs no signature: the list is
// the caller's, so a made-up token shows it nothing but batches of its own.
func token(owner, key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.TrimPrefix(key, batch.ListFolder(owner))))
}

func parseToken(owner, text string) (key string, err error) {
	if text == "" {
		return "", nil
	}
	at, err := base64.RawURLEncoding.DecodeString(text)
	key = batch.ListFolder(owner) + string(at)
	if _, ok := batch.EntryOf(owner, key); err != nil || !ok {
		return "", api.Invalid("pageToken", "is not the nextPageToken of this list; begin again without it")
	}
	return key, nil
}

// get shows a batch.
func (a *API) get(q *api.Call) error {
	b, err := a.find(q)
	if err != nil {
		return err
	}
	return q.JSON(http.StatusOK, a.view(b))
}

// find reads the batch that a request without parameters is about.
func (a *API) find(q *api.Call) (batchdesk.Batch, error) {
	id := named(q)
	if _, err := q.Query(); err != nil {
		return batchdesk.Batch{}, err
	}
	return a.cfg.Batches.Find(q.Context(), q.Caller.Owner, id)
}

func (a *API) results(q *api.Call) error { return a.output(q, a.cfg.Batches.Results) }
func (a *API) errors(q *api.Call) error  { return a.output(q, a.cfg.Batches.Errors) }

// Headers of results and errors.
const (
	completeHeader = "Errand-Complete" // whether they are all: true or false
	linesHeader    = "Errand-Lines"    // they belong to so many first lines of the manifest
)

// LinesType is the media type of results and errors.
const LinesType = "application/jsonl"

// output streams the results or errors as far as they are known, in the order of lines. An
// answer that breaks off has no end that a client could take for one.
func (a *API) output(q *api.Call, of func(context.Context, batchdesk.Batch) (*batchdesk.Output, error)) error {
	b, err := a.find(q)
	if err != nil {
		return err
	}
	o, err := of(q.Context(), b)
	if err != nil {
		return err
	}

	leave, err := a.cfg.Enter(q.Caller.Owner)
	if err != nil {
		return err
	}
	defer leave()
	q.W.Header().Set(completeHeader, strconv.FormatBool(o.Complete))
	q.W.Header().Set(linesHeader, strconv.Itoa(o.Lines))
	q.Send(LinesType, o.Size, o.Copy)
	return nil
}
