package wire_test

import (
	"context"
	"errors"
	"iter"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
)

// client is the SDK's own client, which speaks to a handler over HTTP.
func client(t *testing.T, s *script) *a2aclient.Client {
	t.Helper()
	srv := httptest.NewServer(handler(s))
	t.Cleanup(srv.Close)
	c, err := a2aclient.NewFromEndpoints(t.Context(), []*a2a.AgentInterface{{
		URL: srv.URL, ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: a2a.Version,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var hello = &a2a.SendMessageRequest{Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("hi"))}

func TestClientOperations(t *testing.T) {
	ctx := t.Context()
	full := task("t1")
	full.History = []*a2a.Message{{ID: "m", Role: a2a.MessageRoleUser, TaskID: "t1", ContextID: "c1", Extensions: []string{"urn:x:y"},
		ReferenceTasks: []a2a.TaskID{"t0"}, Metadata: map[string]any{"k": "v"},
		Parts: a2a.ContentParts{
			{Content: a2a.Text("<é\x01>"), MediaType: "text/plain", Filename: "f", Metadata: map[string]any{"a": 1.0}},
			{Content: a2a.Raw{1, 2, 255}}, {Content: a2a.URL("https://example.com/")},
			{Content: a2a.Data{Value: []any{nil, true}}},
		}}}

	full.Artifacts = []*a2a.Artifact{{ID: "a", Name: "n", Description: "d", Extensions: []string{"urn:x:y"}, Metadata: map[string]any{"k": nil}, Parts: a2a.ContentParts{a2a.NewTextPart("x")}}}
	full.Metadata = map[string]any{"k": map[string]any{}}
	full.Status.Message = &a2a.Message{ID: "s", Role: a2a.MessageRoleAgent, Parts: a2a.ContentParts{a2a.NewTextPart("")}}

	seen := *full // as the client sees it: UTC and milliseconds
	at := full.Status.Timestamp.UTC().Truncate(1e6)
	seen.Status.Timestamp = &at
	page := &a2a.ListTasksResponse{Tasks: []*a2a.Task{full}, PageSize: 50, TotalSize: 3, NextPageToken: "p"}
	c := client(t, &script{
		send: func(context.Context, *a2a.SendMessageRequest) (a2a.SendMessageResult, error) { return full, nil },
		get:  func(*a2a.GetTaskRequest) (*a2a.Task, error) { return full, nil },
		list: func(*a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) { return page, nil },
	})

	check := func(name string, want, got any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	sent, err := c.SendMessage(ctx, hello)
	check("SendMessage", &seen, sent, err)
	got, err := c.GetTask(ctx, &a2a.GetTaskRequest{ID: "t1"})
	check("GetTask", &seen, got, err)

	listed, err := c.ListTasks(ctx, &a2a.ListTasksRequest{IncludeArtifacts: true})
	check("ListTasks", &a2a.ListTasksResponse{Tasks: []*a2a.Task{&seen}, PageSize: 50, TotalSize: 3, NextPageToken: "p"}, listed, err)
	bare := seen
	bare.Artifacts = nil
	listed, err = c.ListTasks(ctx, &a2a.ListTasksRequest{})
	check("ListTasks without artifacts", &a2a.ListTasksResponse{Tasks: []*a2a.Task{&bare}, PageSize: 50, TotalSize: 3, NextPageToken: "p"}, listed, err)

	cancelled, err := c.CancelTask(ctx, &a2a.CancelTaskRequest{ID: "t9"})
	if err != nil || cancelled.ID != "t9" {
		t.Errorf("CancelTask: %v, %v", cancelled, err)
	}

	_, err = c.GetExtendedAgentCard(ctx, &a2a.GetExtendedAgentCardRequest{})
	if !errors.Is(err, a2a.ErrExtendedCardNotConfigured) {
		t.Errorf("GetExtendedAgentCard: %v", err)
	}
}

func TestClientPushConfigs(t *testing.T) {
	ctx := t.Context()
	c := client(t, &script{})
	cfg := &a2a.PushConfig{TaskID: "t1", ID: "h", URL: "https://example.com/", Token: "tok", Auth: &a2a.PushAuthInfo{Scheme: "Bearer", Credentials: "x"}}
	name := &a2a.GetTaskPushConfigRequest{TaskID: "t1", ID: "h"}
	if got, err := c.CreateTaskPushConfig(ctx, cfg); err != nil || cmp.Diff(cfg, got) != "" {
		t.Fatalf("create: %+v, %v", got, err)
	}
	if got, err := c.GetTaskPushConfig(ctx, name); err != nil || cmp.Diff(cfg, got) != "" {
		t.Errorf("get: %+v, %v", got, err)
	}
	if got, err := c.ListTaskPushConfigs(ctx, &a2a.ListTaskPushConfigRequest{TaskID: "t1"}); err != nil || len(got) != 1 {
		t.Errorf("list: %+v, %v", got, err)
	}
	if err := c.DeleteTaskPushConfig(ctx, &a2a.DeleteTaskPushConfigRequest{TaskID: "t1", ID: "h"}); err != nil {
		t.Errorf("delete: %v", err)
	}
	if got, err := c.GetTaskPushConfig(ctx, name); !errors.Is(err, a2a.ErrTaskNotFound) {
		t.Errorf("get after delete: %+v, %v", got, err)
	}
}

func TestClientStreams(t *testing.T) {
	update := &a2a.TaskStatusUpdateEvent{TaskID: "t1", ContextID: "c1", Status: a2a.TaskStatus{State: a2a.TaskStateCompleted}}
	chunk := &a2a.TaskArtifactUpdateEvent{TaskID: "t1", ContextID: "c1", LastChunk: true,
		Artifact: &a2a.Artifact{ID: "a", Parts: a2a.ContentParts{a2a.NewTextPart("x\ny")}}}
	first := &a2a.Task{ID: "t1", ContextID: "c1", Status: a2a.TaskStatus{State: a2a.TaskStateSubmitted}}
	all := []a2a.Event{first, chunk, update}
	c := client(t, &script{
		stream: func(context.Context, *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] { return events(all...) },
		sub:    func(*a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] { return events(all...) },
	})

	for name, seq := range map[string]iter.Seq2[a2a.Event, error]{
		"SendStreamingMessage": c.SendStreamingMessage(t.Context(), hello),
		"SubscribeToTask":      c.SubscribeToTask(t.Context(), &a2a.SubscribeToTaskRequest{ID: "t1"}),
	} {
		var got []a2a.Event
		for ev, err := range seq {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, ev)
		}

		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The SDK's client keeps only the status of an answer that is not 200, and takes JSON under 200
// for a stream without events. It reads the reason of a refused stream from an event.
func TestClientStreamError(t *testing.T) {
	c := client(t, &script{sub: failing(a2a.NewError(a2a.ErrTaskNotFound, "no such task"))})
	n := 0
	for ev, err := range c.SubscribeToTask(t.Context(), &a2a.SubscribeToTaskRequest{ID: "t1"}) {
		n++
		if !errors.Is(err, a2a.ErrTaskNotFound) || !strings.Contains(err.Error(), "no such task") {
			t.Errorf("got event %v and error %v", ev, err)
		}
	}
	if n != 1 {
		t.Errorf("got %d events, want one error", n)
	}
}

func TestClientSeesErrors(t *testing.T) {
	c := client(t, &script{get: func(*a2a.GetTaskRequest) (*a2a.Task, error) {
		return nil, a2a.NewError(a2a.ErrTaskNotFound, "no such task")
	}})
	_, err := c.GetTask(t.Context(), &a2a.GetTaskRequest{ID: "t1"})
	if !errors.Is(err, a2a.ErrTaskNotFound) || !strings.Contains(err.Error(), "no such task") {
		t.Errorf("GetTask: %v", err)
	}
	_, err = c.SendMessage(t.Context(), &a2a.SendMessageRequest{Message: a2a.NewMessage(a2a.MessageRoleAgent)})
	if !errors.Is(err, a2a.ErrInvalidParams) || !strings.Contains(err.Error(), "message.") {
		t.Errorf("SendMessage: %v", err)
	}
}
