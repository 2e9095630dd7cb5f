package main_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"

	"errand/infra/smoke"
	"errand/shared/adapters/standin"
	"errand/shared/auth"
	"errand/shared/lab/conformance"
)

// A way leads requests to the program otherwise than a plain connection of HTTP/1.1 does.
type way struct {
	name string
	open func(t *testing.T, env []string) (url string, via http.RoundTripper)
}

var ways = []way{
	{"nginx as documented, HTTP/1.0", throughNginx("proxy_http_version 1.0;", "")},
	{"nginx that compresses and strips the path, HTTP/1.1", throughNginx("proxy_http_version 1.1; proxy_set_header Connection ''; gzip on; gzip_proxied any; gzip_types *;", "/")},
	{"HTTP/2 without TLS", overHTTP2},
	{"gzip both ways", compressed},
}

// The smoke test finds no fault by any way, and a stream's pieces arrive before the model has
// said the next ones.
func TestEveryWayToTheAgent(t *testing.T) {
	key, hash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(access, []byte("principals:\n  - name: smoke\n    keys: ['"+hash+"']\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			m, listen := newPausing(t), fmt.Sprintf("127.0.0.1:%d", freePort(t))
			url, via := w.open(t, []string{"ERRAND_ACCESS=" + access, "ERRAND_PUSH_ALLOW=" + listen, "GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:m@" + m.URL})
			var out bytes.Buffer
			err := smoke.Run(t.Context(), smoke.Config{URL: url, Key: key, Timeout: patience, Webhook: "http://" + listen + "/", Listen: listen,
				Client: &http.Client{Transport: via}, Out: &out})
			if report := out.String(); err != nil || strings.Contains(report, "skip") || strings.Contains(report, "note") {
				t.Errorf("smoke: %v\n%s", err, report)
			}

			client := &http.Client{Transport: withKey{via, key}, Timeout: patience}
			for name, binding := range map[string]func(*http.Client) a2aclient.FactoryOption{"JSON-RPC": a2aclient.WithJSONRPCTransport, "HTTP+JSON": a2aclient.WithRESTTransport} {
				t.Run(name, func(t *testing.T) { m.paces(t, fromCard(binding)(t, url, client), name) })
			}
		})
	}
}

// withKey sends an API key.
type withKey struct {
	next http.RoundTripper
	key  string
}

func (k withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-API-Key", k.key)
	return k.next.RoundTrip(r)
}

// A pausing model answers a message of the pieces as soon as it is told to for each, and all
// other messages at once.
type pausing struct {
	*httptest.Server
	goOn chan struct{}
}

var pieces = []string{"first, ", "second, ", "third"}

func newPausing(t *testing.T) *pausing {
	m := &pausing{goOn: make(chan struct{})}
	others := standin.New(func(context.Context, standin.Request) standin.Reply {
		return standin.Text(strings.Repeat("yes ", 1000))
	})
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the program has gone
		}
		if !bytes.Contains(body, []byte("in pieces")) || !strings.Contains(r.URL.Path, standin.OpStream) {
			r.Body = io.NopCloser(bytes.NewReader(body))
			others.ServeHTTP(w, r)
			return
		}

		w.Header().Set("Content-Type", "text/event-stream")
		for i, piece := range pieces {
			end := ""
			if i == len(pieces)-1 {
				end = `,"finishReason":"STOP"`
			}
			_, _ = fmt.Fprintf(w, `data: {"candidates":[{"content":{"role":"model","parts":[{"text":%q}]}%s}]}`+"\r\n\r\n", piece, end)
			_ = http.NewResponseController(w).Flush()
			if end == "" {
				select {
				case <-m.goOn:
				case <-r.Context().Done():
					return
				}
			}
		}
	}))
	t.Cleanup(m.Close)
	return m
}

// paces lets the model say a piece only when the one before has arrived at a client.
func (m *pausing) paces(t *testing.T, c operations, id string) {
	t.Helper()
	said, told := "", 0
	for ev, err := range c.SendStreamingMessage(t.Context(), userText(id, "in pieces")) {
		if err != nil {
			t.Fatalf("after %q: %v", said, err)
		}
		if e, ok := ev.(*a2a.TaskArtifactUpdateEvent); ok {
			for _, p := range e.Artifact.Parts {
				said += p.Text()
			}
		}
		if told < len(pieces)-1 && said == strings.Join(pieces[:told+1], "") {
			told++
			m.goOn <- struct{}{}
		}
	}
	if said != strings.Join(pieces, "") {
		t.Errorf("the stream said %q", said)
	}
}

