package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"errand/cardserver/api"
	"errand/shared/auth"
	base "errand/shared/lab/world"
	server "errand/shared/serve"
)

// serve makes a handler of operations. Without more words, each says what it was asked for.
func serve(t *testing.T, rows ...string) *api.Handler {
	t.Helper()
	all := map[string]api.Operation{}
	for _, row := range rows {
		all[row] = api.Operation{Right: auth.Read, Serve: func(q *api.Call) error {
			return q.JSON(http.StatusOK, row+" a="+q.PathValue("a")+" b="+q.PathValue("b"))
		}}
	}
	return handler(t, all)
}

func handler(t *testing.T, all map[string]api.Operation) *api.Handler {
	access, _ := base.Access(t)
	return api.New(api.Config{
		Operations: all, Access: access, Log: slog.New(slog.DiscardHandler), Nothing: "nothing is here",
		Describe: func(err error) error {
			if errors.Is(err, io.ErrShortWrite) {
				return &api.Problem{Status: http.StatusConflict, Detail: "it is short"}
			}
			return nil
		},
	})
}

func get(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(method, path, strings.NewReader(body)))
	return rec
}

// A path is matched segment by segment, and a value is never taken for a path.
func TestPaths(t *testing.T) {
	h := serve(t, "GET /x", "POST /x", "GET /x/{a}", "POST /x/{a}:do", "GET /x/{a}/y/{b}", "DELETE /x/{a}")
	for _, row := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/x", 200, `"GET /x a= b="`},
		{"HEAD", "/x", 200, ``},
		{"POST", "/x?q", 200, `"POST /x a= b="`},
		{"GET", "/x/1", 200, `"GET /x/{a} a=1 b="`},
		{"GET", "/x/%41%20b", 200, `"GET /x/{a} a=A b b="`},
		{"GET", "/x/1%2Fy%2F2", 200, `"GET /x/{a} a=1/y/2 b="`},
		{"POST", "/x/1:do", 200, `"POST /x/{a}:do a=1 b="`},
		{"GET", "/x/1/y/2", 200, `"GET /x/{a}/y/{b} a=1 b=2"`},
		{"GET", "/x/1:do", 405, "POST"},
		{"PUT", "/x/1", 405, "DELETE, GET"},
		{"GET", "/x/1:undo", 404, ""},
		{"GET", "/x/", 404, ""},
		{"GET", "/x//y/2", 404, ""},
		{"GET", "/x/1/", 404, ""},
		{"GET", "/", 404, ""},
	} {
		rec := get(h, row.method, row.path, "")
		if rec.Code != row.status || row.status == 200 && row.method != "HEAD" && strings.TrimSpace(rec.Body.String()) != row.want {
			t.Errorf("%s %s: %d %s, want %s", row.method, row.path, rec.Code, rec.Body, row.want)
		}
		if row.status != 200 && (rec.Header().Get("Content-Type") != "application/problem+json" || row.status == 405 && rec.Header().Get("Allow") != row.want) {
			t.Errorf("%s %s: %v", row.method, row.path, rec.Header())
		}
		if rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s may be kept by caches", row.method, row.path)
		}
	}
}

