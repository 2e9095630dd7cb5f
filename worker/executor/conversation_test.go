package executor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/desk"
	"errand/shared/lab/scripts"
	"errand/shared/task"
	"errand/worker/tools"
	"errand/worker/turn"
)

// say accepts a message of a context, a second after the one before.
func (s *site) say(m *a2a.Message) string {
	s.t.Helper()
	s.mu.Lock()
	s.now = s.now.Add(time.Second)
	s.mu.Unlock()
	m.Role = a2a.MessageRoleUser
	r, err := s.desk.Accept(s.t.Context(), desk.Message{Owner: "me", Message: m})
	if err != nil {
		s.t.Fatal(err)
	}
	return r.ID()
}

// said is a message of the context c.
func said(id, words string) *a2a.Message {
	return &a2a.Message{ID: id, ContextID: "c", Parts: a2a.ContentParts{text(words)}}
}

// the mark is in the message that a model refuses, and so in every request that shows it.
const mark = "M4RK"

// sent is a request in plain words.
func sent(r standin.Request) string { return plain(r.Contents) }

// A way is one in which a model does not answer.
type way struct {
	name string
	how  standin.Reply
}

var ways = []way{
	{"blocked", scripts.Block("PROHIBITED_CONTENT")},
	{"400", scripts.Fail(http.StatusBadRequest, "INVALID_ARGUMENT", "the image cannot be read")},
	{"SAFETY in mid-answer", scripts.Finish("SAFETY", "It ", "begins")},
	{"RECITATION", scripts.Finish("RECITATION", "It is ")},
	{"cut off stream", scripts.CutMidRune("It begins")},
	{"500", scripts.Fail(http.StatusInternalServerError, "INTERNAL", "broken")},
}

