package keys_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"errand/shared/adapters/local"
	"errand/shared/keys"
	"errand/shared/secret"
)

// reader reads a ring out of an environment that the test can change.
func reader(environment map[string]string) func(context.Context) (secret.Value, error) {
	from := local.Env{Lookup: func(name string) (string, bool) { v, ok := environment[name]; return v, ok }}
	return func(ctx context.Context) (secret.Value, error) { return from.Get(ctx, secret.Ref{Name: keys.Secret}) }
}

func TestKeyringReadsTheRingAsItIsNow(t *testing.T) {
	environment := map[string]string{"ERRAND_KEYS": line(0, 1)}
	k := keys.New(keys.Config{Read: reader(environment)})
	first, err := k.Ring(t.Context())
	if err != nil || !same(first, parse(t, line(0, 1))) {
		t.Fatalf("Ring = %v, %v", first, err)
	}
	// A ring is a pointer to its derived keys: the same one was not made again.
	if again, err := k.Ring(t.Context()); err != nil || again != first {
		t.Errorf("the same text was read again into another ring: %v", err)
	}
	environment["ERRAND_KEYS"] = line(0, 2)
	if next, err := k.Ring(t.Context()); err != nil || !same(next, parse(t, line(0, 2))) {
		t.Errorf("Ring after a change is the old one: %v", err)
	}
	environment["ERRAND_KEYS"] = line(0, 2) + "CANARY"
	if _, err := k.Ring(t.Context()); err == nil || !strings.Contains(err.Error(), "errand-keys, which cardserver keys makes, cannot be used: keys: line 2: must be") || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("Ring of a broken secret = %v", err)
	}
	delete(environment, "ERRAND_KEYS")
	if _, err := k.Ring(t.Context()); !errors.Is(err, secret.ErrNotFound) || !strings.Contains(err.Error(), "the secret errand-keys, which cardserver keys makes, cannot be read") {
		t.Errorf("Ring without a secret = %v", err)
	}
}

func TestKeyringAtOnce(t *testing.T) {
	k := keys.New(keys.Config{Read: reader(map[string]string{"ERRAND_KEYS": line(0, 1)})})
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			if _, err := k.Ring(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServeJWKS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is the year 2000
		at := time.Now()
		text := at.Format(time.RFC3339) + " " + key(1) + "," + at.Add(time.Hour).Format(time.RFC3339) + " " + key(2)
		environment := map[string]string{"ERRAND_KEYS": text}
		k := keys.New(keys.Config{Read: reader(environment)})
		serve := func(method string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			k.ServeJWKS(w, httptest.NewRequest(method, "/.well-known/jwks.json", nil))
			return w
		}

		for range 2 {
			w := serve("GET")
			if w.Code != 200 || w.Body.String() != string(parse(t, text).JWKS(time.Now())) {
				t.Errorf("GET = %d %s", w.Code, w.Body)
			}
			if got := w.Header(); got.Get("Content-Type") != "application/jwk-set+json" || got.Get("Cache-Control") != "public, max-age=300" {
				t.Errorf("GET has headers %v", got)
			}

			time.Sleep(2 * time.Hour)
		}

		if w := serve("POST"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST = %d %v", w.Code, w.Header())
		}

		environment["ERRAND_KEYS"] = "CANARY"
		w := serve("GET")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "" || strings.Contains(w.Body.String(), "CANARY") {
			t.Errorf("GET without a ring = %d %v %s", w.Code, w.Header(), w.Body)
		}
	})
}
