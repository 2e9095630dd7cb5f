// Package push shows callers the deliveries of their webhooks and repeats them: dead
// letters, re-drives, pings, and the secrets by which receivers check signatures. It also
// deletes tasks, shows their traces, and takes the requests that wake waiting calls. It is our
// own HTTP+JSON beside A2A, which ends at the registration of a webhook, deletes nothing and
// knows no steps.
//
// It delivers nothing: it writes re-drives and pings into the record. Callers see the
// webhooks of their own tasks only, and a foreign task does not exist. An operator, who is
// named in the access file, sees all webhooks.
package push

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"errand/cardserver/api"
	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/desk"
	"errand/shared/keys"
	"errand/shared/kv"
	"errand/shared/steps"
	"errand/shared/task"
	"errand/shared/uploads"
	"errand/shared/webhook"
)

// Config is what the API needs. All fields but Files and Withhold are required.
type Config struct {
	Desk     *desk.Desk
	Store    Store    // the desk's, to read
	KV       kv.Store // of the same database, with the steps of the tasks
	Files    Files    // files that tasks name; nil: there are none
	Keys     *keys.Keyring
	Access   *auth.Access              // who may call
	CheckURL func(rawURL string) error // whether a webhook may be sent there; the error is for the client
	Log      *slog.Logger

	// NoWebhooks refuses a rerun that takes over webhooks, because the agent takes none.
	NoWebhooks bool

	// Withhold makes the record of the item of a batch that has none yet, so that it can be
	// deleted. task.ErrNotFound: there is no such item. nil: there are no batches.
	Withhold func(ctx context.Context, owner, id string) error
}

// Files are the files of owners: an *uploads.Store, of which the API needs these methods. Keep
// keeps a file for a task that is about to be made. Release deletes the files that only a task
// names which its owner has deleted, and is called again if the deletion is repeated.
type Files interface {
	Keep(ctx context.Context, owner, id, task string, until time.Time) (uploads.File, error)
	Release(ctx context.Context, task string) error
}

// A Store is the part of the store that the API reads.
type Store interface {
	task.Store
	task.DeadLetters
}

// An API is the handler of all operations. Safe for concurrent use.
type API struct {
	cfg  Config
	rows *api.Handler
}

//go:embed openapi.yaml
var description []byte

// operations are all rows, by method and path. The description names the same.
func (a *API) operations() map[string]api.Operation {
	return map[string]api.Operation{
		"GET /push/dead-letters":                       {Right: auth.Push, Serve: a.deadLetters},
		"GET /push/tasks/{task}/hooks":                 {Right: auth.Push, Serve: a.hooks},
		"GET /push/tasks/{task}/hooks/{hook}":          {Right: auth.Push, Serve: a.hook},
		"POST /push/tasks/{task}/hooks/{hook}/redrive": {Right: auth.Push, Changes: true, Serve: a.redrive},
		"POST /push/tasks/{task}/hooks/{hook}/ping":    {Right: auth.Push, Changes: true, Serve: a.ping},
		"POST /push/redrive":                           {Right: auth.Push, Changes: true, Serve: a.redriveAll},
		"GET /push/keys":                               {Right: auth.Push, Serve: a.keys},
		"DELETE /tasks/{task}":                         {Right: auth.Cancel, Changes: true, Serve: a.delete},
		"POST /tasks/{task}:rerun":                     {Right: auth.Send, Changes: true, Serve: a.rerun},
		"GET /tasks/{task}/trace":                      {Right: auth.Read, Serve: a.trace},
	}
}

// New makes the API. Its paths begin with /push/, but for those of whole tasks and the URLs
// that wake calls.
func New(cfg Config) *API {
	a := &API{cfg: cfg}
	a.rows = api.New(api.Config{
		Operations: a.operations(), Access: cfg.Access, Describe: describe, Log: cfg.Log,
		Description: description, DescribedAt: descriptionPath,
	})
	return a
}

// descriptionPath is where the description is.
const descriptionPath = "/push/openapi.yaml"

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, keys.WakePath) {
		a.wake(w, r)
		return
	}
	a.rows.ServeHTTP(w, r)
}

// describe says what an error means to a caller.
func describe(err error) error {
	if errors.Is(err, task.ErrNotFound) {
		return &api.Problem{Status: http.StatusNotFound, Detail: "there is no such task, or it has no such webhook"}
	}
	return nil
}

// load reads a task whose webhooks the caller may see.
func (a *API) load(q *api.Call) (r task.Record, err error) {
	if q.Caller.Operator {
		id := named(q)
		r, err = a.cfg.Store.Load(q.Context(), id)
	} else {
		r, err = a.own(q)
	}
	if err == nil {
		audit.Of(q.Context()).Owner(r.Owner)
	}
	return r, err
}

// own reads a task of the caller.
func (a *API) own(q *api.Call) (task.Record, error) {
	return task.Find(q.Context(), a.cfg.Store, q.Caller.Owner, named(q))
}

// named is the id in the request's path. Its line in the audit log names the id only if the
// id has a form that the agent gives, because a caller may write anything there.
func named(q *api.Call) string {
	id := q.PathValue("task")
	if task.IsID(id) {
		audit.Of(q.Context()).Task(id)
	}
	return id
}

