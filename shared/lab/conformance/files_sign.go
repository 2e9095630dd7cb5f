package conformance

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	"errand/shared/files"
)

func sign(t *testing.T, s *files.Store, name string, lifetime time.Duration) string {
	t.Helper()
	signed, err := s.Sign(t.Context(), name, lifetime)
	if err != nil {
		t.Fatalf("Sign(%s) = %v", name, err)
	}
	return signed
}

// fetch gets a URL and returns the status, the body and the headers.
func fetch(t *testing.T, b FilesBench, url string) (int, []byte, http.Header) {
	t.Helper()
	resp, err := b.Fetch(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body, resp.Header
}

func signedURLGivesTheFile(t *testing.T, b FilesBench) {
	for _, n := range []int{0, 1, 3 << 20} {
		content := filled(n, 1)
		putFile(t, b.Files, files.Upload{Name: "d/report-1.pdf", MediaType: "application/pdf"}, content)
		status, body, header := fetch(t, b, sign(t, b.Files, "d/report-1.pdf", time.Hour))
		if status != http.StatusOK || !bytes.Equal(body, content) {
			t.Errorf("the signed URL gives %d and %d bytes, want 200 and %d", status, len(body), n)
		}
		how, params, err := mime.ParseMediaType(header.Get("Content-Disposition"))
		if header.Get("Content-Type") != "application/pdf" || how != "attachment" || params["filename"] != "report-1.pdf" {
			t.Errorf("the answer has the type %q and the disposition %q (%v), want an attachment report-1.pdf", header.Get("Content-Type"), header.Get("Content-Disposition"), err)
		}
	}
	for _, lifetime := range []time.Duration{-time.Second, 0, time.Millisecond, files.MaxLifetime + 1} {
		if signed, err := b.Files.Sign(t.Context(), "d/report-1.pdf", lifetime); err == nil {
			t.Errorf("Sign for %v = %s", lifetime, signed)
		}
	}
	sign(t, b.Files, "d/report-1.pdf", files.MaxLifetime)
	if _, err := b.Files.Sign(t.Context(), "d/other", time.Hour); !errors.Is(err, files.ErrNotFound) {
		t.Errorf("Sign of a missing file = %v, want ErrNotFound", err)
	}
}

// signedURLEnds checks the end of a lifetime, and the replacement and deletion of a file.
func signedURLEnds(t *testing.T, b FilesBench) {
	putFile(t, b.Files, files.Upload{Name: "f"}, filled(10, 1))
	replaced := sign(t, b.Files, "f", time.Hour)
	putFile(t, b.Files, files.Upload{Name: "f"}, filled(10, 2))
	deleted := sign(t, b.Files, "f", time.Hour)
	if status, body, _ := fetch(t, b, replaced); status == http.StatusOK {
		t.Errorf("the URL of a replaced file still returns %d bytes", len(body))
	}

	short := sign(t, b.Files, "f", time.Second)
	signed := time.Now()
	for deadline := signed.Add(patience); ; time.Sleep(10 * time.Millisecond) {
		status, _, _ := fetch(t, b, short)
		if status == http.StatusForbidden {
			break
		}
		if status != http.StatusOK || time.Now().After(deadline) {
			t.Fatalf("a URL with a lifetime of a second answers %d after %v, want 403", status, time.Since(signed))
		}
	}

	if status, _, _ := fetch(t, b, deleted); status != http.StatusOK {
		t.Errorf("the URL with another lifetime answers %d", status)
	}
	if err := b.Files.Delete(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := fetch(t, b, deleted); status == http.StatusOK {
		t.Errorf("the URL of a deleted file returns %d bytes", len(body))
	}
}

// signedURLIsForNothingElse flips every bit of a signed URL.
func signedURLIsForNothingElse(t *testing.T, b FilesBench) {
	putFile(t, b.Files, files.Upload{Name: "d/f-1"}, filled(10, 1))
	putFile(t, b.Files, files.Upload{Name: "d/f-0"}, filled(10, 2)) // one bit away
	signed := sign(t, b.Files, "d/f-1", time.Hour)
	u, err := url.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}

	tried := 0
	for i := len(u.Scheme + "://" + u.Host); i < len(signed); i++ {
		for bit := range 7 {
			changed := []byte(signed)
			changed[i] ^= 1 << bit
			other, err := url.Parse(string(changed))
			if err != nil || other.Host != u.Host || other.Path == u.Path && reflect.DeepEqual(other.Query(), u.Query()) {
				continue // not a URL, or the same URL in another spelling
			}

			resp, err := b.Fetch(string(changed))
			if err != nil {
				continue // not a valid request
			}

			tried++
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Errorf("with bit %d of byte %d (%c) changed to %c the URL works", bit, i, signed[i], changed[i])
			}
		}
	}

	if tried < 500 {
		t.Errorf("only %d changes were tried", tried)
	}
	if status, _, _ := fetch(t, b, signed); status != http.StatusOK {
		t.Errorf("the unchanged URL answers %d", status)
	}
}
