package task

import (
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// This file turns the SDK's types into the persisted ones and back. The SDK's own JSON is
// not used: it escapes HTML in parts and loses a null.

func storeStatus(s a2a.TaskStatus) storedStatus {
	return storedStatus{State: s.State, At: s.Timestamp, Message: storeMessage(s.Message)}
}

func loadStatus(s storedStatus) (a2a.TaskStatus, error) {
	m, err := loadMessage(s.Message)
	return a2a.TaskStatus{State: s.State, Timestamp: s.At, Message: m}, err
}

func storeMessage(m *a2a.Message) *storedMessage {
	if m == nil {
		return nil
	}
	return &storedMessage{
		ID: m.ID, Context: m.ContextID, Task: m.TaskID, Role: m.Role, Parts: storeParts(m.Parts),
		Extensions: m.Extensions, References: m.ReferenceTasks, Metadata: m.Metadata,
	}
}

func loadMessage(m *storedMessage) (*a2a.Message, error) {
	if m == nil {
		return nil, nil
	}
	parts, err := loadParts(m.Parts)
	return &a2a.Message{
		ID: m.ID, ContextID: m.Context, TaskID: m.Task, Role: m.Role, Parts: parts,
		Extensions: m.Extensions, ReferenceTasks: m.References, Metadata: m.Metadata,
	}, err
}

func storeArtifact(a *a2a.Artifact) *storedArtifact {
	if a == nil {
		return nil
	}
	return &storedArtifact{
		ID: a.ID, Name: a.Name, Description: a.Description, Parts: storeParts(a.Parts),
		Extensions: a.Extensions, Metadata: a.Metadata,
	}
}

func loadArtifact(a *storedArtifact) (*a2a.Artifact, error) {
	if a == nil {
		return nil, nil
	}
	parts, err := loadParts(a.Parts)
	return &a2a.Artifact{
		ID: a.ID, Name: a.Name, Description: a.Description, Parts: parts,
		Extensions: a.Extensions, Metadata: a.Metadata,
	}, err
}

func storeParts(parts a2a.ContentParts) []storedPart {
	out := make([]storedPart, len(parts))
	for i, p := range parts {
		out[i] = storePart(p)
	}
	return out
}

func storePart(p *a2a.Part) storedPart {
	s := storedPart{Filename: p.Filename, Media: p.MediaType, Metadata: p.Metadata}
	switch c := p.Content.(type) {
	case a2a.Text:
		text := string(c)
		s.Text = &text
	case a2a.Raw:
		raw := []byte(c)
		if raw == nil {
			raw = []byte{}
		}
		s.Raw = &raw
	case a2a.URL:
		s.URL = string(c)
	case a2a.Data:
		data, err := marshal(c.Value)
		if err != nil { // an executor's value that is not JSON makes Encode fail
			data = []byte(err.Error())
		}
		s.Data = data
	}
	return s
}

func loadParts(parts []storedPart) (a2a.ContentParts, error) {
	out := make(a2a.ContentParts, len(parts))
	for i, s := range parts {
		p, err := loadPart(s)
		if err != nil {
			return nil, err
		}
		out[i] = p
	}
	return out, nil
}

func loadPart(s storedPart) (*a2a.Part, error) {
	p := &a2a.Part{Filename: s.Filename, MediaType: s.Media, Metadata: s.Metadata}
	switch {
	case s.Text != nil:
		p.Content = a2a.Text(*s.Text)
	case s.Raw != nil:
		p.Content = a2a.Raw(*s.Raw)
	case s.URL != "":
		p.Content = a2a.URL(s.URL)
	case s.Data != nil:
		p.Content = a2a.Data{Value: shallow(s.Data)}
	default:
		return nil, errors.New("a part has no content")
	}
	return p, nil
}

// ErrUnstorable says that a record cannot hold an executor's event.
var ErrUnstorable = errors.New("task: an event cannot be stored")

// Storable returns ErrUnstorable for an event that would make its record impossible to
// write or to read again: one with a part without content, or with a value that is not
// JSON.
func Storable(ev a2a.Event) error {
	switch e := ev.(type) {
	case *a2a.Message:
		return storable(e.Parts, e.Metadata)
	case *a2a.TaskStatusUpdateEvent:
		return errors.Join(storableStatus(e.Status), storable(nil, e.Metadata))
	case *a2a.TaskArtifactUpdateEvent:
		return errors.Join(storableArtifact(e.Artifact), storable(nil, e.Metadata))
	case *a2a.Task:
		for _, a := range e.Artifacts {
			if err := storableArtifact(a); err != nil {
				return err
			}
		}
		return storableStatus(e.Status)
	}
	return nil
}

func storableStatus(s a2a.TaskStatus) error {
	if s.Message == nil {
		return nil
	}
	return storable(s.Message.Parts, s.Message.Metadata)
}

func storableArtifact(a *a2a.Artifact) error {
	if a == nil {
		return fmt.Errorf("%w: there is no artifact in it", ErrUnstorable)
	}
	return storable(a.Parts, a.Metadata)
}

func storable(parts a2a.ContentParts, meta map[string]any) error {
	for i, p := range parts {
		if p == nil || p.Content == nil || p.Content == a2a.PartContent(a2a.URL("")) {
			return fmt.Errorf("%w: parts[%d] has no content", ErrUnstorable, i)
		}
		if d, ok := p.Content.(a2a.Data); ok {
			if _, err := marshal(d.Value); err != nil {
				return fmt.Errorf("%w: parts[%d].data: %T is not JSON", ErrUnstorable, i, d.Value)
			}
		}
		if err := storable(nil, p.Metadata); err != nil {
			return err
		}
	}
	if len(meta) > 0 {
		if _, err := marshal(meta); err != nil {
			return fmt.Errorf("%w: metadata is not JSON", ErrUnstorable)
		}
	}
	return nil
}

func storeEntry(e Entry) storedEntry {
	s := storedEntry{Seq: e.Seq}
	if e.Status != nil {
		status := storeStatus(*e.Status)
		s.Status, s.Metadata = &status, e.Metadata
		return s
	}
	c := e.Artifact
	s.Artifact, s.Append, s.Last, s.Metadata = c.ID, c.Append, c.Last, c.Metadata
	s.Part, s.From, s.To, s.Inline = c.Part, c.From, c.To, storeArtifact(c.Inline)
	return s
}

func loadEntry(s storedEntry) (Entry, error) {
	e := Entry{Seq: s.Seq}
	if s.Status != nil {
		status, err := loadStatus(*s.Status)
		e.Status, e.Metadata = &status, s.Metadata
		return e, err
	}
	inline, err := loadArtifact(s.Inline)
	e.Artifact = &Chunk{
		ID: s.Artifact, Append: s.Append, Last: s.Last, Part: s.Part, From: s.From, To: s.To,
		Inline: inline, Metadata: s.Metadata,
	}
	return e, err
}
