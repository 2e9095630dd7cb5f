package main_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"errand/shared/lab/conformance"
)

// TestWebhooksSurviveTheirDeliverer kills the deliverer, and nothing else where that is its
// own program. Every webhook of every task is complete and in order, and only deliveries in
// flight at a kill are repeated. On an idle machine these are fewer than one for each kill.
// A busy machine has more in flight: at most those that one host gets at a time and those
// that wait to be committed.
func TestWebhooksSurviveTheirDeliverer(t *testing.T) {
	t.Parallel()
	const underWay = 16
	messages, kills := conformance.Long(60, 400, 2000), conformance.Long(3, 15, 60)

	for _, c := range []struct {
		name  string
		each  time.Duration // from one kill to the next
		start func(t *testing.T, env ...string) (deployment, *process)
	}{
		{"one process", 400 * time.Millisecond, func(t *testing.T, env ...string) (deployment, *process) {
			p := start(t, env...)
			return p, p
		}},
		{"Google Cloud", time.Second, func(t *testing.T, env ...string) (deployment, *process) {
			c := startCloud(t, env...)
			return c, c.functions
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			hooks := newReceiver(t)
			p, deliverer := c.start(t, "ERRAND_MODEL=standin:delay=30ms", hooks.allow())
			l := newLoad(t, p, hooks, messages)
			l.each = 2
			var dead []int // numbers of connections, between those of two lives of the deliverer

			disturbed := l.disturb(kills, func() {
				time.Sleep(rand.N(2 * c.each)) // the moment of the crash
				deliverer.kill()
				dead = append(dead, hooks.between(t))
				deliverer.start()
			})

			l.send(time.Duration(kills) * c.each)
			<-disturbed
			l.verdict(patience)
			again, all := hooks.duplicates()
			for _, twice := range again {
				if !slices.ContainsFunc(dead, func(n int) bool { return twice[0] < n && n < twice[1] }) {
					t.Errorf("a webhook came by connection %d and again by connection %d, and nothing was killed in between", twice[0], twice[1])
				}
			}

			if len(again) > underWay*kills {
				t.Errorf("%d of %d deliveries came again after %d kills, want at most %d for each", len(again), all, kills, underWay)
			}
			if all < 3*messages {
				t.Errorf("%d deliveries of %d tasks with two webhooks", all, messages)
			}

			t.Logf("%d deliveries, %d again, %d kills", all, len(again), kills)
		})
	}
}
