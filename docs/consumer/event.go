package main

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
)

// completed is the state that this pipeline waits for.
const completed = "TASK_STATE_COMPLETED"

// An event holds the attributes of a message that this pipeline needs.
type event struct {
	ID    string // the same in every copy of the event
	Task  string
	Note  int    // number of the event in its task; a higher one is newer
	State string // empty if an artifact is complete
}

// parse reads an event. An error means that the message is not an event of a task.
func parse(attributes map[string]string) (event, error) {
	note, err := strconv.Atoi(attributes["note"])
	e := event{ID: attributes["ce-id"], Task: attributes["task"], Note: note, State: attributes["state"]}
	switch kind := attributes["ce-type"]; {
	case kind != "errand.task.state" && kind != "errand.task.artifact":
		return event{}, fmt.Errorf("a message whose ce-type is %q is not an event of a task", kind)
	case e.ID == "" || e.Task == "" || err != nil || note < 1:
		return event{}, errors.New("an event of a task needs the attributes ce-id, task and note")
	}
	return e, nil
}

// seen recognises events, because the topic may deliver an event twice, even at the same
// time.
type seen struct {
	mu    sync.Mutex
	limit int
	done  map[string]bool // by event; false: it is being processed
	order []string        // done events, oldest first
}

func newSeen(limit int) *seen { return &seen{limit: limit, done: map[string]bool{}} }

// begin returns true for an event to process, after which the caller must call end, and
// false for an event that is done. It returns an error while another copy is being
// processed, because that copy may still fail.
func (s *seen) begin(id string) (first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done, known := s.done[id]
	if known && !done {
		return false, fmt.Errorf("%s: another copy of the event is being processed", id)
	}
	if !known {
		s.done[id] = false
	}
	return !known, nil
}

// end remembers the event if it is done, and forgets it otherwise.
func (s *seen) end(id string, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !done {
		delete(s.done, id)
		return
	}
	s.done[id] = true
	s.order = append(s.order, id)
	if len(s.order) > s.limit {
		delete(s.done, s.order[0])
		s.order = s.order[1:]
	}
}
