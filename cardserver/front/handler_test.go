package front_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"github.com/google/go-cmp/cmp"

	"errand/cardserver/front"
	"errand/shared/lab/faulty"
	"errand/shared/task"
)

// get asks for a path, as a browser would.
func get(h http.Handler, method, path string, edit ...func(*http.Request)) (*http.Response, string) {
	r := httptest.NewRequest(method, "http://"+host+"/", nil)
	r.URL.Path, r.Host = path, host
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return res, err.Error()
	}
	return res, string(body)
}

// On loopback only this machine's names are answered: a web page whose own name points here
// must not spend the user's key.
func TestLoopbackAnswersOnlyItsOwnHosts(t *testing.T) {
	local := newWorld(t)
	named := newWorld(t, func(s *front.Config) { s.URL = "https://agent.example.com" })
	open := newWorld(t, func(s *front.Config) { s.Loopback = false })
	for _, row := range []struct {
		host               string
		local, named, open bool
	}{
		{"127.0.0.1:8080", true, true, true},
		{"127.0.0.1", true, true, true},
		{"127.3.2.1:1", true, true, true},
		{"[::1]:8080", true, true, true},
		{"[::1]", true, true, true},
		{"localhost:8080", true, true, true},
		{"LocalHost", true, true, true},
		{"agent.example.com", false, true, true},
		{"agent.example.com:8080", false, false, true},
		{"evil.example.com:8080", false, false, true},
		{"127.0.0.1.evil.example.com:8080", false, false, true},
		{"localhost.evil.example.com", false, false, true},
		{"192.168.1.1:8080", false, false, true},
		{"0.0.0.0:8080", false, false, true},
		{"[::]:8080", false, false, true},
		{"127.1:8080", false, false, true},
		{"127.0.0.1:a;id", false, false, true},
		{"[::1%a;id]", false, false, true},
		{"2130706433", false, false, true},
		{"", false, false, true},
	} {
		for _, w := range []struct {
			name string
			h    http.Handler
			want bool
		}{{"loopback", local, row.local}, {"with a URL", named, row.named}, {"everywhere", open, row.open}} {
			res := post(w.h, request("ListTasks", "{}"), func(r *http.Request) { r.Host = row.host })
			if got := res.StatusCode == 200; got != w.want || !got && res.StatusCode != http.StatusMisdirectedRequest {
				t.Errorf("%s, host %q: status %d", w.name, row.host, res.StatusCode)
			}
		}

		for _, path := range []string{"/", "/.well-known/agent-card.json"} {
			res, _ := get(local, "GET", path, func(r *http.Request) { r.Host = row.host })
			if got := res.StatusCode == 200; got != row.local {
				t.Errorf("%s of host %q: status %d", path, row.host, res.StatusCode)
			}
		}
	}
}

// The requests that a web page can send to another site without asking are refused, and a
// preflight is not answered.
func TestWebPagesCannotSend(t *testing.T) {
	w := newWorld(t)
	body := request(send, sending(message("m", "")))

	for _, kind := range []string{"", "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
		for origin, want := range map[string]int{"": http.StatusUnsupportedMediaType, "https://evil.example.com": http.StatusForbidden} {
			res := post(w, body, func(r *http.Request) {
				r.Header.Set("Content-Type", kind)
				if kind == "" {
					r.Header.Del("Content-Type")
				}
				if origin != "" {
					r.Header.Set("Origin", origin)
				}
			})
			if res.StatusCode != want {
				t.Errorf("Content-Type %q from %q: status %d, want %d", kind, origin, res.StatusCode, want)
			}
		}
	}

	id := w.insert(anonymous, "cancel", a2a.TaskStateSubmitted).ID()
	for header, value := range map[string]string{"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"} {
		res, body := get(w, "POST", "/tasks/"+id+":cancel", func(r *http.Request) { r.Header.Set(header, value) })
		if res.StatusCode != http.StatusForbidden || !strings.Contains(body, `"PERMISSION_DENIED"`) {
			t.Errorf("a cancel with %s: status %d, %s", header, res.StatusCode, body)
		}
	}

	if state := w.Load(id).State(); state != a2a.TaskStateSubmitted {
		t.Errorf("a page of another site made the task %s", state)
	}

	res, _ := get(w, "OPTIONS", "/", func(r *http.Request) {
		r.Header.Set("Origin", "https://evil.example.com")
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "content-type")
	})
	if res.StatusCode < 400 || res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("a preflight is answered with %d and %v", res.StatusCode, res.Header)
	}
	if n := len(w.versions(t)); n != 1 {
		t.Errorf("%d tasks were made", n-1)
	}
}

