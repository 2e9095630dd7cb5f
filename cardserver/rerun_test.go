package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/shared/lab/conformance"
)

// rerun runs a task again, and returns the id of the new one.
func (p *process) rerun(id a2a.TaskID) a2a.TaskID {
	p.t.Helper()
	resp, err := http.Post(p.url()+"/tasks/"+string(id)+":rerun", "application/json", strings.NewReader("{}"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct {
		Task a2a.TaskID `json:"taskId"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("running %s again: %s, %v", id, resp.Status, err)
	}
	return made.Task
}

// Tasks are killed with their program at every point of a turn with two refunds, some of them in
// the middle of one, canceled, and run again. The program dies once more meanwhile. No refund
// is made twice, and none is left out.
func TestRerunAfterAPartialRefund(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.calls = func(turn, tool string, step, try int) []*genai.FunctionCall {
		if step > 1 {
			return nil
		}
		return []*genai.FunctionCall{orderCall(tool, turn, "A", try), orderCall(tool, turn, "B", try)}
	}
	p := start(t, s.env()...)

	for round := range conformance.Size(1, 4) {
		var all []*cut
		m := &murder{s: s, cuts: map[string]*cut{}, begin: make(chan struct{}), release: make(chan struct{}), reached: map[string]bool{}}
		for i, at := range points {
			c := &cut{turn: fmt.Sprintf("A%dT%d", round, i), tool: "refund", point: at}
			m.cuts[c.turn] = c
			all = append(all, c)
		}
		s.mu.Lock()
		s.at = m.at
		s.mu.Unlock()

		for _, c := range all {
			c.id = mustSend(t, p.client(), immediately(userText(c.turn, c.turn+" refund"))).ID
		}
		close(m.begin)
		m.await(t, len(all))
		close(m.release)
		p.kill()
		m.mu.Lock()
		m.over = true
		m.mu.Unlock()
		p.start()

		again := map[*cut]a2a.TaskID{}
		for _, c := range all {
			// It may have ended before the cancel, in the program that has just begun.
			if canceled, err := p.client().CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: c.id}); err == nil && canceled.Status.State == a2a.TaskStateCanceled {
				again[c] = p.rerun(c.id)
			}
		}
		if len(again) == 0 {
			t.Error("no task was canceled in time")
		}
		p.kill()
		p.start()

		for c, id := range again {
			done := until(t, p.client(), id, "ended", terminal)
			if done.Status.State != a2a.TaskStateCompleted || done.Metadata["usage"] == nil {
				t.Errorf("%s at %+v ended %s: %+v", c.turn, c.point, done.Status.State, done.Status.Message)
			}
			s.settle()
			for _, order := range []string{"A", "B"} {
				if got := s.times(c.turn, order); got != 1 {
					t.Errorf("%s at %+v: order %s has %d effects", c.turn, c.point, order, got)
				}
			}
			if twice := p.rerun(c.id); twice != id {
				t.Errorf("%s was run again as %s, and then as %s", c.turn, id, twice)
			}
		}
		t.Logf("%d of %d tasks were canceled and run again", len(again), len(all))
	}
}
