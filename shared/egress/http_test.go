package egress_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"errand/shared/egress"
)

// code is a client for code, and what it logs.
func code(t *testing.T, allow string, change ...func(*egress.Config)) (*http.Client, *bytes.Buffer) {
	t.Helper()
	list, err := egress.ParseAllow(allow)
	if err != nil {
		t.Fatal(err)
	}
	cfg := egress.Config{Allow: list}
	for _, f := range change {
		f(&cfg)
	}
	var log bytes.Buffer
	c, err := egress.NewHTTP(cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c, &log
}

// get reads what a URL has.
func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// Code reaches what the operator allows, by any spelling, and nothing else that is
// private. The error tells nothing, and the log has the cause.
func TestCodeReachesOnlyWhatIsAllowed(t *testing.T) {
	inner := newTrap(t, false, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "inner") })
	_, port, _ := strings.Cut(inner.addr(), ":")

	for _, row := range []struct {
		what, allow, url string
		own              string
		ok               bool
		cause            string
	}{
		{"an address that is allowed", inner.addr(), inner.URL, "", true, ""},
		{"a name that leads there", inner.addr(), "http://inner.test:" + port, "", true, ""},
		{"one label", inner.addr(), "http://shop:" + port, "", true, ""},
		{"localhost", inner.addr(), "http://localhost:" + port, "", true, ""},
		{"nothing allowed", "", inner.URL, "", false, "destination refused"},
		{"a name, nothing allowed", "", "http://inner.test:" + port, "", false, "destination refused"},
		{"another port", "127.0.0.1:1", inner.URL, "", false, "destination refused"},
		{"another address", inner.elsewhere(), inner.URL, "", false, "destination refused"},
		{"ourselves, by address", inner.addr(), inner.URL, inner.URL, false, "this installation itself"},
		{"ourselves, by name", inner.addr(), "http://Inner.test.:" + port, "http://inner.test:" + port, false, "this installation itself"},
		{"the metadata server", inner.addr(), "http://169.254.169.254/computeMetadata/v1/", "", false, "destination refused"},
		{"public, by plain HTTP", inner.addr(), "http://8.8.8.8:80/", "", false, "destination refused"},
	} {
		t.Run(row.what, func(t *testing.T) {
			before := inner.requests.Load()
			c, log := code(t, row.allow, leads(inner, "127.0.0.1"), func(cfg *egress.Config) {
				if row.own != "" {
					cfg.Own = []string{row.own}
				}
			})

			got, err := get(t, c, row.url)
			if reached := inner.requests.Load() > before; reached != row.ok || (err == nil) != row.ok || row.ok && got != "inner" {
				t.Fatalf("reached %t, read %q, %v; want %t", reached, got, err, row.ok)
			}
			if row.ok {
				return
			}

			if !errors.Is(err, egress.ErrRefused) || !strings.Contains(err.Error(), "the destination could not be reached") {
				t.Errorf("the error is %v", err)
			}
			if !strings.Contains(log.String(), row.cause) {
				t.Errorf("the log does not say %q: %s", row.cause, log)
			}
		})
	}
}

// Each step of a redirect is judged.
func TestCodeIsNotRedirectedInside(t *testing.T) {
	inner := newTrap(t, false, nil)
	outer := newTrap(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/twice" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		http.Redirect(w, r, inner.URL, http.StatusFound)
	})

	for _, path := range []string{"/", "/twice"} {
		c, _ := code(t, outer.addr())
		if _, err := get(t, c, outer.URL+path); !errors.Is(err, egress.ErrRefused) || inner.conns.Load() > 0 {
			t.Errorf("%s: %v, with %d connections to the inner server", path, err, inner.conns.Load())
		}
	}

	both, _ := code(t, outer.addr()+","+inner.addr())
	if _, err := get(t, both, outer.URL); err != nil || inner.requests.Load() != 1 {
		t.Errorf("an allowed redirect: %v, %d requests", err, inner.requests.Load())
	}
}

// A body that is too large is an error and not a shorter body. A context ends a request.
func TestCodeLimits(t *testing.T) {
	size, hangs := egress.MaxCodeBody, make(chan bool, 1)

	s := newTrap(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			hangs <- true
			<-r.Context().Done()
			return
		}

		_, _ = io.CopyN(w, zeros{}, int64(size))
	})

	c, _ := code(t, s.addr())

	if got, err := get(t, c, s.URL); err != nil || len(got) != size {
		t.Errorf("%d bytes: read %d, %v", size, len(got), err)
	}

	size++
	var large *http.MaxBytesError
	if got, err := get(t, c, s.URL); !errors.As(err, &large) {
		t.Errorf("%d bytes: read %d, %v", size, len(got), err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/hang", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}

	go func() {
		<-hangs
		cancel()
	}()

	if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled request: %v", err)
	}
	if c.Timeout <= 0 {
		t.Error("a request has no time limit")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