// Where no path has a verb, a value may have a colon.
func TestPathsWithoutVerbs(t *testing.T) {
	if rec := get(serve(t, "GET /x/{a}"), "GET", "/x/1:undo", ""); strings.TrimSpace(rec.Body.String()) != `"GET /x/{a} a=1:undo b="` {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A known error has its own answer. Any other one is ours: it tells nothing, and is to be tried
// again.
func TestErrors(t *testing.T) {
	var fails error
	h := handler(t, map[string]api.Operation{"GET /x": {Right: auth.Read, Serve: func(*api.Call) error { return fails }}})
	for _, row := range []struct {
		err    error
		status int
		says   string
	}{
		{api.Invalid("name", "is odd"), 400, `"detail":"name is odd","field":"name"`},
		{fmt.Errorf("writing: %w", io.ErrShortWrite), 409, "it is short"},
		{auth.Limited("things", time.Second, "no more"), 429, "no more (limit things)"},
		{errors.New("a secret"), 503, "try again"},
	} {
		fails = row.err
		rec := get(h, "GET", "/x", "")
		if rec.Code != row.status || !strings.Contains(rec.Body.String(), row.says) || strings.Contains(rec.Body.String(), "secret") {
			t.Errorf("%v: %d %s", row.err, rec.Code, rec.Body)
		}
		if again := rec.Header().Get("Retry-After"); (row.status > 409) != (again != "") {
			t.Errorf("%v: Retry-After is %q", row.err, again)
		}
	}
}

// Bodies and queries are read strictly.
func TestReading(t *testing.T) {
	h := handler(t, map[string]api.Operation{"POST /x": {Right: auth.Read, Serve: func(q *api.Call) error {
		query, err := q.Query("n")
		if err != nil {
			return err
		}
		n, err := api.Number(query, "n", 7, 9)
		if err != nil {
			return err
		}
		var v struct {
			A int `json:"a"`
		}
		if err := q.Read(&v, 40, "the description"); err != nil {
			return err
		}
		return q.JSON(http.StatusOK, []int{n, v.A})
	}}})

	for _, row := range []struct {
		query, body string
		status      int
		says        string
	}{
		{"", "", 200, "[7,0]"},
		{"?n=9", ` {"a":3} `, 200, "[9,3]"},
		{"?n=0", "", 400, `"field":"n"`},
		{"?n=10", "", 400, `"field":"n"`},
		{"?n=1&n=1", "", 400, `"field":"n"`},
		{"?m=1", "", 400, `"field":"m"`},
		{"?n=%", "", 400, `"field":"query"`},
		{"", `{"b":1}`, 400, `"field":"body"`},
		{"", `{"a":"1"}`, 400, `"field":"a"`},
		{"", `{} {}`, 400, `"field":"body"`},
		{"", `[]`, 400, `"field":"body"`},
		{"", `{"a":1,` + strings.Repeat(" ", 40) + `}`, 413, `"field":"body"`},
	} {
		rec := get(h, "POST", "/x"+row.query, row.body)
		if rec.Code != row.status || !strings.Contains(rec.Body.String(), row.says) {
			t.Errorf("%s %s: %d %s", row.query, row.body, rec.Code, rec.Body)
		}
	}

	for _, row := range []struct {
		encoding, body string
		status         int
		says           string
	}{
		{"gzip", packed(`{"a":3}`), 200, "[7,3]"},
		{"gzip", packed(`{"a":1,` + strings.Repeat(" ", 40) + `}`), 413, `"field":"body"`},
		{"gzip", `{"a":             3}`, 400, "not gzip"},
		{"br", `{"a":3}`, 415, `"field":"Content-Encoding"`},
	} {
		r, rec := httptest.NewRequest("POST", "/x", strings.NewReader(row.body)), httptest.NewRecorder()
		r.Header.Set("Content-Encoding", row.encoding)
		if h.ServeHTTP(rec, r); rec.Code != row.status || !strings.Contains(rec.Body.String(), row.says) {
			t.Errorf("%s %q: %d %s", row.encoding, row.body, rec.Code, rec.Body)
		}
	}

	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("POST", "/x", iotest.ErrReader(os.ErrDeadlineExceeded)))
	if rec.Code != http.StatusRequestTimeout {
		t.Errorf("late: %d %s", rec.Code, rec.Body)
	}
}

func packed(text string) string { return string(server.Gzip([]byte(text))) }

// timed counts the deadlines that a handler sets.
type timed struct {
	*httptest.ResponseRecorder
	reads, writes int
}

func (c *timed) SetReadDeadline(time.Time) error  { c.reads++; return nil }
func (c *timed) SetWriteDeadline(time.Time) error { c.writes++; return nil }

// A large body has more time with each part that has arrived, and not with each byte. A long
// answer has more time with each write.
func TestTimesOfLargeBodies(t *testing.T) {
	const size = 200 << 10
	h := handler(t, map[string]api.Operation{"POST /x": {Right: auth.Read, Serve: func(q *api.Call) error {
		err := q.Receive(size, func(_ context.Context, body io.Reader) error {
			n, err := io.Copy(io.Discard, body)
			if n != size {
				t.Errorf("%d bytes", n)
			}
			return err
		})
		if err != nil {
			return err
		}
		q.Send("text/plain", 3, func(_ context.Context, w io.Writer) error {
			for range 3 {
				fmt.Fprint(w, "x")
			}
			return nil
		})
		return nil
	}}})

	c := &timed{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(c, httptest.NewRequest("POST", "/x", iotest.OneByteReader(strings.NewReader(strings.Repeat("x", size)))))
	if c.reads != 4 || c.writes != 4 || c.Body.String() != "xxx" || c.Header().Get("Content-Length") != "3" {
		t.Errorf("%d times to read, %d to write, the answer %q %v", c.reads, c.writes, c.Body, c.Header())
	}
}

// The client is told why its body could not be read, and not what that made of it. Other errors
// are those of whatever takes the body.
func TestBodyThatBreaksOff(t *testing.T) {
	taken := io.ErrShortWrite
	h := handler(t, map[string]api.Operation{"POST /x": {Right: auth.Read, Serve: func(q *api.Call) error {
		return q.Receive(5, func(_ context.Context, body io.Reader) error {
			if _, err := io.Copy(io.Discard, body); err != nil {
				return errors.New("it was not stored")
			}
			return taken
		})
	}}})
	for _, row := range []struct {
		body   io.Reader
		status int
	}{
		{iotest.ErrReader(io.ErrUnexpectedEOF), 400}, {iotest.ErrReader(os.ErrDeadlineExceeded), 408}, {strings.NewReader("x"), 409},
	} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("POST", "/x", io.MultiReader(strings.NewReader("x"), row.body)))
		if rec.Code != row.status {
			t.Errorf("%d %s, want %d", rec.Code, rec.Body, row.status)
		}
	}
}

// An answer that breaks off has no end, and a HEAD has no body.
func TestAnswerThatBreaksOff(t *testing.T) {
	h := handler(t, map[string]api.Operation{"GET /x": {Right: auth.Read, Serve: func(q *api.Call) error {
		q.Send("text/plain", -1, func(_ context.Context, w io.Writer) error {
			fmt.Fprint(w, "a part")
			return io.ErrUnexpectedEOF
		})
		return nil
	}}})
	server := httptest.NewServer(h)
	defer server.Close()

	res, err := http.Get(server.URL + "/x")
	if err == nil { // otherwise it was cut before its header
		defer res.Body.Close()
		_, err = io.ReadAll(res.Body)
	}
	if err == nil {
		t.Error("the answer has an end")
	}
	res, err = http.Head(server.URL + "/x")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("the head: %v, %v", res, err)
	}
}
