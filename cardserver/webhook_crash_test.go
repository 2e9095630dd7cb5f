package main_test

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestWebhooksSurviveTheirDeliverer kills what delivers, and nothing else where that is a
// program of its own: every webhook of every task is complete and in order, and what comes
// again is what was under way.
func TestWebhooksSurviveTheirDeliverer(t *testing.T) {
	messages, kills, each := 2000, 60, 2 // of what comes again, for each kill
	if testing.Short() {
		messages, kills, each = 120, 5, 16 // too few for a mean: all that can be under way at one host
	}
	for _, c := range []struct {
		name  string
		each  time.Duration // from one kill to the next: what is under way at once comes again
		start func(t *testing.T, env ...string) (deployment, func())
	}{
		{"one process", 500 * time.Millisecond, func(t *testing.T, env ...string) (deployment, func()) {
			p := start(t, env...)
			return p, func() { p.kill(); p.start() }
		}},
		{"Google Cloud", 1300 * time.Millisecond, func(t *testing.T, env ...string) (deployment, func()) {
			c := startCloud(t, env...)
			return c, func() { c.functions.kill(); c.functions.start() }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			hooks := newReceiver(t)
			p, restart := c.start(t, "ERRAND_MODEL=standin:delay=30ms", hooks.allow())
			l := newLoad(t, p, hooks, messages)
			l.each = 2
			disturbed := l.disturb(kills, func() {
				time.Sleep(rand.N(2 * c.each)) // the moment of the crash
				restart()
			})
			l.send(time.Duration(kills) * c.each)
			<-disturbed
			l.verdict(twoSweeps)
			again, all := hooks.duplicates()
			if again > each*kills {
				t.Errorf("%d of %d deliveries came again after %d kills, want at most %d for each", again, all, kills, each)
			}
			if all < 3*messages {
				t.Errorf("%d deliveries of %d tasks with two webhooks", all, messages)
			}
			t.Logf("%d deliveries, %d again, %d kills", all, again, kills)
		})
	}
}
