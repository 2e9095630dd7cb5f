package task_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// piece is an update of the artifact "a".
func piece(more, last bool, p *a2a.Part) a2a.Event {
	return &a2a.TaskArtifactUpdateEvent{Append: more, LastChunk: last, Artifact: &a2a.Artifact{ID: "a", Parts: a2a.ContentParts{p}}}
}

// Pieces of text with a media type become one part, as those without do, and the updates of
// a stream have the media type too. A piece with another one stays a part of its own.
func TestPiecesOfTextAreJoined(t *testing.T) {
	r := claimed(t, accepted(t, "x"), at(1), "n1")
	html := a2a.NewTextPart("<b>")
	html.MediaType = "text/html"

	var events []a2a.Event
	for _, ev := range []a2a.Event{
		piece(false, false, task.TextPart("one, ")), piece(true, false, task.TextPart("two")),
		piece(true, false, a2a.NewTextPart("!")), piece(true, true, html),
	} {
		events = task.Gather(events, ev)
	}
	if len(events) != 3 {
		t.Fatalf("%d events to commit, want 3", len(events))
	}

	r, _, err := r.Progress(at(2), turnOf(r), events[:1])
	if err != nil {
		t.Fatal(err)
	}
	r, _, err = r.Progress(at(3), turnOf(r), append([]a2a.Event{piece(true, false, task.TextPart(", three"))}, events[1:]...))
	if err != nil {
		t.Fatal(err)
	}

	show := func(parts a2a.ContentParts) (all []string) {
		for _, p := range parts {
			all = append(all, p.Text()+" "+p.MediaType)
		}
		return all
	}
	want := []string{"one, two, three text/plain", "! ", "<b> text/html"}
	if diff := cmp.Diff(want, show(r.Task.Artifacts[0].Parts)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}

	stream, ok := r.Events(1)
	var said []string
	for _, ev := range stream {
		if e, ok := ev.(*a2a.TaskArtifactUpdateEvent); ok {
			said = append(said, show(e.Artifact.Parts)...)
		}
	}
	want = []string{"one, two text/plain", ", three text/plain", "! ", "<b> text/html"}
	if diff := cmp.Diff(want, said); diff != "" || !ok {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
}

// An artifact that its executor took back is gone when the turn ends without being
// completed. Streams are told.
func TestWithdrawnArtifactIsDropped(t *testing.T) {
	for state, kept := range map[a2a.TaskState]bool{
		a2a.TaskStateRejected: false, a2a.TaskStateFailed: false, a2a.TaskStateInputRequired: false, a2a.TaskStateCompleted: true,
	} {
		r := claimed(t, accepted(t, "x"), at(1), "n1")
		r, _, err := r.Progress(at(2), turnOf(r), []a2a.Event{piece(false, false, task.TextPart("How to")), artifact("other", false, "stays")})
		if err != nil {
			t.Fatal(err)
		}
		r, _, err = r.Finish(at(3), turnOf(r), []a2a.Event{piece(false, true, task.TextPart(""))}, task.Outcome{State: state})
		if err != nil {
			t.Fatal(err)
		}

		got := texts(r)
		if _, there := got["a"]; there != kept || got["other"] != "stays" {
			t.Errorf("%s: artifacts %v", state, got)
		}
		noted := slices.ContainsFunc(r.Notifications, func(n task.Notification) bool { return n.Artifact == "a" })
		if noted != kept {
			t.Errorf("%s: webhooks are told of the artifact: %v", state, noted)
		}

		events, _ := r.Events(1)
		last := map[a2a.ArtifactID]*a2a.TaskArtifactUpdateEvent{}
		for _, ev := range events {
			if e, ok := ev.(*a2a.TaskArtifactUpdateEvent); ok {
				last[e.Artifact.ID] = e
			}
		}
		if e := last["a"]; e == nil || e.Append || !e.LastChunk || e.Artifact.Parts[0].Text() != "" {
			t.Errorf("%s: the last update in the stream is %+v", state, e)
		}
	}
}

// Events that are not committed yet become fewer: an empty piece marks the end of the one before
// it, and an artifact that is replaced, or taken back, leaves nothing of its updates.
func TestGather(t *testing.T) {
	file := a2a.NewRawPart([]byte("PNG"))
	show := func(events []a2a.Event) (all []string) {
		for _, ev := range events {
			e := ev.(*a2a.TaskArtifactUpdateEvent)
			all = append(all, fmt.Sprintf("%s %t %t %s%s", e.Artifact.ID, e.Append, e.LastChunk, e.Artifact.Parts[0].Text(), e.Artifact.Parts[0].Raw()))
		}
		return all
	}

	for name, tt := range map[string]struct {
		events []a2a.Event
		want   []string
		record []string // texts and files in it
	}{
		"the end of a text": {[]a2a.Event{piece(false, false, task.TextPart("one")), piece(true, true, task.TextPart(""))}, []string{"a false true one"}, []string{"one"}},
		"the end of a file": {[]a2a.Event{piece(false, false, file), piece(true, true, task.TextPart(""))}, []string{"a false true PNG"}, []string{"PNG"}},
		"replaced": {[]a2a.Event{piece(false, false, task.TextPart("one")), artifact("b", false, "two"), piece(true, false, task.TextPart(", more")), piece(false, false, task.TextPart("other"))},
			[]string{"b false false two", "a false false other"}, []string{"two", "other"}},
		"taken back": {[]a2a.Event{piece(false, false, task.TextPart("How to")), piece(false, true, task.TextPart(""))}, []string{"a false true "}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var events []a2a.Event
			for _, ev := range tt.events {
				events = task.Gather(events, ev)
			}
			if diff := cmp.Diff(tt.want, show(events)); diff != "" {
				t.Errorf("gathered (-want +got):\n%s", diff)
			}

			r := claimed(t, accepted(t, "x"), at(1), "n1")
			r, _, err := r.Finish(at(2), turnOf(r), events, task.Outcome{State: a2a.TaskStateFailed})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range r.Task.Artifacts {
				for _, p := range a.Parts {
					got = append(got, p.Text()+string(p.Raw()))
				}
			}
			if diff := cmp.Diff(tt.record, got); diff != "" {
				t.Errorf("in the record (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("a file that was committed", func(t *testing.T) {
		r := claimed(t, accepted(t, "x"), at(1), "n1")
		r, _, err := r.Progress(at(2), turnOf(r), []a2a.Event{piece(false, false, file)})
		if err != nil {
			t.Fatal(err)
		}
		r, _, err = r.Finish(at(3), turnOf(r), []a2a.Event{piece(true, true, task.TextPart(""))}, task.Outcome{State: a2a.TaskStateCompleted})
		if err != nil || len(r.Task.Artifacts[0].Parts) != 1 {
			t.Errorf("the mark of its end is in the record: %+v, %v", r.Task.Artifacts[0].Parts, err)
		}
	})

	t.Run("taken back before it was committed", func(t *testing.T) {
		r := claimed(t, accepted(t, "x"), at(1), "n1")
		seq := r.Seq
		r, _, err := r.Finish(at(2), turnOf(r), []a2a.Event{piece(false, true, task.TextPart(""))}, task.Outcome{State: a2a.TaskStateRejected})
		if err != nil || r.Seq != seq+1 {
			t.Errorf("a stream learns of it: %d events, %v", r.Seq-seq, err)
		}
	})

	t.Run("an empty result", func(t *testing.T) {
		r := claimed(t, accepted(t, "x"), at(1), "n1")
		r, _, err := r.Finish(at(2), turnOf(r), []a2a.Event{piece(false, true, task.TextPart(""))}, task.Outcome{State: a2a.TaskStateCompleted})
		if err != nil || len(r.Task.Artifacts) != 1 {
			t.Errorf("the record has %d artifacts, %v", len(r.Task.Artifacts), err)
		}
	})
}

// A later run of a turn makes everything again. Its first piece replaces what the run before has
// left of the artifact, although it says that it goes on.
func TestLaterRunReplacesText(t *testing.T) {
	r := claimed(t, accepted(t, "x"), at(1), "n1")
	r, _, err := r.Progress(at(2), turnOf(r), []a2a.Event{piece(true, false, task.TextPart("one, ")), piece(true, false, task.TextPart("tw"))})
	if err != nil {
		t.Fatal(err)
	}
	if r, _, err = r.GiveBack(at(3), turnOf(r), task.Spent{}); err != nil {
		t.Fatal(err)
	}

	r = claimed(t, r, at(4), "n2")
	for _, events := range [][]a2a.Event{{piece(true, false, task.TextPart("one, "))}, {piece(true, false, task.TextPart("two"))}} {
		if r, _, err = r.Progress(at(5), turnOf(r), events); err != nil {
			t.Fatal(err)
		}
	}
	if got := texts(r)["a"]; got != "one, two" {
		t.Errorf("the artifact is %q", got)
	}
}
