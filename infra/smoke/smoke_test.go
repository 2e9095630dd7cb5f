package smoke_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/infra/smoke"
)

// An agent that is not Errand passes as far as the protocol goes, over both bindings.
// Checks specific to Errand are only noted.
func TestAgentsOfOthers(t *testing.T) {
	for _, row := range []struct {
		name string
		run  executor
		want []string
	}{
		{"an agent that works", ends(a2a.TaskStateCompleted), []string{
			"ok   card", "Other 7, JSON-RPC, HTTP+JSON and GRPC, 1.0; asks for no credentials",
			"ok   unknown", "JSON-RPC 1.0: a task that does not exist is not found",
			"ok   send", "ok   poll", "is COMPLETED, and says: that is [31m all", "note same", "makes another task. Errand", "ok   stream", "the last says COMPLETED", "cancel", // the SDK's server may answer 500 if the task ends at that moment
			"ok   unknown", "HTTP+JSON 1.0", "ok   send", "ok   poll", "note same", "ok   stream", "cancel",
			"skip binding", "GRPC 1.0 is not tried",
			"ok   configs", "note guard", "is accepted. Errand refuses it", "ok   webhook", "in order, the last says COMPLETED", "All 16 checks passed.",
		}},
		{"an agent that answers with messages", chats, []string{
			"note send", "makes no task, which A2A allows", "skip poll", "skip same", "note stream", "note cancel", "note configs", "passed.",
		}},
		{"an agent that wants to know more", ends(a2a.TaskStateInputRequired), []string{
			"note poll", "is INPUT_REQUIRED", "-message sends another text", "skip same", "note stream", "passed.",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := agent{run: row.run}.start(t)
			listen := freeAddress(t)
			report, err := try(t, smoke.Config{URL: s.URL, Webhook: "http://" + listen + "/hook", Listen: listen})
			if err != nil {
				t.Errorf("Run = %v", err)
			}

			says(t, report, row.want...)
			if strings.ContainsRune(report, '\x1b') {
				t.Error("the agent can write to the terminal")
			}
		})
	}
}

