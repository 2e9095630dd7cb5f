package turn_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"

	"errand/shared/desk"
	"errand/shared/lab/faulty"
)

// The tests in this file show requirements of docs/conformance.md.

// An executor sees the metadata, the active extensions and the sender of the request that
// it answers, and none of the request before. Shows M32, V10, decision 28.
func TestExecutorSeesTheRequest(t *testing.T) {
	type request struct {
		Request, Message map[string]any
		Extensions       []string
		User             string
	}

	var got []request

	b := newBench(t, execute(func(ctx context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		cc, _ := a2asrv.CallContextFrom(ctx)
		now := request{ec.Metadata, ec.Message.Metadata, cc.Extensions().ActivatedURIs(), cc.User.Name}

		for _, uri := range []string{"urn:x:a", "urn:x:b"} {
			if on := cc.Extensions().Active(&a2a.AgentExtension{URI: uri}); on != slices.Contains(now.Extensions, uri) {
				t.Errorf("%s: active = %v", uri, on)
			}
		}

		got = append(got, now)
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateInputRequired, a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("?"))), nil)
	}))

	send := func(id, taskID string, m desk.Message) string {
		m.Owner, m.Message = "me", &a2a.Message{
			ID: id, TaskID: a2a.TaskID(taskID), Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart("hi")}, Metadata: map[string]any{"of": id},
		}

		r, err := b.desk.Accept(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}

		b.deliver(r.ID(), id, 0)
		return r.ID()
	}

	id := send("m1", "", desk.Message{Extensions: []string{"urn:x:a"}, Metadata: map[string]any{"n": []any{1.5, nil}}})
	send("m2", id, desk.Message{})
	want := []request{
		{map[string]any{"n": []any{1.5, nil}}, map[string]any{"of": "m1"}, []string{"urn:x:a"}, "me"},
		{nil, map[string]any{"of": "m2"}, nil, "me"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests that the executor saw (-want +got):\n%s", diff)
	}
}

// A task that asks for an authorization waits for its client. No worker runs it meanwhile,
// and an answer to one request is no permission for the next one. Shows M21, M24.
func TestAuthorizationIsAskedForEachTime(t *testing.T) {
	runs := 0
	b := newBench(t, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		runs++
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateAuthRequired, a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("May I?"))), nil)
	}))
	id := b.send("m", "hello", "").ID()
	b.deliver(id, "job", 0)
	for turn := 1; turn <= 2; turn++ {
		r := b.Load(id)
		if m := r.Task.Status.Message; r.State() != a2a.TaskStateAuthRequired || m == nil || m.Parts[0].Text() != "May I?" {
			t.Errorf("turn %d: the task is %s: %+v", turn, r.State(), m)
		}
		if code := b.deliver(id, "another", 0); code != http.StatusNoContent || runs != turn {
			t.Errorf("turn %d: a job was answered %d after %d runs", turn, code, runs)
		}
		if turn == 1 {
			b.send("go on", "go on", id)
			b.deliver(id, "next", 0)
		}
	}
}

// Tasks that a message refers to are shown first, and only to their owner. Foreign ones are
// not even looked for. Shows M26, decision 27.
func TestReferencedTasks(t *testing.T) {
	var seen []string
	b := newBench(t, nil)
	var loads sync.Map // ids
	noting := faulty.Store{Store: b.Store, Before: func(c faulty.Call) error { loads.Store(c.ID, true); return nil }}
	b.worker = b.newWorker(noting, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		seen = nil
		for _, r := range ec.RelatedTasks {
			seen = append(seen, r.History[0].Parts[0].Text())
		}
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}), time.Millisecond)

	mine := b.send("mine", "mine", "")
	theirs, err := b.desk.Accept(t.Context(), desk.Message{Owner: "you", Message: &a2a.Message{
		ID: "theirs", ContextID: "theirs", Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart("theirs")},
	}})
	if err != nil {
		t.Fatal(err)
	}

	for id, contextID := range map[string]string{"elsewhere": "", "in the context of another": "theirs"} {
		r, err := b.desk.Accept(t.Context(), desk.Message{Owner: "me", Message: &a2a.Message{
			ID: id, ContextID: contextID, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(id)},
			ReferenceTasks: []a2a.TaskID{theirs.Task.ID, "no-such-task", mine.Task.ID},
		}})
		if err != nil {
			t.Fatal(err)
		}

		b.deliver(r.ID(), id, 0)
		if diff := cmp.Diff([]string{"mine"}, seen); diff != "" {
			t.Errorf("%s: related tasks (-want +got):\n%s", id, diff)
		}
	}

	if _, asked := loads.Load(theirs.ID()); asked {
		t.Error("the store was asked for a foreign task")
	}
	if _, asked := loads.Load(mine.ID()); !asked {
		t.Error("the store was not asked for the owner's task")
	}
}

// A failure after the accept reaches the client as a text of our own, without the internal
// error. Shows decision 29.
func TestFailureTellsNothingInternal(t *testing.T) {
	b := newBench(t, execute(func(_ context.Context, _ *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		yield(nil, errors.New("dial tcp 10.0.0.1: password hunter2"))
	}))

	id := b.send("m", "hello", "").ID()
	for retry := range 20 {
		if b.Load(id).Terminal() {
			break
		}

		b.deliver(id, "job", retry)
		if wake := b.Load(id).Wake; wake.After(b.clock()) {
			b.advance(wake.Sub(b.clock()))
		}
	}

	r := b.Load(id)
	if r.State() != a2a.TaskStateFailed || r.Task.Status.Message == nil {
		t.Fatalf("the task is %s", r.State())
	}

	enc, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if text := string(enc.Head) + string(enc.Body); strings.Contains(text, "hunter2") || strings.Contains(text, "10.0.0.1") {
		t.Errorf("the record holds the internal error: %s", text)
	}
}
