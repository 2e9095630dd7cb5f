package turn_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/genai"

	"errand/cardserver/push"
	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/desk"
	"errand/shared/keys"
	"errand/shared/lab/scripts"
	"errand/shared/lab/world"
	"errand/shared/secret"
	"errand/shared/task"
	"errand/worker/executor"
	"errand/worker/tools"
	"errand/worker/turn"
)

// A waiting is a worker with the shipped executor, whose tool waits for a word, and the front
// door's API that gets the word. All of it goes by the clock of the bench.
type waiting struct {
	*bench
	api    http.Handler
	keys   *keys.Keyring
	ready  atomic.Bool      // the tool finds what it waits for
	began  atomic.Int64     // calls of the tool
	until  func() time.Time // of the tool's wait
	during func(url string) // called by the tool before it waits; nil: nothing

	mu     sync.Mutex
	url    string // by which the newest call is woken
	callOf string // key of the newest call
}

func newWaiting(t *testing.T) *waiting {
	w := &waiting{keys: world.Keys(t)}
	w.bench = newBench(t, nil)
	w.until = func() time.Time { return w.clock().Add(20 * 24 * time.Hour) }
	w.connect()
	return w
}

// connect puts the services on the bench's store.
func (w *waiting) connect() {
	w.t.Helper()
	tool := tools.New("await", "Waits.", func(ctx context.Context, _ struct{}) (string, error) {
		info := tools.InfoFrom(ctx)
		w.mu.Lock()
		w.url, w.callOf = info.Wake, info.Key
		w.mu.Unlock()
		w.began.Add(1)
		if w.ready.Load() {
			return "it is there", nil
		}
		if w.during != nil {
			w.during(info.Wake)
		}
		return "", tools.Wake(w.until())
	}, tools.Effects())

	script := scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
		for _, c := range r.Contents {
			for _, p := range c.Parts {
				if p.FunctionResponse != nil {
					text, _ := p.FunctionResponse.Response["output"].(string)
					why, _ := p.FunctionResponse.Response["error"].(string)
					return standin.Text("Done: " + text + why)
				}
			}
		}
		return standin.Call(&genai.FunctionCall{ID: "c1", Name: "await"})
	})

	m, err := gemini.New(w.t.Context(), gemini.Config{
		Name: "test-model", HTTPClient: standin.New(script.Answer).Client(),
		Key: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte("none")) },
	})
	if err != nil {
		w.t.Fatal(err)
	}

	ex, err := executor.New(executor.Config{Model: m, Tools: []tools.Tool{tool}, Agent: &agent.Agent{
		Name: "Test", Tools: []string{"await"}, Limits: agent.Limits{Steps: 8, TurnTokens: 30_000, OutputTokens: 2000},
	}})
	if err != nil {
		w.t.Fatal(err)
	}

	ring := world.Ring(w.t, w.keys)
	w.desk = desk.New(desk.Config{
		Store: w.Store, Queue: w.Jobs, Rules: w.Rules, Now: w.clock, Log: w.Log,
		WakeKey: func(_ context.Context, life string) string { return ring.WakeKey(w.clock(), life) },
	})
	w.configure(ex, func(c *turn.Config) {
		c.WakeURL = func(wakeKey, call string) string { return keys.WakeURL("https://agent.example.com", wakeKey, call) }
	})
	w.api = push.New(push.Config{Desk: w.desk, Store: w.Store, Keys: w.keys, Log: w.Log})
}

// tell calls the URL by which the newest call is woken.
func (w *waiting) tell() {
	w.t.Helper()
	w.mu.Lock()
	url := w.url
	w.mu.Unlock()
	w.post(url)
}

func (w *waiting) post(url string) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, httptest.NewRequest("POST", url, nil))
	if rec.Code != http.StatusNoContent {
		w.t.Errorf("POST %s: %d %s", url, rec.Code, rec.Body)
	}
}

// work delivers the task's job, and returns how often the tool was called.
func (w *waiting) work(id string) int64 {
	w.t.Helper()
	before := w.began.Load()
	if code := w.deliver(id, "j", 0); code != http.StatusNoContent {
		w.t.Errorf("the job is answered %d", code)
	}
	return w.began.Load() - before
}

// waits sends a message and runs its turn until the tool waits.
func (w *waiting) waits() (id string) {
	w.t.Helper()
	id = w.send("m1", "go", "").ID()
	if n := w.work(id); n != 1 {
		w.t.Fatalf("the tool was called %d times", n)
	}
	if r := w.Load(id); r.Paused.IsZero() || r.Wake.Sub(w.clock()) < 19*24*time.Hour {
		w.t.Fatalf("the turn is parked until %v", r.Wake)
	}
	return id
}

// claimed is when the turn was last claimed.
func (w *waiting) claimed(id string) (at time.Time) {
	for _, m := range w.Load(id).Marks {
		if m.Kind == task.MarkClaimed {
			at = m.At
		}
	}
	return at
}

// ends reports whether the task has its answer.
func (w *waiting) ends(id string) {
	w.t.Helper()
	r := w.Load(id)
	if got := strings.Join(texts(r.Task), ""); r.State() != a2a.TaskStateCompleted || got != "Done: it is there" {
		w.t.Errorf("the task is %s and says %q", r.State(), got)
	}
}

