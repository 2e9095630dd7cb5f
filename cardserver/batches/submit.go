package batches

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"errand/cardserver/api"
	"errand/cardserver/fault"
	"errand/shared/audit"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/uploads"
)

// maxBody is the largest body that is not a manifest.
const maxBody = 64 << 10

// submit makes a batch of the manifest in the body, or of the one that a JSON body names.
func (a *API) submit(q *api.Call) error {
	if isJSON(q.Header) {
		return a.submitNamed(q)
	}
	return a.submitBody(q)
}

// isJSON reports whether a body is a submission in JSON, and not a manifest.
func isJSON(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// A submission is the JSON body of one.
type submission struct {
	Input     string        `json:"input"`
	Name      string        `json:"name"`
	Deadline  string        `json:"deadline"`
	OnBadLine string        `json:"onBadLine"`
	Budget    *batch.Budget `json:"budget"`
}

// submitNamed submits a manifest that is somewhere already.
func (a *API) submitNamed(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	var in submission
	if err := q.Read(&in, maxBody, DescriptionPath); err != nil {
		return err
	}

	if in.Input == "" {
		return api.Invalid("input", "is required: the id of a file of yours, or gs://BUCKET/NAME; a manifest itself is sent with another Content-Type, such as application/jsonl")
	}
	sub := batchdesk.Submission{Name: in.Name, Input: in.Input, OnBad: in.OnBadLine, Budget: in.Budget}
	var err error
	if sub.Deadline, err = a.deadline(in.Deadline); err != nil {
		return err
	}
	b, made, err := a.cfg.Batches.Again(q.Context(), q.Caller.Owner, sub)
	if err != nil {
		return err
	}
	return a.answer(q, b, made)
}

// submitBody stores the manifest in the body as a file of the caller, and submits it. The body
// is never held.
func (a *API) submitBody(q *api.Call) error {
	query, err := q.Query("name", "deadline", "onBadLine", "budget")
	if err != nil {
		return err
	}
	sub, err := a.inQuery(query)
	if err != nil {
		return err
	}
	if err := a.cfg.Batches.Check(sub); err != nil { // before 2 GB are read
		return err
	}
	if e := q.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return &api.Problem{Status: http.StatusUnsupportedMediaType, Field: "Content-Encoding", Detail: "Content-Encoding is not supported: send the manifest as it is"}
	}
	if q.ContentLength == 0 {
		return api.Invalid("body", "is empty: a manifest has a line at least")
	}

	f, err := a.receive(q)
	if err != nil {
		return err
	}
	sub.Input = f.ID
	b, made, err := a.cfg.Batches.Again(q.Context(), q.Caller.Owner, sub)
	if needless := err == nil && b.Spec.Input.File != f.ID; needless || refused(err) {
		a.forget(q, f.ID)
	}
	if err != nil {
		return err
	}
	return a.answer(q, b, made)
}

// refused reports whether a submission has made nothing for sure.
func refused(err error) bool {
	known := fault.Of(err)
	p, ours := errors.AsType[*api.Problem](known)
	return known != nil && (!ours || p.Status < http.StatusInternalServerError)
}

// receive stores the body as a file.
func (a *API) receive(q *api.Call) (f uploads.File, err error) {
	u := uploads.Upload{Purpose: uploads.Batch, MediaType: q.Header.Get("Content-Type"), Size: max(q.ContentLength, 0)}
	err = q.Receive(batch.MaxManifest, func(ctx context.Context, body io.Reader) (err error) {
		f, err = a.cfg.Uploads.Create(ctx, q.Caller.Owner, u, body)
		return err
	})
	return f, err
}

// inQuery reads the parameters of a submission whose body is the manifest.
func (a *API) inQuery(query url.Values) (sub batchdesk.Submission, err error) {
	sub = batchdesk.Submission{Name: query.Get("name"), OnBad: query.Get("onBadLine")}
	if sub.Deadline, err = a.deadline(query.Get("deadline")); err != nil {
		return sub, err
	}
	if text := query.Get("budget"); text != "" {
		if sub.Budget, err = batch.ParseBudget(text); err != nil {
			return sub, api.Invalid("budget", err.Error())
		}
	}
	return sub, nil
}

// deadline reads a time, or how long from now.
func (a *API) deadline(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return a.cfg.Now().Add(d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, api.Invalid("deadline", "must be a time such as 2026-11-30T06:00:00Z, or a duration such as 6h")
	}
	return at.UTC(), nil
}

// answer answers with a batch: 202 if it is new, 200 if the same request came before.
func (a *API) answer(q *api.Call, b batchdesk.Batch, made bool) error {
	audit.Of(q.Context()).Task(b.ID())
	q.W.Header().Set("Location", Path+"/"+b.ID())
	status := http.StatusOK
	if made {
		status = http.StatusAccepted
	}
	return q.JSON(status, a.view(a.await(q, b)))
}

// waitFor is how long the answer to a submission waits for the check of the manifest.
const waitFor = 3 * time.Second

// await gives a batch the time to check its manifest, so that the first answer has the number of
// lines and the estimate. A caller who may not have another wait is answered at once.
func (a *API) await(q *api.Call, b batchdesk.Batch) batchdesk.Batch {
	if b.Checked() {
		return b
	}
	leave, err := a.cfg.Enter(q.Caller.Owner)
	if err != nil {
		return b
	}
	defer leave()
	ctx, cancel := context.WithTimeout(q.Context(), a.cfg.Wait)
	defer cancel()
	return a.cfg.Batches.Await(ctx, b)
}

// forgetFor bounds the removal of a manifest that no batch needs.
const forgetFor = 10 * time.Second

// forget deletes a file that was received for nothing. If that fails it goes by itself after a day.
func (a *API) forget(q *api.Call, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.Context()), forgetFor)
	defer cancel()
	if err := a.cfg.Uploads.Delete(ctx, q.Caller.Owner, id); err != nil {
		a.cfg.Log.InfoContext(ctx, "a manifest that no batch needs stays for a day", "err", err)
	}
}
