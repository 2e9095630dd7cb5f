package credentials_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/credentials"
	"errand/shared/audit"
	"errand/shared/credential"
	"errand/shared/kv"
	"errand/shared/lab/world"
	"errand/shared/task"
)

const (
	base  = "http://localhost:8080"
	token = "canary-token-0815 = äöü&"
)

// A bench is the door on a real store. Its log, the audit log in it, is kept.
type bench struct {
	*world.World
	http.Handler
	t     *testing.T
	store *credential.Store
	log   bytes.Buffer
	kv    *failing
}

// failing fails writes of package kv while it is to.
type failing struct {
	kv.Store
	fails bool
}

func (f *failing) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	if f.fails {
		return e, errors.New("the store is away")
	}
	return f.Store.Put(ctx, e)
}

func newBench(t *testing.T, change ...func(*credentials.Config)) *bench {
	b := &bench{World: world.New(t, world.Config{}), t: t}
	b.kv = &failing{Store: b.Store.KV()}
	access, _ := world.Access(t, "acme/alice")
	b.store = credential.New(credential.Config{KV: b.kv, Ring: world.Keys(t).Ring, Base: func() string { return base }, Now: b.Now})
	c := credentials.Config{Credentials: b.store, Desk: b.Desk(b.Store), Store: b.Store, Access: access, Log: slog.New(slog.NewJSONHandler(&b.log, nil))}
	for _, f := range change {
		f(&c)
	}
	door, lines := credentials.New(c), audit.New(c.Log)
	b.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		door.ServeHTTP(w, r.WithContext(lines.Begin(r.Context())))
	})
	return b
}

// asking stores a task that asks for shop-token, and returns the URL's path.
func (b *bench) asking(id string) string {
	b.t.Helper()
	m := b.Moment()
	world.Accept(b.t, b.Store, m, task.Acceptance{ID: id, Life: "l1", Owner: "acme/alice"})
	world.Finish(b.t, b.Store, id, m, nil, task.Outcome{State: a2a.TaskStateAuthRequired})
	return b.path(credential.AskOf(b.Load(id), "shop-token", m.Now))
}

func (b *bench) path(a credential.Ask) string {
	b.t.Helper()
	u, err := b.store.URL(b.t.Context(), a)
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimPrefix(u, base)
}

