package dialect_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2apb/v0/pbjson"
	"github.com/google/go-cmp/cmp"

	"errand/shared/dialect"
)

var at = time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.UTC)

// everything is one value of each kind of event, with every kind of part.
func everything(data ...any) []a2a.Event {
	parts := a2a.ContentParts{
		{Content: a2a.Text("<a&b>"), Metadata: map[string]any{"k": "v"}},
		{Content: a2a.URL("https://example.com/f"), MediaType: "image/png", Filename: "f.png"},
	}

	for _, d := range data {
		parts = append(parts, &a2a.Part{Content: a2a.Data{Value: d}, Metadata: map[string]any{"k": "v"}})
	}

	msg := &a2a.Message{
		ID: "m", ContextID: "c", TaskID: "t", Role: a2a.MessageRoleAgent, Parts: parts,
		Extensions: []string{"urn:x"}, Metadata: map[string]any{"n": 1.5},
	}

	artifact := &a2a.Artifact{ID: "a", Name: "n", Description: "d", Parts: parts, Metadata: map[string]any{"k": "v"}}
	events := []a2a.Event{
		msg,
		&a2a.TaskArtifactUpdateEvent{TaskID: "t", ContextID: "c", Artifact: artifact, Append: true, LastChunk: true},
	}

	for _, s := range states {
		events = append(events,
			&a2a.Task{
				ID: "t", ContextID: "c", Status: a2a.TaskStatus{State: s, Timestamp: &at, Message: msg},
				History: []*a2a.Message{msg}, Artifacts: []*a2a.Artifact{artifact}, Metadata: map[string]any{"k": "v"},
			},
			&a2a.TaskStatusUpdateEvent{TaskID: "t", ContextID: "c", Status: a2a.TaskStatus{State: s, Timestamp: &at}, Metadata: map[string]any{"k": "v"}},
		)
	}

	return events
}

var states = []a2a.TaskState{
	a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateCompleted, a2a.TaskStateFailed,
	a2a.TaskStateCanceled, a2a.TaskStateInputRequired, a2a.TaskStateRejected, a2a.TaskStateAuthRequired,
}

func text(t *testing.T, d dialect.Dialect, v any) string {
	t.Helper()
	b, err := d.Append([]byte("> "), v)
	if err != nil || !strings.HasPrefix(string(b), "> ") {
		t.Fatalf("Append = %q, %v", b, err)
	}
	return string(b[2:])
}

// same compares the values of two JSON texts.
func same(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v: %s", err, want)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("encoding (-SDK +ours):\n%s", diff)
	}
}

// The SDK converts to 0.3 too, through a second set of types: both results are the same.
func TestV03IsWhatTheSDKWrites(t *testing.T) {
	for _, e := range everything(map[string]any{"x": 1.0}, []any{1.0}, nil, "s") {
		legacy, err := a2av0.FromV1Event(e)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(legacy)
		if err != nil {
			t.Fatal(err)
		}
		same(t, text(t, dialect.V03, a2a.StreamResponse{Event: e}), string(want))
	}
	c := &a2a.PushConfig{TaskID: "t", ID: "h", URL: "https://example.com/", Token: "tok", Auth: &a2a.PushAuthInfo{Scheme: "Bearer", Credentials: "c"}}
	want, err := json.Marshal(a2av0.FromV1PushConfig(c))
	if err != nil {
		t.Fatal(err)
	}
	same(t, text(t, dialect.V03, c), string(want))
	same(t, text(t, dialect.V03, &a2a.ListTaskPushConfigResponse{Configs: []*a2a.PushConfig{c}, NextPageToken: "n"}), "["+string(want)+"]")
	same(t, text(t, dialect.V03, &a2a.ListTaskPushConfigResponse{}), "[]")
}

func TestV03RESTIsWhatTheSDKWrites(t *testing.T) {
	for _, e := range everything(map[string]any{"x": 1.0}) {
		want, err := pbjson.ToProtoStreamEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		got := text(t, dialect.V03REST, a2a.StreamResponse{Event: e})
		if u, ok := e.(*a2a.TaskStatusUpdateEvent); ok && u.Status.State == a2a.TaskStateInputRequired {
			got = strings.Replace(got, `,"final":true`, "", 1) // which the SDK has in JSON-RPC only
		}
		same(t, got, string(want))
	}
	c := &a2a.PushConfig{TaskID: "t", ID: "h", URL: "https://example.com/", Token: "tok", Auth: &a2a.PushAuthInfo{Scheme: "Bearer", Credentials: "c"}}
	want, err := pbjson.ToProtoPushConfigResponse(c)
	if err != nil {
		t.Fatal(err)
	}
	same(t, text(t, dialect.V03REST, c), string(want))
	want, err = pbjson.ToProtoListPushConfigsResponse([]*a2a.PushConfig{c})
	if err != nil {
		t.Fatal(err)
	}
	same(t, text(t, dialect.V03REST, &a2a.ListTaskPushConfigResponse{Configs: []*a2a.PushConfig{c}}), string(want))
}

