package conformance

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// This file holds the laws about the stored form: a store keeps the whole record, and refuses
// a record that would not fit or could not be read.

// full returns a record in which every field is set.
func full(id string) task.Record {
	at := epoch.Add(1234567 * time.Nanosecond)
	stamp := epoch.Add(5 * time.Millisecond)
	agent := text("answer", "a <b> & \u2028 \x00 ü")
	agent.Role, agent.TaskID, agent.ContextID = a2a.MessageRoleAgent, a2a.TaskID(id), "ctx"
	agent.ReferenceTasks = []a2a.TaskID{"r1", "r2"}
	agent.Extensions = []string{"https://example.com/x"}
	agent.Metadata = map[string]any{"n": nil, "list": []any{1.5, "x", map[string]any{}}}

	artifact := &a2a.Artifact{
		ID: "art", Name: "name", Description: "description", Parts: everyPart(),
		Extensions: []string{"e"}, Metadata: map[string]any{"k": "v"},
	}

	status := a2a.TaskStatus{State: a2a.TaskStateWorking, Timestamp: &stamp, Message: agent}
	return task.Record{
		Schema: task.Schema, Owner: someone, Lane: "turns-eu",
		Requests: []task.Request{{ID: "m1", Fingerprint: "p1"}, {ID: "m2", Fingerprint: "p2"}},
		Turn:     2, Since: at, Made: []task.Made{{ID: "art", Epoch: 3}},
		Inbox: []*a2a.Message{text("m3", "more")},
		Webhooks: []task.Webhook{{
			ID: "h", Gen: 4, URL: "https://example.com/hook?a=b&c=<d>", Sealed: "k.t", Scheme: "Bearer",
			Since: at, Ping: at, Dialect: "0.3", State: task.WebhookDead, Gone: true, Cursor: 1, Attempt: 2, Next: at,
			Tries: []task.Try{{At: at, Notification: 1, Status: 500, Error: "status"}},
		}},
		Gens: 4, Seq: 9,
		Log: []task.Entry{
			{Seq: 8, Status: &status, Metadata: map[string]any{"tokens": 7.0}},
			{Seq: 9, Artifact: &task.Chunk{
				ID: "art", Append: true, Last: true, Part: 1, From: 2, To: 3,
				Inline: artifact, Metadata: map[string]any{"x": true},
			}},
		},
		Notifications: []task.Notification{{At: at, Seq: 8, State: a2a.TaskStateWorking, Text: "t", Artifact: "art", Front: true}},
		Published:     1, Epoch: 3, Attempt: 2, Deaths: 2, Blamed: 1,
		Lease: task.Lease{Until: at, Queue: "q", Name: "n", Retry: 1, Nonce: "x", Alone: true},
		Wake:  at, Asked: at, Due: task.Due{At: at, Lane: task.Deliveries}, Expires: at.Add(time.Hour),
		Task: &a2a.Task{
			ID: a2a.TaskID(id), ContextID: "ctx", Status: status,
			History: []*a2a.Message{text("m1", "one"), agent}, Artifacts: []*a2a.Artifact{artifact},
			Metadata: map[string]any{"deep": map[string]any{"er": []any{}}},
		},
	}
}

func everyPart() a2a.ContentParts {
	return a2a.ContentParts{
		a2a.NewTextPart(""),
		{Content: a2a.Text("text"), Filename: "f", MediaType: "text/plain", Metadata: map[string]any{"m": 1.0}},
		a2a.NewRawPart([]byte{}),
		a2a.NewRawPart([]byte{0, 255, 10}),
		a2a.NewFileURLPart("https://example.com/f?x=1&y=2", "text/html"),
		a2a.NewDataPart(nil),
		a2a.NewDataPart(false),
		a2a.NewDataPart(map[string]any{"a": []any{nil, "<>&"}}),
	}
}

func roundTripKeepsEverything(t *testing.T, s Stored, _ *clock) {
	want := full("a")
	got := create(t, s, want)
	want.Version = got.Version
	same(t, "Create", want, got)
	same(t, "Load", want, load(t, s, "a"))

	bare := task.Record{Schema: task.Schema, Owner: someone, Task: &a2a.Task{ID: "a"}, Version: got.Version}
	got = commit(t, s, bare)
	bare.Version = got.Version
	same(t, "Load after everything was cleared", bare, load(t, s, "a"))
}

