package objects_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"errand/shared/objects"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ url, bucket, name string }{
		{"gs://acme-in/prompts.jsonl", "acme-in", "prompts.jsonl"},
		{"gs://acme-in/2026/11/prompts.jsonl", "acme-in", "2026/11/prompts.jsonl"},
		{"gs://acme.example.com/ä #1?x=%2e%2E", "acme.example.com", "ä #1?x=%2e%2E"}, // as it stands
		{"gs://acme-in//a//b/", "acme-in", "/a//b/"},
		{"gs://acme-in/...", "acme-in", "..."},
		{"gs://acme-in/" + strings.Repeat("x", 1024), "acme-in", strings.Repeat("x", 1024)},
	} {
		if bucket, name, err := objects.Parse(c.url); bucket != c.bucket || name != c.name || err != nil {
			t.Errorf("Parse(%q) = %q, %q, %v", c.url, bucket, name, err)
		}
	}

	for _, url := range []string{
		"", "gs://", "gs://acme-in", "gs://acme-in/", "gs:///x", "gs://A/x", "gs://ab/x", "gs://Acme-in/x", "gs://acme_in-/x", "gs://acme in/x",
		"GS://acme-in/x", "s3://acme-in/x", "https://storage.googleapis.com/acme-in/x", "acme-in/x", " gs://acme-in/x", "file:///etc/passwd",
		"gs://acme-in/a\nb", "gs://acme-in/a\rb", "gs://acme-in/\xff", "gs://acme-in/" + strings.Repeat("x", 1025),
		"gs://acme-in/.", "gs://acme-in/..", "gs://acme-in/a/../b", "gs://acme-in/./b", "gs://acme-in/a/..",
		"gs://" + strings.Repeat("b", 223) + "/x", "gs://user@acme-in/x", "gs://acme-in:80/x",
	} {
		if _, _, err := objects.Parse(url); !errors.Is(err, objects.ErrURL) {
			t.Errorf("Parse(%.40q) = %v, want ErrURL", url, err)
		} else if len(url) > len(objects.Scheme) && strings.Contains(err.Error(), url) {
			t.Errorf("Parse(%.40q) repeats it: %v", url, err)
		}
	}
}

func TestCheckPrefix(t *testing.T) {
	for _, prefix := range []string{"gs://acme-in/", "gs://acme-in/prompts/", "gs://acme-in/prompts/2026/"} {
		if err := objects.CheckPrefix(prefix); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	for _, prefix := range []string{"", "/", "gs://", "gs:///", "gs://acme-in", "gs://acme-in/prompts", "gs://acme-in/../", "gs://acme-in/a/./", "gs://*/", "gs://acme-*/", "s3://acme-in/", "acme-in/", "gs://acme-in//"} {
		if err := objects.CheckPrefix(prefix); err == nil {
			t.Errorf("%s is accepted", prefix)
		}
	}
}

// asked is a Source that notes what it is asked for.
type asked []string

func (a *asked) Stat(_ context.Context, url string) (objects.Object, error) {
	*a = append(*a, url)
	return objects.Object{URL: url, Generation: 7}, nil
}

func (a *asked) Open(_ context.Context, url string, _, _ int64) (io.ReadCloser, error) {
	*a = append(*a, url)
	return io.NopCloser(strings.NewReader("content")), nil
}

// What an owner may not read is not asked for. The error is that of an object that does not
// exist, and the right is looked up at each use.
func TestGuarded(t *testing.T) {
	var source asked
	may := map[string]bool{"acme/ci gs://acme-in/a": true}
	g := objects.Guarded{Source: &source, May: func(owner, url string) bool { return may[owner+" "+url] }}

	try := func(owner, url string, want error) {
		t.Helper()
		if _, err := g.Stat(t.Context(), owner, url); !errors.Is(err, want) || want == objects.ErrNotFound && err.Error() != want.Error() {
			t.Errorf("Stat for %s of %s = %v, want %v", owner, url, err, want)
		}
		r, err := g.Open(t.Context(), owner, url, 7, 0)
		if !errors.Is(err, want) || (r == nil) != (want != nil) {
			t.Errorf("Open for %s of %s = %v, %v, want %v", owner, url, r, err, want)
		}
	}

	try("acme/ci", "gs://acme-in/a", nil)
	if len(source) != 2 {
		t.Errorf("asked for %q", source)
	}

	source = nil
	try("acme/ci", "gs://acme-in/b", objects.ErrNotFound)
	try("other/bob", "gs://acme-in/a", objects.ErrNotFound)
	try("anonymous", "gs://acme-in/a", objects.ErrNotFound)
	try("acme/ci", "gs://acme-in/../a", objects.ErrURL)
	may = nil
	try("acme/ci", "gs://acme-in/a", objects.ErrNotFound)
	if len(source) != 0 {
		t.Errorf("asked for %q, which nobody may read", source)
	}
}

// The model may be sent the address of an object that its owner may read, in one spelling only,
// and every URL that anybody may fetch. Nothing is asked about it. Without rights no object passes.
func TestPass(t *testing.T) {
	var source asked
	g := objects.Guarded{Source: &source, May: func(owner, url string) bool { return owner == "acme/ci" && strings.HasPrefix(url, "gs://acme-in/") }}
	for _, url := range []string{"gs://acme-in/a", "gs://acme-in/2026/ä 1.pdf", "gs://acme-in/a=b,c;d!$&'()+@~.x"} {
		if err := g.Pass("acme/ci", url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		for owner, g := range map[string]objects.Guarded{"acme/bob": g, "": g, "acme/ci": {}} {
			if err := g.Pass(owner, url); err == nil || strings.Contains(err.Error(), url) {
				t.Errorf("%s for %q: %v", url, owner, err)
			}
		}
	}

	for _, url := range []string{
		"", "gs://acme-in/", "gs://acme-in//a", "gs://acme-in/a//b", "gs://acme-in/a/", "gs://acme-in/a%2e", "gs://acme-in/a?b", "gs://acme-in/a#1", "gs://acme-in/a*", "gs://acme-in/[a]",
		`gs://acme-in/a\b`, "gs://acme-in/a\x00", "gs://acme-in/a\u202eb", "gs://acme-in/\uff0e\uff0e", "gs://acme-in/a\uff0fb", "gs://acme-in/\u2024\u2024/a", "GS://acme-in/a", "gs:acme-in/a",
		"s3://acme-in/a", "file:///a", "data:,a", "//acme-in/a", "https://generativelanguage.googleapis.com/v1beta/files/a", "https://GENERATIVELANGUAGE.googleapis.com./v1beta/files/a",
	} {
		if g.Pass("acme/ci", url) == nil {
			t.Errorf("%q passes", url)
		}
	}

	for _, url := range []string{"https://example.com/a", "http://example.com/a?b=gs://acme-out/a", "https://storage.googleapis.com/acme-out/a"} {
		if err := (objects.Guarded{}).Pass("", url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if len(source) != 0 {
		t.Errorf("asked for %q", source)
	}
}
