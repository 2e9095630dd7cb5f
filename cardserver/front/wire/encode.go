package wire

import (
	"errors"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// errNothing is a handler's fault: neither an answer nor an error.
var errNothing = errors.New("the handler returned neither a value nor an error")

// appendJSON appends a value as encoding/json would write it, for which the a2a
// types are made, but for the marshalers below and for escapes that only HTML needs.
func appendJSON(b []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v, options)
	if err != nil {
		return b, fmt.Errorf("encoding a %T: %w", v, err)
	}
	return append(b, text...), nil
}

var options = json.JoinOptions(jsonv1.DefaultOptionsV1(), json.FormatNilSliceAsNull(false),
	jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false), json.WithMarshalers(marshalers))

var marshalers = json.JoinMarshalers(json.MarshalToFunc(writeTime), json.MarshalToFunc(writeEvent),
	json.MarshalToFunc(writeParts), json.MarshalToFunc(writePart))

// writeTime writes a time as 5.6.1 wants it: UTC, milliseconds.
func writeTime(e *jsontext.Encoder, t time.Time) error {
	return e.WriteToken(jsontext.String(t.UTC().Format("2006-01-02T15:04:05.000Z")))
}

// writeEvent writes a StreamResponse, which is also the result of SendMessage.
func writeEvent(e *jsontext.Encoder, r a2a.StreamResponse) error {
	var name string
	switch r.Event.(type) {
	case *a2a.Task:
		name = "task"
	case *a2a.Message:
		name = "message"
	case *a2a.TaskStatusUpdateEvent:
		name = "statusUpdate"
	case *a2a.TaskArtifactUpdateEvent:
		name = "artifactUpdate"
	default:
		return errNothing
	}
	return json.MarshalEncode(e, map[string]a2a.Event{name: r.Event})
}

// writeParts keeps the type's own method from marshaling the parts apart.
func writeParts(e *jsontext.Encoder, all a2a.ContentParts) error {
	return json.MarshalEncode(e, []*a2a.Part(all))
}

// writePart differs from the type's own method in that every part has a content,
// whatever an agent has left in it: one bad part must not hide the task, or a page.
func writePart(e *jsontext.Encoder, p *a2a.Part) error {
	w := struct {
		Text      *a2a.Text      `json:"text,omitempty"`
		Raw       *a2a.Raw       `json:"raw,omitempty"`
		URL       *a2a.URL       `json:"url,omitempty"`
		Data      *any           `json:"data,omitempty"`
		MediaType string         `json:"mediaType,omitempty"`
		Filename  string         `json:"filename,omitempty"`
		Metadata  map[string]any `json:"metadata,omitempty"`
	}{MediaType: p.MediaType, Filename: p.Filename, Metadata: p.Metadata}
	switch v := p.Content.(type) {
	case a2a.Text:
		w.Text = &v
	case a2a.Raw:
		w.Raw = &v
	case a2a.URL:
		w.URL = &v
	case a2a.Data:
		w.Data = &v.Value
	default:
		w.Text = new(a2a.Text)
	}
	return json.MarshalEncode(e, w)
}

// withoutArtifacts is a page whose tasks have none, not even an empty list (3.1.4).
// The tasks themselves may be shared.
func withoutArtifacts(l *a2a.ListTasksResponse) *a2a.ListTasksResponse {
	page := *l
	page.Tasks = make([]*a2a.Task, len(l.Tasks))
	for i, t := range l.Tasks {
		bare := *t
		bare.Artifacts = nil
		page.Tasks[i] = &bare
	}
	return &page
}
