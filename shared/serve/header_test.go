package serve_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"errand/shared/serve"
)

// A header of too many lines, or too many bytes, is refused while it arrives, and the lines
// of a body count for none.
func TestHeadersAreBounded(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}, serve.Options{Limits: serve.Limits{Header: time.Hour, Discard: short.Discard}})

	const begin = "GET / HTTP/1.1\r\nHost: x\r\n"
	lines := func(n int) (text string) {
		for i := range n {
			text += fmt.Sprintf("X%d: a line like others have\r\n", i)
		}
		return text
	}
	last := begin + "Connection: close\r\n\r\n"
	body := strings.Repeat("\n", 5000)
	whole := fmt.Sprintf(announced, len(body)) + body

	for name, row := range map[string]struct {
		text   string
		status string
		times  int
	}{
		"a hundred lines":            {begin + lines(90) + "\r\n" + last, "204", 2},
		"lines without end":          {begin + lines(200), "431", 1},
		"lines of a second request":  {begin + "\r\n" + begin + lines(200), "431", 1},
		"bytes without end":          {begin + "X: " + strings.Repeat("x", 21<<10), "431", 1},
		"bodies of lines":            {whole + whole + last, "204", 3},
		"headers of a few lines":     {strings.Repeat(begin+lines(30)+"\r\n", 10) + last, "204", 11},
		"a pipeline of small pieces": {strings.Repeat(begin+"\r\n", 300) + last, "204", 301},
	} {
		got := s.exchange(row.text)
		if n := strings.Count(got, "HTTP/1.1 "+row.status+" "); n != row.times {
			t.Errorf("%s: %d answers %s, want %d; the last is %q", name, n, row.status, row.times, got[max(0, len(got)-300):])
		}
	}
}

// The headers of all connections fit into the memory of a small machine: the worst header
// that is not refused costs less than 80 KiB while its request lasts, whole or not.
func TestHeadersCostLittle(t *testing.T) {
	const connections, most = 100, 80 << 10
	begun, release := make(chan struct{}), make(chan struct{})
	s := start(t, func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-release
	}, serve.Options{})

	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}

	worst := "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 18<<10) + "\r\n" + strings.Repeat("a:\r\n", 90)
	for i := range 120 {
		worst += fmt.Sprintf("%x:\r\n", 100+i)
	}

	before := heap()
	for range connections {
		if _, err := io.WriteString(s.dial(), worst+"\r\n"); err != nil {
			t.Fatal(err)
		}
		<-begun
	}

	cost := (heap() - before) / connections
	close(release)
	t.Logf("a connection with the worst header costs %d bytes", cost)
	if cost > most {
		t.Errorf("a connection costs %d bytes, at most %d wanted", cost, most)
	}
}

// A connection without a whole request ends: one that is silent, one whose header does not
// end, and one that is kept for nothing.
func TestIdleConnectionsEnd(t *testing.T) {
	t.Parallel()
	limits := serve.Limits{Read: time.Hour, Header: 100 * time.Millisecond, Idle: 100 * time.Millisecond, Discard: short.Discard}
	s := start(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, serve.Options{Limits: limits})
	const request, half = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHo"

	for name, row := range map[string]struct {
		text    string
		answers int
	}{
		"silent": {"", 0}, "half a header": {half, 0},
		"kept": {request, 1}, "kept with some bytes": {request + "GE", 1}, "kept with half a header": {request + half, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := s.exchange(row.text); strings.Count(got, "HTTP/1.1 204 ") != row.answers {
				t.Errorf("it got %q", got)
			}
		})
	}

	t.Run("a byte of the header at a time", func(t *testing.T) {
		t.Parallel()
		c := s.dial()
		go func() {
			tick := time.NewTicker(limits.Header / 10)
			defer tick.Stop()
			for range tick.C {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
			}
		}()
		readAll(t, c)
	})
}