// The SDK is not followed here: bytes are base64 once, as in the proto, and data that is
// not an object is wrapped as the SDK does for JSON-RPC.
func TestV03RESTOwnWays(t *testing.T) {
	raw := &a2a.Part{Content: a2a.Raw("abc"), MediaType: "image/png", Filename: "f"}
	same(t, text(t, dialect.V03REST, raw), `{"file":{"fileWithBytes":"YWJj","mimeType":"image/png","name":"f"}}`)
	same(t, text(t, dialect.V03, raw), `{"kind":"file","file":{"bytes":"YWJj","mimeType":"image/png","name":"f"}}`)
	list := &a2a.Part{Content: a2a.Data{Value: []any{1.0}}}
	same(t, text(t, dialect.V03REST, list), `{"data":{"data":{"value":[1]}},"metadata":{"data_part_compat":true}}`)
	empty := &a2a.Part{Content: a2a.Data{Value: map[string]any{}}}
	same(t, text(t, dialect.V03, empty), `{"kind":"data","data":{}}`)
	same(t, text(t, dialect.V03, a2a.TaskStatus{}), `{"state":"unknown"}`)
}

// Shows B-7.
func TestTimesAreUTCMilliseconds(t *testing.T) {
	local := time.Date(2026, 3, 4, 5, 6, 7, 891234567, time.FixedZone("", 3600))
	for _, d := range []dialect.Dialect{dialect.V1, dialect.V03, dialect.V03REST} {
		got := text(t, d, a2a.TaskStatus{State: a2a.TaskStateWorking, Timestamp: &local})
		if !strings.Contains(got, `"2026-03-04T04:06:07.891Z"`) {
			t.Errorf("dialect %d: %s", d, got)
		}
	}
}

func TestPartWithoutContentIsAnEmptyText(t *testing.T) {
	for _, d := range []dialect.Dialect{dialect.V1, dialect.V03, dialect.V03REST} {
		if got := text(t, d, &a2a.Part{}); !strings.Contains(got, `"text":""`) {
			t.Errorf("dialect %d: %s", d, got)
		}
	}
}

func TestNothingIsAnError(t *testing.T) {
	for _, d := range []dialect.Dialect{dialect.V1, dialect.V03, dialect.V03REST} {
		if _, err := d.Append(nil, a2a.StreamResponse{}); !errors.Is(err, dialect.ErrNothing) {
			t.Errorf("dialect %d: %v", d, err)
		}
	}
}

func BenchmarkTask(b *testing.B) {
	task := everything(map[string]any{"x": 1.0})[2]
	for name, d := range map[string]dialect.Dialect{"1.0": dialect.V1, "0.3": dialect.V03, "0.3-rest": dialect.V03REST} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Append(nil, task); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Data and metadata that are still JSON text are written byte for byte as their values are.
func TestTextIsWrittenAsItsValue(t *testing.T) {
	tree := map[string]any{
		"s": "a<b>&\u2028\u2029\x00\x7fé\U0001F600\\\"", "n": 1.5e300, "small": 1e-7, "big": 1e21, "int": 1234567890123.0, "t": true, "0": nil,
		"": map[string]any{}, "list": []any{1.0, "\u2029", []any{}, map[string]any{"b": 1.0, "a": nil, "é": 2.0}},
	}
	stored := func(v any) any { // as task.Record stores it
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		return json.RawMessage(bytes.TrimSpace(b.Bytes()))
	}

	for _, d := range []dialect.Dialect{dialect.V1, dialect.V03, dialect.V03REST} {
		for _, v := range []any{tree, []any{tree}, map[string]any{}, []any{}} {
			value := &a2a.Message{ID: "m", Metadata: map[string]any{"v": v}, Parts: a2a.ContentParts{{Content: a2a.Data{Value: v}, Metadata: map[string]any{"v": v}}}}
			raw := &a2a.Message{ID: "m", Metadata: map[string]any{"v": stored(v)}, Parts: a2a.ContentParts{{Content: a2a.Data{Value: stored(v)}, Metadata: map[string]any{"v": stored(v)}}}}
			if diff := cmp.Diff(text(t, d, value), text(t, d, raw)); diff != "" {
				t.Errorf("dialect %d (-value +text):\n%s", d, diff)
			}
		}
	}
}
