package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json/jsontext"
)

// An encoder appends the JSON of 1.0 to a buffer. It is written by hand for two
// reasons: times must be UTC with milliseconds whatever the value holds, without
// changing values that others share; and json.Marshal of the a2a types compacts
// every message as often as it is nested.
type encoder struct {
	b   []byte
	err error // the first metadata or data that has no JSON
}

// errNothing is a handler's fault: neither an answer nor an error.
var errNothing = errors.New("the handler returned neither a value nor an error")

func (e *encoder) raw(s string) { e.b = append(e.b, s...) }

// string appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
func (e *encoder) string(s string) {
	e.b, _ = jsontext.AppendQuote(e.b, s) // its only error is of such bytes
}

// field appends a string field that is left out when empty.
func (e *encoder) field(key, s string) {
	if s != "" {
		e.raw(key)
		e.string(s)
	}
}

// any appends a value of the user's own.
func (e *encoder) any(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		if e.err == nil {
			e.err = fmt.Errorf("encoding a %T: %w", v, err)
		}
		b = []byte("null")
	}
	e.b = append(e.b, b...)
}

func (e *encoder) metadata(m map[string]any) {
	if len(m) > 0 {
		e.raw(`,"metadata":`)
		e.any(m)
	}
}

// strings appends an array that is left out when empty.
func appendStrings[S ~string](e *encoder, key string, all []S) {
	if len(all) == 0 {
		return
	}
	e.raw(key)
	for i, s := range all {
		e.separate('[', i)
		e.string(string(s))
	}
	e.raw("]")
}

// separate appends what stands before element i: the opening byte or a comma.
func (e *encoder) separate(open byte, i int) {
	if i > 0 {
		open = ','
	}
	e.b = append(e.b, open)
}

// timestamp appends a time as 5.6.1 wants it: UTC, milliseconds.
func (e *encoder) timestamp(t time.Time) {
	e.b = append(e.b, '"')
	e.b = t.UTC().AppendFormat(e.b, "2006-01-02T15:04:05.000Z")
	e.b = append(e.b, '"')
}

func (e *encoder) task(t *a2a.Task, artifacts bool) {
	e.raw(`{"id":`)
	e.string(string(t.ID))
	e.raw(`,"contextId":`)
	e.string(t.ContextID)
	e.raw(`,"status":`)
	e.status(&t.Status)
	if artifacts && len(t.Artifacts) > 0 {
		e.raw(`,"artifacts":`)
		for i, a := range t.Artifacts {
			e.separate('[', i)
			e.artifact(a)
		}
		e.raw("]")
	}
	if len(t.History) > 0 {
		e.raw(`,"history":`)
		for i, m := range t.History {
			e.separate('[', i)
			e.message(m)
		}
		e.raw("]")
	}
	e.metadata(t.Metadata)
	e.raw("}")
}

func (e *encoder) status(s *a2a.TaskStatus) {
	e.raw(`{"state":`)
	e.string(s.State.String())
	if s.Message != nil {
		e.raw(`,"message":`)
		e.message(s.Message)
	}
	if s.Timestamp != nil {
		e.raw(`,"timestamp":`)
		e.timestamp(*s.Timestamp)
	}
	e.raw("}")
}

func (e *encoder) message(m *a2a.Message) {
	e.raw(`{"messageId":`)
	e.string(m.ID)
	e.field(`,"contextId":`, m.ContextID)
	e.field(`,"taskId":`, string(m.TaskID))
	e.raw(`,"role":`)
	e.string(m.Role.String())
	e.parts(m.Parts)
	appendStrings(e, `,"referenceTaskIds":`, m.ReferenceTasks)
	appendStrings(e, `,"extensions":`, m.Extensions)
	e.metadata(m.Metadata)
	e.raw("}")
}

func (e *encoder) artifact(a *a2a.Artifact) {
	e.raw(`{"artifactId":`)
	e.string(string(a.ID))
	e.field(`,"name":`, a.Name)
	e.field(`,"description":`, a.Description)
	e.parts(a.Parts)
	appendStrings(e, `,"extensions":`, a.Extensions)
	e.metadata(a.Metadata)
	e.raw("}")
}

func (e *encoder) parts(all a2a.ContentParts) {
	e.raw(`,"parts":[`)
	for i, p := range all {
		if i > 0 {
			e.raw(",")
		}
		e.part(p)
	}
	e.raw("]")
}

func (e *encoder) part(p *a2a.Part) {
	switch v := p.Content.(type) {
	case a2a.Text:
		e.raw(`{"text":`)
		e.string(string(v))
	case a2a.Raw:
		e.raw(`{"raw":`)
		if v == nil {
			v = a2a.Raw{} // nil would be null, which is no content at all
		}
		e.any([]byte(v))
	case a2a.URL:
		e.raw(`{"url":`)
		e.string(string(v))
	case a2a.Data:
		e.raw(`{"data":`)
		e.any(v.Value)
	default: // one bad part of an agent's must not hide the task, or a whole page
		e.raw(`{"text":""`)
	}
	e.field(`,"mediaType":`, p.MediaType)
	e.field(`,"filename":`, p.Filename)
	e.metadata(p.Metadata)
	e.raw("}")
}

// event appends a StreamResponse, which is also the result of SendMessage.
func (e *encoder) event(ev a2a.Event) {
	switch v := ev.(type) {
	case *a2a.Task:
		e.raw(`{"task":`)
		e.task(v, true)
	case *a2a.Message:
		e.raw(`{"message":`)
		e.message(v)
	case *a2a.TaskStatusUpdateEvent:
		e.raw(`{"statusUpdate":{"taskId":`)
		e.string(string(v.TaskID))
		e.raw(`,"contextId":`)
		e.string(v.ContextID)
		e.raw(`,"status":`)
		e.status(&v.Status)
		e.metadata(v.Metadata)
		e.raw("}")
	case *a2a.TaskArtifactUpdateEvent:
		e.raw(`{"artifactUpdate":{"taskId":`)
		e.string(string(v.TaskID))
		e.raw(`,"contextId":`)
		e.string(v.ContextID)
		e.raw(`,"artifact":`)
		e.artifact(v.Artifact)
		if v.Append {
			e.raw(`,"append":true`)
		}
		if v.LastChunk {
			e.raw(`,"lastChunk":true`)
		}
		e.metadata(v.Metadata)
		e.raw("}")
	default:
		e.err = errNothing
	}
	e.raw("}")
}
