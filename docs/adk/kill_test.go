package adk_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	"errand/shared/lab/conformance"
)

// A world has the model and the shop, outside of the program that is killed.
type world struct {
	*process
	model, shop *httptest.Server

	mu       sync.Mutex
	hold     string                      // the point at which the next request is held
	reached  chan struct{}               // closed there
	goOn     chan struct{}               // closed by the test
	requests int                         // to the model
	calls    map[string]int              // to the shop, by key
	keys     map[string][]string         // of the effects, by order
	count    int                         // of messages
	next     []standin.Reply             // what the model answers next, whatever it is asked
	shown    map[string][]*genai.Content // the newest request of the model, by the first text of its conversation
}

func newWorld(t *testing.T) *world {
	w := &world{calls: map[string]int{}, keys: map[string][]string{}, shown: map[string][]*genai.Content{}}
	w.model = httptest.NewServer(standin.New(w.reply))
	t.Cleanup(w.model.Close)
	w.shop = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.shop.Close)
	at := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	w.process = start(t, "ERRAND_SETTING_MODEL_URL="+w.model.URL, "ERRAND_SETTING_SHOP_URL="+w.shop.URL,
		"ERRAND_SECRET_MODEL_KEY=k", "ERRAND_AGENT_ALLOW="+at(w.model)+","+at(w.shop))
	return w
}

// holdAt holds the next request that comes to a point, and returns its two events.
func (w *world) holdAt(point string) (reached <-chan struct{}, goOn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold, w.reached, w.goOn = point, make(chan struct{}), make(chan struct{})
	return w.reached, sync.OnceFunc(func() { close(w.goOn) })
}

// killAt sends a message, kills the program when it comes to a point, and starts it again.
func (w *world) killAt(point string, m *a2a.Message) *a2a.Task {
	w.t.Helper()
	reached, goOn := w.holdAt(point)
	defer goOn()
	task := w.send(m)
	select {
	case <-reached:
	case <-time.After(patience):
		w.t.Fatalf("no request came to the point %q", point)
	}
	if point == inStream {
		w.until(task.ID, "half told", func(t *a2a.Task) bool { return text(t) == "A long " })
	}
	w.kill()
	w.start()
	return task
}

// The points at which the program can be held, and is killed.
const (
	inEffect = "the shop has had the effect, and has not answered"
	inReply  = "the model is told the result, and has not answered"
	inStream = "the model has sent the half of its answer, and the client sees it"
)

// at is a point that a request has come to.
func (w *world) at(ctx context.Context, point string) {
	if w.isHeld(point) {
		select {
		case <-w.goOn:
		case <-ctx.Done():
		}
	}
}

// isHeld reports whether the request is the one that is held at the point.
func (w *world) isHeld(point string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hold != point {
		return false
	}
	w.hold = ""
	close(w.reached)
	return true
}

// serve is the shop. It recognises a repetition by its key, and its effect comes before it is
// held.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	order, key := r.URL.Query().Get("order"), r.Header.Get("Idempotency-Key")
	w.mu.Lock()
	if w.calls[key]++; w.calls[key] == 1 {
		w.keys[order] = append(w.keys[order], key)
	}
	w.mu.Unlock()
	w.at(r.Context(), inEffect)
	fmt.Fprintf(rw, "R-%s", order)
}

// reply is the model. It does what the newest content of the conversation says.
func (w *world) reply(ctx context.Context, r standin.Request) standin.Reply {
	first, last := r.Contents[0].Parts[0].Text, r.Contents[len(r.Contents)-1].Parts[0]
	w.mu.Lock()
	w.shown[first] = r.Contents
	w.requests++
	if len(w.next) > 0 {
		next := w.next[0]
		w.next = w.next[1:]
		w.mu.Unlock()
		return next
	}
	w.mu.Unlock()

	if last.FunctionResponse != nil {
		w.at(ctx, inReply)
		number, _ := last.FunctionResponse.Response["number"].(string)
		return standin.Text("Done: ", number)
	}
	what, order, _ := strings.Cut(last.Text, " ")
	switch what {
	case "refund", "look":
		return standin.Call(&genai.FunctionCall{Name: what, Args: map[string]any{"order": order}})
	case "tell":
		reply := standin.Text("A long ", "story.")
		if w.isHeld(inStream) {
			reply.Chunks, reply.Hang = reply.Chunks[:1], true
		}
		return reply
	}
	return standin.Text("You said ", last.Text)
}

func message(id, text string, more ...func(*a2a.Message)) *a2a.Message {
	m := &a2a.Message{ID: id, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)}}
	for _, change := range more {
		change(m)
	}
	return m
}

func in(context string) func(*a2a.Message) { return func(m *a2a.Message) { m.ContextID = context } }
func of(task *a2a.Task) func(*a2a.Message) { return func(m *a2a.Message) { m.TaskID = task.ID } }

func text(task *a2a.Task) string {
	var s strings.Builder
	for _, a := range task.Artifacts {
		for _, p := range a.Parts {
			s.WriteString(p.Text())
		}
	}
	return s.String()
}

