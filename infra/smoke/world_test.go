package smoke_test

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/a2asrv/push"

	"errand/infra/smoke"
)

const cardPath = "/.well-known/agent-card.json"

// An executor answers as a test needs it.
type executor func(ctx context.Context, e *a2asrv.ExecutorContext, say func(a2a.Event))

func (f executor) Execute(ctx context.Context, e *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		more := true
		f(ctx, e, func(event a2a.Event) { more = more && yield(event, nil) })
	}
}

func (f executor) Cancel(_ context.Context, e *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(e, a2a.TaskStateCanceled, nil), nil)
	}
}

// ends is an executor whose tasks end in a state.
func ends(state a2a.TaskState) executor {
	return func(_ context.Context, e *a2asrv.ExecutorContext, say func(a2a.Event)) {
		say(a2a.NewSubmittedTask(e, e.Message))
		say(a2a.NewStatusUpdateEvent(e, a2a.TaskStateWorking, nil))
		say(a2a.NewStatusUpdateEvent(e, state, a2a.NewMessageForTask(a2a.MessageRoleAgent, e, a2a.NewTextPart("that is\x1b[31m all"))))
	}
}

// hangs is an executor whose tasks stay in a state.
func hangs(state a2a.TaskState) executor {
	return func(ctx context.Context, e *a2asrv.ExecutorContext, say func(a2a.Event)) {
		say(a2a.NewSubmittedTask(e, e.Message))
		if state != a2a.TaskStateSubmitted {
			say(a2a.NewStatusUpdateEvent(e, state, nil))
		}
		<-ctx.Done()
	}
}

func chats(_ context.Context, e *a2asrv.ExecutorContext, say func(a2a.Event)) {
	say(a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("hello")))
}

// An agent is not Errand: it is the SDK's own server.
type agent struct {
	run  executor
	card func(*a2a.AgentCard)                // changes the card; nil: no change
	wrap func(http.Handler) http.Handler     // in front of everything; nil: nothing
	rpc  func(http.Handler) http.HandlerFunc // in front of JSON-RPC; nil: nothing
}

func (a agent) start(t *testing.T) *httptest.Server {
	t.Helper()
	handler := a2asrv.NewHandler(a.run, a2asrv.WithLogger(slog.New(slog.DiscardHandler)),
		a2asrv.WithPushNotifications(push.NewInMemoryStore(), push.NewHTTPPushSender(&push.HTTPSenderConfig{AllowPrivateNetworks: true})))
	mux := http.NewServeMux()
	rpc := a2asrv.NewJSONRPCHandler(handler)
	if a.rpc != nil {
		rpc = a.rpc(rpc)
	}

	mux.Handle("/rpc", rpc)
	mux.Handle("/rest/", http.StripPrefix("/rest", a2asrv.NewRESTHandler(handler)))
	var front http.Handler = mux
	if a.wrap != nil {
		front = a.wrap(mux)
	}

	s := httptest.NewServer(front)
	t.Cleanup(s.Close)

	card := &a2a.AgentCard{
		Name: "Other", Version: "7", Description: "Another agent.",
		Capabilities:      a2a.AgentCapabilities{Streaming: true, PushNotifications: true},
		DefaultInputModes: []string{"text/plain"}, DefaultOutputModes: []string{"text/plain"},
		Skills: []a2a.AgentSkill{{ID: "s", Name: "s", Description: "s", Tags: []string{"s"}}},
		SupportedInterfaces: []*a2a.AgentInterface{
			{URL: s.URL + "/rpc", ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: "1.0"},
			{URL: s.URL + "/rest", ProtocolBinding: a2a.TransportProtocolHTTPJSON, ProtocolVersion: "1.0"},
			{URL: s.URL, ProtocolBinding: a2a.TransportProtocolGRPC, ProtocolVersion: "1.0"},
		},
	}
	if a.card != nil {
		a.card(card)
	}

	mux.Handle(cardPath, a2asrv.NewStaticAgentCardHandler(card))
	return s
}

// try runs smoke and returns its report and its verdict.
func try(t *testing.T, c smoke.Config) (string, error) {
	t.Helper()
	var out strings.Builder
	c.Out = &out
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Minute
	}
	err := smoke.Run(t.Context(), c)
	return out.String(), err
}

// says fails the test unless the report has all the texts, in this order.
func says(t *testing.T, report string, want ...string) {
	t.Helper()
	rest := report
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Errorf("the report does not have %q in its place:\n%s", w, report)
			return
		}
		rest = after
	}
}

// page answers as a proxy in front of an agent does.
func page(status int, header, value, kind, body string) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if header != "" {
				w.Header().Set(header, value)
			}
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
}

// butTheCard lets requests for the card through.
func butTheCard(front func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		no := front(h)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == cardPath {
				h.ServeHTTP(w, r)
				return
			}
			no.ServeHTTP(w, r)
		})
	}
}

// told is an error of the agent itself, in a form that both bindings have.
func told(message string) string {
	body, _ := json.Marshal(map[string]any{"error": map[string]any{"code": 1, "message": message}})
	return string(body)
}

// freeAddress is an address without a listener.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
