package auth_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"errand/shared/auth"
)

// For all headers, only one spelling of one token opens the door, and only the key itself
// identifies a client.
func FuzzCredentials(f *testing.F) {
	w := newDoorWorld(f)
	key, hash := auth.NewKey()
	access, err := auth.Load(write(f, "principals: [{name: alice, keys: ["+hash+"]}]"), auth.Options{Now: w.clock.Now})
	if err != nil {
		f.Fatal(err)
	}

	token := w.idp.token(w.clock)
	for _, authorization := range []string{
		"", "Bearer ", "Bearer " + token, "bearer " + token, "Basic " + token, "Bearer " + key, "Bearer " + key[:40], "Bearer a.b.c", "Bearer ..",
		"Bearer " + w.idp.token(w.clock, head("alg", "none"), signedBy(nil)), "Bearer " + w.idp.token(w.clock, claim("exp", "1")),
		"Bearer " + w.idp.token(w.clock, edit(`"exp":`, `"exp":1e400,"exp":`)), "Bearer " + b64([]byte(`{"alg":"RS256","kid":"rsa-1"}`)) + ".bnVsbA.AA",
		"Bearer " + token[:len(token)-340] + ".SIGNATURE_REMOVED_BY_GOOGLE",
	} {
		f.Add(authorization, "")
		f.Add("", authorization)
	}

	f.Add("", key)

	f.Fuzz(func(t *testing.T, authorization, apiKey string) {
		r := httptest.NewRequest("POST", "/", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		if apiKey != "" {
			r.Header.Set("X-API-Key", apiKey)
		}

		w.clock.move(time.Microsecond)
		rec := httptest.NewRecorder()
		w.door.ServeHTTP(rec, r)
		if want := authorization == "Bearer "+token; (rec.Code == http.StatusOK) != want || rec.Code >= 429 {
			t.Errorf("the door answers %d", rec.Code)
		}

		p, err := access.Identify(r)
		if (err == nil) != (p.Owner == "alice") {
			t.Errorf("identified as %q, %v", p.Owner, err)
		}
		if err == nil && apiKey != key && (len(authorization) < len(key) || authorization[len(authorization)-len(key):] != key) {
			t.Errorf("identified by %q and %q", authorization, apiKey)
		}
	})
}

func BenchmarkIdentifyByKey(b *testing.B) {
	key, hash := auth.NewKey()
	a, err := auth.Load(write(b, "principals: [{name: alice, keys: ["+hash+"]}]"), auth.Options{})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set(authorization, "Bearer "+key)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Identify(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDoor(b *testing.B) {
	w := newDoorWorld(b)
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set(authorization, "Bearer "+w.idp.token(w.clock))
	b.ReportAllocs()
	for b.Loop() {
		rec := httptest.NewRecorder()
		w.door.ServeHTTP(rec, r)
		if rec.Code != http.StatusOK {
			b.Fatal(rec.Code)
		}
	}
}
