package dialect

import (
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

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
		return ErrNothing
	}
	return json.MarshalEncode(e, map[string]a2a.Event{name: r.Event})
}

// writeParts keeps the type's own method from marshaling the parts apart.
func writeParts(e *jsontext.Encoder, all a2a.ContentParts) error {
	return json.MarshalEncode(e, []*a2a.Part(all))
}

// writePart differs from the type's own method: every part has a content, also if an agent
// left it empty. One bad part must not hide the task, or a page.
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
