package card_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"testing"
)

// A client that reads gzip gets the same card compressed, under a tag of its own that both kinds
// of client may send back.
func TestCardIsCompressed(t *testing.T) {
	h := handler(t, "https://agent.example.com")
	plain, packed := ask(h, "GET"), ask(h, "GET", "Accept-Encoding", "gzip")
	want, _ := io.ReadAll(plain.Body)
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != string(want) || len(got) < 1<<10 {
		t.Errorf("it is %s, %v", got, err)
	}
	if packed.Header.Get("Content-Encoding") != "gzip" || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("headers %v and %v", packed.Header, plain.Header)
	}
	tag, other := plain.Header.Get("Etag"), packed.Header.Get("Etag")
	if other != "W/"+tag {
		t.Errorf("tags %s and %s", tag, other)
	}

	for _, lines := range [][]string{nil, {"Accept-Encoding", "gzip"}} {
		whole := ask(h, "GET", lines...)
		for what, res := range map[string]*http.Response{"a HEAD": ask(h, "HEAD", lines...), "a repeated GET": ask(h, "GET", append(lines, "If-None-Match", tag)...), "one by the other tag": ask(h, "GET", append(lines, "If-None-Match", other)...)} {
			for _, name := range []string{"Etag", "Vary", "Cache-Control"} {
				if got, want := res.Header.Get(name), whole.Header.Get(name); got != want || want == "" {
					t.Errorf("%s with %v: %s is %q, of the GET %q", what, lines, name, got, want)
				}
			}
			if head := what == "a HEAD"; head && res.Header.Get("Content-Length") != whole.Header.Get("Content-Length") || head == (res.StatusCode == http.StatusNotModified) {
				t.Errorf("%s with %v: %d %v", what, lines, res.StatusCode, res.Header)
			}
		}
	}
}