// For each failure the report has the problem and the remedy.
func TestFailuresAndRemedies(t *testing.T) {
	const html, text, js = "text/html; charset=UTF-8", "text/plain", "application/json"
	const key, token = "errand_canary_key", "canary.id.token"
	works := ends(a2a.TaskStateCompleted)
	for _, row := range []struct {
		name   string
		agent  agent
		config smoke.Config
		want   []string
	}{
		{"no card", agent{run: works, wrap: page(404, "", "", html, "<h1>Not Found</h1>")}, smoke.Config{},
			[]string{"FAIL card", "404 Not Found", "-> give the address of the agent", "-> Cloud Run gives the same answer", "skip the rest"}},
		{"something else", agent{run: works, wrap: page(200, "", "", html, "<h1>Hello</h1>")}, smoke.Config{},
			[]string{"FAIL card", "is no agent card", "-> give the address of an agent"}},
		{"a log-in page", agent{run: works, wrap: page(302, "Location", "https://accounts.example.com/login", html, "")}, smoke.Config{Key: key},
			[]string{"FAIL card", "302 Found", "-> the answer redirects to https://accounts.example.com/login", "IAP"}},
		{"half a card", agent{run: works, card: func(c *a2a.AgentCard) { c.Skills, c.Version = nil, "" }}, smoke.Config{},
			[]string{"FAIL card", "the card lacks version, skills"}},
		{"an older agent", agent{run: works, card: func(c *a2a.AgentCard) {
			for _, i := range c.SupportedInterfaces {
				i.ProtocolVersion = "0.3"
			}
		}}, smoke.Config{}, []string{"FAIL card", "no interface of A2A 1.0"}},
		{"a card that leads elsewhere", agent{run: works, card: func(c *a2a.AgentCard) { c.SupportedInterfaces[1].URL = "https://agent.example.com/" }}, smoke.Config{Key: key},
			[]string{"FAIL card", "the card leads to https://agent.example.com/, and you tried http://127.0.0.1:", "-> set ERRAND_URL to", "try it there", "skip the rest"}},
		{"an interface that is not served", agent{run: works, card: func(c *a2a.AgentCard) {
			c.SupportedInterfaces = append(c.SupportedInterfaces[:1], &a2a.AgentInterface{URL: c.SupportedInterfaces[0].URL, ProtocolBinding: "JSONRPC", ProtocolVersion: "0.3"})
		}}, smoke.Config{}, []string{"FAIL unknown", "JSON-RPC 0.3: the answer about a task that does not exist is 200", "-> either the card declares an interface that is not served"}},

		{"no credentials", agent{run: works, wrap: butTheCard(page(401, "WWW-Authenticate", `Bearer realm="errand", audience="https://a.example.com https://b.example.com"`, js,
			told("not identified (no credentials): send an API key as X, or an ID token of Y")))}, smoke.Config{},
			[]string{"FAIL unknown", "401 Unauthorized: not identified (no credentials): send an API key", "-> no credentials were sent", `-> the agent requires: Bearer realm="errand"`,
				"-> a key: go run ./cardserver key NAME", "-> a token: gcloud auth print-identity-token --audiences=https://a.example.com (",
				"skip the rest", "JSON-RPC 1.0: no other request would get through", "FAIL unknown", "HTTP+JSON 1.0: 401", "-> as above"}},
		{"a wrong key", agent{run: works, wrap: butTheCard(page(401, "WWW-Authenticate", `Bearer realm="errand", error="invalid_token"`, js, told("not identified: send an API key ("+key+")")))}, smoke.Config{Key: key},
			[]string{"FAIL unknown", "401 Unauthorized", "[hidden]", "-> the key was sent as X-API-Key"}},
		{"a wrong token", agent{run: works, wrap: butTheCard(page(401, "WWW-Authenticate", `Bearer realm="errand", audience="https://a.example.com"`, js, told("send an ID token of G")))}, smoke.Config{Token: token},
			[]string{"FAIL unknown", "-> the token was sent as Authorization: Bearer", "-> a token: gcloud auth"}},
		{"Cloud Run wants a token", agent{run: works, wrap: page(401, "WWW-Authenticate", `Bearer error="invalid_token"`, html, "<html>401</html>")}, smoke.Config{Token: token},
			[]string{"FAIL card", "401 Unauthorized", "-> Cloud Run itself requires an ID token of an account with roles/run.invoker", "gcloud auth print-identity-token --audiences=http://127.0.0.1"}},
		{"Cloud Run refuses", agent{run: works, wrap: page(403, "", "", html, "<html>403</html>")}, smoke.Config{},
			[]string{"FAIL card", "403 Forbidden", "-> Cloud Run itself refuses", "roles/run.invoker", "iam.allowedPolicyMemberDomains", "-> and send -token"}},
		{"not in the access file", agent{run: works, wrap: butTheCard(page(403, "", "", js, told("identified, but not allowed to call this agent")))}, smoke.Config{Token: token},
			[]string{"FAIL unknown", "403 Forbidden: identified, but not allowed", "-> the agent's operator has to add you"}},
		{"a name that is not its own", agent{run: works, wrap: page(421, "", "", js, told("this agent listens on loopback"))}, smoke.Config{},
			[]string{"FAIL card", "421 Misdirected Request: this agent listens on loopback", "-> or set ERRAND_URL"}},
		{"too many wrong credentials", agent{run: works, wrap: butTheCard(page(429, "Retry-After", "6", js, told("too many wrong credentials")))}, smoke.Config{Key: key},
			[]string{"FAIL unknown", "429 Too Many Requests: too many wrong credentials", "-> wait in 6 s"}},
		{"no instance", agent{run: works, wrap: page(503, "", "", html, "<html>503</html>")}, smoke.Config{},
			[]string{"FAIL card", "503 Service Unavailable", "-> Cloud Run could start no instance: the log of cardserver"}},
		{"no store", agent{run: works, wrap: butTheCard(page(503, "Retry-After", "2", js, told("temporarily unavailable, try again")))}, smoke.Config{},
			[]string{"FAIL unknown", "503 Service Unavailable: temporarily unavailable", "-> try again in 2 s: its store"}},
		{"a fault inside", agent{run: works, wrap: butTheCard(page(500, "", "", js, told("internal error, request 42")))}, smoke.Config{},
			[]string{"FAIL unknown", "500 Internal Server Error: internal error, request 42", "-> the log of cardserver has the cause"}},
		{"plain text to TLS", agent{run: works, wrap: page(400, "", "", text, "Client sent an HTTP request to an HTTPS server.\n")}, smoke.Config{},
			[]string{"FAIL card", "400 Bad Request: Client sent", "-> write https://"}},

		{"no worker", agent{run: hangs(a2a.TaskStateSubmitted)}, smoke.Config{Timeout: 2 * time.Second},
			[]string{"FAIL poll", "is still SUBMITTED after 2s", "-> no worker takes the task", "errand-turns", "request refused at the door", "attempts with 401 or 403", "job not added",
				"skip same", "skip stream", "ok   cancel", "CANCELED", "HTTP+JSON 1.0", "skip poll"}},
		{"no model", agent{run: hangs(a2a.TaskStateWorking)}, smoke.Config{Timeout: 2 * time.Second},
			[]string{"FAIL poll", "is still WORKING after 2s", "-> a worker has it and the model does not answer", "-timeout 5m"}},
		{"a model that fails", agent{run: ends(a2a.TaskStateFailed)}, smoke.Config{},
			[]string{"FAIL poll", "is FAILED, and says: that is", "-> the log of worker has the reason", "FAIL stream", "-> as above"}},
		{"a stream that is cut", agent{run: works, rpc: cutting("")}, smoke.Config{},
			[]string{"ok   poll", "FAIL stream", "JSON-RPC 1.0: the stream was cut after 1 events, when the task was SUBMITTED", "-> a proxy in between ends long answers", "ok   stream", "HTTP+JSON 1.0"}},
		{"a stream without its beginning", agent{run: works, rpc: cutting(`{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}`)}, smoke.Config{},
			[]string{"FAIL stream", "begins with a *a2a.TaskStatusUpdateEvent; A2A requires the task first"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // some wait for an event that does not come
			row.config.URL = row.agent.start(t).URL
			report, err := try(t, row.config)
			if err == nil || !strings.Contains(err.Error(), "checks failed") {
				t.Errorf("Run = %v", err)
			}

			says(t, report, row.want...)
			if strings.Contains(report, key) || strings.Contains(report, token) {
				t.Errorf("the report has a credential:\n%s", report)
			}
		})
	}
}

