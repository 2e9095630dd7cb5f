// Package credentials is the door by which a person or a program gives a credential to a task
// that asks for it (M22, M23). The URL, which the task names, is the right to do so once: the
// one who has the credential is often not the caller.
//
// It reads no credential and keeps none: package credential seals and stores it. Nothing that it
// logs or answers holds a part of one.
package credentials

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"errand/cardserver/api"
	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/credential"
	"errand/shared/desk"
	"errand/shared/serve"
	"errand/shared/task"
)

// Config is what the door needs. All fields but Proxied are required.
type Config struct {
	Credentials *credential.Store
	Desk        *desk.Desk
	Store       task.Store   // the desk's, to read
	Access      *auth.Access // counts wrong URLs
	Log         *slog.Logger

	// Proxied says that proxies in front of the program tell whether a client used TLS. One that
	// did not is refused then.
	Proxied bool
}

// A Door takes credentials. It is safe for concurrent use.
type Door struct {
	cfg              Config
	programs, people *api.Handler // write errors
}

// New makes a Door.
func New(c Config) *Door {
	errs := api.Config{Access: c.Access, Describe: describe, Log: c.Log}
	d := &Door{cfg: c, programs: api.New(errs)}
	errs.Write = func(w http.ResponseWriter, p *api.Problem) {
		page(w, p.Status, p.After, map[string]any{"Fault": p.Detail})
	}
	d.people = api.New(errs)
	return d
}

// route is the operation in the audit log. There is no caller.
const route = "POST /credentials/{task}/{life}/{turn}/{name}/{until}"

// maxBody bounds a request: a form writes each byte of a credential as three.
const maxBody = 3*credential.MaxSize + 1<<10

var errNothing = &api.Problem{Status: http.StatusNotFound, Detail: "nothing asks for a credential here: the URL was used, has expired, or was never made"}

// describe says what an error means to the one who gives a credential.
func describe(err error) error {
	switch {
	case errors.Is(err, credential.ErrNotAsked), errors.Is(err, task.ErrNotFound), errors.Is(err, task.ErrTerminal):
		return errNothing
	case errors.Is(err, credential.ErrValue):
		return &api.Problem{Status: http.StatusBadRequest, Detail: credential.ErrValue.Error(), Field: "credential"}
	case errors.Is(err, task.ErrTooLarge):
		return &api.Problem{Status: http.StatusRequestEntityTooLarge, Detail: "the task has no room for another message: begin a new one"}
	}
	return nil
}

// ServeHTTP implements http.Handler. A GET shows a form, and uses nothing up: programs that
// preview links may make it.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the URL is a secret
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")

	switch r.Method {
	case http.MethodGet, http.MethodHead:
		ask, _, err := d.asked(r)
		if err != nil {
			d.people.Fail(w, r, err)
			return
		}
		page(w, http.StatusOK, 0, map[string]any{"Name": ask.Name, "Task": ask.Task, "Until": ask.Until.Format(time.RFC1123), "Hours": int(credential.Keep.Hours())})

	case http.MethodPost:
		audit.Of(r.Context()).Operation(route, true)
		person, err := d.take(w, r)
		switch {
		case err != nil && person:
			d.people.Fail(w, r, err)
			return
		case err != nil:
			d.programs.Fail(w, r, err)
			return
		case person:
			page(w, http.StatusOK, 0, map[string]any{"Done": true})
		default:
			w.WriteHeader(http.StatusNoContent)
		}
		audit.Of(r.Context()).Status(http.StatusOK)
		audit.Of(r.Context()).Done()

	default:
		h.Set("Allow", "GET, HEAD, POST")
		d.programs.Fail(w, r, &api.Problem{Status: http.StatusMethodNotAllowed, Detail: "a credential is given with POST"})
	}
}