// For each way in which a turn can end without its answer, the next message of the context is
// answered by a model that refuses whatever holds the marked text, in each way in which it can.
func TestClientsRows02And03NextMessageIsAnswered(t *testing.T) {
	run := func(s *site, id string) { s.until(id) }
	type end struct {
		way
		run    func(s *site, id string)
		state  a2a.TaskState
		hidden bool // from the first request on
	}

	var ends []end
	for _, w := range ways {
		e := end{w, run, a2a.TaskStateRejected, true}
		if e.name == "cut off stream" || e.name == "500" || e.name == "400" {
			e.state, e.hidden = a2a.TaskStateFailed, e.name != "cut off stream"
		}
		ends = append(ends, e)
	}

	cancel := func(s *site, id string) {
		_, err := task.Update(t.Context(), s.Store, id, func(r task.Record) (task.Record, bool, error) {
			return r.Cancel(s.Moment(), a2a.NewMessage(a2a.MessageRoleAgent, text("canceled")), nil)
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	ends = append(ends,
		end{way{"MAX_TOKENS", scripts.Finish("MAX_TOKENS", "It begins")}, run, a2a.TaskStateFailed, false},
		end{way{"canceled", standin.Text()}, cancel, a2a.TaskStateCanceled, true},
		end{way{"canceled after a call", standin.Call(call("later", nil))}, func(s *site, id string) {
			s.process(id, 0)
			cancel(s, id)
		}, a2a.TaskStateCanceled, false},
		end{way{"broke its worker", standin.Text("x")}, func(s *site, id string) { s.until(id, slices.Repeat([]int{3}, 40)...) }, a2a.TaskStateFailed, true},
	)

	for _, e := range ends {
		for _, again := range ways {
			t.Run(e.name+", then "+again.name, func(t *testing.T) {
				s := newSite(t)
				now := e.how
				script := scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
					switch {
					case r.Op != standin.OpStream:
						return standin.Text("1")
					case strings.Contains(sent(r), mark):
						return now
					}
					return standin.Text("Yes.")
				})

				later := tools.New("later", "Waits.", func(context.Context, struct{}) (string, error) {
					return "", tools.Later(s.clock().Add(time.Hour))
				})
				s.setup = setup{model: scripted(t, script), tools: []tools.Tool{later}}

				s.until(s.say(said("m1", "hello")))
				marked := s.say(said("m2", "see "+mark))
				e.run(s, marked)
				if r := s.Load(marked); r.State() != e.state {
					t.Fatalf("the marked task is %s: %+v", r.State(), r.Task.Status.Message)
				}

				now = again.how
				before := len(script.Requests())
				r := s.until(s.say(said("m3", "two plus two?")))
				if r.State() != a2a.TaskStateCompleted || r.Task.Artifacts[0].Parts[0].Text() != "Yes." {
					t.Fatalf("the next task is %s: %+v", r.State(), r.Task.Status.Message)
				}

				var asked []string
				for _, q := range script.Requests()[before:] {
					if q.Op == standin.OpStream && q.Config.MaxOutputTokens != 1 { // no probe
						asked = append(asked, sent(q))
					}
				}

				last := asked[len(asked)-1]
				if !strings.Contains(last, "hello") || strings.Contains(last, mark) || !strings.Contains(last, "Not shown to you of the conversation: 1 message") {
					t.Errorf("the answered request:\n%s", last)
				}
				if want := 2; e.hidden && len(asked) != 1 || !e.hidden && len(asked) != want {
					t.Errorf("the model was asked %d times:\n%s", len(asked), strings.Join(asked, "\n\n"))
				}
				if m := r.Marks[len(r.Marks)-1]; m.Kind != task.MarkLeftOut || !strings.Contains(m.Why, "1 message") {
					t.Errorf("the trace does not say it: %+v", r.Marks)
				}
			})
		}
	}
}

// A turn that completed is never left out for a refusal, and the new message is not blamed for it.
func TestCompletedTurnsAreNotDoubted(t *testing.T) {
	for _, w := range ways[:4] {
		s := newSite(t)
		script := scripts.New(standin.Text("Yes."), w.how, standin.Text("Never sent."))
		s.setup = setup{model: scripted(t, script)}
		s.until(s.say(said("m1", mark)))
		r := s.until(s.say(said("m2", "two plus two?")))
		say := r.Task.Status.Message.Parts[0].Text()
		if n := len(script.Requests()); n != 2 || r.State() == a2a.TaskStateCompleted {
			t.Errorf("%s: %s after %d requests", w.name, r.State(), n)
		}
		if strings.HasPrefix(say, "The message was refused") || !strings.Contains(say, "this message or an earlier one") {
			t.Errorf("%s: the client is told %q", w.name, say)
		}
	}
}

// refunding is a site whose model refunds an order when asked to, in a second step. It signs that
// one, and else answers.
func refunding(t *testing.T, talk agent.Conversation) (*site, *scripts.Script) {
	s := newSite(t)
	script := scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
		last := r.Contents[len(r.Contents)-1].Parts
		p := last[len(last)-1]
		switch looked := len(last) == 1 && p.FunctionResponse != nil; {
		case r.Op == standin.OpStream && strings.HasPrefix(p.Text, "refund"):
			return standin.Call(call("look", map[string]any{"order": "A1"}))
		case r.Op != standin.OpStream || !looked:
			return standin.Text("Done.")
		}
		reply := standin.Call(call("look", map[string]any{"order": "A1"}), call("refund", map[string]any{"order": "A1", "cents": 5}))
		reply.Chunks[0].Candidates[0].Content.Parts[0].ThoughtSignature = []byte("signed")
		return reply
	})

	b := &bank{s: s, keeps: true, keys: map[string]string{}}
	look := tools.New("look", "Looks.", func(_ context.Context, in struct {
		Order string `json:"order"`
	}) (string, error) {
		return "paid " + strings.Repeat("x", 400), nil
	})
	s.setup = setup{model: scripted(t, script), tools: []tools.Tool{b.refund(), look}, talk: talk}
	s.reads = &turn.Conversation{Tokens: talk.Tokens, Tasks: talk.Tasks}
	return s, script
}

// newest is the newest request that was to be answered.
func newest(t *testing.T, s *scripts.Script) standin.Request {
	t.Helper()
	for _, r := range slices.Backward(s.Requests()) {
		if r.Op == standin.OpStream {
			return r
		}
	}
	t.Fatal("the model was not asked")
	return standin.Request{}
}

// signed reports whether a request has the signature of an earlier call.
func signed(r standin.Request) bool {
	return slices.ContainsFunc(r.Contents, func(c *genai.Content) bool {
		return slices.ContainsFunc(c.Parts, func(p *genai.Part) bool {
			return p.FunctionCall != nil && bytes.Equal(p.ThoughtSignature, []byte("signed"))
		})
	})
}

