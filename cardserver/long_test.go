package main_test

import (
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/lab/conformance"
)

// A turn of minutes is run and followed to its end, although requests and answers have
// deadlines of seconds at every program. A blocking send is answered meanwhile.
func TestLongTurnIsFollowed(t *testing.T) {
	conformance.NeedFull(t, "TestWaitsOutliveTheDeadlines (cardserver/front), TestLateAnswerIsSent (shared/serve)")
	on(t, func(t *testing.T, start starter) {
		p := start(t, "ERRAND_MODEL=standin:delay=130s")
		c, begun := p.client(), time.Now()
		task := mustSend(t, c, immediately(userText("m1", "hello")))

		var all sync.WaitGroup
		all.Go(func() {
			got := events(t, c.SubscribeToTask(t.Context(), &a2a.SubscribeToTaskRequest{ID: task.ID}))
			if k := kinds(got); len(k) < 3 || k[len(k)-1] != string(a2a.TaskStateCompleted) {
				t.Errorf("the subscription has %v", k)
			}
		})
		all.Go(func() {
			got := events(t, c.SendStreamingMessage(t.Context(), userText("m2", "hello")))
			if k := kinds(got); len(k) < 3 || k[len(k)-1] != string(a2a.TaskStateCompleted) {
				t.Errorf("the stream has %v", k)
			}
		})
		all.Go(func() {
			if got := mustSend(t, c, userText("m3", "hello")); terminal(got) {
				t.Errorf("a blocking send is answered with %s", got.Status.State)
			}
		})
		all.Wait()

		if took := time.Since(begun); took < 2*time.Minute {
			t.Errorf("the turns took %v", took)
		}
		done := until(t, c, task.ID, "terminal", terminal)
		if done.Status.State != a2a.TaskStateCompleted {
			t.Errorf("the task is %+v", done.Status)
		}
	})
}
