package wire_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
	"errand/shared/memory"
	"errand/shared/serve"
)

// A compressed body is held to the limit of bodies by what it holds, and no more of it is
// unpacked.
func TestCompressedBody(t *testing.T) {
	h := wire.JSONRPC(&script{}, wire.Options{MaxBody: 1000})
	padded := func(n int) string { return message("") + strings.Repeat(" ", n-len(message(""))) }
	packed := func(text string) string { return string(serve.Gzip([]byte(text))) }
	damaged := func(text string) string { // in its checksum
		b := []byte(text)
		b[len(b)-6] ^= 1
		return string(b)
	}
	for name, row := range map[string]struct {
		body, encoding string
		status         int
		says           string
	}{
		"at the limit":   {packed(padded(1000)), "gzip", 200, ""},
		"one more":       {packed(padded(1001)), "gzip", 413, "larger than 1000 bytes"},
		"a bomb":         {packed(strings.Repeat(" ", 800<<10)), "gzip", 413, "larger than 1000 bytes"},
		"in two pieces":  {packed(message("")[:10]) + packed(message("")[10:]), "x-gzip", 200, ""},
		"large in both":  {strings.Repeat(packed(""), 100), "gzip", 413, "larger than 1000 bytes"},
		"not compressed": {message(""), "gzip", 400, "not gzip"},
		"damaged":        {damaged(packed(padded(500))), "gzip", 400, "not gzip"},
		"cut":            {packed(padded(500))[:40], "gzip", 400, "ended too early"},
		"another":        {message(""), "zstd", 415, "must be gzip"},
	} {
		got := call(t, h, row.body, header("Content-Encoding", row.encoding))
		if got.status != row.status || !strings.Contains(got.body, row.says) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if accepts := got.header.Get("Accept-Encoding"); (accepts == "gzip") != (row.status == 415) {
			t.Errorf("%s: Accept-Encoding is %q", name, accepts)
		}
	}
}

// A compressed body is charged before it is unpacked, as the largest one, and gives back what it
// did not need.
func TestCompressedBodyIsCharged(t *testing.T) {
	text := message("")
	packed := string(serve.Gzip([]byte(text + strings.Repeat(" ", 10<<10))))
	const most = 32 << 10
	h := wire.JSONRPC(&script{}, wire.Options{MaxBody: most, Memory: &wire.Memory{Requests: memory.Sized(most - 1), Answers: memory.Sized(most)}})
	if got := call(t, h, packed, header("Content-Encoding", "gzip")); got.status != http.StatusServiceUnavailable {
		t.Errorf("a compressed body of %d bytes: %d %s", len(packed), got.status, got.body)
	}
	if got := call(t, h, text); got.status != http.StatusOK {
		t.Errorf("a body of %d bytes: %d %s", len(text), got.status, got.body)
	}

	h = wire.JSONRPC(&script{}, wire.Options{MaxBody: most, Memory: &wire.Memory{Requests: memory.Sized(most), Answers: memory.Sized(most)}})
	for range 3 { // its values fit beside the 10 KiB that it holds, and not beside the largest body
		if got := call(t, h, packed, header("Content-Encoding", "gzip")); got.status != http.StatusOK {
			t.Errorf("it is charged for more than it holds: %d %s", got.status, got.body)
		}
	}
}

// A compressed answer is charged for what it holds: it waits for a compressor as that.
func TestCompressedAnswerIsCharged(t *testing.T) {
	for size, want := range map[int64]int{32 << 10: http.StatusServiceUnavailable, 1 << 20: http.StatusOK} {
		long := task("t1")
		long.Metadata = map[string]any{"long": strings.Repeat("a", 200<<10)}
		send := func(context.Context, *a2a.SendMessageRequest) (a2a.SendMessageResult, error) { return long, nil }
		h := wire.JSONRPC(&script{send: send}, wire.Options{Memory: &wire.Memory{Requests: memory.Sized(1 << 20), Answers: memory.Sized(size)}})
		res := post(h, message(""), header("Accept-Encoding", "gzip"))
		if res.StatusCode != want || (res.Header.Get("Content-Encoding") == "gzip") != (want == http.StatusOK) || res.ContentLength > 10<<10 {
			t.Errorf("with room for %d bytes: %d, %v", size, res.StatusCode, res.Header)
		}
	}
}
