package main_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"
)

// once are the calls of a turn with one step of one call.
func once(turn, tool string, step, try int) []*genai.FunctionCall {
	if step > 1 {
		return nil
	}
	return []*genai.FunctionCall{orderCall(tool, turn, "A", try)}
}

// A call that ends the run with tools.Later waits through the end of the program, and is
// made again at its time with the same key and the same arguments. Neither the model nor a
// person is asked about it, though the receiver keeps no keys.
func TestCallComesBackLater(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(*process){"killed": (*process).kill, "stopped": (*process).stop} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			const wait = 2 * time.Second
			s := newShop(t)
			s.calls = once
			s.later = func(_ string, calls int) time.Duration {
				if calls == 1 {
					return wait
				}
				return 0
			}

			p := start(t, s.env()...)
			id := mustSend(t, p.client(), immediately(userText("m", "Late payout"))).ID
			until(t, p.client(), id, "parked for its call", func(task *a2a.Task) bool {
				return terminal(task) || task.Status.Message != nil && strings.Contains(wordsOf(task.Status.Message), "goes on later")
			})
			end(p)
			p.start()

			task := until(t, p.client(), id, "ended, or a question", func(task *a2a.Task) bool {
				return terminal(task) || task.Status.State == a2a.TaskStateInputRequired
			})
			if task.Status.State != a2a.TaskStateCompleted || text(task) != "All is done." {
				t.Errorf("the task is %s and says %q: %+v", task.Status.State, text(task), task.Status.Message)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.came) != 2 || s.came[0].key != s.came[1].key || s.came[0].Order != s.came[1].Order {
				t.Fatalf("the calls are %+v, want the same one twice", s.came)
			}
			if got := s.came[1].at.Sub(s.came[0].at); got < wait {
				t.Errorf("the call was made again after %v, want %v or more", got, wait)
			}
			if s.asks["Late"][1] != 1 || s.asks["Late"][2] != 1 {
				t.Errorf("the model was asked %v times, by step", s.asks["Late"])
			}
		})
	}
}

// A call with effects that runs when the program is told to stop may end: its result is kept,
// and the next program goes on with it. Nothing is asked, though the receiver keeps no keys.
func TestCallEndsBeforeTheStop(t *testing.T) {
	t.Parallel()
	const takes = 2 * time.Second // of the call
	s := newShop(t)
	s.calls = once
	running := make(chan string, 1)
	s.at = func(turn string, p point) bool {
		if p.kind == callBegins {
			running <- turn
			time.Sleep(takes)
		}
		return false
	}

	p := start(t, s.env()...)
	end := time.Now().Add(patience)
	for n := 1; ; n++ {
		turn := fmt.Sprintf("Stop%d", n)
		id := mustSend(t, p.client(), immediately(userText(turn, turn+" transfer"))).ID
		if got := <-running; got != turn {
			t.Fatalf("the call of %s came, want that of %s", got, turn)
		}
		told := time.Now()
		p.stop()
		took := time.Since(told)
		p.start()
		if took > takes+time.Second { // the machine was busy, and the call may have got no time
			if time.Now().After(end) {
				t.Fatalf("the program stopped after %v, want about %v", took, takes)
			}
			continue
		}

		task := until(t, p.client(), id, "ended, or a question", func(task *a2a.Task) bool {
			return terminal(task) || task.Status.State == a2a.TaskStateInputRequired
		})
		if task.Status.State != a2a.TaskStateCompleted || text(task) != "All is done." {
			t.Errorf("the task is %s and says %q: %+v", task.Status.State, text(task), task.Status.Message)
		}
		if got := s.times(turn, "A"); got != 1 {
			t.Errorf("there are %d transfers, want one", got)
		}
		s.mu.Lock()
		calls := slices.Clone(s.of(s.came, turn, 1))
		s.mu.Unlock()
		if len(calls) != 1 || used(t, task, "steps") != 2 || used(t, task, "unknown") != 0 {
			t.Errorf("calls %+v, cost %v, want one call and two replies", calls, task.Metadata)
		}
		return
	}
}
