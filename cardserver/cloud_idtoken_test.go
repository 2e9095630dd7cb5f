package main_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/shared/auth"
)

// On Cloud Run a webhook carries an ID token of the functions' account to an origin that the
// access file gives to its owner. No other owner can register a webhook for one.
func TestCloudIDTokens(t *testing.T) {
	t.Parallel()
	metadata := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if !strings.HasSuffix(r.URL.Path, "/service-accounts/default/identity") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, "for:%s", r.FormValue("audience"))
	}))

	got := make(chan string, 100)
	hooks := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
	}))
	t.Cleanup(hooks.Close)

	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, hash := auth.NewKey()
	other, otherHash := auth.NewKey()
	access := "principals:\n- {name: a, keys: [" + hash + "], idTokens: ['" + hooks.URL + "']}\n- {name: b, keys: [" + otherHash + "]}\n"
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hooks.Certificate().Raw})

	c := startCloud(t, "K_SERVICE=errand", "GCE_METADATA_HOST="+strings.TrimPrefix(metadata, "http://"),
		"ERRAND_ACCESS="+write("access.yaml", access), "SSL_CERT_FILE="+write("receiver.pem", string(certificate)),
		"ERRAND_PUSH_ALLOW="+strings.TrimPrefix(hooks.URL, "https://"))

	send := func(key string) (status int, answer string) {
		t.Helper()
		body := `{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"Hello"}]},"configuration":{"returnImmediately":true,
			"taskPushNotificationConfig":{"url":"` + hooks.URL + `/x","authentication":{"scheme":"Google-ID-Token"}}}}`
		req, err := http.NewRequestWithContext(t.Context(), "POST", c.cardserver.url()+"/message:send", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-API-Key", key)

		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}

	if status, answer := send(other); status != http.StatusBadRequest || !strings.Contains(answer, "idTokens") {
		t.Errorf("the registration of another owner: %d %s", status, answer)
	}
	if status, answer := send(key); status != http.StatusOK {
		t.Fatalf("the registration: %d %s", status, answer)
	}
	select {
	case header := <-got:
		if want := "Bearer for:" + hooks.URL; header != want {
			t.Errorf("Authorization is %q, want %q", header, want)
		}
	case <-time.After(patience):
		t.Error("no webhook arrived")
	}
}
