// Package batches is the door to batches: submit one, see how far it is, read its results,
// pause it, resume it, run its failed lines again. It is our own HTTP+JSON beside A2A. A batch is a task
// too, and A2A's operations cancel, stream and watch it.
//
// It runs nothing, and decides nothing about batches: package batchdesk does what callers ask.
// Callers see their own batches only, and a foreign one does not exist.
package batches

import (
	_ "embed"
	"log/slog"
	"time"

	"errand/cardserver/api"
	"errand/cardserver/fault"
	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/batchdesk"
	"errand/shared/task"
	"errand/shared/uploads"
)

// Config is what the API needs. All fields but Wait and Enter are required.
type Config struct {
	Batches *batchdesk.Desk
	Uploads *uploads.Store // takes the manifests that come as bodies
	Access  *auth.Access   // who may call
	Now     func() time.Time
	Log     *slog.Logger

	Wait time.Duration // longest wait of a submission for the check of its manifest; 0: 3 s

	// Enter takes a place for a long answer or a wait of the caller, which leave gives back. The
	// error is a refusal. Default: there is always one.
	Enter func(owner string) (leave func(), err error)
}

// An API is the handler of all operations. It is safe for concurrent use.
type API struct {
	*api.Handler
	cfg Config
}

//go:embed openapi.yaml
var description []byte

// Path is where the API is, and DescriptionPath where its description is.
const (
	Path            = "/batches"
	DescriptionPath = Path + "/openapi.yaml"
)

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
	cfg.Enter = api.OrAlways(cfg.Enter)
	if cfg.Wait == 0 {
		cfg.Wait = waitFor
	}
	a := &API{cfg: cfg}
	a.Handler = api.New(api.Config{
		Operations: a.operations(), Access: cfg.Access, Describe: fault.Of, Log: cfg.Log,
		Description: description, DescribedAt: DescriptionPath,
	})
	return a
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
