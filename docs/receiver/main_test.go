package main

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"errand/shared/keys"
	"errand/shared/webhook"
)

// Without a secret the receiver accepts every delivery, as the tour needs it. With one it
// accepts only deliveries that the secret signed.
func TestReceiver(t *testing.T) {
	const owner, url, id, body = "acme/ci", "http://127.0.0.1:9099/", "t/1", `{"task":{"id":"t"}}`
	now := time.Now()
	ring, err := keys.Parse(now.Add(-time.Hour).Format(time.RFC3339) + " " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)))
	if err != nil {
		t.Fatal(err)
	}

	timestamp, signature, err := webhook.Sign(ring, now, owner, url, id, []byte(body))
	if err != nil {
		t.Fatal(err)
	}

	mine := ring.Secrets(now, owner, url)
	for _, c := range []struct {
		name, body string
		secrets    []string
		want       int
	}{
		{"no secret", body + " ", nil, http.StatusOK},
		{"signed", body, mine, http.StatusOK},
		{"signed with one of them", body, append(ring.Secrets(now, owner, "http://127.0.0.1:9098/"), mine...), http.StatusOK},
		{"changed", body + " ", mine, http.StatusUnauthorized},
		{"signed for another", body, ring.Secrets(now, "other", url), http.StatusUnauthorized},
	} {
		req := httptest.NewRequest(http.MethodPost, url, strings.NewReader(c.body))
		req.Header.Set("webhook-id", id)
		req.Header.Set("webhook-timestamp", timestamp)
		req.Header.Set("webhook-signature", signature)
		rec := httptest.NewRecorder()
		receiver(c.secrets)(rec, req)
		if rec.Code != c.want {
			t.Errorf("%s: answered %d, want %d", c.name, rec.Code, c.want)
		}
	}
}
