package executor_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/lab/scripts"
	"errand/shared/model"
	"errand/worker/run"
)

func agentSays(s string) *a2a.Message {
	return &a2a.Message{ID: "q-" + s, Role: a2a.MessageRoleAgent, Parts: a2a.ContentParts{text(s)}}
}

func artifact(id string, parts ...*a2a.Part) *a2a.Artifact {
	return &a2a.Artifact{ID: a2a.ArtifactID(id), Parts: parts}
}

// contents returns the contents of the request for ec.
func contents(t *testing.T, ctx context.Context, ec *a2asrv.ExecutorContext, s setup) string {
	t.Helper()
	script := scripts.New(standin.Text("Yes."))
	s.model = scripted(t, script)
	if r := answered(t, ctx, newExecutor(t, s), ec); r.err != nil || r.state() != a2a.TaskStateCompleted {
		t.Fatalf("got %v %q, %v", r.state(), r.says(), r.err)
	}
	return plain(script.Requests()[0].Contents)
}

// conversation is a task in its third turn, which was tried before, with other tasks before
// it.
func conversation() *a2asrv.ExecutorContext {
	m3 := user("m3", text("third"))
	return &a2asrv.ExecutorContext{
		TaskID: "task", ContextID: "ctx", Message: m3,
		StoredTask: &a2a.Task{
			ID: "task", ContextID: "ctx",
			History:   []*a2a.Message{user("m1", text("first")), agentSays("which?"), user("m2", text("second")), m3},
			Artifacts: []*a2a.Artifact{artifact("t2-answer", text("answer two")), artifact("t1-answer", text("answer one")), artifact("t3-answer", text("left by another attempt"))},
			Status:    a2a.TaskStatus{State: a2a.TaskStateWorking, Message: agentSays("working on it")},
		},
		RelatedTasks: []*a2a.Task{
			{
				ID: "old", History: []*a2a.Message{user("a1", text("old question"))},
				Artifacts: []*a2a.Artifact{artifact("t1-answer", text("old answer"))},
				Status:    a2a.TaskStatus{State: a2a.TaskStateCompleted},
			},
			nil,
			{
				ID: "other", History: []*a2a.Message{user("b1", text("other question"))},
				Artifacts: []*a2a.Artifact{artifact("0190-made-elsewhere", text("other answer"))},
				Status:    a2a.TaskStatus{State: a2a.TaskStateFailed, Message: agentSays("it broke")},
			},
			{ID: "old", History: []*a2a.Message{user("a1", text("old question"))}},
			{ID: "task", History: []*a2a.Message{user("m1", text("first"))}},
			{
				ID: "open", History: []*a2a.Message{user("c1", text("open question"))},
				Status: a2a.TaskStatus{State: a2a.TaskStateWorking, Message: agentSays("waiting")},
			},
		},
	}
}

func TestConversationOrder(t *testing.T) {
	want := strings.Join([]string{
		"user: old question", "model: old answer",
		"user: other question", "model: other answer | it broke",
		"user: open question | first", "model: answer one | which?",
		"user: second", "model: answer two",
		"user: third",
	}, "\n")
	if diff := cmp.Diff(want, contents(t, t.Context(), conversation(), setup{})); diff != "" {
		t.Errorf("contents of the request (-want +got):\n%s", diff)
	}
}

func TestArtifactOfTheTurn(t *testing.T) {
	script := scripts.New(standin.Text("Yes."), standin.Text("Yes."))
	e := newExecutor(t, setup{model: scripted(t, script)})
	for _, tt := range []struct {
		ctx  context.Context
		want a2a.ArtifactID
	}{
		{t.Context(), "t3-answer"},
		{run.With(t.Context(), run.Run{Turn: 7}), "t7-answer"},
	} {
		r := answered(t, tt.ctx, e, conversation())
		if got := r.events[0].(*a2a.TaskArtifactUpdateEvent); got.Artifact.ID != tt.want || got.Append || !r.whole {
			t.Errorf("artifact %+v, want %s", got, tt.want)
		}
	}
}

