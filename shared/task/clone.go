package task

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Clone copies a task with everything it points to, and decodes its data and metadata.
// Records are shared between goroutines, so code that may change a task gets a clone.
func Clone(t *a2a.Task) *a2a.Task {
	c := *t
	c.Status.Message = cloneMessage(t.Status.Message)
	if at := t.Status.Timestamp; at != nil {
		stamp := *at
		c.Status.Timestamp = &stamp
	}
	c.History = mapSlice(t.History, cloneMessage)
	c.Artifacts = mapSlice(t.Artifacts, cloneArtifact)
	c.Metadata = cloneMap(t.Metadata)
	return &c
}

func cloneMessage(m *a2a.Message) *a2a.Message {
	if m == nil {
		return nil
	}
	c := *m
	c.Parts = mapSlice(m.Parts, clonePart)
	c.Extensions = slices.Clone(m.Extensions)
	c.ReferenceTasks = slices.Clone(m.ReferenceTasks)
	c.Metadata = cloneMap(m.Metadata)
	return &c
}

func cloneArtifact(a *a2a.Artifact) *a2a.Artifact {
	c := *a
	c.Parts = mapSlice(a.Parts, clonePart)
	c.Extensions = slices.Clone(a.Extensions)
	c.Metadata = cloneMap(a.Metadata)
	return &c
}

func clonePart(p *a2a.Part) *a2a.Part {
	c := *p
	c.Metadata = cloneMap(p.Metadata)
	switch v := p.Content.(type) {
	case a2a.Raw:
		c.Content = a2a.Raw(bytes.Clone(v))
	case a2a.Data:
		c.Content = a2a.Data{Value: cloneValue(v.Value)}
	}
	return &c
}

func cloneMap(m map[string]any) map[string]any {
	c := maps.Clone(m)
	for k, v := range c {
		c[k] = cloneValue(v)
	}
	return c
}

// cloneValue copies the types that JSON decodes to, and decodes text. Values of an
// executor's own types are shared.
func cloneValue(v any) any {
	switch v := v.(type) {
	case json.RawMessage:
		var decoded any
		if json.Unmarshal(v, &decoded) != nil { // a number that fits no float64
			return bytes.Clone(v)
		}
		return decoded
	case map[string]any:
		return cloneMap(v)
	case []any:
		return mapSlice(v, cloneValue)
	}
	return v
}
