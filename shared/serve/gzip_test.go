package serve_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"errand/shared/serve"
)

// A client that reads gzip says so in many ways.
func TestTakesGzip(t *testing.T) {
	for text, want := range map[string]bool{
		"gzip": true, "GZIP": true, "x-gzip": true, "gzip, deflate, br, zstd": true, "br;q=1.0, gzip;q=0.8, *;q=0.1": true, "*": true, "gzip ; q=0.001": true,
		"": false, "br": false, "identity": false, "gzip;q=0": false, "gzip;q=0.000": false, "gzip;q=0, *": false, "*, gzip;q=0": false, "*;q=0": false, "gzipped": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", text)
		if got := serve.TakesGzip(r); got != want {
			t.Errorf("Accept-Encoding: %s: %v", text, got)
		}
	}
	if serve.TakesGzip(httptest.NewRequest("GET", "/", nil)) {
		t.Error("a client that says nothing")
	}
}

// An answer above 1 KiB is compressed for those who ask, and says that it differs.
func TestLargeAnswersAreCompressed(t *testing.T) {
	small, large := strings.Repeat("x", 1<<10), strings.Repeat("x", 1<<10+1)
	for _, row := range []struct {
		text, accepts, encoding, vary string
	}{
		{small, "gzip", "", ""}, {small, "", "", ""},
		{large, "gzip", "gzip", "Accept-Encoding"}, {large, "br", "", "Accept-Encoding"}, {large, "", "", "Accept-Encoding"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", row.accepts)
		w := httptest.NewRecorder()
		serve.Answer{Status: http.StatusTeapot, Type: "text/plain", Body: []byte(row.text)}.For(r).Write(w)
		h := w.Header()
		if w.Code != http.StatusTeapot || h.Get("Content-Encoding") != row.encoding || h.Get("Vary") != row.vary || h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) || h.Get("Content-Type") != "text/plain" {
			t.Errorf("%d bytes, %q: %d %v", len(row.text), row.accepts, w.Code, h)
		}
		if got := unpacked(t, h, w.Body.Bytes()); got != row.text {
			t.Errorf("%d bytes, %q: the client reads %d bytes", len(row.text), row.accepts, len(got))
		}
	}
}

// unpacked is the text of an answer.
func unpacked(t *testing.T, h http.Header, body []byte) string {
	t.Helper()
	if h.Get("Content-Encoding") == "" {
		return string(body)
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A HEAD has the headers of the GET, in both versions of HTTP.
func TestHeadOfACompressedAnswer(t *testing.T) {
	body := []byte(strings.Repeat("x", 4<<10))
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		serve.Answer{Status: http.StatusOK, Type: "text/plain", Body: body, Timeout: patience}.For(r).Write(w)
	}, serve.Options{})

	for _, client := range []*http.Client{http.DefaultClient, overHTTP2(t)} {
		var lengths []string
		for _, method := range []string{"GET", "HEAD"} {
			req, err := http.NewRequestWithContext(t.Context(), method, s.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "gzip")
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.Header.Get("Content-Encoding") != "gzip" || (len(text) == 0) != (method == "HEAD") {
				t.Errorf("%s: %v, %d bytes, %v", method, res.Header, len(text), err)
			}
			lengths = append(lengths, res.Header.Get("Content-Length"))
		}

		if lengths[0] != lengths[1] || lengths[0] == "" {
			t.Errorf("the lengths are %q", lengths)
		}
	}
}

// Answers do not pile up before the compressors: where many wait, the next one goes as it is.
func TestFewAnswersWaitForACompressor(t *testing.T) {
	asked := httptest.NewRequest("GET", "/", nil)
	asked.Header.Set("Accept-Encoding", "gzip")
	encoding := func() string {
		w := httptest.NewRecorder()
		serve.Answer{Status: http.StatusOK, Type: "text/plain", Body: bytes.Repeat([]byte("a"), 4<<10)}.For(asked).Write(w)
		return w.Header().Get("Content-Encoding") + " " + w.Header().Get("Vary")
	}

	giveBack := serve.TakeCompressors()
	waited := make(chan string)
	for range serve.MostCompressing {
		go func() { waited <- encoding() }()
	}
	for serve.Compressing() < serve.MostCompressing {
		runtime.Gosched()
	}
	if got := encoding(); got != " Accept-Encoding" {
		t.Errorf("one more has %q", got)
	}

	giveBack()
	for range serve.MostCompressing {
		if got := <-waited; got != "gzip Accept-Encoding" {
			t.Errorf("one that waited has %q", got)
		}
	}
}
