package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"errand/shared/adapters/standin"
	"errand/shared/auth"
	"errand/shared/lab/scripts"
)

// The program passes the URL of a web page on to the model, and never fetches it: not even where
// webhooks may be sent. It passes no object on that the access file does not give to the
// sender, and the Gemini API reads none at all: the task says so.
func TestURLsOfPartsAreNotFetched(t *testing.T) {
	t.Parallel()
	var fetched atomic.Int64
	page := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	t.Cleanup(page.Close)
	key, hash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(access, []byte("principals: [{name: acme/ci, keys: ["+hash+"], buckets: [gs://acme-in/]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, allow := range []string{"", strings.TrimPrefix(page.URL, "http://")} {
		script := scripts.New(standin.Text("one"), standin.Text("two"))
		service := httptest.NewServer(standin.New(script.Answer))
		t.Cleanup(service.Close)
		p := start(t, "ERRAND_ACCESS="+access, "ERRAND_PUSH_ALLOW="+allow, "GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:test-model@"+service.URL)
		send := func(id, url string) (status int, state, why string) {
			t.Helper()
			body := fmt.Sprintf(`{"message":{"messageId":%q,"contextId":%[1]q,"role":"ROLE_USER","parts":[{"text":"look"},{"url":%q,"mediaType":"text/plain"}]}}`, id, url)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url()+"/message:send", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-API-Key", key)
			return sent(t, r)
		}

		pages := []string{page.URL + "/a.txt", strings.Replace(page.URL, "http:", "https:", 1) + "/a.txt"}
		for i, url := range pages {
			if _, state, why := send(fmt.Sprint("page", i), url); state != "TASK_STATE_COMPLETED" {
				t.Errorf("a task with %s is %s: %s", url, state, why)
			}
		}
		if got := urlsFor(script); !slices.Equal(got, pages) {
			t.Errorf("the model got %q, want %q", got, pages)
		}

		if status, _, why := send("other", "gs://acme-out/a.txt"); status != http.StatusBadRequest || !strings.Contains(why, "names an object that you may not have read") {
			t.Errorf("an object of another's is answered %d: %s", status, why)
		}
		if _, state, why := send("own", "gs://acme-in/a.txt"); state != "TASK_STATE_FAILED" || !strings.Contains(why, "the model of this agent reads none") {
			t.Errorf("the task with an object is %s: %s", state, why)
		}
		if got := urlsFor(script); len(got) != len(pages) {
			t.Errorf("the model got %q", got)
		}
	}

	if n := fetched.Load(); n != 0 {
		t.Errorf("the program fetched the page %d times", n)
	}
}

// urlsFor are the URLs that a model was asked about.
func urlsFor(script *scripts.Script) (urls []string) {
	for _, r := range script.Requests() {
		for _, c := range r.Contents {
			for _, p := range c.Parts {
				if r.Op == standin.OpStream && p.FileData != nil {
					urls = append(urls, p.FileData.FileURI)
				}
			}
		}
	}
	return urls
}

// sent is the answer to a blocking send: the state of its task, and what its status or its
// error says.
func sent(t *testing.T, r *http.Request) (status int, state, why string) {
	t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}

	var answer struct {
		Error struct{ Message string }
		Task  struct {
			Status struct {
				State   string
				Message struct{ Parts []struct{ Text string } }
			}
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	why = answer.Error.Message
	if all := answer.Task.Status.Message.Parts; len(all) > 0 {
		why = all[0].Text
	}
	return res.StatusCode, answer.Task.Status.State, why
}
