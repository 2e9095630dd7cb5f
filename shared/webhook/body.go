package webhook

import (
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/bus"
	"errand/shared/dialect"
	"errand/shared/task"
)

// maxBody is the largest notification. What would be larger is sent thin, and the
// receiver fetches the task.
const maxBody = 256 << 10

// A Message is what is posted, before it is signed.
type Message struct {
	ID        string // stable over retries and re-drives
	MediaType string
	Body      []byte
}

// Next is the message of the note after h's cursor, made of the note and the task as it
// is now: a StreamResponse, or, for a hook that was made in 0.3, the bare task (P22).
func Next(r task.Record, h task.Hook) (Message, error) {
	note := r.Notes[h.Cursor]
	id, short := bus.Event{Task: r.ID(), Note: h.Cursor + 1}.ID(), thin(r, note)
	if h.Dialect != dialect.Version03 {
		return message(id, dialect.V1, event(r, h, note), short)
	}
	if passed(r, note) {
		return message(id, dialect.V03, bare(r, short), bare(r, short))
	}
	return message(id, dialect.V03, snapshot(r), bare(r, short))
}

// Ping is the message that h's owner asked for to see whether the receiver takes what it
// is sent: a message of the agent, or in 0.3, whose webhooks carry tasks only, the task's
// present state.
func Ping(r task.Record, h task.Hook) (Message, error) {
	id, meta := fmt.Sprintf("%s/ping-%d", r.ID(), h.Ping.UnixMilli()), map[string]any{"ping": true}
	if h.Dialect == dialect.Version03 {
		short := r.Task.Status
		short.Message = nil
		return message(id, dialect.V03,
			bare(r, &a2a.TaskStatusUpdateEvent{Status: r.Task.Status, Metadata: meta}),
			bare(r, &a2a.TaskStatusUpdateEvent{Status: short, Metadata: meta}))
	}
	say := a2a.NewMessageForTask(a2a.MessageRoleAgent, r.Task, a2a.NewTextPart("ping"))
	say.ID, say.Metadata = id, meta
	return message(id, dialect.V1, say, say)
}

// message encodes full, or small where that would be too large.
func message(id string, d dialect.Dialect, full, small a2a.Event) (Message, error) {
	m := Message{ID: id, MediaType: "application/a2a+json"}
	if d == dialect.V03 {
		m.MediaType = "application/json"
	}
	body, err := d.Append(nil, a2a.StreamResponse{Event: full})
	if err != nil || len(body) > maxBody {
		if body, err = d.Append(nil, a2a.StreamResponse{Event: small}); err != nil {
			return Message{}, fmt.Errorf("encoding webhook %s: %w", id, err)
		}
	}
	m.Body = body
	return m, nil
}

// bare is a task of which only the status is told.
func bare(r task.Record, e *a2a.TaskStatusUpdateEvent) *a2a.Task {
	return &a2a.Task{ID: r.Task.ID, ContextID: r.Task.ContextID, Status: e.Status, Metadata: e.Metadata}
}

// passed says that a note is of a state that the task is no longer in.
func passed(r task.Record, note task.Note) bool {
	return note.Artifact == "" && (note.Seq != r.Seq || note.State != r.State())
}

func event(r task.Record, h task.Hook, note task.Note) a2a.Event {
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
	if h.Snapshot == h.Cursor+1 { // made after the fact: the artifacts were notified before
		return snapshot(r)
	}
	return &a2a.TaskStatusUpdateEvent{TaskID: r.Task.ID, ContextID: r.Task.ContextID, Status: r.Task.Status}
}

// snapshot is the task with its result. The history is left out: its receiver has
// written most of it.
func snapshot(r task.Record) *a2a.Task {
	t := *r.Task
	t.History = nil
	return &t
}

// thin says what happened in a few bytes, whatever became of the task since.
func thin(r task.Record, note task.Note) *a2a.TaskStatusUpdateEvent {
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
