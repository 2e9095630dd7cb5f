//go:build unix

package serve_test

import (
	"net/http"
	"os"
	"syscall"
	"testing"

	"errand/shared/serve"
)

// A process that may open few files keeps some of them for its own use.
func TestConnectionsLeaveFiles(t *testing.T) {
	const files, connections = 700, 700 - 512
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	few := was
	few.Cur = files
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}()

	s, l := startCrowd(t, serve.Options{})
	for range connections {
		if _, res := s.connect(l, "127.0.0.1:1"); res.StatusCode != http.StatusNoContent {
			t.Fatalf("a connection within the limit: status %d", res.StatusCode)
		}
	}

	if _, res := s.connect(l, "127.0.0.1:1"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a connection beyond the limit: status %d", res.StatusCode)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
