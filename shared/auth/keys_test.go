package auth_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"errand/shared/auth"
)

func (w *doorWorld) status(changes ...func(*made)) int {
	return w.knock(authorization, "Bearer "+w.idp.token(w.clock, changes...)).StatusCode
}

func TestInvokerTokensWithUnknownKeysAskTheIssuerRarely(t *testing.T) { // 9
	w := newDoorWorld(t)
	for i := range 50 {
		if got := w.status(head("kid", fmt.Sprint("made-up-", i))); got != http.StatusUnauthorized {
			t.Fatalf("made-up key %d: %d", i, got)
		}
	}
	if n := w.idp.asked(); n > 2 {
		t.Errorf("50 made-up keys caused %d fetches", n)
	}
	if got := w.status(); got != http.StatusOK {
		t.Errorf("a good token among them: %d", got)
	}
	for range 50 {
		w.clock.move(time.Second)
		w.status(head("kid", "made-up"))
	}
	if n := w.idp.asked(); n > 8 {
		t.Errorf("50 s of made-up keys caused %d fetches", n)
	}
}

func TestInvokerTokensThatCannotBeGoodAskNobody(t *testing.T) {
	w := newDoorWorld(t)
	w.status(claim("aud", "https://other.example.com"))
	w.status(claim("iss", "https://other.example.com"))
	w.status(claim("exp", w.clock.in(-time.Second)))
	w.status(head("kid", nil))
	if n := w.idp.asked(); n != 0 {
		t.Errorf("they caused %d fetches", n)
	}
}

// Row 28: the key set cannot be fetched.
func TestKeysWhileTheIssuerIsOutOfReach(t *testing.T) {
	for name, broken := range map[string]http.HandlerFunc{
		"500":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"slow": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"half": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"keys":`)
		},
		"10 MB":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat(" ", 10<<20)) },
		"HTML":     func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"no keys":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`) },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"emulator's alg": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"keys":[{"kty":"RSA","alg":"RSA256","kid":"rsa-1","n":"AQAB","e":"AQAB"}]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newDoorWorld(t)
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			answers := func(h http.HandlerFunc) {
				client.Timeout = 0
				if name == "slow" && h != nil {
					client.Timeout = 20 * time.Millisecond // it never answers, so a busy machine changes nothing
				}
				w.idp.breakWith(h)
			}

			w.keys = auth.NewKeys(auth.KeysConfig{Issuer: w.idp.URL, URL: w.idp.URL + "/keys", Client: client, Now: w.clock.Now})
			w.door = w.newDoor(t, audience)

			answers(broken)
			if got := w.status(); got != http.StatusServiceUnavailable {
				t.Errorf("never seen a key: %d", got)
			}
			if name == "10 MB" && !strings.Contains(w.log.String(), "more than 256 KiB") {
				t.Errorf("the log does not say so: %s", w.log)
			}

			answers(nil)
			w.clock.move(10 * time.Second)
			if got := w.status(); got != http.StatusOK {
				t.Fatalf("back: %d", got)
			}

			answers(broken)
			for _, age := range []time.Duration{time.Minute, time.Hour, 22 * time.Hour} {
				w.clock.move(age)
				if got := w.status(); got != http.StatusOK {
					t.Errorf("%v later: %d", age, got)
				}
			}

			if got := w.status(signedBy(foreign().rsa)); got != http.StatusUnauthorized {
				t.Errorf("a forged one meanwhile: %d", got)
			}

			w.clock.move(time.Hour)
			if got := w.status(); got != http.StatusServiceUnavailable {
				t.Errorf("a day later: %d", got)
			}
		})
	}
}

func TestKeysWhoseIssuerIsDown(t *testing.T) { // 28
	w := newDoorWorld(t)
	w.status()
	w.idp.Close()
	w.clock.move(23 * time.Hour)
	if got := w.status(); got != http.StatusOK {
		t.Errorf("with keys of yesterday: %d", got)
	}
	w.clock.move(2 * time.Hour)
	if got := w.status(); got != http.StatusServiceUnavailable {
		t.Errorf("with keys too old: %d", got)
	}
	if log := w.log.String(); !strings.Contains(log, "connect") {
		t.Errorf("the log does not say what is wrong: %s", log)
	}
}