// A word ends the wait, 10 s after the claim at the earliest. The job comes from the desk. The
// call begins again with its key.
func TestWordEndsAWait(t *testing.T) {
	w := newWaiting(t)
	id := w.waits()
	key := w.callOf
	w.Jobs.Take()
	w.ready.Store(true)
	w.tell()
	if jobs := w.Jobs.Take(); len(jobs) != 1 || jobs[0].Task != id || !jobs[0].At.Equal(w.Load(id).Wake) {
		t.Errorf("jobs: %+v", jobs)
	}
	w.tell() // twice
	if jobs := w.Jobs.Take(); len(jobs) != 0 {
		t.Errorf("jobs of a repetition: %+v", jobs)
	}

	if n := w.work(id); n != 0 {
		t.Error("the turn was claimed again at once")
	}
	w.advance(task.ToldEvery)
	if n := w.work(id); n != 1 || w.callOf != key {
		t.Errorf("the tool was called %d times, with the key %s, want once with %s", n, w.callOf, key)
	}
	w.ends(id)
	w.tell() // late
	if jobs := w.Jobs.Take(); len(jobs) != 0 {
		t.Errorf("jobs of a late word: %+v", jobs)
	}
}

// A word that comes while the call runs is kept: the park does not sleep.
func TestWordBeforeThePark(t *testing.T) {
	w := newWaiting(t)
	w.during = func(url string) {
		w.during = nil
		w.post(url)
	}
	id := w.send("m1", "go", "").ID()
	w.work(id)
	r := w.Load(id)
	if !r.Told || !r.Wake.Equal(w.claimed(id).Add(task.ToldEvery)) {
		t.Fatalf("the turn is parked until %v, 10 s after the claim is %v", r.Wake, w.claimed(id).Add(task.ToldEvery))
	}

	w.ready.Store(true)
	w.advance(task.ToldEvery)
	w.work(id)
	w.ends(id)
}

// Words cause one claim in 10 s at most, however many there are, and the newest is not lost.
func TestManyWords(t *testing.T) {
	w := newWaiting(t)
	id := w.waits()
	begin, claims := w.clock(), w.Load(id).Epoch
	for range 1000 {
		w.tell()
		w.advance(50 * time.Millisecond)
		w.work(id) // as if a job came with each word
	}
	if n := w.Load(id).Epoch - claims; n > int64(w.clock().Sub(begin)/task.ToldEvery) || n < 2 {
		t.Errorf("%d claims in %v", n, w.clock().Sub(begin))
	}

	w.ready.Store(true)
	w.tell()
	w.advance(task.ToldEvery)
	w.work(id)
	w.ends(id)
}

// A further message does not end the wait, and is answered after it.
func TestFollowUpDoesNotEndTheWait(t *testing.T) {
	w := newWaiting(t)
	id := w.waits()
	wake := w.Load(id).Wake
	w.send("m2", "and?", id)
	if r := w.Load(id); !r.Wake.Equal(wake) || w.work(id) != 0 {
		t.Errorf("the turn is parked until %v, was until %v", r.Wake, wake)
	}
}

// A wait does not count towards the age of the turn. It has a limit of its own.
func TestWaitsHaveTheirOwnLimit(t *testing.T) {
	w := newWaiting(t)
	id := w.waits()
	w.advance(15 * 24 * time.Hour)
	w.tell()
	if n := w.work(id); n != 1 {
		t.Fatalf("after 15 days the tool was called %d times", n)
	}

	w.until = func() time.Time { return w.clock().Add(time.Hour * 24 * 365) }
	w.tell()
	w.advance(task.ToldEvery)
	w.work(id)
	if last := w.Load(id).Step.Calls[0].First.Add(task.LaterFor); !w.Load(id).Wake.Equal(last) {
		t.Errorf("the turn is parked until %v, want %v, 30 days after the call began", w.Load(id).Wake, last)
	}

	w.advance(15 * 24 * time.Hour)
	w.work(id)
	r := w.Load(id)
	if got := strings.Join(texts(r.Task), ""); r.State() != a2a.TaskStateCompleted || !strings.Contains(got, "30 days") {
		t.Errorf("the task is %s and says %q", r.State(), got)
	}
}

// A word after the cancel changes nothing.
func TestWordAfterACancel(t *testing.T) {
	w := newWaiting(t)
	id := w.waits()
	world.Update(t, w.Store, id, func(r task.Record) (task.Record, bool, error) {
		return r.Cancel(w.Moment(), a2a.NewMessage(a2a.MessageRoleAgent), nil)
	})
	before := w.Load(id)
	w.tell()
	if r := w.Load(id); r.Version != before.Version || w.work(id) != 0 {
		t.Errorf("version %d, was %d", r.Version, before.Version)
	}
}

// A word that comes while the process is replaced is kept by the record.
func TestWordOutlivesTheProcess(t *testing.T) {
	w := newWaiting(t)
	id := w.waits()
	w.tell()
	path, now := w.Path, w.clock()
	w.Close()

	w.bench = newBenchOn(t, path, now.Add(task.ToldEvery), nil)
	w.connect()
	w.ready.Store(true)
	w.work(id)
	w.ends(id)
}
