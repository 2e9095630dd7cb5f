package task

import (
	"encoding/json"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// This file keeps JSON of clients and agents as text. A decoded value takes up to fifty
// times the memory of its text, and a record is read far more often than its data is used.
// [Clone] decodes.

// An Object is metadata in a record: an object or array in it is a [json.RawMessage], and
// any other value is decoded.
type Object map[string]any

// UnmarshalJSON implements [json.Unmarshaler].
func (o *Object) UnmarshalJSON(text []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*o = nil
	if all != nil {
		*o = make(Object, len(all))
	}
	for k, v := range all {
		(*o)[k] = shallow(v)
	}
	return nil
}

// shallow decodes a JSON text, unless it is an object or an array. A number that fits no
// float64 stays text too.
func shallow(text json.RawMessage) any {
	var v any
	if isContainer(text) || json.Unmarshal(text, &v) != nil {
		return text
	}
	return v
}

func isContainer(text []byte) bool { return len(text) > 0 && (text[0] == '{' || text[0] == '[') }

// packed returns the text of an object or array, and any other value as it is.
func packed(v any) any {
	switch v.(type) {
	case nil, string, bool, float64, json.RawMessage:
		return v
	}
	text, err := marshal(v)
	if err != nil || !isContainer(text) { // a value that is not JSON makes Encode fail
		return v
	}
	return json.RawMessage(text)
}

func packMap(m map[string]any) map[string]any {
	if len(m) == 0 {
		return m
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = packed(v)
	}
	return out
}

// packed returns a request as a record keeps it.
func (q Request) packed() Request {
	q.Metadata = packMap(q.Metadata)
	return q
}

// packMessage returns a message as a record keeps it. The given message stays as it is.
func packMessage(m *a2a.Message) *a2a.Message {
	if m == nil || len(m.Metadata) == 0 && !slices.ContainsFunc(m.Parts, holdsJSON) {
		return m
	}
	c := *m
	c.Metadata, c.Parts = packMap(m.Metadata), packParts(m.Parts)
	return &c
}

// packArtifact is packMessage for an artifact.
func packArtifact(a *a2a.Artifact) *a2a.Artifact {
	if len(a.Metadata) == 0 && !slices.ContainsFunc(a.Parts, holdsJSON) {
		return a
	}
	c := *a
	c.Metadata, c.Parts = packMap(a.Metadata), packParts(a.Parts)
	return &c
}

func packParts(parts a2a.ContentParts) a2a.ContentParts {
	return mapSlice(parts, func(p *a2a.Part) *a2a.Part {
		if !holdsJSON(p) {
			return p
		}
		c := *p
		c.Metadata = packMap(p.Metadata)
		if d, ok := p.Content.(a2a.Data); ok {
			c.Content = a2a.Data{Value: packed(d.Value)}
		}
		return &c
	})
}

// holdsJSON reports whether a part has anything to pack.
func holdsJSON(p *a2a.Part) bool {
	_, data := p.Content.(a2a.Data)
	return data || len(p.Metadata) > 0
}
