package wire_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"errand/cardserver/front/wire"
)

// The deadline of one answer must not outlive it: the connection may serve others.
func TestWriteDeadlineEndsWithTheAnswer(t *testing.T) {
	t.Parallel()
	const deadline = time.Second // for an answer that takes a moment
	mux := http.NewServeMux()
	mux.Handle("POST /", wire.JSONRPC(nil, wire.Options{WriteTimeout: deadline}))
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })
	s := httptest.NewServer(mux)
	defer s.Close()
	res, err := s.Client().Post(s.URL, "application/json", strings.NewReader("{"))
	if err != nil {
		t.Fatal(err)
	}

	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}

	res.Body.Close()
	<-time.After(deadline + deadline/10)
	reused := false
	trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}

	res, err = s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "here" || !reused {
		t.Errorf("on the same connection (%v): %q, %v", reused, body, err)
	}
}