// conversation is the newest one that begins with a text, as the model was shown it.
func (w *world) conversation(first string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return told(w.shown[first])
}

// forget returns how often the model was asked since the last time.
func (w *world) forget() (requests int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	requests, w.requests = w.requests, 0
	return requests
}

// effects are the calls to the shop for an order, and the keys under which they came.
func (w *world) effects(order string) (calls int, keys []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.keys[order] {
		calls += w.calls[k]
	}
	return calls, w.keys[order]
}

// told is a conversation as the model is shown it.
func told(contents []*genai.Content) (lines []string) {
	for _, c := range contents {
		for _, p := range c.Parts {
			switch {
			case p.FunctionCall != nil:
				lines = append(lines, fmt.Sprint(c.Role, " calls ", p.FunctionCall.Name, p.FunctionCall.Args))
			case p.FunctionResponse != nil:
				lines = append(lines, fmt.Sprint(c.Role, " answers ", p.FunctionResponse.Name, p.FunctionResponse.Response))
			default:
				lines = append(lines, c.Role+" "+p.Text)
			}
		}
	}
	return lines
}

// Each way in which the program can die in a turn, at a point that an event tells. The next
// program goes on: the call has its effect once, under one key, the answer comes, and the next
// turn is shown the whole conversation, in order and once.
func TestKilledInATurn(t *testing.T) {
	for name, tt := range map[string]struct {
		says  string
		hold  string                                // where the program is killed in the first turn; empty: nowhere
		run   func(w *world, task *a2a.Task, n int) // what happens after the first message; nil: nothing
		want  string
		calls int // to the shop
		asked int // requests to the model
		told  []string
	}{
		"between question and confirmation": {
			says: "refund", want: "Done: R-%s", calls: 1, asked: 2,
			run: func(w *world, task *a2a.Task, n int) {
				w.asked(task.ID)
				w.kill()
				w.start()
				w.send(message(fmt.Sprint("yes-", n), "Yes.", of(task)))
			},
			told: []string{"user refund %s", "model calls refundmap[order:%s]", "user answers refundmap[number:R-%s]", "model Done: R-%s"},
		},
		"between confirmation, call and result": {
			says: "refund", want: "Done: R-%s", calls: 2, asked: 2,
			run: func(w *world, task *a2a.Task, n int) {
				w.asked(task.ID)
				w.killAt(inEffect, message(fmt.Sprint("yes-", n), "yes", of(task)))
			},
			told: []string{"user refund %s", "model calls refundmap[order:%s]", "user answers refundmap[number:R-%s]", "model Done: R-%s"},
		},
		"between call and result": {
			says: "look", want: "Done: R-%s", calls: 2, asked: 2, hold: inEffect,
			told: []string{"user look %s", "model calls lookmap[order:%s]", "user answers lookmap[number:R-%s]", "model Done: R-%s"},
		},
		"between result and reply": {
			says: "look", want: "Done: R-%s", calls: 1, asked: 3, hold: inReply,
			told: []string{"user look %s", "model calls lookmap[order:%s]", "user answers lookmap[number:R-%s]", "model Done: R-%s"},
		},
		"in the middle of a stream": {
			says: "tell", want: "A long story.", asked: 2, hold: inStream,
			told: []string{"user tell %s", "model A long story."},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for n := range conformance.Long(3, 3, 50) {
				order := fmt.Sprint("O", n)
				hello := "hello " + order
				first := w.ended(w.send(message(fmt.Sprint("hello-", n), hello)).ID)
				w.forget()
				begin := message(fmt.Sprint("m-", n), tt.says+" "+order, in(first.ContextID))
				var task *a2a.Task
				if tt.hold != "" {
					task = w.killAt(tt.hold, begin)
				} else {
					task = w.send(begin)
					tt.run(w, task, n)
				}

				task = w.ended(task.ID)
				if got := w.forget(); got != tt.asked {
					t.Errorf("run %d: the model was asked %d times, want %d", n, got, tt.asked)
				}
				fill := func(s string) string { return strings.ReplaceAll(s, "%s", order) }
				if task.Status.State != a2a.TaskStateCompleted || text(task) != fill(tt.want) {
					t.Errorf("run %d: the task is %s and says %q, want %q: %+v", n, task.Status.State, text(task), fill(tt.want), task.Status.Message)
				}

				w.ended(w.send(message(fmt.Sprint("last-", n), "bye", in(first.ContextID))).ID)
				want := []string{"user " + hello, "model You said " + hello}
				for _, line := range tt.told {
					want = append(want, fill(line))
				}
				want = append(want, "user bye")

				if diff := cmp.Diff(want, w.conversation(hello)); diff != "" {
					t.Errorf("run %d: the conversation: %s", n, diff)
				}
				calls, keys := w.effects(order)
				if effects := min(tt.calls, 1); len(keys) != effects || calls != tt.calls {
					t.Errorf("run %d: %d calls with the keys %v, want %d calls with %d keys", n, calls, keys, tt.calls, effects)
				}
			}
		})
	}
}
