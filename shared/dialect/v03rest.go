package dialect

import (
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

var marshalers03REST = []*json.Marshalers{
	json.MarshalToFunc(writeEvent),
	json.MarshalToFunc(func(e *jsontext.Encoder, m *a2a.Message) error {
		return json.MarshalEncode(e, struct {
			ID         string           `json:"messageId"`
			ContextID  string           `json:"contextId,omitempty"`
			TaskID     a2a.TaskID       `json:"taskId,omitempty"`
			Role       a2a.MessageRole  `json:"role"`
			Content    a2a.ContentParts `json:"content"` // the proto's name for the parts
			Metadata   map[string]any   `json:"metadata,omitempty"`
			Extensions []string         `json:"extensions,omitempty"`
			References []a2a.TaskID     `json:"referenceTaskIds,omitempty"`
		}{m.ID, m.ContextID, m.TaskID, m.Role, m.Parts, m.Metadata, m.Extensions, m.ReferenceTasks})
	}),
	json.MarshalToFunc(func(e *jsontext.Encoder, u *a2a.TaskStatusUpdateEvent) error {
		return json.MarshalEncode(e, struct {
			*plainStatus
			Final bool `json:"final,omitempty"`
		}{(*plainStatus)(u), final(u)})
	}),
	json.MarshalToFunc(func(e *jsontext.Encoder, s a2a.TaskState) error {
		switch s {
		case a2a.TaskStateCanceled:
			return writeString(e, Canceled03REST)
		case a2a.TaskStateUnspecified:
			return writeString(e, "TASK_STATE_UNSPECIFIED")
		}
		return writeString(e, string(s))
	}),
	json.MarshalToFunc(writePart03REST),
	json.MarshalToFunc(func(e *jsontext.Encoder, c *a2a.PushConfig) error {
		return json.MarshalEncode(e, struct {
			Name   string `json:"name"`
			Config hook03 `json:"pushNotificationConfig"`
		}{"tasks/" + string(c.TaskID) + "/pushNotificationConfigs/" + c.ID, newWebhook03(c)})
	}),
}

// Canceled03REST is the one state with another spelling in the proto of 0.3.
const Canceled03REST = "TASK_STATE_CANCELLED"

// writePart03REST writes a part. Bytes are encoded once, as the proto says. Some clients
// expect base64 of base64 there, which the text would not show.
func writePart03REST(e *jsontext.Encoder, p *a2a.Part) error {
	type file struct {
		Bytes    *a2a.Raw `json:"fileWithBytes,omitempty"`
		URI      a2a.URL  `json:"fileWithUri,omitempty"`
		MimeType string   `json:"mimeType,omitempty"`
		Name     string   `json:"name,omitempty"`
	}

	type data struct {
		Data any `json:"data"`
	}

	w := struct {
		Text     *a2a.Text      `json:"text,omitempty"`
		File     *file          `json:"file,omitempty"`
		Data     *data          `json:"data,omitempty"`
		Metadata map[string]any `json:"metadata,omitempty"`
	}{Metadata: p.Metadata}

	switch v := p.Content.(type) {
	case a2a.Text:
		w.Text = &v
	case a2a.Raw:
		w.File = &file{Bytes: &v, MimeType: p.MediaType, Name: p.Filename}
	case a2a.URL:
		w.File = &file{URI: v, MimeType: p.MediaType, Name: p.Filename}
	case a2a.Data:
		w.Data = &data{}
		w.Data.Data, w.Metadata = object03(v.Value, p.Metadata)
	default:
		w.Text = new(a2a.Text)
	}

	return json.MarshalEncode(e, w)
}
