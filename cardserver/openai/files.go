package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"errand/cardserver/api"
	"errand/shared/audit"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/task"
	"errand/shared/uploads"
)

// linesType is the media type of an uploaded file, whatever its sender calls it, and contentType
// that of every content in an answer.
const (
	linesType   = "application/jsonl"
	contentType = "application/octet-stream"
)

// upload stores a file. The form is never held.
func (a *API) upload(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	if q.ContentLength > batch.MaxManifest+formRoom {
		return &api.Problem{Status: http.StatusRequestEntityTooLarge, Field: fileField, Detail: fmt.Sprintf("a file has %d bytes at most: split it", int64(batch.MaxManifest))}
	}
	leave, err := a.cfg.Enter(q.Caller.Owner)
	if err != nil {
		return err
	}
	defer leave()

	var f uploads.File
	err = q.Receive(batch.MaxManifest, func(ctx context.Context, body io.Reader) error {
		form, err := newForm(q.Header, body)
		if err != nil {
			return err
		}
		f, err = a.cfg.Uploads.Create(ctx, q.Caller.Owner, uploads.Upload{Name: form.name, Purpose: uploads.Batch, MediaType: linesType}, form)
		return err
	})
	if err != nil {
		return err
	}
	return q.JSON(http.StatusOK, uploaded(f, a.cfg.Now()))
}

// A fileView is a file as OpenAI's clients read it.
type fileView struct {
	ID       string  `json:"id"`
	Object   string  `json:"object"` // file
	Bytes    int64   `json:"bytes"`
	Created  int64   `json:"created_at"`
	Expires  *int64  `json:"expires_at"` // null: not before the batch that reads it
	Filename string  `json:"filename"`
	Purpose  string  `json:"purpose"`
	Status   string  `json:"status"` // processed
	Details  *string `json:"status_details"`
}

// purposes of files that are no batch's input.
const (
	outputPurpose = "batch_output"
	otherPurpose  = "user_data" // of a file that came by another door without one
)

// uploaded shows a file of the owner's.
func uploaded(f uploads.File, now time.Time) fileView {
	v := fileView{ID: f.ID, Object: "file", Bytes: f.Size, Created: f.Created.Unix(), Filename: f.Name, Purpose: f.Purpose, Status: "processed"}
	if v.Purpose == "" {
		v.Purpose = otherPurpose
	}
	if at := f.Created.Add(uploads.Day); at.After(now) {
		v.Expires = unix(at)
	}
	return v
}

func unix(at time.Time) *int64 {
	if at.IsZero() {
		return nil
	}
	n := at.Unix()
	return &n
}

// A kind is one of the two files of a batch.
type kind struct {
	mark   string // in its id and its name
	lines  func(batchdesk.Batch) int
	output func(*batchdesk.Desk, context.Context, batchdesk.Batch) (*batchdesk.Output, error)
}

// The files of a batch, in the order of lists.
var (
	output = kind{"output", func(b batchdesk.Batch) int { return b.State.Counts.Completed }, (*batchdesk.Desk).Results}
	failed = kind{"error", batchdesk.Batch.Failed, (*batchdesk.Desk).Errors}
	kinds  = []kind{output, failed}
)

const filePrefix = "file-"

// id is the id of a file of a batch. It tells the batch.
func (k kind) id(batch string) string { return filePrefix + batch + "-" + k.mark }

// kindOf returns the batch and the kind of a file, if the id is that of a file of a batch.
func kindOf(id string) (batch string, k kind, ok bool) {
	for _, k := range kinds {
		of := strings.TrimSuffix(strings.TrimPrefix(id, filePrefix), "-"+k.mark)
		if task.IsBatch(of) && k.id(of) == id {
			return of, k, true
		}
	}
	return "", kind{}, false
}

// of returns the id of a batch's file, if the batch has one, or had one that was deleted.
func (k kind) of(b batchdesk.Batch) *string {
	if !b.Complete() || k.lines(b) == 0 {
		return nil
	}
	id := k.id(b.ID())
	return &id
}

