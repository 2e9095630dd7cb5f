package task

import (
	"maps"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// log appends an event.
func (r *Record) log(e Entry) {
	r.Seq++
	e.Seq = r.Seq
	r.Log = append(r.Log[:len(r.Log):len(r.Log)], e)
}

// trimLog drops the oldest events beyond the limit, but never the newest one.
func (r *Record) trimLog() {
	size, first := 0, len(r.Log)
	for first > 0 {
		size += entrySize(r.Log[first-1])
		if size > limitLog && first < len(r.Log) {
			break
		}
		first--
	}
	r.Log = r.Log[first:]
}

// entrySize estimates the encoded size of an event. Its fixed part has 80 bytes.
func entrySize(e Entry) int {
	n := 80
	if e.Status != nil && e.Status.Message != nil {
		n += 160 + partsSize(e.Status.Message.Parts)
	}
	if e.Artifact != nil && e.Artifact.Inline != nil {
		n += 80 + partsSize(e.Artifact.Inline.Parts)
	}
	return n
}

func partsSize(parts a2a.ContentParts) int {
	n := 0
	for _, p := range parts {
		s := storePart(p)
		n += 64 + len(s.URL) + len(s.Data)
		if s.Text != nil {
			n += len(*s.Text)
		}
		if s.Raw != nil {
			n += len(*s.Raw) * 4 / 3
		}
	}
	return n
}

// Events are the events after the given Seq, oldest first. ok is false when some of them
// are no longer kept: then the reader fell behind and must take a snapshot.
func (r Record) Events(after int64) (events []a2a.Event, ok bool) {
	if after >= r.Seq {
		return nil, true
	}
	if len(r.Log) == 0 || r.Log[0].Seq > after+1 {
		return nil, false
	}
	for _, e := range r.Log {
		if e.Seq > after {
			events = append(events, r.event(e))
		}
	}
	return events, true
}

func (r Record) event(e Entry) a2a.Event {
	if e.Status != nil {
		return &a2a.TaskStatusUpdateEvent{
			TaskID: r.Task.ID, ContextID: r.Task.ContextID, Status: *e.Status, Metadata: e.Metadata,
		}
	}
	c := e.Artifact
	return &a2a.TaskArtifactUpdateEvent{
		TaskID: r.Task.ID, ContextID: r.Task.ContextID, Artifact: r.chunk(c),
		Append: c.Append, LastChunk: c.Last, Metadata: c.Metadata,
	}
}

// chunk is the content of an update: kept inline, or read out of the artifact.
func (r Record) chunk(c *Chunk) *a2a.Artifact {
	if c.Inline != nil {
		return c.Inline
	}
	out := &a2a.Artifact{ID: c.ID}
	i := r.artifact(c.ID)
	if i < 0 || c.Part >= len(r.Task.Artifacts[i].Parts) {
		return out
	}
	a := r.Task.Artifacts[i]
	p := *a.Parts[c.Part]
	if text := p.Text(); c.To <= len(text) {
		p.Content = a2a.Text(text[c.From:c.To])
	}
	out.Parts = a2a.ContentParts{&p}
	if !c.Append {
		out.Name, out.Description, out.Extensions, out.Metadata = a.Name, a.Description, a.Extensions, a.Metadata
	}
	return out
}

func (r Record) artifact(id a2a.ArtifactID) int {
	for i, a := range r.Task.Artifacts {
		if a.ID == id {
			return i
		}
	}
	return -1
}

// applyAll adds an executor's events to the record.
func (r *Record) applyAll(m Moment, epoch int64, events []a2a.Event) {
	for _, ev := range events {
		r.apply(m, epoch, ev)
	}
}

// apply adds an executor's event to the record. An event that ends the turn only brings its
// artifacts here: Finish does the rest.
func (r *Record) apply(m Moment, epoch int64, ev a2a.Event) {
	switch e := ev.(type) {
	case *a2a.TaskArtifactUpdateEvent:
		if e.Artifact != nil {
			r.applyArtifact(epoch, e)
		}
	case *a2a.TaskStatusUpdateEvent:
		if e.Status.Message != nil || len(e.Metadata) > 0 {
			r.setStatus(m, a2a.TaskStateWorking, e.Status.Message, e.Metadata)
		}
	case *a2a.Task:
		for _, a := range e.Artifacts {
			if i := r.artifact(a.ID); i < 0 || r.Task.Artifacts[i] != a {
				r.applyArtifact(epoch, &a2a.TaskArtifactUpdateEvent{Artifact: a, LastChunk: true})
			}
		}
	}
}

// applyArtifact creates, replaces or extends an artifact and logs the update.
func (r *Record) applyArtifact(epoch int64, e *a2a.TaskArtifactUpdateEvent) {
	list := append([]*a2a.Artifact(nil), r.Task.Artifacts...)
	r.Task.Artifacts = list
	a := packArtifact(e.Artifact)
	c := &Chunk{ID: a.ID, Append: e.Append, Last: e.LastChunk, Metadata: packMap(e.Metadata)}
	i := r.artifact(a.ID)
	if e.Append && i >= 0 && !r.stale(a.ID, epoch) {
		list[i] = extended(list[i], a, c)
		r.remade(a.ID, epoch, false)
	} else {
		c.Append = false
		fresh := *a
		fresh.Parts = append(a2a.ContentParts(nil), a.Parts...)

		if len(fresh.Parts) == 1 && plainText(fresh.Parts[0]) {
			c.To = len(fresh.Parts[0].Text())
		} else {
			c.Inline = a
		}

		if i >= 0 {
			r.inline(a.ID)
			list[i] = &fresh
		} else {
			r.Task.Artifacts = append(list, &fresh)
		}

		r.remade(a.ID, epoch, true)
	}

	r.log(Entry{Artifact: c})
}

// seen is the events without the updates that take back what never came here.
func (r Record) seen(events []a2a.Event) []a2a.Event {
	return slices.DeleteFunc(slices.Clone(events), func(ev a2a.Event) bool {
		e, ok := ev.(*a2a.TaskArtifactUpdateEvent)
		return ok && e.Artifact != nil && !e.Append && e.LastChunk && empty(e.Artifact) && r.artifact(e.Artifact.ID) < 0 &&
			!slices.ContainsFunc(events, func(other a2a.Event) bool { return other != ev && updates(other, e.Artifact.ID) })
	})
}

// stale reports whether an artifact is what an earlier run of this turn left behind. The first
// update of a later run replaces it, whatever the update says: executors need not know of runs.
func (r Record) stale(id a2a.ArtifactID, epoch int64) bool {
	return slices.ContainsFunc(r.Made, func(m Made) bool { return m.ID == id && m.Epoch != epoch && !m.Kept })
}

// extended is a with the content of more appended. It makes c the reference to the added
// content.
func extended(a, more *a2a.Artifact, c *Chunk) *a2a.Artifact {
	out := *a
	out.Parts = append(a2a.ContentParts(nil), a.Parts...)
	out.Metadata = merged(a.Metadata, more.Metadata)
	last := len(out.Parts) - 1
	if len(more.Parts) == 1 && len(more.Metadata) == 0 && last >= 0 && continues(out.Parts[last], more.Parts[0]) {
		old := out.Parts[last]
		out.Parts[last] = added(old, more.Parts[0].Text())
		c.Part, c.From, c.To = last, len(old.Text()), len(out.Parts[last].Text())
		return &out
	}
	if !empty(more) { // it marks the end of a file
		out.Parts = append(out.Parts, more.Parts...)
	}
	c.Inline = more
	return &out
}

// remade records which epoch last wrote an artifact of this turn. Extending an artifact of
// an earlier turn does not make it an artifact of this turn.
func (r *Record) remade(id a2a.ArtifactID, epoch int64, fresh bool) {
	made := append([]Made(nil), r.Made...)
	for i := range made {
		if made[i].ID == id {
			made[i].Epoch = epoch
			r.Made = made
			return
		}
	}
	if fresh {
		r.Made = append(made, Made{ID: id, Epoch: epoch})
	}
}

// inline turns the log's references to an artifact that is about to be removed into copies,
// so that a stream still gets its content.
func (r *Record) inline(id a2a.ArtifactID) {
	logged := append([]Entry(nil), r.Log...)
	for i, e := range logged {
		if e.Artifact != nil && e.Artifact.ID == id && e.Artifact.Inline == nil {
			c := *e.Artifact
			c.Inline = r.chunk(e.Artifact)
			logged[i].Artifact = &c
		}
	}
	r.Log = logged
}

// Gather adds an event to the events that are not committed yet. A piece of plain text that
// continues the last one is joined to it, and so is an empty one, which marks the end. The cost of
// a commit is then linear, not quadratic, in the number of pieces. An artifact that is replaced
// takes its own updates with it.
func Gather(events []a2a.Event, ev a2a.Event) []a2a.Event {
	e, ok := ev.(*a2a.TaskArtifactUpdateEvent)
	switch {
	case !ok || len(events) == 0 || e.Artifact == nil:
		return append(events, ev)
	case !e.Append:
		return append(slices.DeleteFunc(events, func(old a2a.Event) bool { return updates(old, e.Artifact.ID) }), ev)
	}

	last, ok := events[len(events)-1].(*a2a.TaskArtifactUpdateEvent)
	if !ok || last.LastChunk || len(e.Metadata) > 0 || !joinable(last.Artifact, e.Artifact) {
		return append(events, ev)
	}
	joined := *last
	joined.LastChunk = e.LastChunk
	if !empty(e.Artifact) {
		art := *last.Artifact
		art.Parts = a2a.ContentParts{added(art.Parts[0], e.Artifact.Parts[0].Text())}
		joined.Artifact = &art
	}
	events[len(events)-1] = &joined
	return events
}

// updates reports whether an event is an update of an artifact.
func updates(ev a2a.Event, id a2a.ArtifactID) bool {
	e, ok := ev.(*a2a.TaskArtifactUpdateEvent)
	return ok && e.Artifact != nil && e.Artifact.ID == id
}

func joinable(a, b *a2a.Artifact) bool {
	if a.ID != b.ID || len(b.Metadata) > 0 {
		return false
	}
	return empty(b) || len(a.Parts) == 1 && len(b.Parts) == 1 && continues(a.Parts[0], b.Parts[0])
}

// Outcome is how an executor ended its turn.
type Outcome struct {
	State    a2a.TaskState
	Message  *a2a.Message
	Metadata map[string]any
	Question *Question // about a call of the open step; nil: none
	Spent    Spent     // cost of replies that no other commit has
}

// OutcomeOf reports whether ev ends the turn, and how. A bare message completes the task:
// the client has the task's id already, so the message cannot be the answer to its request.
func OutcomeOf(ev a2a.Event) (Outcome, bool) {
	switch e := ev.(type) {
	case *a2a.Message:
		return Outcome{State: a2a.TaskStateCompleted, Message: e}, true
	case *a2a.TaskStatusUpdateEvent:
		return Outcome{State: e.Status.State, Message: e.Status.Message, Metadata: maps.Clone(e.Metadata)}, ends(e.Status.State)
	case *a2a.Task:
		return Outcome{State: e.Status.State, Message: e.Status.Message}, ends(e.Status.State)
	}
	return Outcome{}, false
}

func ends(s a2a.TaskState) bool { return s.Terminal() || Interrupted(s) }
