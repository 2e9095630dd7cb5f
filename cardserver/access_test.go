package main_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/shared/auth"
	"errand/shared/lab/conformance"
)

// A running program follows its access file: the key that was removed is refused, the new one
// is let in, and the card has the new scheme. A fault in between changes nothing. The test
// waits for two readings, which are 30 s apart.
func TestProgramFollowsTheAccessFile(t *testing.T) {
	conformance.NeedFull(t, "shared/auth: TestFileIsReadAgain")
	t.Parallel()
	old, oldHash := auth.NewKey()
	fresh, freshHash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(access, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("principals: [{name: a, keys: [" + oldHash + "]}]")
	p := start(t, "ERRAND_ACCESS="+access)

	get := func(path, key string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", p.url()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-API-Key", key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}

	until := func(status int, key string) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
			switch got, body := get("/tasks", key); {
			case got == status:
				return
			case time.Now().After(end):
				t.Fatalf("%d %s, want %d; the log:\n%s", got, body, status, p.logged())
			}
		}
	}

	until(200, old)
	write("principals: [{name: a, keys: [" + freshHash + `]}]
issuers: [{name: corp, issuer: https://login.example.com, audiences: [a], everyone: true}]`)
	until(401, old)
	until(200, fresh)
	if _, card := get("/.well-known/agent-card.json", ""); !strings.Contains(card, "https://login.example.com/.well-known/openid-configuration") {
		t.Errorf("the card is that of the old file: %s", card)
	}
	if n := strings.Count(p.logged(), "logger=audit"); n == 0 || strings.Contains(p.logged(), old[20:]) {
		t.Errorf("%d audit lines:\n%s", n, p.logged())
	}

	write("principal: []")
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(p.logged(), "line 1: principal: unknown key"); time.Sleep(100 * time.Millisecond) {
		if got, body := get("/tasks", fresh); got != 200 || time.Now().After(end) {
			t.Fatalf("%d %s, with a faulty file; the log:\n%s", got, body, p.logged())
		}
	}
	if n := strings.Count(p.logged(), "alert=true"); n != 1 {
		t.Errorf("%d alerts:\n%s", n, p.logged())
	}
	until(200, fresh)
}
