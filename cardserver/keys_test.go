package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/keys"
	"errand/shared/lab/fake"
)

// says waits for a line of the program's log that has all these words.
func (p *process) says(want ...string) {
	p.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); ; {
	lines:
		for line := range strings.Lines(p.logged()) {
			for _, w := range want {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			return
		}
		select {
		case <-end:
			p.t.Fatalf("%s never says %q", p.program, want)
		case <-tick.C:
		}
	}
}

// A secret without a version stops neither program that reads it, and each logs it at its
// start. Deliveries wait, no secret is stored unsealed, and all is well when the keys are
// there.
func TestKeysWithoutAVersion(t *testing.T) {
	manager, addr := fake.StartSecrets(t)
	secrets := "ERRAND_SECRETS=secretmanager:p/errand@" + addr
	box := newMailbox(t)
	p := start(t, secrets, box.allow())
	p.says("level=ERROR", "cardserver keys", "alert=true")

	status := func(method, path, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, p.url()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}

		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()

		return resp.StatusCode
	}

	withToken := func(id string) int {
		return status("POST", "/message:send", fmt.Sprintf(`{"message":{"messageId":%q,"role":"ROLE_USER","parts":[{"text":"x"}]},
			"configuration":{"taskPushNotificationConfig":{"url":%q,"token":"t"}}}`, id, box.URL+"/token"))
	}

	if got := status("GET", keys.Path, ""); got != http.StatusServiceUnavailable {
		t.Errorf("GET %s = %d, want 503", keys.Path, got)
	}
	if got := withToken("early"); got != http.StatusServiceUnavailable {
		t.Errorf("a webhook with a token is answered %d, want 503", got)
	}

	plain := userText("plain", "x")
	plain.Config = &a2a.SendMessageConfig{PushConfig: &a2a.PushConfig{URL: box.URL + "/plain"}}
	mustSend(t, p.client(), plain)
	p.says("a webhook cannot be signed", "errand-keys", "alert=true")
	if n := len(box.at("/plain")) + len(box.at("/token")); n != 0 {
		t.Errorf("%d webhooks came unsigned", n)
	}

	text, err := keys.Generate("", time.Now())
	if err != nil {
		t.Fatal(err)
	}

	manager.Set("projects/p/secrets/errand-errand-keys", []byte(text))
	if got := status("GET", keys.Path, ""); got != http.StatusOK {
		t.Errorf("with keys GET %s = %d, want 200", keys.Path, got)
	}
	if got := withToken("early"); got != http.StatusOK {
		t.Errorf("with keys a webhook with a token is answered %d, want 200", got)
	}

	box.next(t, "/token")
	p.stop()
	p.start() // which delivers the pending notifications, as the sweep does after a minute
	box.next(t, "/plain")
}

// The functions log it too, even if they reach nothing else.
func TestFunctionsWithoutKeys(t *testing.T) {
	_, addr := fake.StartSecrets(t)
	p := launch(t, "functions", freePort(t), "ERRAND_SECRETS=secretmanager:p/errand@"+addr,
		"FIRESTORE_EMULATOR_HOST=127.0.0.1:9", "ERRAND_STORE=firestore:p", "ERRAND_FILES=gs:errand-files@127.0.0.1:9",
		"ERRAND_QUEUE=cloudtasks:projects/p/locations/l/queues/errand@127.0.0.1:9", "ERRAND_BUS=pubsub:projects/p/topics/errand-events@127.0.0.1:9",
		"ERRAND_URL=https://agent.example.com", "ERRAND_WORKER_URL=https://worker.example.com", "ERRAND_FUNCTIONS_URL=https://functions.example.com",
		"ERRAND_INVOKER=invoker@p.iam.gserviceaccount.com")
	p.says("level=ERROR", "cardserver keys", "errand-keys", "alert=true")
}