func (b *bench) ask(method, path, kind, body string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Accept", "text/html,*/*")
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), "canary") {
		b.t.Errorf("%s %s repeats the credential: %s", method, path, w.Body)
	}
	return w
}

// given is the credential of a task.
func (b *bench) given(id string) string {
	b.t.Helper()
	v, _, err := b.store.Find(b.t.Context(), b.Load(id), "shop-token")
	if err != nil {
		b.t.Fatal(err)
	}
	return v.Reveal()
}

// A credential comes as text, as JSON, or from the form, and its task goes on. The log has the
// operation without a caller and nothing of the credential.
//
// Shows M23.
func TestDoorTakesCredential(t *testing.T) {
	for kind, row := range map[string]struct {
		body string
		want int
	}{
		"text/plain":                        {token + "\n", http.StatusNoContent},
		"application/json; charset=utf-8":   {`{"credential": "` + token + `"}`, http.StatusNoContent},
		"application/x-www-form-urlencoded": {url.Values{"credential": {token}}.Encode(), http.StatusOK},
	} {
		b := newBench(t)
		path := b.asking("t1")
		b.Jobs.Take()
		w := b.ask("POST", path, kind, row.body)
		if w.Code != row.want || b.given("t1") != token {
			t.Errorf("%s: %d %s", kind, w.Code, w.Body)
		}
		if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: header %v", kind, w.Header())
		}

		r := b.Load("t1")
		last := r.View().History[len(r.View().History)-1]
		if r.State() != a2a.TaskStateSubmitted || r.Turn != 2 || last.Parts[0].Text() != "The credential shop-token was given." || last.Role != a2a.MessageRoleUser {
			t.Errorf("%s: the task is %s, turn %d: %+v", kind, r.State(), r.Turn, last)
		}
		if jobs := b.Jobs.Take(); len(jobs) != 1 || jobs[0].Task != "t1" || jobs[0].Queue != task.Turns {
			t.Errorf("%s: jobs %+v", kind, jobs)
		}
		if log := b.log.String(); strings.Contains(log, "canary") || strings.Contains(log, path[strings.Index(path, "?s="):]) || strings.Count(log, "POST /credentials/") != 1 || !strings.Contains(log, `"t1"`) {
			t.Errorf("%s: the log has %s", kind, log)
		}
	}
}

// A URL works once. A second use is answered as one that has expired or was never made, and so is
// one of a task that went on, ended, or is gone. A wrong content uses nothing up.
//
// Shows decision 13.
func TestURLWorksOnce(t *testing.T) {
	b := newBench(t)
	path := b.asking("t1")
	for kind, body := range map[string]string{"text/plain": "", "application/json": "{", "application/x-www-form-urlencoded": "%", "image/png": "x", "text/plain; a": strings.Repeat("x", credential.MaxSize+1), "text/plain; b": strings.Repeat("x", 1<<20), "text/plain; c": "\xff", "application/json; d": "{\"credential\":\"a\xff\"}"} {
		if w := b.ask("POST", path, kind, body); w.Code < 400 || w.Code > 499 || w.Code == http.StatusNotFound {
			t.Errorf("%s: %d %s", kind, w.Code, w.Body)
		}
	}
	if w := b.ask("POST", path, "text/plain", token); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}

	old := credential.AskOf(b.Load("t1"), "shop-token", b.Now().Add(-48*time.Hour))
	old.Turn = 1
	past := b.asking("t2")
	world.Update(t, b.Store, "t2", func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(b.Moment(), a2a.NewMessage(a2a.MessageRoleAgent), nil)
	})
	gone := credential.Ask{Task: "t3", Life: "l1", Turn: 1, Name: "shop-token", Until: b.Now().Add(time.Hour).Truncate(time.Second)}

	forged := path[:len(path)-1] + "x"
	if forged == path {
		forged = path[:len(path)-1] + "y"
	}
	var answers []string
	for _, p := range []string{path, forged, strings.Split(path, "?")[0], credential.Path + "/", b.path(old), past, b.path(gone), strings.Replace(path, "shop-token", "shop-key", 1)} {
		w := b.ask("POST", p, "text/plain", "another")
		answers = append(answers, w.Body.String())
		if w.Code != http.StatusNotFound || answers[0] != w.Body.String() {
			t.Errorf("%s: %d %s", p, w.Code, w.Body)
		}
	}
	if w := b.ask("GET", past, "", ""); w.Code != http.StatusNotFound {
		t.Errorf("the form of a task that has ended: %d", w.Code)
	}
	if b.given("t1") != token {
		t.Error("the second use counts")
	}
}

// A URL that differs from the one that the task names in any part takes nothing.
func TestForgedURLsTakeNothing(t *testing.T) {
	b := newBench(t)
	path := b.asking("t1")
	other := b.asking("t2")
	clean, signature, _ := strings.Cut(path, "?s=")
	_, foreign, _ := strings.Cut(other, "?s=")
	later := clean[:strings.LastIndexByte(clean, '/')+1] + "9999999999"

	for _, forged := range []string{
		clean, clean + "?s=", clean + "?s=" + foreign, clean + "?s=" + signature + "A", clean + "?s=" + signature[1:], later + "?s=" + signature,
		strings.Replace(path, "shop-token", "shop-key", 1), strings.Replace(path, "/1/", "/2/", 1), strings.Replace(path, "/l1/", "/l2/", 1), strings.Replace(path, "t1", "t2", 1),
	} {
		for _, method := range []string{"GET", "POST"} {
			if w := b.ask(method, forged, "text/plain", token); w.Code != http.StatusNotFound && w.Code != http.StatusTooManyRequests {
				t.Errorf("%s %s: %d", method, forged, w.Code)
			}
		}
	}
	if b.Load("t1").Turn != 1 || b.Load("t2").Turn != 1 || b.given("t1") != "" {
		t.Error("a task goes on")
	}
}

// The form of a person has no script, and showing it uses nothing up.
func TestForm(t *testing.T) {
	b := newBench(t)
	path := b.asking("t1")
	for _, method := range []string{"GET", "HEAD", "GET"} {
		w := b.ask(method, path, "", "")
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'") || w.Header().Get("Referrer-Policy") != "no-referrer" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
		if text := w.Body.String(); !strings.Contains(text, `type="password"`) || !strings.Contains(text, "shop-token") || strings.Contains(text, "<script") {
			t.Errorf("%s: %s", method, text)
		}
	}
	if r := b.Load("t1"); r.State() != a2a.TaskStateAuthRequired {
		t.Errorf("the task is %s", r.State())
	}

	if w := b.ask("POST", path, "application/x-www-form-urlencoded", "credential=x"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "goes on") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, method := range []string{"GET", "POST"} {
		w := b.ask(method, path, "application/x-www-form-urlencoded", "credential=x")
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "was never made") || !strings.Contains(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s of a used URL: %d %s", method, w.Code, w.Body)
		}
	}
	if w := b.ask("DELETE", path, "", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("DELETE: %d", w.Code)
	}
}

// If the door dies after it has stored a credential, the URL still works: the credential that is
// stored counts, and the task is told once.
func TestDoorDiesBetweenTwoWrites(t *testing.T) {
	b := newBench(t)
	path := b.asking("t1")
	b.kv.fails = true
	if w := b.ask("POST", path, "text/plain", token); w.Code != http.StatusServiceUnavailable || b.Load("t1").Turn != 1 {
		t.Errorf("without a store: %d, turn %d", w.Code, b.Load("t1").Turn)
	}
	b.kv.fails = false

	r := b.Load("t1")
	if _, err := b.store.Give(t.Context(), r, credential.AskOf(r, "shop-token", b.Now()), token); err != nil {
		t.Fatal(err)
	}
	if w := b.ask("POST", path, "text/plain", "again"); w.Code != http.StatusNoContent || b.given("t1") != token || b.Load("t1").Turn != 2 {
		t.Errorf("%d %s, turn %d", w.Code, w.Body, b.Load("t1").Turn)
	}
	if w := b.ask("POST", path, "text/plain", "again"); w.Code != http.StatusNotFound || b.Load("t1").Turn != 2 {
		t.Errorf("%d %s, turn %d", w.Code, w.Body, b.Load("t1").Turn)
	}
}

// Requests that come at once give one credential, and begin one turn.
func TestRequestsAtOnceAreOne(t *testing.T) {
	b := newBench(t)
	path := b.asking("t1")
	codes := make(chan int, 8)
	for range cap(codes) {
		go func() { codes <- b.ask("POST", path, "text/plain", token).Code }()
	}
	good := 0
	for range cap(codes) {
		switch code := <-codes; code {
		case http.StatusNoContent:
			good++
		case http.StatusNotFound:
		default:
			t.Errorf("answer %d", code)
		}
	}
	if r := b.Load("t1"); good < 1 || r.Turn != 2 || len(r.Inbox) > 0 {
		t.Errorf("%d were taken, turn %d", good, r.Turn)
	}
}

// Wrong URLs are limited as wrong keys are, and a right one is always let in.
func TestWrongURLsAreLimited(t *testing.T) {
	b := newBench(t)
	path := b.asking("t1")
	last := 0
	for range 25 {
		last = b.ask("POST", path+"x", "text/plain", "x").Code
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the last answer is %d", last)
	}
	if w := b.ask("POST", path, "text/plain", token); w.Code != http.StatusNoContent {
		t.Errorf("the right URL: %d %s", w.Code, w.Body)
	}
}

// Where proxies tell the scheme, plain HTTP is refused.
//
// Shows M23.
func TestPlainHTTPIsRefused(t *testing.T) {
	b := newBench(t, func(c *credentials.Config) { c.Proxied = true })
	path := b.asking("t1")
	for _, method := range []string{"GET", "POST"} {
		if w := b.ask(method, path, "text/plain", token); w.Code != http.StatusForbidden || b.Load("t1").Turn != 1 {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	r := httptest.NewRequest("POST", "https://agent.example.com"+path, strings.NewReader(token))
	r.Header.Set("Content-Type", "text/plain")
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent {
		t.Errorf("by HTTPS: %d %s", w.Code, w.Body)
	}
}
