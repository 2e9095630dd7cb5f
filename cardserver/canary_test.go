package main_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"

	"errand/shared/adapters/standin"
	"errand/shared/auth"
	"errand/shared/keys"
	"errand/shared/lab/emulator"
)

// These are secrets that only the receiver of a webhook may see.
const (
	canaryToken       = "canary-token-7f3a"
	canaryCredentials = "Y2FuYXJ5OmNyZWRlbnRpYWxzLTkxYmNk" // canary:credentials-91bcd, for Basic
)

// A canary is a scenario that uses every secret in every possible way, and all that was
// captured of it.
type canary struct {
	t     *testing.T
	p     deployment
	hooks *httptest.Server // accepts everything, except for /fails
	key   string           // of the caller
	env   []string
	ring  string

	mu       sync.Mutex
	received http.Header  // the newest that a receiver got
	count    int          // of the receivers
	captured bytes.Buffer // answers to the caller, and requests to the model
}

func newCanary(t *testing.T) *canary {
	c := &canary{t: t, ring: newKeys(t)}

	c.hooks = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		c.mu.Lock()
		c.received = r.Header
		c.count++
		c.mu.Unlock()

		if r.URL.Path == "/fails" {
			// The program keeps nothing of an answer, even if it repeats the secrets.
			http.Error(w, r.Header.Get("Authorization")+r.Header.Get("A2A-Notification-Token"), http.StatusInternalServerError)
		}
	}))

	t.Cleanup(c.hooks.Close)
	answer := standin.New(func(context.Context, standin.Request) standin.Reply { return standin.Text("done") })

	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}

		c.keep(body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer.ServeHTTP(w, r)
	}))

	t.Cleanup(model.Close)
	key, hash := auth.NewKey()
	c.key = key
	access := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(access, []byte("principals: [{name: acme/ci, operator: true, keys: ["+hash+"]}]"), 0o600); err != nil {
		t.Fatal(err)
	}

	c.env = []string{
		"ERRAND_ACCESS=" + access, "ERRAND_KEYS=" + c.ring, "GEMINI_API_KEY=canary-model-key",
		"ERRAND_MODEL=gemini:test-model@" + model.URL, "ERRAND_PUSH_ALLOW=127.0.0.0/8:*",
	}

	return c
}

func (c *canary) keep(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.captured.Write(b)
}

// RoundTrip sends the caller's requests and keeps the answers.
func (c *canary) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-API-Key", c.key)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if r.URL.Path != "/push/keys" { // this API shows secrets on purpose
		c.keep(body)
		for name, values := range res.Header {
			c.keep([]byte(name + ": " + strings.Join(values, ",")))
		}
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

func (c *canary) client() operations {
	client, err := a2aclient.NewFromEndpoints(context.Background(), []*a2a.AgentInterface{
		a2a.NewAgentInterface(c.p.url()+"/", a2a.TransportProtocolJSONRPC),
	}, a2aclient.WithJSONRPCTransport(&http.Client{Transport: c}))
	if err != nil {
		c.t.Fatal(err)
	}
	return client
}

func (c *canary) ask(method, path string) string {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.p.url()+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := (&http.Client{Transport: c}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		c.t.Fatalf("%s %s: %s %s %v", method, path, res.Status, body, err)
	}
	return string(body)
}

// receivedAfter waits until receivers have got more than n requests, and returns their
// number.
func (c *canary) receivedAfter(n int) int {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		count, last := c.count, c.received
		c.mu.Unlock()
		if count > n {
			if !strings.Contains(last.Get("Authorization"), canaryCredentials) || last.Get("A2A-Notification-Token") != canaryToken {
				c.t.Errorf("a receiver got %v", last)
			}
			return count
		}
		if time.Now().After(end) {
			c.t.Fatalf("receivers got %d webhooks, want more than %d", count, n)
		}
	}
}

