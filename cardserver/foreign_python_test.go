package main_test

import (
	"context"
	"os/exec"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/shared/lab/conformance"
)

// TestPythonClients has clients written in Python go through a scenario of their own: over both
// bindings, HTTP/2 and HTTP/1.0, with answers in gzip, and with a reader of events that also
// ends lines where Python does.
func TestPythonClients(t *testing.T) {
	t.Parallel()
	python := needHTTPX(t)
	prompt, held := start(t), start(t, "ERRAND_MODEL=standin:delay=10m")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "testdata/python/clients.py", prompt.url(), held.url()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	var did, want []string
	for _, m := range regexp.MustCompile(`(?m)^ok (.*)$`).FindAllSubmatch(out, -1) {
		did = append(did, string(m[1]))
	}
	for _, client := range []string{"1.0 JSON-RPC", "1.0 HTTP+JSON", "0.3 JSON-RPC", "1.0 JSON-RPC over HTTP/2", "1.0 JSON-RPC over HTTP/1.0", "1.0 HTTP+JSON over HTTP/1.0"} {
		for _, step := range []string{"send and wait", "send and poll", "stream", "subscribe and cancel", "a refused stream"} {
			want = append(want, client+": "+step)
		}
	}
	if diff := cmp.Diff(want, did); diff != "" {
		t.Errorf("its steps (-want +got):\n%s", diff)
	}
}

// needHTTPX finds a Python with httpx and its HTTP/2: the first one, or the system's own, for
// which Debian has them.
func needHTTPX(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import httpx, h2").Run() == nil {
			return python
		}
	}
	conformance.Require(t, "python3-httpx", false, "install the packages python3-httpx and python3-h2, or httpx[http2] with pip")
	return ""
}
