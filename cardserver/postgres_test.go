package main_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/standin"
	"errand/shared/lab/conformance"
	"errand/shared/lab/postgres"
)

// alone is the environment of a single process on a database.
func alone(t *testing.T, store string) []string {
	return []string{"ERRAND_STORE=" + store, "ERRAND_FILES=file:files", "ERRAND_KEYS=" + newKeys(t)}
}

// A process with a local queue wants its database alone. It is refused beside another one,
// and beside processes that share the database, and these are refused beside it.
func TestSecondProcessOnPostgresIsRefused(t *testing.T) {
	t.Parallel()
	store := postgres.Database(t)
	local := alone(t, store)
	refused := func(env []string, remedy string) {
		t.Helper()
		other := &process{t: t, program: "cardserver", dir: t.TempDir(), port: freePort(t), env: env}
		if out := refusal(t, other); !strings.Contains(out, "ERRAND_STORE") || !strings.Contains(out, remedy) {
			t.Errorf("the second process says %q, want something about %s", out, remedy)
		}
	}

	c := newCloud(t, cloudConfig{store: store})
	shared := c.cardserver.env
	refused(local, "stop them, or set ERRAND_QUEUE and ERRAND_BUS")
	mustSend(t, c.client(), userText("m1", "hello")) // the others go on
	c.kill()

	p := start(t, local...)
	refused(local, "stop them, or set ERRAND_QUEUE and ERRAND_BUS")
	refused(shared, "ERRAND_QUEUE=local")
	mustSend(t, p.client(), userText("m2", "hello"))
}

// TestPostgresKilledAtAnyMoment is TestCloudKilledAtAnyMoment for two replicas of each program
// and their database. A replica dies alone, and the other one goes on. The database dies with
// its memory, sometimes with a replica that is dead, too. So an id that a client has got is of
// a task that was on the disk before.
func TestPostgresKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	messages, kills := conformance.Long(100, 400, 1000), conformance.Long(2, 15, 40)
	server := postgres.Start(t)
	hooks := newReceiver(t)
	c := newCloud(t, cloudConfig{store: server.Database(), replicas: true, env: []string{"ERRAND_MODEL=standin:delay=3ms", hooks.allow()}})
	l := newLoad(t, c, hooks, messages)
	killed := map[string]int{}

	disturbed := l.disturb(kills, func() {
		for i, at := range rand.Perm(4) {
			time.Sleep(time.Duration(20+rand.IntN(260)) * time.Millisecond) // the moment of the crash
			if at == 3 {
				server.Kill()
				server.Again()
				killed["database"]++
				continue
			}
			p := c.programs()[at+3*((killed["database"]+i)%2)]
			p.kill()
			p.start()
			killed[p.program]++
		}
	})

	l.send(4 * time.Duration(kills) * 250 * time.Millisecond)
	<-disturbed
	l.verdict(patience)
	for _, name := range []string{"cardserver", "worker", "functions", "database"} {
		if killed[name] < kills {
			t.Errorf("%s was killed %d times, want %d", name, killed[name], kills)
		}
	}
	t.Logf("killed: %v", killed)
}

// The database and one of two replicas die while streams are open, as in a failover, and their
// tasks end meanwhile. The streams of the other replica go on, and the cut ones can be taken up
// there. The events of each are all of the task's, in order.
func TestStreamsOutliveTheirDatabase(t *testing.T) {
	t.Parallel()
	streams := conformance.Size(40, 200)
	server := postgres.Start(t)
	gate := make(chan struct{})
	model := httptest.NewServer(standin.New(func(ctx context.Context, _ standin.Request) standin.Reply {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return standin.Text("Herons ", "eat ", "fish ", "and ", "frogs.")
	}))
	t.Cleanup(model.Close)

	c := newCloud(t, cloudConfig{store: server.Database(), replicas: true, env: []string{"GEMINI_API_KEY=k", "ERRAND_MODEL=gemini:m@" + model.URL}})
	ids := make([]a2a.TaskID, streams/2)
	each(len(ids), func(i int) {
		ids[i] = mustSend(t, c.client(), immediately(userText(fmt.Sprintf("m%d", i), "hello"))).ID
	})

	var opened, ended sync.WaitGroup
	got := make([]followed, streams)
	doors := []operations{c.cardserver.client(), c.others[0].client()}
	opened.Add(streams)
	for i := range streams {
		ended.Go(func() {
			ready := sync.OnceFunc(opened.Done)
			defer ready()
			got[i] = follow(t, doors[i%2], doors[0], ids[i/2], ready)
		})
	}

	opened.Wait()
	server.Kill()
	c.others[0].kill()
	close(gate)
	server.Again()
	ended.Wait()

	again := 0
	for i, f := range got {
		task := until(t, c.client(), ids[i/2], "terminal", terminal)
		if task.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(task), "frogs.") {
			t.Errorf("task %s is %s and says %q", task.ID, task.Status.State, text(task))
		}
		if said(f.events) != text(task) {
			t.Errorf("stream %d said %q, the task says %q", i, said(f.events), text(task))
		}

		switch went := strings.Join(steps(f.events), " "); {
		case went == "SUBMITTED WORKING COMPLETED":
		case went == "SUBMITTED COMPLETED" && f.again > 0: // the new stream began with the end
		default:
			t.Errorf("stream %d went through %s", i, went)
		}
		again += min(f.again, 1)
	}

	if again < streams/2 {
		t.Errorf("%d streams were taken up again, and %d were cut", again, streams/2)
	}
	t.Logf("%d of %d streams were taken up again", again, streams)
}

// A followed is what the streams of a task brought.
type followed struct {
	events []a2a.Event
	again  int // times that a stream ended before the task
}

// follow reads a stream to the end of its task. When it ends before, it is taken up again.
func follow(t *testing.T, c, then operations, id a2a.TaskID, ready func()) (f followed) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		for ev, err := range c.SubscribeToTask(ctx, &a2a.SubscribeToTaskRequest{ID: id}) {
			if err != nil {
				break
			}
			ready()
			f.events = append(f.events, ev)
		}
		if last := steps(f.events); len(last) > 0 && last[len(last)-1] == "COMPLETED" {
			return f
		}
		if ctx.Err() != nil {
			t.Errorf("the stream of %s did not come to an end after %v", id, steps(f.events))
			return f
		}

		f.again++
		c = then
		if task, err := c.GetTask(ctx, &a2a.GetTaskRequest{ID: id}); err == nil && terminal(task) {
			f.events = append(f.events, task) // an ended task has no stream
			return f
		}
	}
}

// steps are the states that a stream went through. A new stream begins with the state before.
func steps(all []a2a.Event) (states []string) {
	for _, ev := range all {
		state := a2a.TaskState("")
		switch e := ev.(type) {
		case *a2a.Task:
			state = e.Status.State
		case *a2a.TaskStatusUpdateEvent:
			state = e.Status.State
		}
		name := strings.TrimPrefix(string(state), "TASK_STATE_")
		if name != "" && (len(states) == 0 || states[len(states)-1] != name) {
			states = append(states, name)
		}
	}
	if len(states) > 0 && states[0] == "WORKING" { // the stream began later
		states = append([]string{"SUBMITTED"}, states...)
	}
	return states
}
