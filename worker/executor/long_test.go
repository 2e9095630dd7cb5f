package executor_test

import (
	"context"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/lab/scripts"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/secret"
	"errand/shared/task"
	"errand/worker/tools"
	"errand/worker/turn"
)

// A lasting site runs a turn in the time of a synctest bubble: a run of half an hour takes a
// moment. Each delivery of its job may be that of another deployment.
type lasting struct {
	*site
	began time.Time
	runs  int
}

func newLasting(t *testing.T, s setup) *lasting {
	w := world.New(t, world.Config{Now: time.Now})
	l := &lasting{site: &site{World: w, t: t, setup: s}, began: time.Now()}
	l.desk = l.Desk(l.Store)
	return l
}

// deployed delivers the job to a new worker, which must stop when stop is over; 0: never.
func (l *lasting) deployed(id string, stop time.Duration) {
	l.runs++
	w := turn.New(turn.Config{
		Desk: l.desk, Store: l.Store, KV: l.Store.KV(), Bus: noBus{}, Executor: newExecutor(l.t, l.setup), Log: l.Log,
		WakeURL: func(_, call string) string { return "https://agent.example.com/wake/" + call },
	})
	if stop > 0 {
		defer time.AfterFunc(stop, w.Drain).Stop()
	}
	req := httptest.NewRequestWithContext(l.t.Context(), "POST", queue.PathTurn, strings.NewReader(string(queue.Job{Task: id}.Body())))
	req.Header.Set(queue.HeaderQueue, task.Turns)
	req.Header.Set(queue.HeaderName, "job"+strconv.Itoa(l.runs))
	w.ServeHTTP(httptest.NewRecorder(), req)
}

// ended delivers the job when it is due until the task has ended. Each worker may be stopped.
func (l *lasting) ended(id string, stop time.Duration) task.Record {
	l.t.Helper()
	for range 1000 {
		r := l.Load(id)
		if r.Terminal() {
			return r
		}
		time.Sleep(time.Until(r.Wake))
		l.deployed(id, stop)
	}
	l.t.Fatalf("the task does not end: %+v", l.Load(id))
	return task.Record{}
}

// slow is the stand-in as ERRAND_MODEL names it.
func slow(t *testing.T, spec string) setup {
	t.Helper()
	answer, err := standin.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	m, err := gemini.New(t.Context(), gemini.Config{
		Name: "stand-in", HTTPClient: standin.New(answer).Client(), Silence: 24 * time.Hour,
		Key: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte("none")) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return setup{model: m}
}

// An answer that takes 25 minutes comes in one run, and costs one reply.
func TestAnswerOf25Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLasting(t, slow(t, "delay=25m"))
		r := l.ended(l.send("m", "hello", "").ID(), 0)
		if r.State() != a2a.TaskStateCompleted || l.runs != 1 || r.Epoch != 1 || r.Spent.Replies != 1 {
			t.Errorf("%s after %d runs, %d claims and %d replies: %q", r.State(), l.runs, r.Epoch, r.Spent.Replies, says(r))
		}
		if took := time.Since(l.began); took < 25*time.Minute || took > 26*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// An answer that takes longer than a run ends the task after its attempts. The reason names the
// limit and its key.
func TestAnswerOf45Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLasting(t, slow(t, "delay=45m"))
		r := l.ended(l.send("m", "hello", "").ID(), 0)
		if r.State() != a2a.TaskStateFailed || !strings.Contains(says(r), "29 minutes (limits.runMinutes)") {
			t.Errorf("%s: %q", r.State(), says(r))
		}
		if want := l.Rules.Attempts + 1; l.runs != want { // the last one ends the task, and asks no model
			t.Errorf("%d runs, want %d", l.runs, want)
		}
	})
}

// A turn of 200 steps of a minute goes on over runs of at most 29 minutes, and makes no call
// twice.
func TestTurnOf200Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const steps = 200
		made := 0
		minute := tools.New("minute", "Works for a minute.", func(ctx context.Context, _ struct{}) (string, error) {
			select {
			case <-time.After(time.Minute):
				made++
				return "done", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		})
		s := script(steps, "minute")
		l := newLasting(t, setup{model: scripted(t, s), tools: []tools.Tool{minute}, limits: agent.Limits{Steps: steps + 1, TurnTokens: 10_000_000, OutputTokens: 2000}})

		r := l.ended(l.send("m", "work", "").ID(), 0)
		if r.State() != a2a.TaskStateCompleted || r.Steps != steps || made != steps {
			t.Errorf("%s after %d steps and %d calls: %q", r.State(), r.Steps, made, says(r))
		}
		if asked := len(s.Requests()); asked != steps+1 {
			t.Errorf("the model was asked %d times, want %d", asked, steps+1)
		}
		if l.runs < 7 || l.runs > 9 || r.Attempt > 1 {
			t.Errorf("%d runs, attempt %d", l.runs, r.Attempt)
		}
	})
}

// A tool waits 20 hours for another agent, and ten deployments stop its worker meanwhile. The
// turn goes on when the word comes, although it is older than the age limit of a turn.
func TestWaitOf20Hours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready, looked := time.Now().Add(20*time.Hour), 0
		agent := tools.New("delegate", "Asks another agent.", func(ctx context.Context, _ struct{}) (string, error) {
			if looked++; time.Now().Before(ready) {
				return "", tools.Wake(time.Now().Add(2 * time.Hour))
			}
			return "the other agent's answer", nil
		})
		s := script(1, "delegate")
		l := newLasting(t, setup{model: scripted(t, s), tools: []tools.Tool{agent}})
		l.Rules.Age = 6 * time.Hour
		l.desk = l.Desk(l.Store)

		r := l.ended(l.send("m", "delegate", "").ID(), 10*time.Second)
		if r.State() != a2a.TaskStateCompleted || len(s.Requests()) != 2 {
			t.Errorf("%s after %d requests to the model: %q", r.State(), len(s.Requests()), says(r))
		}
		if l.runs != 11 || looked != 11 {
			t.Errorf("%d deployments ran it, and the tool looked %d times", l.runs, looked)
		}
	})
}

// script is a model that asks for a call n times, and then answers.
func script(n int, tool string) *scripts.Script {
	var replies []standin.Reply
	for range n {
		replies = append(replies, standin.Call(call(tool, map[string]any{})))
	}
	return scripts.New(append(replies, standin.Text("It is done."))...)
}

func says(r task.Record) string {
	if m := r.Task.Status.Message; m != nil && len(m.Parts) > 0 {
		return m.Parts[0].Text()
	}
	return ""
}