func TestKeysRotatedMidFlight(t *testing.T) { // 28
	w := newDoorWorld(t)
	w.status()
	next := []func(*made){head("kid", "rsa-2"), signedBy(foreign().rsa)}
	if got := w.status(next...); got != http.StatusUnauthorized {
		t.Fatalf("before the rotation: %d", got)
	}

	w.idp.publish(jwk("rsa-1", "RS256", &ours().rsa.PublicKey), jwk("rsa-2", "RS256", &foreign().rsa.PublicKey))
	w.clock.move(10 * time.Second)
	if got := w.status(next...); got != http.StatusOK {
		t.Errorf("the new key: %d", got)
	}
	if got := w.status(); got != http.StatusOK {
		t.Errorf("the old key in the overlap: %d", got)
	}

	entered, gate := make(chan struct{}, 9), make(chan struct{})
	w.idp.breakWith(func(rw http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-gate
		writeKeys(rw, jwk("rsa-2", "RS256", &foreign().rsa.PublicKey))
	})

	w.clock.move(time.Hour)
	if got := w.status(); got != http.StatusOK {
		t.Errorf("the withdrawn key, before anybody could know: %d", got)
	}

	<-entered // that one began a fetch and did not wait for it
	close(gate)
	w.status(head("kid", "made-up")) // waits for that fetch
	if got := w.status(); got != http.StatusUnauthorized {
		t.Errorf("the withdrawn key: %d", got)
	}
}

func TestKeysAreFetchedOnceForAll(t *testing.T) { // 28
	w := newDoorWorld(t)
	gate := make(chan struct{})
	entered := make(chan struct{}, 100)
	keys := w.idp.keys
	w.idp.breakWith(func(rw http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-gate
		writeKeys(rw, keys)
	})

	guard, err := auth.NewDoor(auth.DoorConfig{
		Issuer: w.idp.URL, Audience: audience, Emails: []string{invoker}, Keys: w.keys, Now: w.clock.Now, Log: w.log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}

	h := guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	token := w.idp.token(w.clock)
	var all sync.WaitGroup

	for range 50 {
		all.Go(func() {
			r := httptest.NewRequest("POST", "/", nil)
			r.Header.Set(authorization, "Bearer "+token)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if rec.Code != http.StatusOK {
				t.Errorf("answered %d", rec.Code)
			}
		})
	}

	<-entered
	close(gate)
	all.Wait()
	if n := w.idp.asked(); n != 1 {
		t.Errorf("50 requests caused %d fetches", n)
	}
}

func TestKeysThatAreNotForThis(t *testing.T) {
	w := newDoorWorld(t)
	for name, key := range map[string]func() any{
		"for encryption":  func() any { k := jwk("rsa-1", "", &ours().rsa.PublicKey); k.Use = "enc"; return k },
		"for another alg": func() any { return jwk("rsa-1", "PS256", &ours().rsa.PublicKey) },
		"without a kid":   func() any { return jwk("", "RS256", &ours().rsa.PublicKey) },
		"private":         func() any { return jwk("rsa-1", "RS256", ours().rsa) },
		"symmetric":       func() any { return jwk("rsa-1", "HS256", []byte("0123456789abcdef0123456789abcdef")) },
	} {
		w.idp.breakWith(func(rw http.ResponseWriter, _ *http.Request) { writeKeys(rw, key()) })
		w.keys = auth.NewKeys(auth.KeysConfig{Issuer: w.idp.URL, URL: w.idp.URL + "/keys", Now: w.clock.Now})
		w.door = w.newDoor(t, audience)
		if got := w.status(); got == http.StatusOK {
			t.Errorf("a key %s was used", name)
		}
	}
}

func TestKeysFoundByDiscovery(t *testing.T) {
	w := newDoorWorld(t)
	w.keys = auth.NewKeys(auth.KeysConfig{Issuer: w.idp.URL, Now: w.clock.Now})
	w.door = w.newDoor(t, audience)
	if got := w.status(); got != http.StatusOK {
		t.Errorf("found by discovery: %d", got)
	}
	other := newIDP(t)
	w.keys = auth.NewKeys(auth.KeysConfig{Issuer: other.URL + "/", Now: w.clock.Now}) // claims to be another issuer
	w.door = w.newDoor(t, audience)
	if got := w.status(); got != http.StatusServiceUnavailable {
		t.Errorf("the document of another issuer: %d", got)
	}
}
