package wire

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/auth"
	"errand/shared/dialect"
	"errand/shared/lab/dense"
	"errand/shared/memory"
)

// An idle handler accepts everything and keeps nothing.
type idle struct{ a2asrv.RequestHandler }

func (idle) SendMessage(context.Context, *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
	return &a2a.Task{ID: "t"}, nil
}

func (idle) CancelTask(context.Context, *a2a.CancelTaskRequest) (*a2a.Task, error) {
	return &a2a.Task{ID: "t"}, nil
}

func rpc(method, role, fields string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{"message":{"messageId":"m","role":"` + role + `",` + fields + `}}}`
}

// The error about too many values names field and limit, in every binding and version.
func TestTooManyValues(t *testing.T) {
	list := dense.Unit{Text: "0", Values: 1}.List(1<<20, maxValues+1)
	for _, tt := range []struct{ name, path, body, field string }{
		{"JSON-RPC", "/", rpc("SendMessage", "ROLE_USER", `"parts":[{"data":`+list+`}]`), "message.parts[0].data[9993]"},
		{"JSON-RPC of 0.3", "/", rpc("message/send", "user", `"parts":[{"kind":"data","data":{"a":`+list+`}}]`), "message.parts[0].data.a[9991]"},
		{"HTTP+JSON", "/message:send", `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"data":` + list + `}]}}`, "message.parts[0].data[9993]"},
		{"HTTP+JSON of 0.3", "/v1/message:send", `{"message":{"messageId":"m","role":"ROLE_USER","content":[{"data":{"data":` + list + `}}]}}`, "message.content[0].data.data[9992]"},
		{"a name twice", "/", rpc("SendMessage", "ROLE_USER", `"metadata":{"a":1,"a":`+list+`}`), "message.metadata.a[9993]"},
	} {
		h := JSONRPC(idle{}, Options{})
		if tt.path != "/" {
			h = REST(idle{}, Options{})
		}
		res := sendTo(h, tt.path, strings.NewReader(tt.body))
		text := res.Body.String()
		want := tt.field + ` is one JSON value too many: a request may hold ` + strconv.Itoa(maxValues)
		if !strings.Contains(text, want) || strings.Contains(text, `"id":null`) {
			t.Errorf("%s: HTTP %d %.300s, want %q", tt.name, res.Code, text, want)
		}
	}
}

func sendTo(h http.Handler, path string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, body)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// left returns how many bytes of a pool of the given size are free.
func left(p *memory.Pool, size int64) int64 {
	c := p.Charge("")
	defer c.Settle()
	for n := size; n > 0; n-- {
		if c.Take(n) == nil {
			return n
		}
	}
	return 0
}

// requestsOf returns a Memory with the given pool for requests.
func requestsOf(p *memory.Pool) *Memory { return &Memory{Requests: p, Answers: memory.Sized(1 << 30)} }

// A watched body notes how much of a Memory was free when its first byte was read.
type watchedBody struct {
	io.Reader
	memory *memory.Pool
	size   int64
	free   int64
	read   bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if !b.read {
		b.read, b.free = true, left(b.memory, b.size)
	}
	return b.Reader.Read(p)
}

// A waiting handler calls then while it serves a send.
type waiting struct {
	idle
	then func(context.Context)
}

func (h waiting) SendMessage(ctx context.Context, r *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
	h.then(ctx)
	return h.idle.SendMessage(ctx, r)
}

func (h waiting) SendStreamingMessage(ctx context.Context, _ *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		h.then(ctx)
		yield(&a2a.Task{ID: "t"}, nil)
	}
}

// A request takes its body before the first byte and its values before the handler, and
// gives everything back when the handler says so and at the end.
func TestRequestsAreCharged(t *testing.T) {
	const size = 100_000
	for _, method := range []string{"SendMessage", "SendStreamingMessage"} {
		for _, chunked := range []bool{false, true} {
			m := memory.Sized(size)
			var during, settled int64
			h := JSONRPC(waiting{then: func(ctx context.Context) {
				during = left(m, size)
				Settled(ctx)
				settled = left(m, size)
				Settled(ctx)
			}}, Options{Memory: requestsOf(m), MaxBody: 50_000})

			text := rpc(method, "ROLE_USER", `"parts":[{"text":"x"}]`)
			body := &watchedBody{Reader: strings.NewReader(text), memory: m, size: size}
			r := httptest.NewRequest(http.MethodPost, "/", body)
			r.Header.Set("Content-Type", "application/json")
			announced := int64(50_000)
			if r.ContentLength = -1; !chunked {
				announced = int64(len(text))
				r.ContentLength = announced
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)

			charge := int64(len(text) + memory.Values([]byte(text))*memory.ValueCost)
			if body.free != size-announced || during != size-charge || settled != size || left(m, size) != size {
				t.Errorf("%s, chunked %t: free at the first byte %d, in the handler %d, settled %d, at the end %d; want %d, %d, %d, %d: %s",
					method, chunked, body.free, during, settled, left(m, size), size-announced, size-charge, size, size, w.Body)
			}
		}
	}
}

// A request that finds too little memory is answered 503 with Retry-After, before its body
// is read or its values are decoded. Every outcome gives back what was taken.
func TestFullMemoryRefuses(t *testing.T) {
	text := rpc("SendMessage", "ROLE_USER", `"parts":[{"text":"x"}]`)
	values := int64(memory.Values([]byte(text))) * memory.ValueCost
	size := int64(len(text)) + values

	for _, tt := range []struct {
		name  string
		taken int64
		code  int
		read  bool
	}{
		{"enough", 0, http.StatusOK, true},
		{"one byte too little for the values", 1, http.StatusServiceUnavailable, true},
		{"enough for the body only", values, http.StatusServiceUnavailable, true},
		{"one byte too little for the body", values + 1, http.StatusServiceUnavailable, false},
	} {
		m := memory.Sized(size)
		other := m.Charge("")
		if err := other.Take(tt.taken); err != nil {
			t.Fatal(err)
		}

		body := &watchedBody{Reader: strings.NewReader(text), memory: m, size: size}
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.ContentLength = int64(len(text))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		JSONRPC(idle{}, Options{Memory: requestsOf(m)}).ServeHTTP(w, r)

		if w.Code != tt.code || body.read != tt.read {
			t.Errorf("%s: HTTP %d, body read: %t, want %d, %t", tt.name, w.Code, body.read, tt.code, tt.read)
		}
		if refused := tt.code != http.StatusOK; refused && (w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "no memory for another one")) {
			t.Errorf("%s: Retry-After %q, %s", tt.name, w.Header().Get("Retry-After"), w.Body)
		}
		if free := left(m, size); free != size-tt.taken {
			t.Errorf("%s: %d bytes are free afterwards, want %d", tt.name, free, size-tt.taken)
		}
	}
}

// A broken body, a body that is too large and a panic give back what was taken.
func TestFailedRequestsGiveBack(t *testing.T) {
	const size = 10_000
	for name, body := range map[string]io.Reader{
		"no JSON":       strings.NewReader("{"),
		"too large":     strings.NewReader(strings.Repeat(" ", 1001)),
		"ends early":    io.MultiReader(strings.NewReader("{"), failing{}),
		"wrong":         strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{}}`),
		"a panic below": strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"t"}}`),
	} {
		m := memory.Sized(size)
		w := sendTo(JSONRPC(idle{}, Options{Memory: requestsOf(m), MaxBody: 1000}), "/", body)
		if free := left(m, size); free != size {
			t.Errorf("%s: %d bytes are free afterwards, want %d (HTTP %d)", name, free, size, w.Code)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// memory.ValueCost covers what a value takes when it is decoded.
func TestValueCost(t *testing.T) {
	for _, u := range dense.Units {
		text := []byte(u.List(1<<20, maxValues))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := newCursor(text)
		c.dialect = dialect.V1
		v := c.value()
		c = nil
		runtime.GC()
		runtime.ReadMemStats(&after)

		values := memory.Values(text)
		kept := int(after.HeapAlloc) - int(before.HeapAlloc)
		if most := values*memory.ValueCost + len(text) + 64<<10; kept > most {
			t.Errorf("%s: %d values of %d bytes hold %d, want at most %d", u.Name, values, len(text), kept, most)
		}
		t.Logf("%s: %d bytes per value", u.Name, kept/values)
		runtime.KeepAlive(v)
		runtime.KeepAlive(text)
	}
}

// A caller whose requests in progress hold its share of the memory is refused for its own
// sake, with 429. Another caller is served.
func TestMemoryIsSharedAmongCallers(t *testing.T) {
	pool := memory.Sized(100_000)
	flood := pool.Charge("flood")
	if err := flood.Take(50_000); err != nil {
		t.Fatal(err)
	}

	for caller, want := range map[string]int{"flood": http.StatusTooManyRequests, "quiet": http.StatusOK} {
		h := JSONRPC(idle{}, Options{Memory: requestsOf(pool), Identify: func(r *http.Request) (context.Context, error) {
			return auth.With(r.Context(), auth.Principal{Owner: caller}), nil
		}})
		res := sendTo(h, "/", strings.NewReader(rpc("SendMessage", "ROLE_USER", `"parts":[{"text":"`+strings.Repeat("x", 10_000)+`"}]`)))
		if res.Code != want {
			t.Errorf("%s: HTTP %d, want %d: %.300s", caller, res.Code, want, res.Body)
		}
		if want == http.StatusTooManyRequests && (res.Header().Get("Retry-After") != "1" || !strings.Contains(res.Body.String(), "your share of the memory")) {
			t.Errorf("Retry-After %q, %s", res.Header().Get("Retry-After"), res.Body)
		}
	}
}