// loadWebhook reads a webhook of a task that the caller may see.
func (a *API) loadWebhook(q *api.Call) (task.Record, task.Webhook, error) {
	r, err := a.load(q)
	if err != nil {
		return r, task.Webhook{}, err
	}
	h, ok := r.Webhook(q.PathValue("hook"))
	if !ok {
		err = task.ErrNotFound // as a missing task (P5)
	}
	return r, h, err
}

// owner is the owner whose webhooks a request means: the caller or, for an operator, the
// named owner, or all owners ("*").
func ownerOf(q *api.Call, named string) (owner string, all bool, err error) {
	switch {
	case named == "" || named == q.Caller.Owner:
		return q.Caller.Owner, false, nil
	case !q.Caller.Operator:
		return "", false, api.Invalid("owner", "is for operators: leave it out for your own webhooks")
	case named == everybody:
		audit.Of(q.Context()).Owner(everybody)
		return "", true, nil
	case !utf8.ValidString(named):
		return "", false, api.Invalid("owner", "must be the name of one, or * for everybody's")
	}

	said := "another" // callers of everyone's issuers may have names that are any text
	if auth.IsName(named) {
		said = named
	}
	audit.Of(q.Context()).Owner(said)
	return named, false, nil
}

const everybody = "*"

func (a *API) hooks(q *api.Call) error {
	r, err := a.load(q)
	if err != nil {
		return err
	}
	if _, err := q.Query(); err != nil {
		return err
	}
	out := hooksView{Webhooks: []hookView{}}
	for _, h := range r.Webhooks {
		out.Webhooks = append(out.Webhooks, viewOf(q, r, h))
	}
	return q.JSON(http.StatusOK, out)
}

func (a *API) hook(q *api.Call) error {
	r, h, err := a.loadWebhook(q)
	if err != nil {
		return err
	}
	if _, err := q.Query(); err != nil {
		return err
	}
	return q.JSON(http.StatusOK, viewOf(q, r, h))
}

// delete deletes a task of the caller, an operator included, with all its content and then
// its steps (R16i) and its files. A task that is deleted already is an answer, and no error: they
// are deleted again, because the process may have died between the two. The purge takes steps
// that a run still writes. The answer waits as that of a cancel does (R16b).
func (a *API) delete(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}

	r, err := a.ownOrUnfed(q)
	if err == nil && r.MayRerun() {
		err = a.bring(q.Context(), r.Owner, r.ID())
	}

	var met task.Record
	if err == nil {
		_, err = a.cfg.Desk.Change(q.Context(), r, func(r task.Record, now task.Moment) (task.Record, bool, error) {
			if !r.Deleted {
				met = r
			}
			return r.Delete(now)
		})
	}
	if err != nil && !errors.Is(err, task.ErrDeleted) {
		return err
	}

	if met.Task != nil && met.MayRerun() { // a rerun may have been asked for since
		if err := a.bring(context.WithoutCancel(q.Context()), met.Owner, met.ID()); err != nil {
			return err
		}
	}
	if err := a.clear(context.WithoutCancel(q.Context()), q.PathValue("task")); err != nil {
		return err
	}
	audit.Of(q.Context()).Status(http.StatusNoContent)
	audit.Of(q.Context()).Done() // also if the client goes away while it waits
	if err := a.cfg.Desk.Settle(q.Context(), met); err != nil {
		return nil // there is no client to answer
	}
	return q.Nothing()
}

// ownOrUnfed reads a task of the caller. A line of a batch that has no record gets one.
func (a *API) ownOrUnfed(q *api.Call) (task.Record, error) {
	r, err := a.own(q)
	id := q.PathValue("task")
	if _, _, item := task.ItemOf(id); !item || a.cfg.Withhold == nil || !errors.Is(err, task.ErrNotFound) || errors.Is(err, task.ErrDeleted) {
		return r, err
	}
	if err := a.cfg.Withhold(q.Context(), q.Caller.Owner, id); err != nil {
		return r, err
	}
	return a.own(q)
}

// clear deletes what belongs to a deleted task outside its record.
func (a *API) clear(ctx context.Context, id string) error {
	err := steps.Delete(ctx, a.cfg.KV, id, nil)
	if a.cfg.Files != nil {
		err = errors.Join(err, a.cfg.Files.Release(ctx, id))
	}
	return err
}

// keys shows the keys that sign the caller's webhooks to a URL.
func (a *API) keys(q *api.Call) error {
	query, err := q.Query("url")
	if err != nil {
		return err
	}
	url := query.Get("url")
	if err := a.cfg.CheckURL(url); err != nil {
		return api.Invalid("url", err.Error())
	}
	ring, err := a.cfg.Keys.Ring(q.Context())
	if err != nil {
		return err
	}
	now := a.cfg.Desk.Now()
	return q.JSON(http.StatusOK, keysView{
		Secrets: ring.Secrets(now, q.Caller.Owner, url), PublicKeys: ring.Public(now, q.Caller.Owner),
		Subjects: ring.Subjects(now, q.Caller.Owner), KeySet: keys.Path,
	})
}

// failed is the only detail that callers get of a failure without a status. More would show
// them the inside of a network that they cannot see.
const failed = "DELIVERY_FAILED"

// classOf is the failure of an attempt as the caller may know it.
func classOf(q *api.Call, t task.Try) string {
	if t.Error == "" || q.Caller.Operator || t.Error == webhook.ClassRequest {
		return t.Error
	}
	return failed
}