// A web page of another site cannot have this agent list or stream. It may read the card and
// the keys, and link to the pages for people.
func TestWebPagesCannotAsk(t *testing.T) {
	w := newWorld(t)
	id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
	foreign := map[string]string{"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"}

	for _, path := range []string{"/tasks", "/tasks/" + id, "/tasks/" + id + ":subscribe", "/v1/tasks/" + id, "/tasks/" + id + "/pushNotificationConfigs"} {
		for header, value := range foreign {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a stream would not end
			res, body := get(w, "GET", path, with(header, value), func(r *http.Request) { *r = *r.WithContext(ctx) })
			cancel()
			if res.StatusCode != http.StatusForbidden || !strings.Contains(body, "web pages of other sites") {
				t.Errorf("%s with %s: status %d, %s", path, header, res.StatusCode, body)
			}
		}
	}

	for _, own := range []func(*http.Request){with("Sec-Fetch-Site", "same-origin"), with("Sec-Fetch-Site", "none"), with("Origin", "http://"+host)} {
		if res, body := get(w, "GET", "/tasks/"+id, own); res.StatusCode != http.StatusOK {
			t.Errorf("a page of this site: status %d, %s", res.StatusCode, body)
		}
	}

	for _, path := range []string{"/", "/.well-known/agent-card.json", "/.well-known/jwks.json"} {
		for header, value := range foreign {
			if res, _ := get(w, "GET", path, with(header, value)); res.StatusCode != http.StatusOK {
				t.Errorf("%s with %s: status %d", path, header, res.StatusCode)
			}
		}
	}
}

// No cache keeps the answer to a GET, nor does a browser take it for another type.
func TestAnswersToGetAreKeptByNoCache(t *testing.T) {
	w := newWorld(t)
	id := w.insert(anonymous, "m", a2a.TaskStateSubmitted).ID()
	for _, path := range []string{"/tasks", "/tasks/" + id, "/v1/tasks/" + id, "/tasks/none", "/nowhere", "/message:send"} {
		res, _ := get(w, "GET", path)
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Vary": "Accept, A2A-Version, A2A-Extensions, Authorization, X-API-Key"} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s, status %d: %s is %q", path, res.StatusCode, name, got)
			}
		}
	}
}

// The page of an agent without a URL names the Host of the request. No cache may show that
// to others, unless the listener checks it.
func TestPageOfAnyHostIsKeptByNoCache(t *testing.T) {
	for loopback, want := range map[bool]string{true: "", false: "no-store"} {
		w := newWorld(t, func(c *front.Config) { c.Loopback = loopback })
		if res, _ := get(w, "GET", "/"); res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != want {
			t.Errorf("on loopback %v: status %d, Cache-Control %q", loopback, res.StatusCode, res.Header.Get("Cache-Control"))
		}
	}
}

// The page names the model that answers, and nothing of the agent's becomes markup.
func TestPage(t *testing.T) {
	w := newWorld(t, func(s *front.Config) {
		a := *s.Agent
		a.Name, a.Description = `<script>alert(1)</script>`, `"><img src=x onerror=alert(2)>`
		s.Agent, s.Model = &a, `<b>model</b>`
	})
	res, body := get(w, "GET", "/")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("status %d, type %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "; frame-ancestors 'none'") {
		t.Errorf("Content-Security-Policy is %q", csp)
	}
	for _, bad := range []string{"<script", "<img", "<b>model"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	for _, good := range []string{"&lt;script&gt;", "&lt;b&gt;model", "curl -s http://" + host + "/", "/.well-known/agent-card.json"} {
		if !strings.Contains(body, good) {
			t.Errorf("the page does not hold %q", good)
		}
	}
}

// Every path has an answer.
func TestPaths(t *testing.T) {
	w := newWorld(t)
	const cardPath = "/.well-known/agent-card.json"
	for _, row := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"PUT", "/", 405}, {"DELETE", "/", 405}, {"TRACE", "/", 405}, {"CONNECT", "/", 405},
		{"GET", cardPath, 200}, {"HEAD", cardPath, 200}, {"POST", cardPath, 405},
		{"GET", "", 200}, {"GET", "//", 404}, {"GET", "/../", 404}, {"GET", "/%2e%2e", 404}, {"GET", "/\x00", 404}, {"GET", "/;x", 404},
		{"GET", cardPath + "/", 404}, {"GET", "/v1/message:send", 405}, {"POST", "/message:send", 415}, {"POST", "/turns", 404},
		{"POST", "/deliveries", 404}, {"POST", "/sweep", 404}, {"POST", "/events", 404},
	} {
		res, body := get(w, row.method, row.path)
		if res.StatusCode != row.status {
			t.Errorf("%s %q: status %d, want %d: %s", row.method, row.path, res.StatusCode, row.status, body)
		}
		if kind := res.Header.Get("Content-Type"); row.status >= 400 && row.path != cardPath && kind != "application/json" {
			t.Errorf("%s %q: refused as %s", row.method, row.path, kind)
		}
	}
}