// run uses the secrets: registered in every way, read back, refused, delivered, failed,
// sent again, pinged, and opened by another process than the one that sealed them.
func (c *canary) run() {
	t, client := c.t, c.client()
	config := func(path, scheme string) *a2a.PushConfig {
		return &a2a.PushConfig{ID: path[1:], URL: c.hooks.URL + path, Token: canaryToken, Auth: &a2a.PushAuthInfo{Scheme: scheme, Credentials: canaryCredentials}}
	}

	req := userText("m1", "hello")
	req.Config = &a2a.SendMessageConfig{PushConfig: config("/inline", "Bearer")}
	task := mustSend(t, client, req)
	n := c.receivedAfter(1)

	for _, path := range []string{"/later", "/fails"} {
		late := config(path, "Basic")
		late.TaskID = task.ID
		if _, err := client.CreateTaskPushConfig(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		n = c.receivedAfter(n)
	}

	down := config("/down", "Bearer")
	down.TaskID, down.URL = task.ID, "http://127.0.0.1:1/down"
	if _, err := client.CreateTaskPushConfig(t.Context(), down); err != nil {
		t.Fatal(err)
	}

	for _, wrong := range []*a2a.PushConfig{
		config("/wrong", "Digest"),
		{URL: c.hooks.URL + "/wrong", Token: canaryToken + "\n"},
		{URL: "https://" + canaryToken + ":" + canaryCredentials + "@hooks.example.com/"},
		{URL: "ftp://hooks.example.com/" + canaryToken},
		{ID: "a/b", URL: c.hooks.URL + "/wrong", Token: canaryToken},
	} {
		wrong.TaskID = task.ID
		if _, err := client.CreateTaskPushConfig(t.Context(), wrong); err == nil {
			t.Errorf("%+v was taken", wrong)
		}
	}

	if all, err := client.ListTaskPushConfigs(t.Context(), &a2a.ListTaskPushConfigRequest{TaskID: task.ID}); err != nil || len(all) != 4 {
		t.Errorf("ListTaskPushConfigs = %+v, %v", all, err)
	}
	if _, err := client.GetTaskPushConfig(t.Context(), &a2a.GetTaskPushConfigRequest{TaskID: task.ID, ID: "inline"}); err != nil {
		t.Error(err)
	}
	if _, err := client.GetTask(t.Context(), &a2a.GetTaskRequest{ID: task.ID}); err != nil {
		t.Error(err)
	}

	c.p.kill()
	c.p.start()
	hooks := "/push/tasks/" + string(task.ID) + "/hooks"
	n = c.receivedAfter(n - 1)
	c.ask("POST", hooks+"/inline/redrive")
	n = c.receivedAfter(n)
	c.ask("POST", hooks+"/later/ping")
	c.receivedAfter(n)

	if shown := c.ask("GET", hooks); !strings.Contains(shown, `"status":500`) {
		t.Errorf("no attempt failed: %s", shown)
	}

	c.ask("GET", "/push/dead-letters")
	c.ask("GET", "/tasks/"+string(task.ID)+"/trace")
	c.ask("GET", keys.Path)
	if secrets := c.ask("GET", "/push/keys?url="+c.hooks.URL+"/inline"); !strings.Contains(secrets, "whsec_") {
		t.Errorf("the secrets are %s", secrets)
	}

	c.p.stop()
}

// nowhere checks that no secret is in a capture, a log or a store.
func (c *canary) nowhere(places map[string][]byte) {
	secrets := map[string]string{
		"the token": canaryToken, "the credentials": canaryCredentials, "the caller's key": c.key, "the model's key": "canary-model-key",
	}

	for line := range strings.Lines(c.ring) {
		if _, key, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(line, "#") {
			secrets["the ring"] = key
		}
	}

	if len(secrets) != 5 {
		c.t.Fatal("the ring has no key")
	}

	ring, err := keys.Parse(c.ring)
	if err != nil {
		c.t.Fatal(err)
	}

	secrets["the secret of a webhook"] = strings.TrimPrefix(ring.Secrets(time.Now(), "acme/ci", c.hooks.URL+"/inline")[0], "whsec_")
	places["what was captured"] = c.captured.Bytes()
	places["the log"] = []byte(c.p.logged())

	for where, content := range places {
		if len(content) == 0 {
			c.t.Errorf("%s is empty", where)
		}

		for what, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				c.t.Errorf("%s has %s in it", where, what)
			}
		}
	}
}

// The secrets of webhooks, the keys that seal and sign, and the keys of callers and of the
// model appear in no file, log, queue, store or answer.
//
// Shows P19.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()

	t.Run("one process", func(t *testing.T) {
		t.Parallel()
		c := newCanary(t)
		p := start(t, c.env...)
		c.p = p
		c.run()
		places := map[string][]byte{}

		err := fs.WalkDir(os.DirFS(p.dir), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}

			content, err := os.ReadFile(filepath.Join(p.dir, path))
			if len(content) > 0 { // the lock is empty
				places["the file "+path] = content
			}

			return err
		})
		if err != nil || len(places) == 0 {
			t.Fatalf("files %v, %v", places, err)
		}

		c.nowhere(places)
	})

	t.Run("Google Cloud", func(t *testing.T) {
		t.Parallel()
		c := newCanary(t)
		var tasks *wire
		store, bus := newWire(t, emulator.Firestore(t)), newWire(t, emulator.PubSub(t))
		c.p = newCloud(t, cloudConfig{
			firestore: store.host, pubsub: bus.host, env: c.env,
			tasks: func(host string) string { tasks = newWire(t, host); return tasks.host },
		})

		c.run()
		places := map[string][]byte{}

		for name, w := range map[string]*wire{"the store": store, "the bus": bus, "the queue": tasks} {
			w.mu.Lock()
			for _, asked := range w.asked {
				places[name] = append(places[name], bytes.Join(asked, nil)...)
			}
			w.mu.Unlock()
		}

		c.nowhere(places)
	})
}
