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
	messages, kills := conformance.Size(60, 2000), conformance.Size(3, 60)

	for _, c := range []struct {
		name  string
		each  time.Duration // from one kill to the next
		start func(t *testing.T, env ...string) (deployment, func())
	}{
		{"one process", 400 * time.Millisecond, func(t *testing.T, env ...string) (deployment, func()) {
			p := start(t, env...)
			return p, func() { p.kill(); p.start() }
		}},
		{"Google Cloud", time.Second, func(t *testing.T, env ...string) (deployment, func()) {
			c := startCloud(t, env...)
			return c, func() { c.functions.kill(); c.functions.start() }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			hooks := newReceiver(t)
			p, restart := c.start(t, "ERRAND_MODEL=standin:delay=30ms", hooks.allow())
			l := newLoad(t, p, hooks, messages)
			l.each = 2
			var killed [][2]time.Time

			disturbed := l.disturb(kills, func() {
				time.Sleep(rand.N(2 * c.each)) // the moment of the crash
				began := time.Now()
				restart()
				killed = append(killed, [2]time.Time{began, time.Now()})
			})

			l.send(time.Duration(kills) * c.each)
			<-disturbed
			l.verdict(patience)
			again, all := hooks.duplicates()
			for _, twice := range again {
				if !slices.ContainsFunc(killed, func(k [2]time.Time) bool { return twice[0].Before(k[1]) && twice[1].After(k[0]) }) {
					t.Errorf("a webhook came at %v and again at %v, and nothing was killed in between", twice[0], twice[1])
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
