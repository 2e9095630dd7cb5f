package main

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/keys"
	"errand/shared/task"
	"errand/shared/webhook"
)

// Without a secret the receiver accepts every request, as the tour needs it. With a secret it
// accepts only requests that are signed with the secret.
func TestReceiver(t *testing.T) {
	const owner, url = "acme/ci", "http://127.0.0.1:9099/"
	now := time.Now()
	ring, err := keys.Parse(now.Add(-time.Hour).Format(time.RFC3339) + " " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)))
	if err != nil {
		t.Fatal(err)
	}

	ping := task.Webhook{URL: url, Ping: now}
	sent, err := webhook.Prepare(ring, "", now, task.Record{Owner: owner, Task: &a2a.Task{ID: "t"}}, ping)
	if err != nil {
		t.Fatal(err)
	}

	body, mine := string(sent.Body), ring.Secrets(now, owner, url)
	for _, c := range []struct {
		name, body string
		secrets    []string
		want       int
	}{
		{"no secret", body + " ", nil, http.StatusOK},
		{"signed", body, mine, http.StatusOK},
		{"signed with one of two secrets", body, append(ring.Secrets(now, owner, "http://127.0.0.1:9098/"), mine...), http.StatusOK},
		{"changed", body + " ", mine, http.StatusUnauthorized},
		{"signed for another owner", body, ring.Secrets(now, "other", url), http.StatusUnauthorized},
	} {
		req := httptest.NewRequest(http.MethodPost, url, strings.NewReader(c.body))
		req.Header = sent.Header
		rec := httptest.NewRecorder()
		receiver(c.secrets)(rec, req)
		if rec.Code != c.want {
			t.Errorf("%s: answered %d, want %d", c.name, rec.Code, c.want)
		}
	}
}
