package card_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkHandler compares the handlers alone; "bare" is the least work of an answer in
// net/http.
func BenchmarkHandler(b *testing.B) {
	body := []byte(`{"hello":"world"}`)
	for name, h := range map[string]http.Handler{
		"fixed": handler(b, base),
		"host":  handler(b, ""),
		"bare": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			w := discard{Writer: io.Discard, header: http.Header{}}
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
}

// discard is a response without a reader.
type discard struct {
	io.Writer
	header http.Header
}

func (d discard) Header() http.Header { return d.header }
func (d discard) WriteHeader(int)     {}
