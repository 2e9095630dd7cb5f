package audit_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"errand/shared/audit"
	"errand/shared/auth"
)

// Requests without a line are no fault: tests and handlers of other paths have none.
func TestWithoutALine(t *testing.T) {
	l := audit.Of(t.Context())
	l.Caller(auth.Principal{})
	l.Operation("x", true)
	l.Task("t")
	l.Owner("o")
	l.Status(202)
	l.Done()
	l.Failed(500, "x", nil)
}

// An operation that is done has its line at once, and no second one. A refusal that ends its
// answer has one of its own.
func TestOneLine(t *testing.T) {
	var b bytes.Buffer
	line := audit.Of(audit.New(slog.New(slog.NewTextHandler(&b, nil))).Begin(t.Context()))
	line.Caller(auth.Principal{Owner: "alice", Via: "key abc"})
	line.Operation("SendStreamingMessage", true)
	line.Done()
	line.Done()
	line.Failed(503, "UNAVAILABLE", nil)
	if n := strings.Count(b.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, &b)
	}
	line.Failed(401, "", &auth.Refusal{Reason: "no longer in the access file"})
	if n := strings.Count(b.String(), "\n"); n != 2 || !strings.Contains(b.String(), `reason="no longer in the access file"`) {
		t.Errorf("%d lines:\n%s", n, &b)
	}
}

// Clients without credentials cannot fill the log. A later line counts the lines that were
// left out, and identified callers lose none.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := audit.New(slog.New(slog.NewTextHandler(&b, nil)))
		begin := func() *audit.Line { return audit.Of(log.Begin(context.Background())) }
		for range 1000 {
			begin().Failed(401, "", nil)
		}
		if n := strings.Count(b.String(), "\n"); n != 200 {
			t.Errorf("%d lines for 1000 requests without credentials", n)
		}

		b.Reset()
		line := begin()
		line.Caller(auth.Principal{Owner: "alice"})
		line.Failed(403, "", nil)
		if n := strings.Count(b.String(), "\n"); n != 1 || !strings.Contains(b.String(), "leftOut=800") {
			t.Errorf("the next line is %s", &b)
		}

		b.Reset()
		time.Sleep(time.Second)
		for range 1000 {
			begin().Failed(401, "", nil)
		}
		if n := strings.Count(b.String(), "\n"); n != 20 {
			t.Errorf("%d lines a second later", n)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	log := audit.New(slog.New(slog.NewTextHandler(new(discard), nil)))
	b.ReportAllocs()
	for b.Loop() {
		line := audit.Of(log.Begin(context.Background()))
		line.Caller(auth.Principal{Owner: "acme/ci", Via: "key 3k7x2b7q"})
		line.Operation("SendMessage", true)
		line.Task("7b2k3xyq5d1c56cc51b374c3ba189210d5")
		line.Done()
	}
}

type discard struct{}

func (*discard) Write(p []byte) (int, error) { return len(p), nil }