func TestHistoryLimits(t *testing.T) {
	long := func(n int) *a2asrv.ExecutorContext {
		ec := message(text("now"))
		var h []*a2a.Message
		for i := range 10 {
			h = append(h, user(fmt.Sprint("u", i), text(fmt.Sprintf("u%d%s", i, strings.Repeat(".", n)))), agentSays(fmt.Sprintf("a%d", i)))
		}

		ec.StoredTask.History = append(h, ec.Message)
		return ec
	}

	some := func(tokens, turn int) setup {
		l := defaults()
		l.TurnTokens, l.OutputTokens = turn, min(turn, 2000)
		return setup{limits: l, talk: agent.Conversation{Tokens: tokens, Tools: agent.ToolsAll}}
	}
	left := func(n int) string {
		return fmt.Sprintf("user: (Not shown to you of the conversation: %d earlier messages and their answers. Say so if you need any of it.)", n)
	}
	large, huge := long(2980), strings.Repeat("n", 76_000) // of 80,000
	large.Message.Parts[0].Content = a2a.Text(huge)
	two := "u8" + strings.Repeat(".", 980) + "\nmodel: a8\nuser: u9" + strings.Repeat(".", 980) + "\nmodel: a9\nuser: now"

	for _, tt := range []struct {
		name string
		ec   *a2asrv.ExecutorContext
		s    setup
		want string
	}{
		{"tokens", long(0), some(24, 10_000), left(8) + " | u8\nmodel: a8\nuser: u9\nmodel: a9\nuser: now"},
		{"whole turns", long(0), some(17, 10_000), left(9) + " | u9\nmodel: a9\nuser: now"},
		{"large turns", long(980), some(520, 10_000), left(8) + " | " + two},
		{"what the message leaves", large, some(5000, 20_000), left(9) + " | u9" + strings.Repeat(".", 2980) + "\nmodel: a9\nuser: " + huge},
		{"nothing fits", long(980), some(100, 10_000), left(10) + " | now"},
		{"nothing is to be shown", long(0), some(0, 10_000), left(10) + " | now"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, contents(t, t.Context(), tt.ec, tt.s)); diff != "" {
				t.Errorf("contents of the request (-want +got):\n%s", diff)
			}
		})
	}
}

// Pictures have few tokens and many bytes.
func TestHistoryIsBoundedInBytes(t *testing.T) {
	ec := message(text("now"))
	for i := range 10 {
		picture := a2a.NewRawPart(bytes.Repeat([]byte("x"), 1<<20))
		picture.MediaType = "image/png"
		ec.StoredTask.History = append([]*a2a.Message{user(fmt.Sprint("u", i), picture)}, ec.StoredTask.History...)
	}
	limits := defaults()
	limits.TurnTokens = 100_000_000
	got := contents(t, t.Context(), ec, setup{limits: limits, talk: agent.Conversation{Tokens: 1 << 20, Tools: agent.ToolsAll}})
	if len(got) > 4<<20 || len(got) < 3<<20 || !strings.Contains(got, "7 earlier messages") {
		t.Errorf("the model is sent %d bytes: %.200s", len(got), got)
	}
}

// Parts of every kind reach the model, or are named if it cannot read them. Shows M34.
func TestPartsThatTheModelGets(t *testing.T) {
	raw := func(mime, name, data string) *a2a.Part {
		p := a2a.NewRawPart([]byte(data))
		p.MediaType, p.Filename = mime, name
		return p
	}

	link := a2a.NewFileURLPart("https://example.com/a.pdf", "application/pdf")
	link.Filename = "invoice.pdf"
	notes := text("some words")
	notes.Filename = "notes.txt"
	unread := a2a.NewFileURLPart("file:///etc/passwd", "text/plain")
	unread.Filename = "passwd"

	ec := message(
		text(""), text("look"),
		a2a.NewDataPart(map[string]any{"a": []any{1.5, "<b>"}}), a2a.NewDataPart(nil),
		raw("image/png", "a \"cat\"\n.png", "PNG"), raw("", "", "words"), raw("", "", "\xff\xfe"), raw("image/png", "", ""),
		link, notes,
		unread, a2a.NewFileURLPart("ftp://example.com/x", "text/plain"), a2a.NewFileURLPart("https://", ""), a2a.NewFileURLPart("\x00", ""),
		nil, &a2a.Part{},
	)

	// Files of the agent are named, not sent: the models accept files only from users.
	ec.RelatedTasks = []*a2a.Task{{
		ID: "old", History: []*a2a.Message{user("a1", text("draw"), raw("image/png", "dog.png", "DOG"))},
		Artifacts: []*a2a.Artifact{artifact("t1-answer", raw("image/png", "cat.png", "PNG"), a2a.NewFileURLPart("https://example.com/x", ""))},
	}}

	want := "user: draw | (the file \"dog.png\":) | image/png DOG\nmodel: (a file: \"cat.png\" image/png, 3 bytes) | (a file that cannot be read: unnamed)\n" +
		`user: look | {"a":[1.5,"<b>"]} | null | (the file "a \"cat\"\n.png":) | image/png PNG | text/plain words | application/octet-stream ` + "\xff\xfe" +
		` | (the file "invoice.pdf":) | application/pdf https://example.com/a.pdf | (the file "notes.txt":) | some words | (a file that cannot be read: "passwd" text/plain)` + " | (a file that cannot be read: text/plain) | (a file that cannot be read: unnamed) | (a file that cannot be read: unnamed)"
	if diff := cmp.Diff(want, contents(t, t.Context(), ec, setup{})); diff != "" {
		t.Errorf("contents of the request (-want +got):\n%s", diff)
	}
}

