package front_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"errand/cardserver/front"
	"errand/cardserver/front/wire"
	"errand/shared/memory"
	"errand/shared/task"
)

// zeros is metadata with n values more than without.
func zeros(n int) string { return `"metadata":{"a":[0` + strings.Repeat(",0", n-1) + `]}` }

// A blocking send and a stream hold memory for their request until the message is accepted,
// and not while they wait.
func TestWaitsHoldNoMemory(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		for _, wait := range []string{send, streaming, subscribe} {
			w := b.world(t, func(c *front.Config) {
				c.Memory = &wire.Memory{Requests: memory.Sized(48_000), Answers: memory.Sized(1 << 20)}
			}) // the second message takes 46,500 of it
			first := message("first", zeros(20))
			claimed := make(chan task.Record, 1)
			w.work(func(id string) { claimed <- w.claim(id) })
			ended := make(chan struct{})

			switch wait {
			case send:
				go func() {
					defer close(ended)
					w.call(t, send, `{"message":`+first+`}`).task()
				}()

			default:
				params := `{"message":` + first + `}`
				if wait == subscribe {
					params = `{"id":"` + w.call(t, send, sending(first)).task().ID + `"}`
				}
				s := w.open(wait, params, nil)
				s.await(t, 1)
				go func() {
					defer close(ended)
					s.over(t)
				}()
			}

			r := <-claimed
			large := sending(message("second", zeros(100)))
			got := w.call(t, send, large)
			for late := time.After(time.Minute); got.status == http.StatusServiceUnavailable; got = w.call(t, send, large) {
				select {
				case <-late:
					t.Fatalf("%s: a request is refused while another one waits: %s", wait, got.body)
				case <-time.After(10 * time.Millisecond): // until the first message is accepted
				}
			}

			w.end(r, "TASK_STATE_COMPLETED")
			<-ended
		}
	})
}