// find finds a file of a batch. Errors: uploads.ErrNotFound, and those of the desk of batches.
func (a *API) find(ctx context.Context, owner, id string, k kind) (batchdesk.Batch, *batchdesk.Output, error) {
	b, err := a.cfg.Batches.Find(ctx, owner, id)
	if errors.Is(err, task.ErrNotFound) || err == nil && k.of(b) == nil {
		return b, nil, uploads.ErrNotFound
	}
	if err != nil {
		return b, nil, err
	}
	o, err := k.output(a.cfg.Batches, ctx, b)
	if errors.Is(err, batchdesk.ErrDropped) {
		err = uploads.ErrNotFound
	}
	return b, o, err
}

// view shows a file of a batch.
func (k kind) view(b batchdesk.Batch, o *batchdesk.Output) fileView {
	return fileView{
		ID: k.id(b.ID()), Object: "file", Bytes: o.Size, Created: b.Record.Stamp().Unix(), Expires: unix(b.Record.Expires),
		Filename: b.ID() + "_" + k.mark + ".jsonl", Purpose: outputPurpose, Status: "processed",
	}
}

// file is the id of the request's path. Its line in the audit log names the batch if it is a file
// of one.
func file(q *api.Call) (id, batch string, k kind, err error) {
	id = q.PathValue("file")
	if of, kind, ok := kindOf(id); ok {
		batch, k = of, kind
		audit.Of(q.Context()).Task(batch)
	}
	_, err = q.Query()
	return id, batch, k, err
}

func (a *API) getFile(q *api.Call) error {
	id, of, k, err := file(q)
	if err != nil {
		return err
	}
	if of == "" {
		f, err := a.cfg.Uploads.Find(q.Context(), q.Caller.Owner, id)
		if err != nil {
			return err
		}
		return q.JSON(http.StatusOK, uploaded(f, a.cfg.Now()))
	}
	b, o, err := a.find(q.Context(), q.Caller.Owner, of, k)
	if err != nil {
		return err
	}
	return q.JSON(http.StatusOK, k.view(b, o))
}

// copySize is how many bytes of a file are on their way to a client.
const copySize = 32 << 10

// content streams a file.
func (a *API) content(q *api.Call) error {
	id, of, k, err := file(q)
	if err != nil {
		return err
	}
	leave, err := a.cfg.Enter(q.Caller.Owner)
	if err != nil {
		return err
	}
	defer leave()

	if of != "" {
		_, o, err := a.find(q.Context(), q.Caller.Owner, of, k)
		if err != nil {
			return err
		}
		q.Send(contentType, o.Size, o.Copy)
		return nil
	}

	f, in, err := a.cfg.Uploads.Open(q.Context(), q.Caller.Owner, id, 0, -1)
	if err != nil {
		return err
	}
	defer in.Close()
	q.Send(contentType, f.Size, func(_ context.Context, w io.Writer) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{in}, make([]byte, copySize))
		return err
	})
	return nil
}

// A deleted is the answer to a deletion.
type deleted struct {
	ID      string `json:"id"`
	Object  string `json:"object"` // file
	Deleted bool   `json:"deleted"`
}

// deleteFile deletes a file. A batch that has not ended needs its input to the end.
func (a *API) deleteFile(q *api.Call) error {
	id, of, k, err := file(q)
	if err != nil {
		return err
	}
	if of != "" {
		_, o, err := a.find(q.Context(), q.Caller.Owner, of, k)
		if err == nil {
			err = o.Delete(q.Context())
		}
		if err != nil {
			return err
		}
		return q.JSON(http.StatusOK, deleted{id, "file", true})
	}

	if err := a.cfg.Batches.DeleteFile(q.Context(), q.Caller.Owner, id); err != nil {
		return err
	}
	return q.JSON(http.StatusOK, deleted{id, "file", true})
}

// Limits of the list of files. A page has all uploaded files of an owner, and some of batches,
// each of which costs a look at the files.
const (
	maxFiles   = 10_000
	maxOutputs = 50
)

