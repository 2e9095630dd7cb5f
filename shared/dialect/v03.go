package dialect

import (
	stdjson "encoding/json"
	"maps"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// These are the a2a types without their methods, so that a marshaler can write the fields
// of its own type.
type (
	plainTask     a2a.Task
	plainMessage  a2a.Message
	plainStatus   a2a.TaskStatusUpdateEvent
	plainArtifact a2a.TaskArtifactUpdateEvent
)

var marshalers03 = []*json.Marshalers{
	json.MarshalToFunc(func(e *jsontext.Encoder, t *a2a.Task) error {
		return json.MarshalEncode(e, struct {
			Kind string `json:"kind"`
			*plainTask
		}{"task", (*plainTask)(t)})
	}),
	json.MarshalToFunc(func(e *jsontext.Encoder, m *a2a.Message) error {
		return json.MarshalEncode(e, struct {
			Kind string `json:"kind"`
			*plainMessage
		}{"message", (*plainMessage)(m)})
	}),
	json.MarshalToFunc(func(e *jsontext.Encoder, u *a2a.TaskStatusUpdateEvent) error {
		return json.MarshalEncode(e, struct {
			Kind string `json:"kind"`
			*plainStatus
			Final bool `json:"final"`
		}{"status-update", (*plainStatus)(u), final(u)})
	}),
	json.MarshalToFunc(func(e *jsontext.Encoder, u *a2a.TaskArtifactUpdateEvent) error {
		return json.MarshalEncode(e, struct {
			Kind string `json:"kind"`
			*plainArtifact
		}{"artifact-update", (*plainArtifact)(u)})
	}),
	json.MarshalToFunc(func(e *jsontext.Encoder, r a2a.StreamResponse) error { // 0.3 has no envelope
		if r.Event == nil {
			return ErrNothing
		}
		return json.MarshalEncode(e, r.Event)
	}),
	json.MarshalToFunc(func(e *jsontext.Encoder, s a2a.TaskState) error { return writeString(e, state03(s)) }),
	json.MarshalToFunc(func(e *jsontext.Encoder, r a2a.MessageRole) error {
		return writeString(e, strings.ToLower(strings.TrimPrefix(string(r), "ROLE_")))
	}),
	json.MarshalToFunc(writePart03),
	json.MarshalToFunc(func(e *jsontext.Encoder, c *a2a.PushConfig) error {
		return json.MarshalEncode(e, struct {
			TaskID a2a.TaskID `json:"taskId"`
			Config hook03     `json:"pushNotificationConfig"`
		}{c.TaskID, newWebhook03(c)})
	}),
	json.MarshalToFunc(func(e *jsontext.Encoder, l *a2a.ListTaskPushConfigResponse) error { // 0.3 has no pages
		return json.MarshalEncode(e, l.Configs)
	}),
}

func writeString(e *jsontext.Encoder, s string) error { return e.WriteToken(jsontext.String(s)) }

// state03 is the name of a state in 0.3: input-required.
func state03(s a2a.TaskState) string {
	if s == a2a.TaskStateUnspecified {
		return "unknown"
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(string(s), "TASK_STATE_")), "_", "-")
}

// final reports whether a 0.3 client should expect no update after this one.
func final(u *a2a.TaskStatusUpdateEvent) bool {
	return u.Status.State.Terminal() || u.Status.State == a2a.TaskStateInputRequired
}

// A file03 is a file of 0.3, in its JSON-RPC form.
type file03 struct {
	Bytes    *a2a.Raw `json:"bytes,omitempty"`
	URI      a2a.URL  `json:"uri,omitempty"`
	MimeType string   `json:"mimeType,omitempty"`
	Name     string   `json:"name,omitempty"`
}

// writePart03 writes a part. Media types and names of texts have no place in 0.3.
func writePart03(e *jsontext.Encoder, p *a2a.Part) error {
	w := struct {
		Kind     string         `json:"kind"`
		Text     *a2a.Text      `json:"text,omitempty"`
		File     *file03        `json:"file,omitempty"`
		Data     any            `json:"data,omitzero"`
		Metadata map[string]any `json:"metadata,omitempty"`
	}{Kind: "text", Metadata: p.Metadata}
	switch v := p.Content.(type) {
	case a2a.Text:
		w.Text = &v
	case a2a.Raw:
		w.Kind, w.File = "file", &file03{Bytes: &v, MimeType: p.MediaType, Name: p.Filename}
	case a2a.URL:
		w.Kind, w.File = "file", &file03{URI: v, MimeType: p.MediaType, Name: p.Filename}
	case a2a.Data:
		w.Kind = "data"
		w.Data, w.Metadata = object03(v.Value, p.Metadata)
	default:
		w.Text = new(a2a.Text)
	}
	return json.MarshalEncode(e, w)
}

// WrappedData is the key of a part's metadata which says that the part's data was not an
// object, the only kind that 0.3 knows, and stands under "value" in one. The SDKs read and
// write it.
const WrappedData = "data_part_compat"

// object03 makes an object of data, which may be JSON text.
func object03(data any, metadata map[string]any) (object any, meta map[string]any) {
	if o, ok := data.(map[string]any); ok && o != nil {
		return o, metadata
	}
	if text, ok := data.(stdjson.RawMessage); ok && jsontext.Value(text).Kind() == jsontext.KindBeginObject {
		return text, metadata
	}
	meta = maps.Clone(metadata)
	if meta == nil {
		meta = map[string]any{}
	}
	meta[WrappedData] = true
	return map[string]any{"value": data}, meta
}

// A hook03 is a webhook config of 0.3.
type hook03 struct {
	ID    string  `json:"id,omitempty"`
	URL   string  `json:"url"`
	Token string  `json:"token,omitempty"`
	Auth  *auth03 `json:"authentication,omitempty"`
}

type auth03 struct {
	Schemes     []string `json:"schemes"`
	Credentials string   `json:"credentials,omitempty"`
}

func newWebhook03(c *a2a.PushConfig) hook03 {
	h := hook03{ID: c.ID, URL: c.URL, Token: c.Token}
	if c.Auth != nil {
		h.Auth = &auth03{Schemes: []string{c.Auth.Scheme}, Credentials: c.Auth.Credentials}
	}
	return h
}
