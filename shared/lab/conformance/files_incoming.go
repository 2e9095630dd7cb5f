package conformance

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"errand/shared/files"
)

// signUpload signs an upload. A place may take none, with the error that says so: there is no
// more to its law.
func signUpload(t *testing.T, s *files.Store, u files.Upload) (signed files.SignedUpload, takes bool) {
	t.Helper()
	signed, err := s.SignUpload(t.Context(), u, time.Hour)
	if errors.Is(err, files.ErrNoSigning) {
		return signed, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed, true
}

// send sends a signed request, and returns the status of its answer.
func send(t *testing.T, signed files.SignedUpload, content []byte, change func(*http.Request)) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), signed.Method, signed.URL, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = signed.Header.Clone()
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// signedUploadIsAdopted checks the way of a content that does not pass through the program.
func signedUploadIsAdopted(t *testing.T, b FilesBench) {
	content := filled(3<<20+1, 1)
	u := files.Upload{Name: "d/e/f", Owner: "alice", MediaType: "text/plain; charset=utf-8", Size: int64(len(content)), Max: 4 << 20}
	signed, takes := signUpload(t, b.Files, u)
	if !takes {
		return
	}
	if _, err := b.Files.Adopt(t.Context(), u, signed.Content); !errors.Is(err, files.ErrNoContent) {
		t.Errorf("before the upload: %v, want ErrNoContent", err)
	}

	if status := send(t, signed, content, nil); status != http.StatusOK {
		t.Fatalf("the upload was answered with %d", status)
	}
	if _, err := b.Files.Stat(t.Context(), u.Name); !errors.Is(err, files.ErrNotFound) {
		t.Errorf("before it is adopted: %v, want ErrNotFound", err)
	}

	var first files.Info
	for n := range 2 {
		info, err := b.Files.Adopt(t.Context(), u, signed.Content)
		want := files.Info{Name: u.Name, Owner: "alice", MediaType: u.MediaType, Size: u.Size, SHA256: hexSum(content), Modified: info.Modified}
		if err != nil || info != want || n > 0 && !info.Modified.Equal(first.Modified) {
			t.Fatalf("Adopt = %+v, %v, want %+v", info, err, want)
		}
		first = info
	}

	fileHolds(t, b.Files, u.Name, content)
	if status := send(t, signed, content, nil); status != http.StatusPreconditionFailed {
		t.Errorf("a second upload was answered with %d", status)
	}
	if err := b.Files.DeleteAll(t.Context(), "d/e"); err != nil {
		t.Fatal(err)
	}
	if left := b.Objects(); len(left) != 0 {
		t.Errorf("after DeleteAll there is %q", left)
	}
}

// signedUploadIsForNothingElse changes what the service must refuse.
func signedUploadIsForNothingElse(t *testing.T, b FilesBench) {
	content := filled(1000, 1)
	u := files.Upload{Name: "d/f", Size: int64(len(content))}
	for name, change := range map[string]func(*http.Request){
		"another type":         func(r *http.Request) { r.Header.Set("Content-Type", "text/html") },
		"no type":              func(r *http.Request) { r.Header.Del("Content-Type") },
		"replacing":            func(r *http.Request) { r.Header.Del("X-Goog-If-Generation-Match") },
		"any size":             func(r *http.Request) { r.Header.Set("X-Goog-Content-Length-Range", "0,10000") },
		"another header":       func(r *http.Request) { r.Header.Set("X-Goog-Acl", "public-read") },
		"another object":       func(r *http.Request) { r.URL.Path += "A" },
		"reading":              func(r *http.Request) { r.Method = http.MethodGet },
		"shown in the browser": func(r *http.Request) { r.Header.Set("Content-Disposition", "inline") },
		"a byte too few":       func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(content[1:])), 999 },
		"a byte more": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(append(content, 1))), 1001
		},
		"of a lifetime forever": func(r *http.Request) { r.URL.RawQuery += "&X-Goog-Expires=604800" },
	} {
		signed, takes := signUpload(t, b.Files, u)
		if !takes {
			return
		}
		if status := send(t, signed, content, change); status < 400 || status > 499 {
			t.Errorf("%s was answered with %d", name, status)
		}
	}
	if left := b.Objects(); len(left) != 0 {
		t.Errorf("there is %q", left)
	}

	signed, _ := signUpload(t, b.Files, u)
	if status := send(t, signed, content, nil); status != http.StatusOK {
		t.Fatalf("the upload was answered with %d", status)
	}
	small := u
	small.Size, small.Max = 0, 999
	if _, err := b.Files.Adopt(t.Context(), small, signed.Content); !errors.Is(err, files.ErrTooLarge) {
		t.Errorf("a content that is too large: %v", err)
	}

	other := u
	other.SHA256 = hexSum(nil)
	if _, err := b.Files.Adopt(t.Context(), other, signed.Content); !errors.Is(err, files.ErrMismatch) {
		t.Errorf("another content: %v", err)
	}
	for _, name := range []string{"", "../x", "AAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if _, err := b.Files.Adopt(t.Context(), u, name); !errors.Is(err, files.ErrNoContent) {
			t.Errorf("a content named %q: %v", name, err)
		}
	}
	for _, wrong := range []files.Upload{{Name: "f"}, {Name: "+", Size: 1}, {Name: "f", Size: 1, MediaType: "x"}} {
		if _, err := b.Files.SignUpload(t.Context(), wrong, time.Hour); err == nil {
			t.Errorf("an upload of %+v is signed", wrong)
		}
	}
}
