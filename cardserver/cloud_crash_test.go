package main_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/lab/conformance"
	"errand/shared/lab/emulator"
)

// TestCloudKilledAtAnyMoment is TestKilledAtAnyMoment for three programs, each of which
// dies alone, with four queues of each lane, and in the long form with one too.
func TestCloudKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for _, shards := range conformance.Size([]int{4}, []int{1, 4}) {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) { killAtAnyMoment(t, shards) })
	}
}

func killAtAnyMoment(t *testing.T, shards int) {
	messages, kills := conformance.Long(150, 400, 1000), conformance.Long(3, 15, 40)
	hooks := newReceiver(t)
	c := newCloud(t, cloudConfig{shards: shards, env: []string{"ERRAND_MODEL=standin:delay=3ms", hooks.allow()}})
	l := newLoad(t, c, hooks, messages)
	disturbed := l.disturb(kills, func() {
		for _, p := range c.programs() {
			time.Sleep(time.Duration(20+rand.IntN(260)) * time.Millisecond) // the moment of the crash
			p.kill()
			p.start()
		}
	})
	l.send(3 * time.Duration(kills) * 200 * time.Millisecond)
	<-disturbed
	l.verdict(patience)
}

// Queue and bus die with their contents. Lost jobs come back after a minute, so the small
// form loses no job that a client waits for. It shows that both services are used again.
func TestCloudQueueAndBusForgetEverything(t *testing.T) {
	t.Parallel()
	messages, kills := conformance.Long(0, 400, 1000), conformance.Long(1, 2, 5)
	bus := emulator.Start(t, emulator.KindPubSub)
	hooks := newReceiver(t)
	c := newCloud(t, cloudConfig{pubsub: bus.Host, env: []string{"ERRAND_MODEL=standin:delay=3ms", hooks.allow()}})
	l := newLoad(t, c, hooks, messages)

	disturbed := l.disturb(kills, func() {
		time.Sleep(time.Duration(500+rand.IntN(1000)) * time.Millisecond) // the moment of the crash
		c.tasks.Restart(t)
		time.Sleep(time.Duration(500+rand.IntN(1000)) * time.Millisecond) // and of the other
		bus.Kill()
		bus.Restart(t)
		c.subscribe()
	})

	l.send(time.Duration(kills) * 4 * time.Second)
	<-disturbed
	if messages > 0 {
		l.verdict(patience)
	}

	// Afterwards all is as before: no job waits for a sweep.
	req := userText("afterwards", "hello")
	req.Config = &a2a.SendMessageConfig{PushConfig: &a2a.PushConfig{URL: hooks.URL + "/afterwards"}}
	checkReceipts(t, hooks, "/afterwards", mustSend(t, c.client(), req))
}

// A worker that dies in the middle of a turn leaves a lease of up to ten minutes. The
// queue knows that the delivery got no answer, and its next delivery takes the turn over
// (R3).
func TestCloudTurnOfADeadWorkerIsTakenOver(t *testing.T) {
	t.Parallel()
	c := startCloud(t, "ERRAND_MODEL=standin:delay=1s")
	client := c.client()
	task := mustSend(t, client, immediately(userText("m", "hello")))
	until(t, client, task.ID, "working", func(task *a2a.Task) bool { return task.Status.State == a2a.TaskStateWorking })
	c.worker.kill()
	c.worker.start()
	began := time.Now()
	done := until(t, client, task.ID, "terminal", terminal)
	if done.Status.State != a2a.TaskStateCompleted {
		t.Errorf("the task is %+v", done.Status)
	}
	t.Logf("completed %v after the worker was there again", time.Since(began).Round(time.Millisecond))
}
