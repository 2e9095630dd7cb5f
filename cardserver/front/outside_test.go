package front_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/card"
	"errand/shared/keys"
)

// An address with a path is served below the path, whether a proxy strips it or not: the card,
// the page, the key set, both bindings, our own API and the doors.
func TestClientsRow18PathOfTheAddress(t *testing.T) {
	const prefix = "/agents/errand"
	var seen []string
	note := func(name string) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, name+" "+r.URL.Path) })
	}
	w := newWorld(t, func(c *front.Config) {
		c.URL, c.Loopback = "https://gw.example.com"+prefix, false
		cards, err := card.New(card.Config{Agent: c.Agent, URL: c.URL, Modified: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		c.Card, c.Push, c.Doors = cards, note("push"), map[string]http.Handler{"/files": note("files"), "/v1/batches": note("openai")}
	})
	r := w.insert(anonymous, "m", a2a.TaskStateCompleted)
	wake := keys.WakeURL("https://gw.example.com"+prefix, "key", r.ID()+"/L/1.1")

	for _, at := range []string{"", prefix} {
		for path, want := range map[string]string{
			card.Path: prefix, keys.Path: "keys", "/tasks/" + r.ID(): r.ID(), "/v1/tasks/" + r.ID(): r.ID(), "/alice/tasks/" + r.ID(): r.ID(), "/": `href="https://gw.example.com` + prefix + card.Path,
		} {
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, newRequest("GET", at+path, ""))
			if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), want) {
				t.Errorf("GET %s: %d %.200s", at+path, rec.Code, rec.Body)
			}
		}
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, newRequest("POST", at+"/", `{"jsonrpc":"2.0","id":1,"method":"GetTask","params":`+byID(r.ID())+`}`))
		if !strings.Contains(rec.Body.String(), `"id":"`+r.ID()+`"`) {
			t.Errorf("JSON-RPC at %s: %s", at, rec.Body)
		}

		seen = nil
		for _, path := range []string{"/push/redrive", "/files/x", "/v1/batches", strings.TrimPrefix(wake, "https://gw.example.com"+prefix)} {
			w.ServeHTTP(httptest.NewRecorder(), newRequest("POST", at+path, ""))
		}
		if len(seen) != 4 || seen[0] != "push /push/redrive" || seen[1] != "files /files/x" || seen[2] != "openai /v1/batches" || !strings.HasPrefix(seen[3], "push /") {
			t.Errorf("below %q: %q", at, seen)
		}
	}

	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, newRequest("POST", prefix, `{"jsonrpc":"2.0","id":1,"method":"GetTask","params":`+byID(r.ID())+`}`))
	if !strings.Contains(rec.Body.String(), `"id":"`+r.ID()+`"`) {
		t.Errorf("JSON-RPC at the address itself: %s", rec.Body)
	}
	rec = httptest.NewRecorder()
	w.ServeHTTP(rec, newRequest("GET", prefix+"x/tasks/"+r.ID(), ""))
	if rec.Code != http.StatusNotFound {
		t.Errorf("another path that begins so: %d", rec.Code)
	}
}

// A letter of a path may be escaped, below the address as at the root, and in the address itself.
func TestEscapedPathOfTheAddress(t *testing.T) {
	for prefix, same := range map[string][]string{
		"/agents/errand": {"/agents/errand", "/%61gents/errand", "/agents%2Ferrand"},
		"/my%20agent":    {"/my%20agent", "/m%79%20agent"},
		"/a%2Fb":         {"/a%2Fb", "/a%2fb"},
	} {
		w := newWorld(t, func(c *front.Config) { c.URL, c.Loopback = "https://gw.example.com"+prefix, false })
		r := w.insert(anonymous, "m", a2a.TaskStateCompleted)

		for _, at := range append(same, "/alice") {
			for path, want := range map[string]int{
				"/tasks/" + r.ID(): http.StatusOK, "/%74asks/" + r.ID(): http.StatusOK, "/tasks/" + r.ID() + "%3Acancel": http.StatusBadRequest,
				"/tasks/a%2Fb": http.StatusNotFound, "%2Ftasks/" + r.ID(): http.StatusNotFound,
			} {
				method := "GET"
				if strings.HasSuffix(path, "cancel") {
					method = "POST"
				}

				rec := httptest.NewRecorder()
				w.ServeHTTP(rec, newRequest(method, at+path, ""))
				if rec.Code != want || rec.Header().Get("Content-Type") != "application/json" {
					t.Errorf("%s %s: %d %.200s", method, at+path, rec.Code, rec.Body)
				}
			}
		}
	}
}

// The web pages of listed origins may ask and call, and those of others may not.
func TestClientsRow20ListedOrigins(t *testing.T) {
	const listed = "https://ui.example.com"
	w := newWorld(t, func(c *front.Config) { c.Origins = []string{listed, "http://localhost:3000"} })
	off := newWorld(t)
	r := w.insert(anonymous, "m", a2a.TaskStateCompleted)

	for _, row := range []struct {
		w      *world
		origin string
		may    bool
	}{
		{w, listed, true}, {w, "http://localhost:3000", true}, {off, listed, false},
		{w, "https://ui.example.com.evil.example", false}, {w, "http://ui.example.com", false}, {w, "https://ui.example.com:8443", false}, {w, "null", false},
	} {
		edit := func(r *http.Request) *http.Request {
			r.Header.Set("Origin", row.origin)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			return r
		}
		preflight := newRequest("OPTIONS", "/", "")
		preflight.Header.Set("Access-Control-Request-Method", "POST")
		preflight.Header.Set("Access-Control-Request-Headers", "authorization,content-type,a2a-version")

		for what, req := range map[string]*http.Request{
			"the question": preflight,
			"JSON-RPC":     newRequest("POST", "/", `{"jsonrpc":"2.0","id":1,"method":"GetTask","params":`+byID(r.ID())+`}`),
			"HTTP+JSON":    newRequest("GET", "/tasks/"+r.ID(), ""),
			"an error":     newRequest("GET", "/nowhere", ""),
		} {
			rec := httptest.NewRecorder()
			row.w.ServeHTTP(rec, edit(req))
			h := rec.Header()
			if !row.may {
				if rec.Code != http.StatusForbidden && what != "the question" || h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Methods") != "" {
					t.Errorf("%s of %s: %d %v", what, row.origin, rec.Code, h)
				}
				continue
			}
			if rec.Code == http.StatusForbidden || h.Get("Access-Control-Allow-Origin") != row.origin || h.Get("Access-Control-Expose-Headers") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s of %s: %d %v", what, row.origin, rec.Code, h)
			}
			if what == "the question" && (rec.Code != http.StatusNoContent || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "DELETE") || h.Get("Vary") != "Origin") {
				t.Errorf("the answer to the question is %d %v", rec.Code, h)
			}
		}
	}
}
