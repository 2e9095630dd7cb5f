// Package batches is the door to batches: submit one, see how far it is, read its results,
// pause it, resume it, run its failed lines again. It is our own HTTP+JSON beside A2A. A batch is a task
// too, and A2A's operations cancel, stream and watch it.
//
// It runs nothing, and decides nothing about batches: package clerk does what callers ask.
// Callers see their own batches only, and a foreign one does not exist.
package batches

import (
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"errand/cardserver/api"
	"errand/cardserver/audit"
	"errand/shared/auth"
	"errand/shared/batch"
	"errand/shared/clerk"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/task"
	"errand/shared/uploads"
)

// Config is what the API needs. All fields but Enter are required.
type Config struct {
	Clerk   *clerk.Clerk
	Uploads *uploads.Store // takes the manifests that come as bodies
	Access  *auth.Access   // who may call
	Now     func() time.Time
	Log     *slog.Logger

	// Enter takes a place for a long answer of the caller, which leave gives back. The error is
	// a refusal. Default: there is always one.
	Enter func(owner string) (leave func(), err error)
}

// An API is the handler of all operations. It is safe for concurrent use.
type API struct {
	cfg Config
	mux http.Handler
}

//go:embed openapi.yaml
var description []byte

// Path is where the API is, and DescriptionPath where its description is.
const (
	Path            = "/batches"
	DescriptionPath = Path + "/openapi.yaml"
)

// Serves reports whether a path belongs to the API.
func Serves(path string) bool { return path == Path || strings.HasPrefix(path, Path+"/") }

// operations are all rows, by method and path. The description names the same.
func (a *API) operations() map[string]api.Operation {
	return map[string]api.Operation{
		"POST /batches":                {Right: auth.Send, Changes: true, Serve: a.submit},
		"GET /batches":                 {Right: auth.Read, Serve: a.list},
		"GET /batches/{batch}":         {Right: auth.Read, Serve: a.get},
		"GET /batches/{batch}/results": {Right: auth.Read, Serve: a.results},
		"GET /batches/{batch}/errors":  {Right: auth.Read, Serve: a.errors},
		"POST /batches/{batch}:pause":  {Right: auth.Send, Changes: true, Serve: a.pause},
		"POST /batches/{batch}:resume": {Right: auth.Send, Changes: true, Serve: a.resume},
		"POST /batches/{batch}:retry":  {Right: auth.Send, Changes: true, Serve: a.retry},
	}
}

// New makes the API.
func New(cfg Config) *API {
	if cfg.Enter == nil {
		cfg.Enter = func(string) (func(), error) { return func() {}, nil }
	}
	a := &API{cfg: cfg}
	a.mux = api.New(api.Config{
		Operations: a.operations(), Access: cfg.Access, Describe: Describe, Log: cfg.Log,
		Nothing: "there is nothing here; " + DescriptionPath + " says what there is",
	})
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == DescriptionPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(description) // if it fails the client is gone
		return
	}
	a.mux.ServeHTTP(w, r)
}

// named is the id in the request's path. Its line in the audit log names it only if it has
// the form of one, because a caller may write anything there.
func named(q *api.Call) string {
	id := q.PathValue("batch")
	if task.IsBatch(id) {
		audit.Of(q.Context()).Task(id)
	}
	return id
}

// Describe returns the problem that an error of the clerk or of uploads is; nil for others.
func Describe(err error) *api.Problem {
	if f, ok := errors.AsType[*clerk.FieldError](err); ok {
		return &api.Problem{Status: http.StatusBadRequest, Detail: f.Error(), Field: f.Field}
	}
	if m, ok := errors.AsType[*desk.Mismatch](err); ok {
		return &api.Problem{Status: http.StatusConflict, Field: m.Field, Detail: "a batch of this name was submitted with another " + m.Field + ": give this one another name"}
	}
	if f, ok := errors.AsType[*uploads.FullError](err); ok {
		return &api.Problem{Status: http.StatusTooManyRequests, Detail: f.Error(), Field: "body", After: time.Minute}
	}

	problem := func(status int, detail string) *api.Problem { return &api.Problem{Status: status, Detail: detail} }
	switch {
	case errors.Is(err, task.ErrDeleted):
		return problem(http.StatusConflict, "a batch of this name was deleted by its owner: give this one another name")
	case errors.Is(err, task.ErrNotFound):
		return problem(http.StatusNotFound, "there is no such batch")
	case errors.Is(err, clerk.ErrInput):
		return &api.Problem{Status: http.StatusBadRequest, Field: "input", Detail: "input names no file or object that you may read"}
	case errors.Is(err, clerk.ErrActive):
		return &api.Problem{
			Status: http.StatusTooManyRequests, After: time.Minute,
			Detail: fmt.Sprintf("%d of your batches have not ended, and no more may (limit batches): wait for one of them, or cancel one", batch.MaxActive),
		}
	case errors.Is(err, clerk.ErrEnded):
		return problem(http.StatusConflict, "the batch has ended")
	case errors.Is(err, clerk.ErrRunning):
		return problem(http.StatusConflict, "the batch has not ended, or its files are still being written: wait for its state, and for complete")
	case errors.Is(err, clerk.ErrNothing):
		return problem(http.StatusConflict, "no line of the batch failed that could run again; a manifest that was refused is submitted again when it is corrected")
	case errors.Is(err, task.ErrInbox):
		return problem(http.StatusConflict, "too many messages wait for this batch: wait for it to take them")
	case errors.Is(err, task.ErrTooLarge):
		return problem(http.StatusBadRequest, "the submission is too large: shorten its name and metadata")
	case errors.Is(err, uploads.ErrFiles):
		return problem(http.StatusTooManyRequests, uploads.ErrFiles.Error())
	case errors.Is(err, files.ErrTooLarge):
		return &api.Problem{Status: http.StatusRequestEntityTooLarge, Field: "body", Detail: fmt.Sprintf("a manifest has %d bytes at most: split it", int64(batch.MaxManifest))}
	case errors.Is(err, files.ErrMediaType):
		return &api.Problem{Status: http.StatusUnsupportedMediaType, Field: "Content-Type", Detail: "Content-Type is not a media type: use application/jsonl"}
	case errors.Is(err, task.ErrFull):
		return &api.Problem{Status: http.StatusServiceUnavailable, Detail: "there is no room on the disk; try again later", After: time.Minute}
	case errors.Is(err, clerk.ErrLate):
		return &api.Problem{Status: http.StatusServiceUnavailable, Detail: "the submission took too long; try again", After: time.Second}
	}
	return nil
}