// A refund of an earlier turn is in the next request, with its result and signature. Where the
// tokens do not allow that, it is named. Steps are read for tasks that have some, and saying what
// is left out costs no write.
func TestEarlierCallsAreShownOrNamed(t *testing.T) {
	first := "\nmodel: call look\nuser: result look {\"output\":\"paid"
	second := "\nmodel: call look | call refund\nuser: result look {\"output\":\"paid"
	for _, tt := range []struct {
		name   string
		tokens int
		tools  string
		shown  []string
		left   string // calls; empty: none
	}{
		{"all", 1000, agent.ToolsAll, []string{"user: refund A1", first, second}, ""},
		{"with effects only", 1000, agent.ToolsEffects, []string{"user: refund A1", second}, "1 call."},
		{"tokens for those with effects", 260, agent.ToolsAll, []string{"user: refund A1", second}, "1 call."},
		{"tokens for the message", 60, agent.ToolsAll, []string{"refund A1"}, "3 calls."},
		{"no tokens", 0, agent.ToolsAll, nil, "3 calls."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, script := refunding(t, agent.Conversation{Tokens: tt.tokens, Tasks: 20, Tools: tt.tools})
			refunded := s.Load(s.until(s.say(said("m1", "refund A1"))).ID())
			s.until(s.say(said("m2", "thanks")))
			s.lists, s.writes = 0, nil
			r := s.until(s.say(said("m3", "what was done?")))

			request := newest(t, script)
			got, key := sent(request), refunded.CallKey(2, 1)
			for _, part := range []string{"refund A1", first, second} {
				shows := slices.ContainsFunc(tt.shown, func(p string) bool { return strings.HasSuffix(p, part) })
				if strings.Contains(strings.ReplaceAll(got, "refunded A1", ""), part) != shows {
					t.Errorf("%q is shown: %t; the request:\n%s", part, !shows, got)
				}
			}

			if !strings.Contains(got, tt.left) || (tt.left == "") == strings.Contains(got, "Not shown") {
				t.Errorf("want %q in the line; the request:\n%s", tt.left, got)
			}

			named := !slices.Contains(tt.shown, second)
			if signed(request) == named {
				t.Errorf("the signature is sent: %t", !named)
			}

			wanted := []string{`refund({"cents":5,"order":"A1"}) = {"output":"refunded A1"}, key ` + key}
			for _, w := range wanted {
				if strings.Contains(got, w) != named {
					t.Errorf("%q: the request:\n%s", w, got)
				}
			}

			left := slices.ContainsFunc(r.Marks, func(m task.Mark) bool {
				return m.Kind == task.MarkLeftOut && strings.Contains(m.Why, "refund "+key)
			})
			if left != named {
				t.Errorf("the marks: %+v", r.Marks)
			}
			if s.lists != 1 || len(s.writes) != 2 {
				t.Errorf("%d lists of steps for one task that has some; the writes: %v, want a claim and an end", s.lists, s.writes)
			}
		})
	}
}

// The earlier turns of a task itself show their calls too, also for a message that wants no
// earlier tasks.
func TestOwnEarlierCallsAreShown(t *testing.T) {
	for _, alone := range []bool{false, true} {
		s, _ := refunding(t, agent.Conversation{Tokens: 5000, Tasks: 20, Tools: agent.ToolsAll})
		script := scripts.New(
			standin.Text("Hello."),
			standin.Call(call("refund", map[string]any{"order": "A1", "cents": 5})), standin.Call(call("ask", map[string]any{"question": "Anything else?"})),
			standin.Text("Bye."))
		s.setup.model = scripted(t, script)
		s.until(s.say(said("m0", "in the context")))
		id := s.until(s.say(said("m1", "refund A1"))).ID()

		m := said("m2", "no")
		m.TaskID = a2a.TaskID(id)
		if alone {
			m.Metadata = map[string]any{task.ConversationKey: "none"}
		}
		s.say(m)
		s.until(id)
		want := "user: refund A1\nmodel: call refund\nuser: result refund {\"output\":\"refunded A1\"}\nmodel: Anything else?\nuser: no"
		if !alone {
			want = "user: in the context\nmodel: Hello.\n" + want
		}
		if got := sent(newest(t, script)); got != want {
			t.Errorf("none: %t; the request:\n%s", alone, got)
		}
	}
}

// A message may want no earlier tasks of its context. It gets those that it names.
func TestMessageWithoutConversation(t *testing.T) {
	s, script := refunding(t, agent.Conversation{Tokens: 5000, Tasks: 20, Tools: agent.ToolsAll})
	s.until(s.say(said("m1", "refund A1")))
	named := s.until(s.say(said("m2", "second"))).ID()

	alone := said("m3", "third")
	alone.Metadata = map[string]any{task.ConversationKey: "none"}
	r := s.until(s.say(alone))
	if got := sent(newest(t, script)); got != "user: third" {
		t.Errorf("the request:\n%s", got)
	}
	if r.Marks[len(r.Marks)-1].Kind != task.MarkClaimed {
		t.Errorf("what was not wanted is left out: %+v", r.Marks)
	}

	alone = said("m4", "fourth")
	alone.Metadata, alone.ReferenceTasks = map[string]any{task.ConversationKey: "none"}, []a2a.TaskID{a2a.TaskID(named)}
	s.until(s.say(alone))
	if got := sent(newest(t, script)); got != "user: second\nmodel: Done.\nuser: fourth" {
		t.Errorf("the request:\n%s", got)
	}
}

