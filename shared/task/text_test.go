package task_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/lab/dense"
	"errand/shared/task"
)

// tree is a value with every kind of JSON in it.
func tree() map[string]any {
	return map[string]any{
		"s": "a<b>\u2028\x00é", "n": 1.5e300, "t": true, "0": nil, "": map[string]any{},
		"list": []any{1.0, "x", []any{}, map[string]any{"b": 1.0, "a": "\u2029"}},
	}
}

func withTree(t *testing.T) task.Record {
	t.Helper()
	msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewDataPart(tree()), a2a.NewDataPart([]any{tree()}), a2a.NewDataPart(nil), a2a.NewDataPart("x"))
	msg.Metadata, msg.Parts[0].Metadata = tree(), tree()
	r, err := task.Accept(at(0), task.Acceptance{
		ID: "t", Context: "c", Owner: "o", Lane: task.Turns, Message: msg,
		Request: task.Request{ID: msg.ID, Fingerprint: "f", Metadata: tree()},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func stored(t *testing.T, r task.Record) *task.Encoded {
	t.Helper()
	enc, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

func read(t *testing.T, enc *task.Encoded) task.Record {
	t.Helper()
	r, err := task.Decode(enc.Head, enc.Body, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Objects and arrays are text in a record, whether it was just accepted or read, and Clone
// gives them back.
func TestDataStaysText(t *testing.T) {
	made := withTree(t)
	for name, r := range map[string]task.Record{"accepted": made, "read": read(t, stored(t, made))} {
		msg := r.Task.History[0]
		for where, v := range map[string]any{
			"metadata": msg.Metadata["list"], "metadata of a part": msg.Parts[0].Metadata["list"],
			"data": msg.Parts[0].Data(), "a list": msg.Parts[1].Data(), "metadata of the request": r.Requests[0].Metadata["list"],
		} {
			if _, ok := v.(json.RawMessage); !ok {
				t.Errorf("%s: %s is a %T, want text", name, where, v)
			}
		}

		c := task.Clone(r.Task).History[0]
		for where, got := range map[string]any{
			"metadata": c.Metadata, "metadata of a part": c.Parts[0].Metadata, "data": c.Parts[0].Data(),
			"metadata of the request": map[string]any(r.Request().Metadata),
		} {
			if d := cmp.Diff(any(tree()), got); d != "" {
				t.Errorf("%s: a copy of %s (-want +got):\n%s", name, where, d)
			}
		}
		if d := cmp.Diff([]any{tree()}, c.Parts[1].Data()); d != "" || c.Parts[2].Data() != nil || c.Parts[3].Data() != "x" {
			t.Errorf("%s: other data: %v, %v (-want +got):\n%s", name, c.Parts[2], c.Parts[3], d)
		}
	}
}

// The stored form does not depend on whether data was decoded.
func TestTextIsStoredAsItsValue(t *testing.T) {
	text := stored(t, withTree(t))
	r := read(t, text)
	r.Task = task.Clone(r.Task)
	r.Requests = []task.Request{r.Request()}
	values := stored(t, task.Record{
		Schema: r.Schema, Task: r.Task, Owner: r.Owner, Lane: r.Lane, Requests: r.Requests, Turn: r.Turn, Since: r.Since,
		Asked: r.Asked, Due: r.Due,
	})
	if d := cmp.Diff(string(values.Head), string(text.Head)); d != "" {
		t.Errorf("heads (-of values +of text):\n%s", d)
	}
	if d := cmp.Diff(string(values.Body), string(text.Body)); d != "" {
		t.Errorf("bodies (-of values +of text):\n%s", d)
	}
}

// The metadata of requests is in the body. In heads written before it is in the head, and
// goes on to be read.
func TestRequestMetadataLeavesTheHead(t *testing.T) {
	enc := stored(t, withTree(t))
	if strings.Contains(string(enc.Head), `"list"`) || !strings.Contains(string(enc.Body), `"requestMetadata":[{`) {
		t.Errorf("head %s, body %s", enc.Head, enc.Body)
	}

	seen := `{"id":"m","print":"f"`
	old := &task.Encoded{Body: []byte(`{"history":[]}`)}
	old.Head = []byte(`{"schema":1,"id":"t","context":"c","status":{"state":"TASK_STATE_SUBMITTED"},"lane":"turns","seen":[` +
		seen + `},` + seen + `,"metadata":{"a":{"b":1},"c":"d"}}],"turn":2,"since":"2026-01-02T00:00:00Z","asked":"2026-01-02T00:00:00Z"}`)
	want := task.Object{"a": map[string]any{"b": 1.0}, "c": "d"}
	r := read(t, old)
	if d := cmp.Diff(want, r.Request().Metadata); d != "" {
		t.Errorf("read from an old head (-want +got):\n%s", d)
	}

	next, err := r.LeaseLost(at(0), task.Crew{})
	if err != nil {
		t.Fatal(err)
	}
	enc = stored(t, next)
	if strings.Contains(string(enc.Head), "metadata") {
		t.Errorf("a new head has the metadata: %s", enc.Head)
	}
	if d := cmp.Diff(want, read(t, enc).Request().Metadata); d != "" {
		t.Errorf("read from the new form (-want +got):\n%s", d)
	}
}

// A head that is written without its body keeps what the body cannot take.
func TestHeadAlone(t *testing.T) {
	for _, enc := range []*task.Encoded{stored(t, withTree(t)), {
		Head: []byte(`{"schema":1,"id":"t","context":"c","status":{"state":"TASK_STATE_SUBMITTED"},"lane":"turns","ofTomorrow":1,"seen":[{"id":"m","print":"f","metadata":{"a":[1]}}],"turn":1,"since":"2026-01-02T00:00:00Z","asked":"2026-01-02T00:00:00Z"}`),
		Body: []byte(`{"history":[]}`),
	}} {
		r, err := task.Decode(enc.Head, nil, 1)
		if err != nil {
			t.Fatal(err)
		}

		if _, err := r.ForStore(); err == nil {
			t.Error("a store takes a record without its body")
		}
		next, err := r.LeaseLost(at(0), task.Crew{})
		if err != nil {
			t.Fatal(err)
		}

		head := stored(t, next)
		if head.Body != nil {
			t.Errorf("a head has the body %s", head.Body)
		}

		before, after := read(t, enc), read(t, &task.Encoded{Head: head.Head, Body: enc.Body})
		if d := cmp.Diff(before.Request(), after.Request()); d != "" {
			t.Errorf("the request (-before +after):\n%s", d)
		}
		if strings.Contains(string(enc.Head), "ofTomorrow") != strings.Contains(string(head.Head), "ofTomorrow") {
			t.Errorf("an unknown field was lost: %s", head.Head)
		}
	}
}

// Reading the densest record allocates a few times its bytes, and not fifty times.
func TestDenseRecordsAreRead(t *testing.T) {
	for _, u := range dense.Units {
		list := json.RawMessage(u.List(480_000, 0))
		msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewDataPart(list))
		meta := map[string]any{"a": list}
		for name, set := range map[string]func(*task.Record){
			"data":                     func(r *task.Record) { r.Task.History = []*a2a.Message{msg} },
			"metadata of a message":    func(r *task.Record) { r.Inbox = []*a2a.Message{{ID: "m", Metadata: meta}} },
			"metadata of a request":    func(r *task.Record) { r.Requests = []task.Request{{ID: "m", Metadata: meta}} },
			"metadata of the task":     func(r *task.Record) { r.Task.Metadata = meta },
			"a status":                 func(r *task.Record) { r.Task.Status.Message = msg },
			"an artifact":              func(r *task.Record) { r.Task.Artifacts = []*a2a.Artifact{{ID: "a", Metadata: meta}} },
			"an event":                 func(r *task.Record) { r.Log = []task.Entry{{Seq: 1, Status: &a2a.TaskStatus{}, Metadata: meta}} },
			"an update of an artifact": func(r *task.Record) { r.Log = []task.Entry{{Seq: 1, Artifact: &task.Chunk{Metadata: meta}}} },
		} {
			r := task.Record{Schema: task.Schema, Task: &a2a.Task{ID: "t"}}
			set(&r)
			enc := stored(t, r)

			for how, decode := range map[string]func() error{
				"whole":  func() error { _, err := task.Decode(enc.Head, enc.Body, 1); return err },
				"head":   func() error { _, err := task.Decode(enc.Head, nil, 1); return err },
				"listed": func() error { _, err := task.DecodeListed(enc.Head, 1); return err },
			} {
				var err error
				used, most := dense.Allocated(func() { err = decode() }), 5*enc.Size()+64<<10
				if err != nil || used > most {
					t.Errorf("%s as %s, %s: %d bytes allocate %d, want at most %d: %v", u.Name, name, how, enc.Size(), used, most, err)
				}
			}
		}
	}
}