// DELETE /tasks/{id} and /tasks/{id}/trace are not A2A's. Every other path below /tasks/ is.
func TestDeletionAndTraceAreNotOfTheProtocol(t *testing.T) {
	var asked []string
	w := newWorld(t, func(c *front.Config) {
		c.Push = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.Method+" "+r.URL.Path) })
	})
	for _, target := range []string{
		"DELETE /tasks/x", "GET /tasks/x", "DELETE /tasks/x/pushNotificationConfigs/h", "DELETE /tasks/x:cancel", "DELETE /acme/tasks/x", "GET /push/keys",
		"GET /tasks/x/trace", "POST /tasks/x/trace", "GET /tasks/x/y/trace", "GET /tasks/x:trace", "GET /acme/tasks/x/trace", "GET /tasks/trace", "GET /v1/tasks/x/trace",
	} {
		method, path, _ := strings.Cut(target, " ")
		get(w, method, path)
	}
	if diff := cmp.Diff([]string{"DELETE /tasks/x", "GET /push/keys", "GET /tasks/x/trace", "POST /tasks/x/trace"}, asked); diff != "" {
		t.Errorf("requests to the other handler (-want +got):\n%s", diff)
	}
}

// Through a real listener: HEAD has no body, and a stream flows.
func TestOverTheNetwork(t *testing.T) {
	srv := httptest.NewServer(newWorld(t))
	defer srv.Close()
	res, err := http.Head(srv.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); res.StatusCode != 200 || len(b) != 0 || err != nil {
		t.Errorf("HEAD /: status %d, %d bytes, %v", res.StatusCode, len(b), err)
	}
	res, err = http.Post(srv.URL, "application/json", strings.NewReader(request(streaming, `{"message":`+message("m", "")+`}`)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b := make([]byte, 6)
	if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "data: " {
		t.Errorf("the stream begins with %q, %v", b, err)
	}
}

// A full disk is answered as a temporary fault and leaves nothing behind: the same message is
// accepted once there is room.
//
// Shows E8.
func TestFullDiskIsUnavailable(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		var full atomic.Bool
		full.Store(true)
		w := b.world(t, func(c *front.Config) { c.Store = onFullDisk(c.Store, &full) })
		if r := w.call(t, send, sending(message("m", ""))); r.status != http.StatusServiceUnavailable || r.code() != -32603 || r.header.Get("Retry-After") != "1" {
			t.Errorf("answered %d, Retry-After %q: %s", r.status, r.header.Get("Retry-After"), r.body)
		}
		if got := w.versions(t); len(got) != 0 {
			t.Errorf("stored %v", got)
		}
		full.Store(false)
		if r := w.call(t, send, sending(message("m", ""))); r.status != http.StatusOK || r.code() != 0 {
			t.Errorf("with room again it was answered %d, %d", r.status, r.code())
		}
	})
}

// onFullDisk returns a store that refuses new records while full is set.
func onFullDisk(s task.Store, full *atomic.Bool) task.Store {
	return faulty.Store{Store: s, Before: func(c faulty.Call) error {
		if c.Op == faulty.Create && full.Load() {
			return errors.New("database or disk is full")
		}
		return nil
	}}
}
