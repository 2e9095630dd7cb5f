package webhook

import (
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/bus"
	"errand/shared/dialect"
	"errand/shared/task"
)

// maxBody is the size of the largest notification, in bytes. A larger one is sent thin,
// and the receiver fetches the task.
const maxBody = 256 << 10

// A message is the content of a webhook before it is signed.
type message struct {
	id        string // stable over retries and re-drives
	mediaType string
	body      []byte
}

// messageOf is the message that h is sent next: its ping, if one was requested, or the
// notification after its cursor.
func messageOf(r task.Record, h task.Webhook) (message, error) {
	if h.Ping.IsZero() {
		return next(r, h)
	}
	return ping(r, h)
}

// next is the message of the notification after h's cursor, from the notification and the present task.
// It is a StreamResponse, or the bare task for a webhook that was made in 0.3 (P22).
func next(r task.Record, h task.Webhook) (message, error) {
	note := r.Notifications[h.Cursor]
	id, short := bus.Event{Task: r.ID(), Notification: h.Cursor + 1}.ID(), thin(r, note)
	if h.Dialect != dialect.Version03 {
		return encode(id, dialect.V1, event(r, h, note), short)
	}
	if passed(r, note) {
		return encode(id, dialect.V03, bare(r, short), bare(r, short))
	}
	return encode(id, dialect.V03, snapshot(r), bare(r, short))
}

// ping is a message that tests the receiver at its owner's request. It is a message of
// the agent. In 0.3, whose webhooks carry only tasks, it is the present state of the task.
func ping(r task.Record, h task.Webhook) (message, error) {
	id, meta := fmt.Sprintf("%s/ping-%d", r.ID(), h.Ping.UnixMilli()), map[string]any{"ping": true}
	if h.Dialect == dialect.Version03 {
		short := r.Task.Status
		short.Message = nil
		return encode(id, dialect.V03,
			bare(r, &a2a.TaskStatusUpdateEvent{Status: r.Task.Status, Metadata: meta}),
			bare(r, &a2a.TaskStatusUpdateEvent{Status: short, Metadata: meta}))
	}
	say := a2a.NewMessageForTask(a2a.MessageRoleAgent, r.Task, task.TextPart("ping"))
	say.ID, say.Metadata = id, meta
	return encode(id, dialect.V1, say, say)
}

// encode encodes full, or small if full is too large.
func encode(id string, d dialect.Dialect, full, small a2a.Event) (message, error) {
	m := message{id: id, mediaType: "application/a2a+json"}
	if d == dialect.V03 {
		m.mediaType = "application/json"
	}
	body, err := d.Append(nil, a2a.StreamResponse{Event: full})
	if err != nil || len(body) > maxBody {
		if body, err = d.Append(nil, a2a.StreamResponse{Event: small}); err != nil {
			return message{}, fmt.Errorf("encoding webhook %s: %w", id, err)
		}
	}
	m.body = body
	return m, nil
}

// bare is a task with only its status.
func bare(r task.Record, e *a2a.TaskStatusUpdateEvent) *a2a.Task {
	return &a2a.Task{ID: r.Task.ID, ContextID: r.Task.ContextID, Status: e.Status, Metadata: e.Metadata}
}

// passed reports whether a notification is about a state that the task has left.
func passed(r task.Record, note task.Notification) bool {
	return note.Artifact == "" && (note.Seq != r.Seq || note.State != r.State())
}

// event is the content of a notification in 1.0.
func event(r task.Record, h task.Webhook, note task.Notification) a2a.Event {
	if note.Artifact != "" {
		for _, a := range r.Task.Artifacts {
			if a.ID == note.Artifact {
				return &a2a.TaskArtifactUpdateEvent{
					TaskID: r.Task.ID, ContextID: r.Task.ContextID, Artifact: a, LastChunk: true,
				}
			}
		}
		return thin(r, note)
	}
	if passed(r, note) {
		return thin(r, note)
	}
	if h.Snapshot == h.Cursor+1 { // made late: the artifacts were notified before
		return snapshot(r)
	}
	return &a2a.TaskStatusUpdateEvent{TaskID: r.Task.ID, ContextID: r.Task.ContextID, Status: r.Task.Status}
}

// snapshot is the task with its result, without the history, most of which the client has
// written.
func snapshot(r task.Record) *a2a.Task {
	t := *r.Task
	t.History = nil
	return &t
}

// thin describes a notification in a few bytes, independent of later changes to the task.
func thin(r task.Record, note task.Notification) *a2a.TaskStatusUpdateEvent {
	e := &a2a.TaskStatusUpdateEvent{TaskID: r.Task.ID, ContextID: r.Task.ContextID}
	if note.Artifact != "" {
		e.Status = a2a.TaskStatus{State: r.State(), Timestamp: r.Task.Status.Timestamp}
		e.Metadata = map[string]any{"artifactId": note.Artifact}
		return e
	}
	at := note.At.UTC().Truncate(time.Millisecond)
	e.Status = a2a.TaskStatus{State: note.State, Timestamp: &at}
	if note.Text != "" {
		e.Status.Message = &a2a.Message{
			ID: fmt.Sprintf("%s-%d", r.Task.ID, note.Seq), Role: a2a.MessageRoleAgent,
			TaskID: r.Task.ID, ContextID: r.Task.ContextID, Parts: a2a.ContentParts{a2a.NewTextPart(note.Text)},
		}
	}
	return e
}
