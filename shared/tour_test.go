package shared_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/auth"
	"errand/shared/bus"
	"errand/shared/queue"
	"errand/shared/task"
)

// The data that docs/tour.md shows of one message is what the code makes of it.
func TestTourShowsRealData(t *testing.T) {
	text, err := os.ReadFile("../docs/tour.md")
	if err != nil {
		t.Fatal(err)
	}

	shown := map[string][]byte{}
	for _, m := range regexp.MustCompile("(?s)```json ([a-z]+)\n(.*?)```").FindAllSubmatch(text, -1) {
		shown[string(m[1])] = m[2]
	}

	for name, want := range journey(t) {
		var got bytes.Buffer
		if err := json.Compact(&got, shown[name]); err != nil {
			t.Errorf("docs/tour.md shows no %s: %v", name, err)
		}
		if got.String() != want {
			t.Errorf("docs/tour.md shows as %s\n%s\nit is\n%s", name, got.String(), want)
		}

		delete(shown, name)
	}

	for name := range shown {
		t.Errorf("docs/tour.md shows %s, which is not made here", name)
	}
}

// journey makes the record of a message, runs its turn, and returns the stored texts, the
// job and the last event.
func journey(t *testing.T) map[string]string {
	t.Helper()
	const owner = auth.Anonymous
	at := func(d time.Duration) task.Moment {
		return task.Defaults().At(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(d))
	}

	made := map[string]string{}

	keep := func(name string, r task.Record, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}

		enc, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}

		made[name], made["body"] = string(enc.Head), string(enc.Body)
	}

	id, conversation := task.Derive(owner, "hello-1")
	msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("Hello!"))
	msg.ID, msg.TaskID, msg.ContextID = "hello-1", a2a.TaskID(id), conversation
	print, err := task.Fingerprint(msg, msg.TaskID, conversation)
	if err != nil {
		t.Fatal(err)
	}

	r, err := task.Accept(at(0), task.Acceptance{
		ID: id, Context: conversation, Owner: owner, Lane: task.Turns, Message: msg, Request: task.Request{ID: msg.ID, Fingerprint: print},
		Webhooks: []task.Webhook{{ID: "billing", URL: "https://hooks.example.com/errand"}},
	})

	keep("accepted", r, err)
	made["job"] = string(queue.Job{Queue: task.Turns, Path: queue.PathTurn, Task: id}.Body())

	claim := at(8 * time.Millisecond)
	r, _, _, err = r.Claim(claim, task.Claim{Lease: task.Lease{
		Until: claim.Now.Add(9*time.Minute + 30*time.Second), Queue: task.Turns, Name: "TO775A5BNS-1", Nonce: "QJNQ335IUZRQCPK67X4PRI5T7N",
	}})

	keep("claimed", r, err)

	answer := &a2a.TaskArtifactUpdateEvent{LastChunk: true, Artifact: &a2a.Artifact{
		ID: "t1-answer", Name: "answer", Parts: a2a.ContentParts{a2a.NewTextPart("You said: Hello!")},
	}}

	r, _, err = r.Finish(at(3*time.Second), task.Fence{Epoch: r.Epoch, Seq: r.Seq}, []a2a.Event{answer}, task.Outcome{State: a2a.TaskStateCompleted})
	keep("completed", r, err)

	n := len(r.Notifications)
	last := r.Notifications[n-1]
	event, err := json.Marshal(bus.Event{Task: id, Context: conversation, Notification: n, Kind: bus.KindState, State: string(last.State), Time: last.At})
	if err != nil {
		t.Fatal(err)
	}

	made["event"] = string(event)
	return made
}
