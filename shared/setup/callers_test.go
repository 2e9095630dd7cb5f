package setup_test

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"errand/shared/auth"
	"errand/shared/bus"
	lab "errand/shared/lab/agent"
	"errand/shared/queue"
	"errand/shared/setup"
)

// As many entries of X-Forwarded-For count as there are proxies, from the end. What a caller
// writes before them changes nothing.
func TestCallerBehindProxies(t *testing.T) {
	for _, row := range []struct {
		proxies, service string
		forwarded        string
		want             string // empty: the peer of the connection is the caller
	}{
		{"", "", "9.9.9.9", ""},
		{"0", "", "9.9.9.9", ""},
		{"0", "errand", "9.9.9.9", ""},
		{"", "errand", "9.9.9.9", "9.9.9.9/32"},
		{"", "errand", "6.6.6.6, 9.9.9.9", "9.9.9.9/32"},
		{"1", "", "6.6.6.6, 9.9.9.9", "9.9.9.9/32"},
		{"2", "errand", "9.9.9.9, 35.1.1.1", "9.9.9.9/32"},
		{"2", "errand", "6.6.6.6, 7.7.7.7, 9.9.9.9, 35.1.1.1", "9.9.9.9/32"},
		{"2", "errand", "9.9.9.9", "192.0.2.1/32"}, // it came past a proxy: all of those are one caller
	} {
		caller := setup.Env{Proxies: row.proxies, Service: row.service}.Caller()
		if caller == nil {
			if row.want != "" {
				t.Errorf("%+v: the peer is the caller", row)
			}
			continue
		}
		r := httptest.NewRequest("POST", "/", nil) // from 192.0.2.1
		r.Header.Set("X-Forwarded-For", row.forwarded)
		if got := caller(r).String(); got != row.want {
			t.Errorf("%+v: %s", row, got)
		}
	}
}

// stripped is a token of an account as Cloud Run passes it on.
func stripped(audience, email string) string {
	now := time.Now().Unix()
	b64 := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"1","email":%q,"email_verified":true,"iat":%d,"exp":%d}`, auth.GoogleIssuer, audience, email, now, now+3600)
	return b64([]byte(`{"alg":"RS256","kid":"k","typ":"JWT"}`)) + "." + b64([]byte(claims)) + ".SIGNATURE_REMOVED_BY_GOOGLE"
}

// With ERRAND_CHECKED_BY=cloudrun cardserver tells callers apart by the identity that Cloud Run has
// checked. Without it they are all one, and such a token says nothing.
func TestFrontBehindTheCheckOfCloudRun(t *testing.T) {
	for checked, want := range map[string]string{"cloudrun": "google/1", "": auth.Anonymous} {
		e := cloud(t)
		e.CheckedBy = checked
		f, err := setup.OpenFront(t.Context(), e, lab.Definition, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Authorization", "Bearer "+stripped("https://agent.example.com", "alice@acme.example"))
		if p, err := f.Access.Identify(r); err != nil || p.Owner != want {
			t.Errorf("checked by %q: %q, %v, want %q", checked, p.Owner, err, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// With ERRAND_CHECKED_BY=cloudrun the endpoints of worker and functions accept the invoker's
// tokens as Cloud Run passes them on, each the one for its own path. Without it they do not.
func TestDoorsBehindTheCheckOfCloudRun(t *testing.T) {
	const base, invoker = "https://f.example.com", "errand-invoker@p.iam.gserviceaccount.com"
	token := func(path, email string) string { return stripped(base+path, email) }

	for checked, want := range map[string][4]int{
		"cloudrun": {http.StatusNoContent, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnauthorized},
		"":         {http.StatusUnauthorized, http.StatusUnauthorized, http.StatusUnauthorized, http.StatusUnauthorized},
	} {
		e := cloud(t)
		e.CheckedBy, e.FunctionsURL, e.Invoker, e.URL = checked, base, invoker, "https://a.example.com"
		f, err := setup.OpenFunctions(t.Context(), e, lab.Definition, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		h, err := f.Mount(map[string]http.Handler{queue.PathDeliver: done, bus.PathEvents: done})
		if err != nil {
			t.Fatal(err)
		}

		for i, authorization := range []string{
			"Bearer " + token(queue.PathDeliver, invoker), "Bearer " + token(bus.PathEvents, invoker),
			"Bearer " + token(queue.PathDeliver, "other@p.iam.gserviceaccount.com"), "",
		} {
			r := httptest.NewRequest("POST", queue.PathDeliver, nil)
			r.Header.Set("Authorization", authorization)
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != want[i] {
				t.Errorf("checked by %q, token %d: answered %d, want %d", checked, i, w.Code, want[i])
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