func unknownFieldsSurvive(t *testing.T, s Stored, _ *clock) {
	enc, err := record("a").Encode()
	if err != nil {
		t.Fatal(err)
	}
	head := bytes.Replace(enc.Head, []byte("{"), []byte(`{"ofTomorrow":{"x":[1]},`), 1)
	r, err := task.Decode(head, enc.Body, 0)
	if err != nil {
		t.Fatal(err)
	}
	create(t, s, r)
	now := task.Defaults().At(epoch.Add(time.Second))
	next, changed, err := load(t, s, "a").Cancel(now, text("c", "bye"), nil)
	if err != nil || !changed {
		t.Fatalf("Cancel: changed %t, %v", changed, err)
	}
	commit(t, s, next)
	enc, err = load(t, s, "a").Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(enc.Head, []byte(`"ofTomorrow":{"x":[1]}`)) {
		t.Errorf("an unknown field was lost: %s", enc.Head)
	}
}

func newerSchemaIsNotWritten(t *testing.T, s Stored, _ *clock) {
	newer := func(r *task.Record) { r.Schema = task.Schema + 1 }
	_, err := s.Create(t.Context(), record("b", newer))
	wantError(t, "Create of a newer schema", err, task.ErrNewer)
	_, err = s.Load(t.Context(), "b")
	wantError(t, "Load of the refused record", err, task.ErrNotFound)

	want := create(t, s, record("a"))
	_, err = s.Commit(t.Context(), edited(want, newer))
	wantError(t, "Commit of a newer schema", err, task.ErrNewer)
	same(t, "Load after the refused commit", want, load(t, s, "a"))
}

// keysAreAnyText: contexts come from clients, owners from their credentials.
func keysAreAnyText(t *testing.T, s Stored, _ *clock) {
	keys := []string{"", "a", "A", "ä", "a\x00b", "a\x00", "'; DROP TABLE task; --", "%", "_", "a/b", "日本",
		strings.Repeat("k", 1000)}
	for i, key := range keys {
		create(t, s, record("task-"+string(rune('a'+i)), func(r *task.Record) {
			r.Owner, r.Task.ContextID = key, "c"+key
		}))
	}
	for i, key := range keys {
		want := "task-" + string(rune('a'+i))
		for _, q := range []task.Query{{Owner: key}, {Owner: key, Context: "c" + key}} {
			if d := listed(t, s, q, 1); len(d) == 1 && d[0] != want {
				t.Errorf("List(%.20q) = %v, want %s", key, d, want)
			}
		}
	}
}

// sized returns a record with exactly n bytes in its stored form.
func sized(t *testing.T, id string, n int) task.Record {
	t.Helper()
	fill := func(k int) task.Record {
		return record(id, func(r *task.Record) { r.Task.History = []*a2a.Message{text("m", strings.Repeat("x", k))} })
	}
	enc, err := fill(0).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return fill(n - enc.Size())
}

func tooLarge(t *testing.T, s Stored, _ *clock) {
	_, err := s.Create(t.Context(), sized(t, "a", task.LimitStore+1))
	wantError(t, "Create over the limit", err, task.ErrTooLarge)
	_, err = s.Load(t.Context(), "a")
	wantError(t, "Load of the refused record", err, task.ErrNotFound)

	last := create(t, s, sized(t, "a", task.LimitStore))
	same(t, "Load of a record of the largest size", last, load(t, s, "a"))
	over := sized(t, "a", task.LimitStore+1)
	over.Version = last.Version
	_, err = s.Commit(t.Context(), over)
	wantError(t, "Commit over the limit", err, task.ErrTooLarge)
	same(t, "Load after the refused commit", last, load(t, s, "a"))
}

// sharedRecordsUnchanged: later writes do not change records that a caller has received or
// passed in.
func sharedRecordsUnchanged(t *testing.T, s Stored, _ *clock) {
	in := full("a")
	in.Expires = time.Time{}
	made := create(t, s, in)
	held := load(t, s, "a")
	before, err := edited(held, func(*task.Record) {}).Encode()
	if err != nil {
		t.Fatal(err)
	}

	last := held
	for i := range 5 {
		last = commit(t, s, edited(last, func(r *task.Record) {
			r.Attempt = i
			r.Task.History = append(r.Task.History[:len(r.Task.History):len(r.Task.History)], text("n", "new"))
		}))
	}

	for what, r := range map[string]task.Record{"given": in, "returned": made, "loaded": held} {
		after, err := edited(r, func(*task.Record) {}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before.Head, after.Head) || !bytes.Equal(before.Body, after.Body) {
			t.Errorf("the record that was %s has changed", what)
		}
	}

	if held.Version != made.Version {
		t.Errorf("Load returned version %d, Create %d", held.Version, made.Version)
	}
}