// throughNginx goes through the nginx of docs/environment.md, with more directives in its
// server and more behind the address that it passes requests to.
func throughNginx(more, behind string) func(*testing.T, []string) (string, http.RoundTripper) {
	return func(t *testing.T, env []string) (string, http.RoundTripper) {
		program, err := exec.LookPath("nginx")
		if err != nil {
			program, err = exec.LookPath("/usr/sbin/nginx") // is not in the path of every user
		}
		conformance.Require(t, "nginx", err == nil, "install nginx")
		text, err := os.ReadFile("../docs/environment.md")
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile("(?s)```nginx proxy\n(.*?)```").FindSubmatch(text)
		if m == nil {
			t.Fatal("docs/environment.md has no configuration of nginx")
		}

		const agent, prefix = "http://127.0.0.1:8080;", "/agents/errand"
		location := string(m[1])
		if !strings.Contains(location, agent) || !strings.Contains(location, prefix) {
			t.Fatalf("the documented nginx leads from another path or to another address:\n%s", location)
		}

		port := freePort(t)
		url := fmt.Sprintf("http://127.0.0.1:%d%s", port, prefix)
		p := start(t, append(env, "ERRAND_URL="+url)...)
		location = strings.ReplaceAll(location, agent, p.url()+behind+";")
		nginx(t, program, port, more+location)
		return url, passed{http.DefaultTransport, t, "nginx", func(r *http.Response) bool { return strings.HasPrefix(r.Header.Get("Server"), "nginx") }}
	}
}

// nginx runs until the test ends, with the directives of a server.
func nginx(t *testing.T, program string, port int, server string) {
	t.Helper()
	dir := t.TempDir()
	var temporary strings.Builder
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "%s_temp_path %s;\n", of, filepath.Join(dir, of))
	}

	config := fmt.Sprintf("daemon off; master_process off; pid %s/pid; error_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n%sserver {\nlisten 127.0.0.1:%d;\n%s}\n}\n",
		dir, &temporary, port, server)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	var log bytes.Buffer
	cmd := exec.Command(program, "-e", "stderr", "-p", dir, "-c", file)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("nginx says:\n%s\nwith\n%s", &log, config)
		}
	})

	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); ; {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("nginx ended:\n%s", &log)
		case <-end:
			t.Fatal("nginx does not listen")
		}
	}
}

// overHTTP2 begins connections with the greeting of HTTP/2.
func overHTTP2(t *testing.T, env []string) (string, http.RoundTripper) {
	p := start(t, env...)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return p.url(), passed{transport, t, "HTTP/2", func(r *http.Response) bool { return r.ProtoMajor == 2 }}
}

// passed holds that every answer has come by the way.
type passed struct {
	next http.RoundTripper
	t    *testing.T
	way  string
	came func(*http.Response) bool
}

func (p passed) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := p.next.RoundTrip(r)
	if err == nil && !p.came(res) {
		p.t.Errorf("%s %s: the answer has not come through %s: %v", r.Method, r.URL, p.way, res.Header)
	}
	return res, err
}

// compressed sends every body in gzip, and takes answers in gzip.
func compressed(t *testing.T, env []string) (string, http.RoundTripper) {
	p, z := start(t, env...), &zipped{t: t}
	t.Cleanup(func() {
		if z.answers.Load() == 0 {
			t.Error("no answer was compressed")
		}
	})
	return p.url(), z
}

type zipped struct {
	t       *testing.T
	answers atomic.Int64 // to POST that were compressed
}

func (z *zipped) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept-Encoding", "gzip") // the transport leaves the answer as it is then
	if r.Body != nil {
		var body bytes.Buffer
		w := gzip.NewWriter(&body)
		if _, err := io.Copy(w, r.Body); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		r.Header.Set("Content-Encoding", "gzip")
		r.Body, r.ContentLength = io.NopCloser(&body), int64(body.Len())
	}

	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || res.Header.Get("Content-Encoding") != "gzip" {
		return res, err
	}
	if r.Method == http.MethodPost {
		z.answers.Add(1)
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		z.t.Errorf("%s %s: a stream is compressed", r.Method, r.URL)
	}
	text, err := gzip.NewReader(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{text, res.Body}
	res.Header.Del("Content-Encoding")
	return res, nil
}
