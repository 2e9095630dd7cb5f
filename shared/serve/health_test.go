package serve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"errand/shared/serve"
)

// A platform asks whether the program lives and is ready; its handler is not asked.
func TestLiveAndReady(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "the handler saw "+r.URL.Path, http.StatusTeapot)
	}, serve.Options{})
	for _, row := range []struct {
		method, path string
		status       int
	}{
		{"GET", serve.PathLive, 204}, {"HEAD", serve.PathLive, 204}, {"GET", serve.PathReady, 204}, {"POST", serve.PathReady, 405},
		{"GET", "/livex", 418}, {"GET", "/live/", 418},
	} {
		req, err := http.NewRequestWithContext(t.Context(), row.method, s.url+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != row.status {
			t.Errorf("%s %s: %d, want %d", row.method, row.path, res.StatusCode, row.status)
		}
	}
}

// A program that serves a part of its requests is ready, and says what is missing.
func TestReadySaysWhatIsMissing(t *testing.T) {
	var short atomic.Pointer[error]
	s := start(t, http.NotFound, serve.Options{Short: func(context.Context) error {
		if err := short.Load(); err != nil {
			return *err
		}
		return nil
	}})
	full := errors.New("the disk is full")
	for _, err := range []*error{nil, &full, nil} {
		short.Store(err)
		res, rerr := http.Get(s.url + serve.PathReady)
		if rerr != nil {
			t.Fatal(rerr)
		}
		text, rerr := io.ReadAll(res.Body)
		res.Body.Close()
		if rerr != nil || res.StatusCode/100 != 2 || strings.Contains(string(text), "full") != (err != nil) {
			t.Errorf("short of %v: %d %q, %v", err, res.StatusCode, text, rerr)
		}
	}
}

// A program is ready when what it needs has answered once. Until then /ready says so without
// the reason, which the log has once, and afterwards nothing is asked any more.
func TestReadyOnceWhatItNeedsHasAnswered(t *testing.T) {
	faults := make(chan error)
	var asked atomic.Int64
	s := start(t, http.NotFound, serve.Options{Ready: func(context.Context) error {
		asked.Add(1)
		return <-faults
	}})
	ask := func() (int, string) {
		t.Helper()
		res, err := http.Get(s.url + serve.PathReady)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}

	for range 3 { // while one question is under way, no other is asked
		if status, text := ask(); status != http.StatusServiceUnavailable || !strings.HasPrefix(text, "not ready") {
			t.Errorf("without an answer: %d %q", status, text)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times at once", n)
	}
	if text, err := s.get(serve.PathLive); err != nil || text != "" {
		t.Errorf("alive: %q, %v", text, err)
	}

	refused := errors.New("no right to read canary-1")
	faults <- refused
	go func() { faults <- refused }()
	if status, text := ask(); status != http.StatusServiceUnavailable || strings.Contains(text, "canary") {
		t.Errorf("refused: %d %q", status, text)
	}
	if n := strings.Count(s.log.String(), "canary-1"); n != 1 {
		t.Errorf("the log has the reason %d times:\n%s", n, s.log)
	}

	go func() { faults <- nil }()
	for {
		if status, _ := ask(); status == http.StatusNoContent {
			break
		}
	}
	before := asked.Load()
	if status, _ := ask(); status != http.StatusNoContent || asked.Load() != before {
		t.Errorf("a program that was ready: %d, asked %d more times", status, asked.Load()-before)
	}
}

// While it stops, a program is not ready, and its work goes on for as long as it may.
func TestWorkMayLinger(t *testing.T) {
	begun, cut := make(chan struct{}), make(chan time.Duration, 1)
	var began time.Time
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		began = time.Now()
		close(begun)
		<-r.Context().Done()
		cut <- time.Since(began)
	}, serve.Options{Linger: 400 * time.Millisecond})
	go func() { _, _ = s.get("/work") }()
	<-begun
	s.stop()
	if lasted := <-cut; lasted < 400*time.Millisecond {
		t.Errorf("work was cut off after %v", lasted)
	}
	s.stopped()
}

// On Google Cloud Cloud Logging makes an entry of each line.
func TestCloudLog(t *testing.T) {
	var out bytes.Buffer
	log := serve.NewCloudLog(&out, "p").With("task", "t1")
	const trace = "0af7651916cd43dd8448eb211c80319c"
	ctx := serve.WithTrace(context.Background(), "00-"+trace+"-b7ad6b7169203331-01")
	log.WarnContext(ctx, "a webhook failed", "status", 500)
	log.Info("no trace")
	var got []map[string]any

	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got = append(got, m)
	}

	for k, want := range map[string]any{
		"severity": "WARNING", "message": "a webhook failed", "task": "t1", "status": 500.0,
		"logging.googleapis.com/trace": "projects/p/traces/" + trace, "logging.googleapis.com/spanId": "b7ad6b7169203331",
	} {
		if got[0][k] != want {
			t.Errorf("%s is %v, want %v", k, got[0][k], want)
		}
	}

	if _, ok := got[1]["logging.googleapis.com/trace"]; ok || got[1]["severity"] != "INFO" || got[1]["time"] == nil {
		t.Errorf("without a trace: %v", got[1])
	}
}

func TestListenSaysHowToMendIt(t *testing.T) {
	l, err := serve.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := serve.Listen(l.Addr().String()); err == nil || !strings.Contains(err.Error(), "set PORT") {
		t.Errorf("an address in use: %v", err)
	}
	if _, err := serve.Listen("192.0.2.1:0"); err == nil || !strings.Contains(err.Error(), "an address of this machine") {
		t.Errorf("an address elsewhere: %v", err)
	}
}