// asked returns the question that the URL of a request is for, and the record of its task. The
// error is the same for a URL that was used, has expired, or was never made.
func (d *Door) asked(r *http.Request) (credential.Ask, task.Record, error) {
	if d.cfg.Proxied && strings.HasPrefix(serve.Base(r), "http:") {
		return credential.Ask{}, task.Record{}, &api.Problem{Status: http.StatusForbidden, Detail: "credentials are taken by HTTPS only: use the https:// URL"}
	}

	ask, ok, err := d.cfg.Credentials.Read(r.Context(), r.URL.Path, r.URL.Query().Get("s"))
	if err != nil {
		return ask, task.Record{}, err
	}

	var of task.Record
	if ok {
		audit.Of(r.Context()).Task(ask.Task)
		of, err = d.cfg.Store.Load(r.Context(), ask.Task)
		if err != nil && !errors.Is(err, task.ErrNotFound) {
			return ask, of, err
		}
		ok = err == nil && ask.Of(of)
	}

	if !ok {
		if err := d.cfg.Access.WrongURL(r); err != nil {
			return ask, of, err
		}
		return ask, of, errNothing
	}
	return ask, of, nil
}

// take stores the credential of a request and lets its task go on. person says that a form sent
// it. If the process dies between the two, the URL still works: the credential that is stored
// counts, and the task is told.
func (d *Door) take(w http.ResponseWriter, r *http.Request) (person bool, err error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	person = kind == "application/x-www-form-urlencoded" && strings.Contains(r.Header.Get("Accept"), "text/html")
	ask, of, err := d.asked(r)
	if err != nil {
		return person, err
	}
	value, err := read(w, r, kind)
	if err != nil {
		return person, err
	}

	ctx := context.WithoutCancel(r.Context()) // a client that goes away has given it all the same
	first, err := d.cfg.Credentials.Give(ctx, of, ask, value)
	if err != nil {
		return person, err
	}

	told := false
	_, err = d.cfg.Desk.ChangeByID(ctx, ask.Task, func(r task.Record, now task.Moment) (task.Record, bool, error) {
		next, changed, err := ask.Tell(r, now)
		told = changed
		return next, changed, err
	})
	switch {
	case first && (errors.Is(err, credential.ErrNotAsked) || errors.Is(err, task.ErrNotFound) || errors.Is(err, task.ErrTerminal) || errors.Is(err, task.ErrTooLarge)):
		return person, errors.Join(err, d.cfg.Credentials.Withdraw(ctx, of, ask)) // the task went on, or ended, meanwhile
	case err == nil && !first && !told:
		return person, errNothing // another request was faster
	}
	return person, err
}

// read reads the credential of a request. Errors hold nothing of it.
func read(w http.ResponseWriter, r *http.Request, kind string) (string, error) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readFor)) // writers of tests know no deadlines
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return "", credential.ErrValue
	}
	if err != nil {
		return "", &api.Problem{Status: http.StatusBadRequest, Detail: "the request ended early: send it again"}
	}

	if !utf8.Valid(body) {
		return "", credential.ErrValue
	}

	switch kind {
	case "text/plain":
		return strings.TrimSuffix(strings.TrimSuffix(string(body), "\n"), "\r"), nil // files end in a newline
	case "application/json":
		var in struct {
			Credential string `json:"credential"`
		}
		if json.Unmarshal(body, &in) != nil {
			return "", &api.Problem{Status: http.StatusBadRequest, Detail: `the body must be {"credential": "..."}`, Field: "credential"}
		}
		return in.Credential, nil
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return "", credential.ErrValue
		}
		return form.Get("credential"), nil
	}
	return "", &api.Problem{Status: http.StatusUnsupportedMediaType, Detail: "the Content-Type must be text/plain or application/json"}
}

// readFor is the time for a client to send a credential.
const readFor = 30 * time.Second

//go:embed page.html
var text string

var form = template.Must(template.New("page").Parse(text))

// page answers with a page, which has no script and posts to its own URL alone.
func page(w http.ResponseWriter, status int, again time.Duration, about map[string]any) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	var b bytes.Buffer
	if err := form.Execute(&b, about); err != nil {
		panic(err) // the page has these names only, and a buffer takes everything
	}
	serve.Answer{Status: status, Type: "text/html; charset=utf-8", Body: b.Bytes(), RetryAfter: again, Timeout: api.WriteFor}.Write(w)
}
