package main_test

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	lab "errand/shared/lab/agent"
)

const canaryCredential = "canary-credential-4711"

// A buying is a task of the documented executor that needs a credential, with a shop, a receiver
// of webhooks, and all that clients and receivers saw.
type buying struct {
	t    *testing.T
	p    *process
	shop *seller
	keys []string // that the shop got

	mu   sync.Mutex
	seen strings.Builder
}

func newBuying(t *testing.T) *buying {
	b := &buying{t: t}
	b.shop = newSeller(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		b.mu.Lock()
		b.keys = append(b.keys, key)
		b.mu.Unlock()
		if key != canaryCredential {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})

	hooks := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.saw(string(body))
	}))
	t.Cleanup(hooks.Close)
	b.p = launch(t, "vault", freePort(t), "ERRAND_SETTING_SHOP="+b.shop.URL, "ERRAND_AGENT_ALLOW="+strings.TrimPrefix(b.shop.URL, "http://"), "ERRAND_PUSH_ALLOW=127.0.0.0/8:*")

	req := userText("m1", "Buy a book!")
	req.Config = &a2a.SendMessageConfig{PushConfig: &a2a.PushConfig{ID: "w", URL: hooks.URL}}
	if task := mustSend(t, b.p.client(), req); task.Status.State != a2a.TaskStateAuthRequired {
		t.Fatalf("the task is %+v", task.Status)
	}
	return b
}

func (b *buying) saw(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen.WriteString(text)
}

// task reads the one task.
func (b *buying) task() *a2a.Task {
	b.t.Helper()
	list, err := b.p.client().ListTasks(b.t.Context(), &a2a.ListTasksRequest{})
	if err != nil || len(list.Tasks) != 1 {
		b.t.Fatalf("%+v, %v", list, err)
	}
	return list.Tasks[0]
}

// url is where the task wants its credential.
func (b *buying) url() string {
	b.t.Helper()
	return b.task().Status.Message.Parts[1].Data().(map[string]any)["credential"].(map[string]any)["url"].(string)
}

// ask makes a request, and keeps the answer.
func (b *buying) ask(method, url, kind, body string) int {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if strings.Contains(url, "/credentials/") { // as a browser that follows a link, and then sends the form
		req.Header.Set("Sec-Fetch-Site", map[string]string{"GET": "cross-site", "POST": "same-origin"}[method])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.saw(string(text))
	return res.StatusCode
}

// The documented executor gets its credential by the URL that its task names, also when the
// process is killed between all steps. A wrong one is asked for again. The credential is in no
// file, log, answer, webhook or trace.
//
// Shows M21, M22, M23, decision 13.
func TestDocumentedCredential(t *testing.T) {
	b := newBuying(t)
	first := b.url()
	if !strings.HasPrefix(first, b.p.url()+"/credentials/") {
		t.Fatalf("the URL is %s", first)
	}
	b.p.kill()
	b.p.start()
	if code := b.ask("GET", first, "", ""); code != http.StatusOK || b.url() != first {
		t.Errorf("after a crash the form answers %d, and the URL is %s, was %s", code, b.url(), first)
	}

	if code := b.ask("POST", first, "text/plain", "wrong"); code != http.StatusNoContent {
		t.Fatalf("the wrong credential: %d", code)
	}
	id := b.task().ID
	until(t, b.p.client(), id, "asking again", func(task *a2a.Task) bool {
		return task.Status.State == a2a.TaskStateAuthRequired && len(task.History) > 2
	})
	second := b.url()
	if code := b.ask("POST", first, "text/plain", canaryCredential); code != http.StatusNotFound || second == first {
		t.Errorf("the second use: %d; then the URL is %s", code, second)
	}

	if code := b.ask("POST", second, "application/json", `{"credential": "`+canaryCredential+`"}`); code != http.StatusNoContent {
		t.Fatalf("the credential: %d", code)
	}
	b.p.kill()
	b.p.start()
	task := until(t, b.p.client(), id, "ended", terminal)
	if task.Status.State != a2a.TaskStateCompleted || task.Status.Message.Parts[0].Text() != "Bought." {
		t.Errorf("the task is %+v", task.Status)
	}

	b.ask("GET", b.p.url()+"/tasks/"+string(id), "", "")
	b.ask("GET", b.p.url()+"/tasks/"+string(id)+"/trace", "", "")
	b.p.stop()
	b.nowhere()
}

// The front door seals what the worker opens, with keys of their own where they are two programs.
func TestWorkerOpensCredentials(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		p := start(t, "ERRAND_CREDENTIAL_KEYS="+newKeys(t))
		c := p.client()
		asks := mustSend(t, c, userText("m1", lab.CredentialQuestion))
		if asks.Status.State != a2a.TaskStateAuthRequired {
			t.Fatalf("the task is %+v", asks.Status)
		}

		url := asks.Status.Message.Parts[1].Data().(map[string]any)["credential"].(map[string]any)["url"].(string)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(canaryCredential))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/plain")
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusNoContent {
			t.Fatalf("%+v, %v", res, err)
		}
		res.Body.Close()

		task := until(t, c, asks.ID, "ended", terminal)
		if want := fmt.Sprintf(lab.CredentialAnswer, len(canaryCredential)); task.Status.State != a2a.TaskStateCompleted || task.Status.Message.Parts[0].Text() != want {
			t.Errorf("the task is %s and says %+v, want %q", task.Status.State, task.Status.Message, want)
		}
		if strings.Contains(p.logged(), canaryCredential) {
			t.Error("the log has the credential")
		}
	})
}

// nowhere checks where the credential is: the shop alone got it.
func (b *buying) nowhere() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.keys) < 2 || b.keys[0] != "wrong" || b.keys[len(b.keys)-1] != canaryCredential {
		b.t.Errorf("the shop got %q", b.keys)
	}

	places := map[string]string{"what was seen": b.seen.String(), "the log": b.p.logged()}
	err := fs.WalkDir(os.DirFS(b.p.dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var content []byte
			content, err = os.ReadFile(filepath.Join(b.p.dir, path))
			places["the file "+path] = string(content)
		}
		return err
	})
	if err != nil || len(places) < 3 || !strings.Contains(places["what was seen"], "shop-key") {
		b.t.Errorf("%d places, %v", len(places), err)
	}

	if strings.Contains(places["the log"], "?s=") {
		b.t.Error("the log has a URL that takes a credential")
	}
	for where, content := range places {
		if strings.Contains(content, canaryCredential) {
			b.t.Errorf("%s has the credential", where)
		}
	}
}