// listFiles lists the caller's files.
func (a *API) listFiles(q *api.Call) error {
	query, err := q.Query("purpose", "limit", "order", "after")
	if err != nil {
		return err
	}
	limit, err := api.Number(query, "limit", maxFiles, maxFiles)
	if err != nil {
		return err
	}
	if o := query.Get("order"); o != "" && o != "desc" {
		return invalid("order", codeValue, "must be desc: the newest files come first")
	}

	var data []fileView
	outputs, more := 0, false
	for f, err := range a.files(q.Context(), q.Caller.Owner, query.Get("purpose"), query.Get("after")) {
		if err != nil {
			return err
		}
		if more = len(data) == limit || outputs == maxOutputs; more {
			break
		}
		if data = append(data, f); f.Purpose == outputPurpose {
			outputs++
		}
	}
	return q.JSON(http.StatusOK, newList(data, func(f fileView) string { return f.ID }, more))
}

// files yields the files of an owner behind the one with the id after: first the uploaded ones,
// then those of batches. An error is the last thing that it yields.
func (a *API) files(ctx context.Context, owner, purpose, after string) iter.Seq2[fileView, error] {
	return func(yield func(fileView, error) bool) {
		of, _, outputs := kindOf(after)
		if !outputs && purpose != outputPurpose {
			all, err := a.uploads(ctx, owner)
			if err == nil && after != "" {
				all, err = behind(all, after)
			}
			if err != nil {
				yield(fileView{}, err)
				return
			}
			for _, f := range all {
				if (purpose == "" || purpose == f.Purpose) && !yield(f, nil) {
					return
				}
			}
		}

		if purpose != "" && purpose != outputPurpose {
			return
		}
		if !outputs {
			after = ""
		}
		a.outputs(ctx, owner, of, after, yield)
	}
}

// uploads returns the uploaded files, newest first.
func (a *API) uploads(ctx context.Context, owner string) (all []fileView, err error) {
	now, last := a.cfg.Now(), ""
	for {
		page, err := a.cfg.Uploads.List(ctx, owner, last, uploads.MaxList)
		if err != nil {
			return nil, err
		}
		for _, f := range page {
			all = append(all, uploaded(f, now))
			last = f.ID
		}
		if len(page) < uploads.MaxList {
			break
		}
	}
	slices.SortStableFunc(all, func(a, b fileView) int { return cmp.Compare(b.Created, a.Created) })
	return all, nil
}

// behind returns what is behind the file with an id.
func behind(all []fileView, id string) ([]fileView, error) {
	for i, f := range all {
		if f.ID == id {
			return all[i+1:], nil
		}
	}
	return nil, invalid("after", codeValue, "is no file of this list, or is deleted: begin again without it")
}

// outputs yields the files of batches behind one of the batch of, or all of them if after is
// empty.
func (a *API) outputs(ctx context.Context, owner, of, after string, yield func(fileView, error) bool) {
	key := ""
	if after != "" {
		b, err := a.cfg.Batches.Find(ctx, owner, of)
		if errors.Is(err, task.ErrNotFound) {
			err = invalid("after", codeValue, "is no file of this list, or is deleted: begin again without it")
		}
		if err != nil {
			yield(fileView{}, err)
			return
		}
		key = b.Spec.Entry(owner).Key(owner)
		if after == output.id(of) && !a.yieldFile(ctx, owner, b, failed, yield) {
			return
		}
	}

	for {
		page, more, err := a.cfg.Batches.List(ctx, owner, key, pageSize)
		if err != nil {
			yield(fileView{}, err)
			return
		}
		for _, b := range page {
			for _, k := range kinds {
				if !a.yieldFile(ctx, owner, b, k, yield) {
					return
				}
			}
		}
		if key = more; key == "" {
			return
		}
	}
}

// yieldFile yields a file of a batch, if there is one. It reports whether to go on.
func (a *API) yieldFile(ctx context.Context, owner string, b batchdesk.Batch, k kind, yield func(fileView, error) bool) bool {
	if k.of(b) == nil {
		return true
	}
	o, err := k.output(a.cfg.Batches, ctx, b)
	switch {
	case errors.Is(err, batchdesk.ErrDropped):
		return true
	case err != nil:
		yield(fileView{}, err)
		return false
	}
	return yield(k.view(b, o), nil)
}