// cutting ends streams of JSON-RPC after an event, by default their first one.
func cutting(event string) func(http.Handler) http.HandlerFunc {
	return func(h http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Accept"), "event-stream") {
				h.ServeHTTP(w, r)
				return
			}
			if event == "" {
				h.ServeHTTP(&cutter{ResponseWriter: w}, r)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte(`data: {"jsonrpc":"2.0","id":"1","result":` + event + "}\n\n"))
		}
	}
}

// A cutter breaks the connection when a second event is written.
type cutter struct {
	http.ResponseWriter
	ended bool
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.ended && strings.Contains(string(p), "data:") {
		panic(http.ErrAbortHandler)
	}
	c.ended = c.ended || strings.Contains(string(p), "\n\n")
	return c.ResponseWriter.Write(p)
}

func (c *cutter) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

// The report explains every failure to reach the agent.
func TestUnreachableAgent(t *testing.T) {
	encrypted := httptest.NewUnstartedServer(http.NotFoundHandler())
	encrypted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	encrypted.StartTLS()
	defer encrypted.Close()
	clear := httptest.NewServer(http.NotFoundHandler())
	defer clear.Close()
	aborts := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer aborts.Close()

	dial := func(err error) *http.Client {
		return &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, err }}}
	}

	for _, row := range []struct {
		name   string
		url    string
		client *http.Client
		want   []string
	}{
		{"no listener", "http://" + freeAddress(t), nil, []string{"no server listens at 127.0.0.1:", "-> start the agent (go run ./cardserver)"}},
		{"no such name", "https://agnet.example.com", dial(&net.DNSError{Err: "no such host", Name: "agnet.example.com", IsNotFound: true}), []string{"the name agnet.example.com is not known (DNS)", "-> check the spelling"}},
		{"a firewall", "https://agent.example.com", dial(&net.OpError{Op: "dial", Err: context.DeadlineExceeded}), []string{"no answer from agent.example.com in time", "-> a firewall"}},
		{"an unknown authority", encrypted.URL, nil, []string{"the certificate of 127.0.0.1:", "is not accepted", "SSL_CERT_FILE"}},
		{"no TLS there", strings.Replace(clear.URL, "http:", "https:", 1), nil, []string{"does not speak TLS", "-> write http://"}},
		{"a connection that is closed", aborts.URL, nil, []string{"closed the connection without an answer", "its log has the reason"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			report, err := try(t, smoke.Config{URL: row.url, Client: row.client})
			if err == nil || err.Error() != "1 of 1 checks failed" {
				t.Errorf("Run = %v", err)
			}
			says(t, report, append([]string{"FAIL card"}, row.want...)...)
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "agent.example.com", "ftp://agent.example.com", "https://", "https://key@agent.example.com", "https://agent.example.com/?key=x"} {
		if report, err := try(t, smoke.Config{URL: bad}); err == nil || !strings.Contains(err.Error(), "address must") || report != "" {
			t.Errorf("Run at %q = %v", bad, err)
		}
	}
	s := agent{run: chats}.start(t)
	if report, err := try(t, smoke.Config{URL: s.URL + cardPath}); err != nil {
		t.Errorf("Run at the card's address = %v\n%s", err, report)
	}
}

// A new version is tried at an address of its own, and not at the one that its card names.
func TestCandidate(t *testing.T) {
	const serving = "https://agent.example.com"
	s := agent{run: ends(a2a.TaskStateCompleted), card: func(c *a2a.AgentCard) {
		for _, i := range c.SupportedInterfaces {
			u, err := url.Parse(i.URL)
			if err != nil {
				t.Fatal(err)
			}
			i.URL = serving + u.Path
		}
	}}.start(t)

	report, err := try(t, smoke.Config{URL: s.URL, Card: serving})
	if err != nil {
		t.Errorf("Run = %v", err)
	}
	says(t, report, "ok   card", "ok   send", "ok   poll")

	for card, want := range map[string]string{"": "-card " + serving, "https://other.example.com": "set ERRAND_URL to the address at which clients reach the agent: https://other.example.com"} {
		report, err := try(t, smoke.Config{URL: s.URL, Card: card})
		if err == nil {
			t.Errorf("the card leads elsewhere than to %q, and nobody says so", card)
		}
		says(t, report, "FAIL card", want)
	}
	if _, err := try(t, smoke.Config{URL: s.URL, Card: "agent.example.com"}); err == nil || !strings.Contains(err.Error(), "address must") {
		t.Errorf("an incomplete address: %v", err)
	}
}

// Credentials are sent in the place that the card names, and only to the host that the user
// named.
func TestCredentials(t *testing.T) {
	for _, row := range []struct {
		name   string
		config smoke.Config
		scheme a2a.SecurityScheme
		want   map[string]string
	}{
		{"a key", smoke.Config{Key: "k"}, nil, map[string]string{"X-API-Key": "k", "Authorization": "", "X-Serverless-Authorization": ""}},
		{"a key in another header", smoke.Config{Key: "k"}, a2a.APIKeySecurityScheme{Location: a2a.APIKeySecuritySchemeLocationHeader, Name: "X-Other"}, map[string]string{"X-Other": "k"}},
		{"a key as bearer", smoke.Config{Key: "k"}, a2a.HTTPAuthSecurityScheme{Scheme: "bearer"}, map[string]string{"Authorization": "Bearer k"}},
		{"a token", smoke.Config{Token: "t"}, nil, map[string]string{"Authorization": "Bearer t", "X-Serverless-Authorization": "Bearer t"}},
		{"both", smoke.Config{Key: "k", Token: "t"}, nil, map[string]string{"X-API-Key": "k", "Authorization": "", "X-Serverless-Authorization": "Bearer t"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var asked atomic.Int32

			s := agent{run: chats, card: func(c *a2a.AgentCard) {
				if row.scheme != nil {
					c.SecuritySchemes = a2a.NamedSecuritySchemes{"s": row.scheme}
				}
			}, wrap: butTheCard(func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked.Add(1)
					for name, want := range row.want {
						if got := r.Header.Get(name); got != want {
							t.Errorf("%s %s: %s is %q, want %q", r.Method, r.URL, name, got, want)
						}
					}

					page(401, "", "", "application/json", "{}")(nil).ServeHTTP(w, r)
				})
			})}.start(t)

			row.config.URL = s.URL
			if report, err := try(t, row.config); err == nil || asked.Load() == 0 {
				t.Errorf("Run = %v after %d requests\n%s", err, asked.Load(), report)
			}
		})
	}
}

// A user who interrupts the program gets no failures reported.
func TestInterrupted(t *testing.T) {
	s := agent{run: hangs(a2a.TaskStateWorking)}.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var out strings.Builder
	err := smoke.Run(ctx, smoke.Config{URL: s.URL, Out: writer(func(p []byte) {
		if out.Write(p); strings.Contains(string(p), "ok   send") {
			cancel()
		}
	})})
	if err == nil || !strings.Contains(err.Error(), "not finished") || strings.Contains(out.String(), "FAIL") {
		t.Errorf("Run = %v\n%s", err, out.String())
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
