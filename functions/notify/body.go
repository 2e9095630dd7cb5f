package notify

import (
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/dialect"
	"errand/shared/task"
)

// maxBody is the largest notification. What would be larger is sent thin, and the
// receiver fetches the task.
const maxBody = 256 << 10

// body is what the note after h's cursor is told in, made of the note and the task as
// it is now: a StreamResponse, or, for a hook that was made in 0.3, the bare task (P22).
func body(r task.Record, h task.Hook) (data []byte, mediaType string, err error) {
	note := r.Notes[h.Cursor]
	short := thin(r, note)
	if h.Dialect == dialect.Version03 {
		small := &a2a.Task{ID: r.Task.ID, ContextID: r.Task.ContextID, Status: short.Status, Metadata: short.Metadata}
		full := small
		if !passed(r, note) {
			full = snapshot(r)
		}
		data, err = fit(dialect.V03, full, small)
		return data, "application/json", err
	}
	data, err = fit(dialect.V1, event(r, h, note), short)
	return data, "application/a2a+json", err
}

// fit encodes full, or small where that would be too large.
func fit(d dialect.Dialect, full, small a2a.Event) ([]byte, error) {
	data, err := d.Append(nil, a2a.StreamResponse{Event: full})
	if err == nil && len(data) <= maxBody {
		return data, nil
	}
	return d.Append(nil, a2a.StreamResponse{Event: small})
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
