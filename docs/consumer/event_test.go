package main

import (
	"maps"
	"testing"
)

// The number of remembered events is bounded: the oldest done event is forgotten first.
func TestSeenForgetsTheOldest(t *testing.T) {
	s := newSeen(2)
	for _, id := range []string{"a", "b", "c"} {
		if first, err := s.begin(id); !first || err != nil {
			t.Fatalf("begin(%s) = %t, %v, want true", id, first, err)
		}
		s.end(id, true)
	}
	for id, want := range map[string]bool{"a": true, "b": false, "c": false} {
		if first, err := s.begin(id); first != want || err != nil {
			t.Errorf("begin(%s) = %t, %v, want %t", id, first, err, want)
		}
	}
	if _, err := s.begin("a"); err == nil {
		t.Error("begin(a) = nil, want an error while a is being processed")
	}
	if len(s.done) != 3 || len(s.order) != 2 { // a is being processed, and two others are done
		t.Errorf("%d events are known and %d of them done", len(s.done), len(s.order))
	}
}

func TestMessageThatIsNoEventIsRefused(t *testing.T) {
	good := map[string]string{"ce-type": "errand.task.state", "ce-id": "t/3", "task": "t", "note": "3", "state": completed}
	if got, err := parse(good); err != nil || got != (event{ID: "t/3", Task: "t", Note: 3, State: completed}) {
		t.Errorf("parse = %+v, %v", got, err)
	}
	for name, value := range map[string]string{"ce-type": "errand.task.", "ce-id": "", "task": "", "note": "0"} {
		bad := maps.Clone(good)
		bad[name] = value
		if got, err := parse(bad); err == nil {
			t.Errorf("parse with %s %q = %+v, want an error", name, value, got)
		}
	}
	if _, err := parse(nil); err == nil {
		t.Error("parse of no attributes = nil, want an error")
	}
}