// A vertex is a model that reads objects of buckets.
type vertex struct{ model.Model }

func (vertex) ReadsObjects() bool { return true }

// A model that reads objects of buckets gets their addresses from users, unless the turn says
// that the owner may not have one read. Any other model gets none: a message with one fails with
// the reason, and the model is not asked. In earlier messages there is a word in its place.
func TestObjectsForTheModel(t *testing.T) {
	named := func() *a2a.Part { return a2a.NewFileURLPart("gs://acme-in/a.pdf", "application/pdf") }
	lost := named()
	run.MissURL(lost, "The right is lost.")
	old := func(parts ...*a2a.Part) []*a2a.Task {
		return []*a2a.Task{{ID: "old", History: []*a2a.Message{user("a1", parts...)}, Artifacts: []*a2a.Artifact{artifact("t1-answer", text("read"), named())}}}
	}

	for _, row := range []struct {
		name    string
		reads   bool
		message []*a2a.Part
		before  []*a2a.Task
		want    string // that the model gets; empty: it is not asked
		why     string
	}{
		{"an object", true, []*a2a.Part{named()}, nil, "user: application/pdf gs://acme-in/a.pdf", ""},
		{"an object of before", true, []*a2a.Part{text("again")}, old(named()), "user: application/pdf gs://acme-in/a.pdf\nmodel: read | (a file that cannot be read: application/pdf)\nuser: again", ""},
		{"the right is lost", true, []*a2a.Part{lost}, nil, "", "The right is lost."},
		{"the right of before is lost", true, []*a2a.Part{text("again")}, old(lost), "user: (a file that cannot be read: application/pdf)\nmodel: read | (a file that cannot be read: application/pdf)\nuser: again", ""},
		{"another model", false, []*a2a.Part{named()}, nil, "", "The message names an object in a bucket, and the model of this agent reads none: send the file itself, or an https URL."},
		{"another model of before", false, []*a2a.Part{text("again")}, old(named()), "user: (a file that cannot be read: application/pdf)\nmodel: read | (a file that cannot be read: application/pdf)\nuser: again", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			script := scripts.New(standin.Text("read"))
			m := scripted(t, script)
			if row.reads {
				m = vertex{m}
			}
			ec := message(row.message...)
			ec.RelatedTasks = row.before
			r := answered(t, t.Context(), newExecutor(t, setup{model: m}), ec)

			got := ""
			for _, q := range script.Requests() {
				if q.Op == standin.OpStream {
					got += plain(q.Contents)
				}
			}
			if got != row.want || (row.want == "") != (r.state() == a2a.TaskStateFailed) || r.state() == a2a.TaskStateFailed && r.says() != row.why {
				t.Errorf("the model got %q, want %q; the turn ended as %v, %q", got, row.want, r.state(), r.says())
			}
		})
	}
}

func TestNothingToRead(t *testing.T) {
	script := scripts.New()
	r := answered(t, t.Context(), newExecutor(t, setup{model: scripted(t, script)}), message(text("")))
	if r.state() != a2a.TaskStateFailed || r.says() == "" || len(script.Requests()) != 0 {
		t.Errorf("got %v %q, %v", r.state(), r.says(), r.err)
	}
}

// The executor is an ordinary one: the SDK's own server runs it too.
func TestUnderTheSDK(t *testing.T) {
	script := scripts.New(
		standin.Call(call("ask", map[string]any{"question": "Which one?"})),
		standin.Text("The ", "first."))

	handler := a2asrv.NewHandler(newExecutor(t, setup{model: scripted(t, script)}))
	sent, err := handler.SendMessage(t.Context(), &a2a.SendMessageRequest{Message: a2a.NewMessage(a2a.MessageRoleUser, text("Hello"))})
	if err != nil {
		t.Fatal(err)
	}

	got := sent.(*a2a.Task)
	if got.Status.State != a2a.TaskStateInputRequired || got.Status.Message.Parts[0].Text() != "Which one?" {
		t.Fatalf("got %+v", got.Status)
	}

	answer := a2a.NewMessageForTask(a2a.MessageRoleUser, got, text("That."))
	if sent, err = handler.SendMessage(t.Context(), &a2a.SendMessageRequest{Message: answer}); err != nil {
		t.Fatal(err)
	}

	got = sent.(*a2a.Task)
	if got.Status.State != a2a.TaskStateCompleted || len(got.Artifacts) != 1 || got.Artifacts[0].ID != "t2-answer" {
		t.Fatalf("got %+v", got)
	}

	want := "user: Hello\nmodel: Which one?\nuser: That."
	if diff := cmp.Diff(want, plain(script.Requests()[1].Contents)); diff != "" {
		t.Errorf("contents of the request (-want +got):\n%s", diff)
	}
}
