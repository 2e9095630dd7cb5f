// Package catalogue is the door to the catalogue of agents: register one, withdraw it, find those
// that there are, as JSON, as a page for people, and as an AI Catalog.
//
// It stores nothing and hides nothing: package shared/catalogue does. It only asks who the caller is,
// before anything is looked up.
package catalogue

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"errand/cardserver/api"
	"errand/shared/audit"
	"errand/shared/auth"
	"errand/shared/catalogue"
	"errand/shared/serve"
)

// Config is what the API needs. All fields are required.
type Config struct {
	Catalogue *catalogue.Catalogue
	Access    *auth.Access // who may call
	Log       *slog.Logger
}

// An API is the handler of all operations. It is safe for concurrent use.
type API struct {
	inner *api.Handler
	cfg   Config
}

//go:embed openapi.yaml
var description []byte

// Path is where the catalogue is, DescriptionPath where its description is, and WellKnown where other
// catalogues look for it (AI Catalog 0.9, a draft).
// https://github.com/Agent-Card/ai-catalog/releases/tag/v0.9.0
const (
	Path            = "/catalogue"
	DescriptionPath = Path + "/openapi.yaml"
	WellKnown       = "/.well-known/ai-catalog.json"
)

// operations are all rows, by method and path. The description names the same.
func (a *API) operations() map[string]api.Operation {
	return map[string]api.Operation{
		"GET " + Path:                        {Right: auth.Read, Serve: a.page},
		"GET " + Path + "/agents":            {Right: auth.Read, Serve: a.list},
		"POST " + Path + "/agents":           {Right: auth.Send, Changes: true, Serve: a.register},
		"GET " + Path + "/agents/{agent}":    {Right: auth.Read, Serve: a.get},
		"DELETE " + Path + "/agents/{agent}": {Right: auth.Cancel, Changes: true, Serve: a.withdraw},
		"GET " + WellKnown:                   {Right: auth.Read, Serve: a.wellKnown},
	}
}

// New makes the API.
func New(cfg Config) *API {
	a := &API{cfg: cfg}
	a.inner = api.New(api.Config{
		Operations: a.operations(), Access: cfg.Access, Identify: cfg.Access.Visit, Describe: describe, Log: cfg.Log,
		Description: description, DescribedAt: DescriptionPath,
	})
	return a
}

// ServeHTTP implements http.Handler. Without a section catalogue in the access file there is nothing.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.cfg.Access.Catalogue().On {
		serve.Answer{
			Status: http.StatusNotFound, Type: "application/problem+json", Timeout: api.WriteFor,
			Body: []byte(`{"title":"Not Found","status":404,"detail":"this agent has no catalogue"}` + "\n"),
		}.Write(w)
		return
	}
	a.inner.ServeHTTP(w, r)
}

// problems are what callers are told of the errors of the catalogue.
var problems = []struct {
	is    error
	fault error
}{
	{catalogue.ErrNotFound, &api.Problem{Status: http.StatusNotFound, Detail: catalogue.ErrNotFound.Error()}},
	{catalogue.ErrTheirs, &api.Problem{Status: http.StatusForbidden, Detail: catalogue.ErrTheirs.Error()}},
	{catalogue.ErrRegister, &api.Problem{Status: http.StatusForbidden, Detail: catalogue.ErrRegister.Error()}},
	{catalogue.ErrBusy, auth.Limited("registrations", time.Second, catalogue.ErrBusy.Error())},
}

// describe turns an error of the catalogue into one for the caller; nil: the fault is ours.
func describe(err error) error {
	if f, ok := errors.AsType[*catalogue.FieldError](err); ok {
		return api.Invalid(f.Field, f.What)
	}
	if f, ok := errors.AsType[*catalogue.FullError](err); ok {
		return auth.Limited(f.Limit, time.Minute, f.What)
	}
	for _, p := range problems {
		if errors.Is(err, p.is) {
			return p.fault
		}
	}
	return nil
}

// viewer is the caller of the catalogue.
func (a *API) viewer(q *api.Call) catalogue.Viewer { return a.cfg.Catalogue.Viewer(q.Caller.Owner) }

// maxBody bounds a registration, in bytes.
const maxBody = 16 << 10

func (a *API) register(q *api.Call) error {
	var in struct {
		URL string `json:"url"`
		For string `json:"for"`
	}
	if _, err := q.Query(); err != nil {
		return err
	}
	if err := q.Read(&in, maxBody, DescriptionPath); err != nil {
		return err
	}
	if in.URL == "" {
		return api.Invalid("url", "is required: the address of the agent, or of its card")
	}

	s, err := a.cfg.Catalogue.Register(q.Context(), q.Caller.Owner, in.URL, in.For)
	if err != nil {
		return err
	}
	q.W.Header().Set("Location", Path+"/agents/"+s.ID)
	return q.JSON(http.StatusOK, withCard(s))
}

func (a *API) withdraw(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	if err := a.cfg.Catalogue.Withdraw(q.Context(), a.viewer(q), q.PathValue("agent")); err != nil {
		return err
	}
	return q.Nothing()
}

func (a *API) get(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	s, err := a.cfg.Catalogue.Get(q.Context(), a.viewer(q), q.PathValue("agent"))
	if err != nil {
		return err
	}
	return q.JSON(http.StatusOK, withCard(s))
}

// The sizes of a page of the list, in agents.
const (
	pageSize = 20
	maxPage  = 100
)