// A model that refuses the signatures of earlier turns is told of their calls in words.
func TestOldSignaturesMayBeRefused(t *testing.T) {
	s, script := refunding(t, agent.Conversation{Tokens: 5000, Tasks: 20, Tools: agent.ToolsAll})
	s.until(s.say(said("m1", "refund A1")))
	again := scripts.Record(func(ctx context.Context, r standin.Request) standin.Reply {
		if signed(r) {
			return scripts.Fail(http.StatusBadRequest, "INVALID_ARGUMENT", "Thought signature is not valid")
		}
		return script.Answer(ctx, r)
	})
	s.setup.model = scripted(t, again)
	r := s.until(s.say(said("m2", "what was done?")))
	got := sent(newest(t, again))
	if r.State() != a2a.TaskStateCompleted || strings.Contains(got, "call refund") || !strings.Contains(got, `You called the function refund with {"cents":5,"order":"A1"}. Its result: {"output":"refunded A1"}`) {
		t.Errorf("%s; the request:\n%s", r.State(), got)
	}
}

// A document of 300 KB in a context with 60 turns is shown as long as the tokens and tasks allow
// it. Else the model and the trace are told that it is not.
func TestDocumentInALongConversation(t *testing.T) {
	document := mark + strings.Repeat(" word", 60_000)
	for _, tt := range []struct {
		name  string
		talk  agent.Conversation
		there bool
		says  string // to the model and in the trace; empty: nothing
	}{
		{"all of it", agent.Conversation{Tokens: 100_000, Tasks: 80, Tools: agent.ToolsAll}, true, ""},
		{"few tokens", agent.Conversation{Tokens: 20_000, Tasks: 80, Tools: agent.ToolsAll}, false, `1 earlier message and its answer, the files ["report.txt"]`},
		{"few tasks", agent.Conversation{Tokens: 100_000, Tasks: 20, Tools: agent.ToolsAll}, false, "40 earlier tasks"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			script := scripts.Record(func(context.Context, standin.Request) standin.Reply { return standin.Text("Yes.") })
			s.setup = setup{model: scripted(t, script), talk: tt.talk, limits: agent.Limits{Steps: 4, TurnTokens: 1_000_000, OutputTokens: 2000}}
			s.reads = &turn.Conversation{Tokens: tt.talk.Tokens, Tasks: tt.talk.Tasks}

			first := said("m0", document)
			first.Parts[0].Filename = "report.txt"
			s.until(s.say(first))
			for i := 1; i < 60; i++ {
				s.until(s.say(said(fmt.Sprint("m", i), fmt.Sprint("turn ", i))))
			}
			r := s.until(s.say(said("m60", "what does it say?")))

			got := sent(newest(t, script))
			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if most := 4*tt.talk.Tokens + 2000; len(text) > most {
				t.Errorf("the request has %d bytes, more than %d", len(text), most)
			}
			if strings.Contains(got, mark) != tt.there || strings.Contains(got, "Not shown") == tt.there || !strings.Contains(got, tt.says) {
				t.Errorf("the request: %.300s", got)
			}
			m := r.Marks[len(r.Marks)-1]
			if (m.Kind == task.MarkLeftOut) == tt.there || !strings.Contains(m.Why, tt.says) {
				t.Errorf("the trace: %+v", r.Marks)
			}
		})
	}
}

// The line names the newest calls with effects, and counts the others.
func TestManyCallsAreNamedAndCounted(t *testing.T) {
	s, _ := refunding(t, agent.Conversation{Tokens: 0, Tasks: 20, Tools: agent.ToolsAll})
	var calls []*genai.FunctionCall
	for i := range 12 {
		calls = append(calls, call("refund", map[string]any{"order": fmt.Sprint("A", i), "cents": i}))
	}
	script := scripts.New(standin.Call(calls...), standin.Text("Done."), standin.Call(calls...), standin.Text("Done."), standin.Text("Yes."))
	s.setup.model = scripted(t, script)
	s.until(s.say(said("m1", "refund")))
	s.until(s.say(said("m2", "refund again")))
	s.until(s.say(said("m3", "what was done?")))

	got := sent(newest(t, script))
	if n := strings.Count(got, "refund({"); n != 20 || !strings.Contains(got, "24 calls") || !strings.Contains(got, "and 4 before these.") {
		t.Errorf("%d calls are named:\n%s", n, got)
	}
}
