package front_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// A large task is compressed for those who ask, with the same text, and so is the page for
// people. A stream is not.
func TestLargeAnswersAreCompressed(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		r := w.insert(anonymous, "m", a2a.TaskStateSubmitted)
		w.end(w.claim(r.ID()), a2a.TaskStateCompleted, chunk("a", strings.Repeat("the answer ", 1000), false))

		ask := func(r *http.Request, accepts string) *httptest.ResponseRecorder {
			r.Header.Set("Accept-Encoding", accepts)
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			if rec.Code != http.StatusOK {
				t.Errorf("%s: %d %s", r.URL, rec.Code, rec.Body)
			}
			return rec
		}

		for what, request := range map[string]func() *http.Request{
			"the task": func() *http.Request { return b.request("GetTask", byID(r.ID())) },
			"the page": func() *http.Request { return newRequest("GET", "/", "") },
		} {
			plain, packed := ask(request(), ""), ask(request(), "gzip")
			z, err := gzip.NewReader(packed.Body)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if text, err := io.ReadAll(z); err != nil || string(text) != plain.Body.String() {
				t.Errorf("%s: %.100q, %v, want %.100q", what, text, err, plain.Body)
			}
			if vary := strings.Join(packed.Header()["Vary"], ", "); !strings.Contains(vary, "Accept-Encoding") || strings.Join(plain.Header()["Vary"], ", ") != vary {
				t.Errorf("%s: Vary is %q", what, vary)
			}
		}

		w.work(w.answer)
		stream := ask(b.request(streaming, sending(message("n", `"parts":[{"text":"`+strings.Repeat("c", 4<<10)+`"}]`))), "gzip")
		if h := stream.Header(); h.Get("Content-Encoding") != "" || h.Get("Content-Type") != "text/event-stream" {
			t.Errorf("the stream has %v", h)
		}
	})
}