func (a *API) list(q *api.Call) error {
	f, err := a.find(q)
	if err != nil {
		return err
	}
	out := List{Agents: []Agent{}, Total: f.total, Next: f.next}
	for _, s := range f.page {
		out.Agents = append(out.Agents, viewOf(s))
	}
	return q.JSON(http.StatusOK, out)
}

// A found is a page of what a caller asked for.
type found struct {
	query catalogue.Query
	page  []catalogue.Seen
	total int
	next  string
}

// find reads the query of a list, and finds its page.
func (a *API) find(q *api.Call) (f found, err error) {
	all, err := q.Query("skill", "tag", "provider", "capability", "mode", "q", "state", "pageSize", "pageToken")
	if err != nil {
		return f, err
	}
	limit, err := api.Number(all, "pageSize", pageSize, maxPage)
	if err != nil {
		return f, err
	}
	for name := range all {
		if len(all.Get(name)) > maxValue && name != "pageToken" {
			return f, api.Invalid(name, "has more than "+strconv.Itoa(maxValue)+" bytes")
		}
	}
	if state := all.Get("state"); state != "" && !slices.Contains(catalogue.States, catalogue.State(state)) {
		return f, api.Invalid("state", "must be current, drifted, down, forged or expired")
	}
	f.query = catalogue.Query{
		Skill: all.Get("skill"), Tag: all.Get("tag"), Provider: all.Get("provider"), Capability: all.Get("capability"),
		Mode: all.Get("mode"), Text: all.Get("q"), State: catalogue.State(all.Get("state")),
	}

	list, after := listOf(q.Caller.Owner, f.query), ""
	if text := all.Get("pageToken"); text != "" {
		if after, err = parsePlace(text, list); err != nil {
			return f, err
		}
	}
	page, total, more, err := a.cfg.Catalogue.Find(q.Context(), a.viewer(q), f.query, after, limit)
	if err != nil {
		return f, err
	}
	f.page, f.total = page, total
	if more {
		f.next = place{page[len(page)-1].Place(), list}.String()
	}
	return f, nil
}

const maxValue = 500 // bytes of a parameter

// A place says where the next page begins. It needs no signature: a made-up one shows a caller nothing
// but agents that it sees.
type place struct {
	After string `json:"a"` // the place of the last agent of the page before
	List  string `json:"l"` // a hash of the caller and the query
}

// String is the place as clients send it back.
func (p place) String() string {
	text, err := json.Marshal(p)
	if err != nil { // strings always encode
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parsePlace(s, list string) (string, error) {
	var p place
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || p.String() != s || p.List != list {
		return "", api.Invalid("pageToken", "is not the nextPageToken of this list; begin again without it")
	}
	return p.After, nil
}

// listOf is a hash of a caller and a query.
func listOf(owner string, q catalogue.Query) string {
	text, err := json.Marshal([]any{owner, q})
	if err != nil { // strings always encode
		panic(err)
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

//go:embed page.html
var pageText string

var pageForm = template.Must(template.New("page").Parse(pageText))

// page shows people the same list.
func (a *API) page(q *api.Call) error {
	f, err := a.find(q)
	if err != nil {
		return err
	}
	next := ""
	if f.next != "" {
		values := q.URL.Query()
		values.Set("pageToken", f.next)
		next = "?" + values.Encode()
	}
	agents := make([]Agent, 0, len(f.page))
	for _, s := range f.page {
		agents = append(agents, viewOf(s))
	}
	data := map[string]any{"Query": f.query, "Total": f.total, "Next": next, "Agents": agents}

	var text bytes.Buffer
	if err := pageForm.Execute(&text, data); err != nil {
		return err
	}
	q.W.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	audit.Of(q.Context()).Status(http.StatusOK)
	serve.Answer{Status: http.StatusOK, Type: "text/html; charset=utf-8", Body: text.Bytes(), Timeout: api.WriteFor}.For(q.Request).Write(q.W)
	return nil
}

// A document is an AI Catalog (0.9, a draft): names are left out, because the cards have them.
// https://github.com/Agent-Card/ai-catalog/blob/main/specification/ai-catalog.md
type document struct {
	Version string          `json:"specVersion"`
	Entries []documentEntry `json:"entries"`
}

type documentEntry struct {
	Identifier string    `json:"identifier"`
	Type       string    `json:"type"`
	URL        string    `json:"url"`
	Tags       []string  `json:"tags,omitempty"`
	Updated    time.Time `json:"updatedAt"`
}

// wellKnown answers with what callers without credentials see, whoever asks. A card that several owners
// have registered stands there once.
func (a *API) wellKnown(q *api.Call) error {
	if _, err := q.Query(); err != nil {
		return err
	}
	stranger := a.cfg.Catalogue.Viewer(auth.Anonymous)
	page, _, _, err := a.cfg.Catalogue.Find(q.Context(), stranger, catalogue.Query{}, "", catalogue.MaxAll)
	if err != nil {
		return err
	}

	doc, once := document{Version: "0.9", Entries: []documentEntry{}}, map[string]bool{}
	for _, s := range page {
		if once[s.URL] {
			continue
		}
		once[s.URL] = true
		doc.Entries = append(doc.Entries, documentEntry{s.URL, "application/a2a-agent-card+json", s.URL, s.Tags, s.Since.UTC()})
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	audit.Of(q.Context()).Status(http.StatusOK)
	serve.Answer{Status: http.StatusOK, Type: "application/ai-catalog+json", Body: append(text, '\n'), Timeout: api.WriteFor}.For(q.Request).Write(q.W)
	return nil
}

// hostOf is the host that serves a card, for people.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
