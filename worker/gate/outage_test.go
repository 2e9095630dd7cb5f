package gate_test

import (
	"context"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	"errand/shared/lab/conformance"
	"errand/shared/lab/scripts"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/worker/tools"
)

// slots are the turns that one owner may run at once.
const slots = 32

// done is the answer of a service that works.
func done(standin.Request) standin.Reply { return standin.Text("done").After(time.Second) }

// The model is away for hours under many tasks. No task fails, hardly a request is made
// meanwhile, and all are answered afterwards, a few at a time at first. Turns that need
// no such model go on.
func TestOutage(t *testing.T) {
	away, few := conformance.Size(time.Hour, 6*time.Hour), conformance.Long(12, 100, 500)
	for _, tt := range []struct {
		name  string
		begin func(*service)
		tasks int
		turns int // requests of turns, at most: those under way when the gate closes
	}{
		{"503", func(s *service) { s.fails(scripts.Fail(503, "UNAVAILABLE", "overloaded")) }, conformance.Long(12, 500, 5000), slots},
		{"500", func(s *service) { s.fails(scripts.Fail(500, "INTERNAL", "broken")) }, few, slots},
		{"429 with a wait", func(s *service) { s.fails(scripts.Throttle(40 * time.Second)) }, few, slots},
		{"429", func(s *service) { s.fails(scripts.Throttle(0)) }, few, slots},
		{"refused", (*service).refuses, few, slots},
		{"hang", func(s *service) { s.fails(standin.Reply{Hang: true}) }, few, slots},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{answer: done}
				tt.begin(s)
				b := newBench(t, s)
				start := time.Now()
				ids := b.send(tt.tasks, "go")

				time.Sleep(away / 2)
				b.othersGoOn(ids[0])
				time.Sleep(away / 2)

				closed := start.Add(11 * time.Minute) // a service that hangs is given up after 10
				early, _ := s.between(start, closed)
				late, probes := s.between(closed, time.Now())
				if early > tt.turns || late > 0 {
					t.Errorf("%d requests of turns while the gate closed, and %d afterwards; want at most %d and 0", early, late, tt.turns)
				}
				if b.refused.Load() > 0 {
					t.Errorf("%d jobs were refused while the model was away", b.refused.Load())
				}
				if most := int(2 * away.Minutes()); probes > most || probes < most/4 {
					t.Errorf("%d probes in %v, want two a minute at most", probes, away)
				}

				s.returns()
				b.await(ids[1:], time.Hour)
				if n := b.ended(ids); n[a2a.TaskStateCompleted] != tt.tasks-1 || n[a2a.TaskStateCanceled] != 1 {
					t.Errorf("the tasks ended as %v, want %d completed and the first canceled", n, tt.tasks-1)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.excess > 0 {
					t.Errorf("%d more requests at once than one and those that got through since the gate opened", s.excess)
				}
			})
		})
	}
}

// plainExecutor needs no model.
type plainExecutor struct{}

func (plainExecutor) Execute(_ context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}
}

func (plainExecutor) Cancel(context.Context, *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(func(a2a.Event, error) bool) {}
}

// othersGoOn checks, while the model is away, that a task says why it waits and can be
// cancelled, and that turns with another executor or another model are answered at once.
func (b *bench) othersGoOn(id string) {
	b.t.Helper()
	if r := b.Load(id); !strings.Contains(says(r), "waiting") || r.Attempt != 0 || r.Held == 0 || r.Lease != (task.Lease{}) {
		b.t.Errorf("a task that waits says %q, with attempt %d, held %d, lease %v", says(r), r.Attempt, r.Held, r.Lease)
	}

	_, err := b.desk.ChangeByID(context.Background(), id, func(r task.Record, m task.Moment) (task.Record, bool, error) {
		return r.Cancel(m, a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("cancelled")), nil)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	time.Sleep(time.Minute)
	b.mu.Lock()
	if n := b.published[id]; n != 1 {
		b.t.Errorf("the cancel of a task that waits was published %d times", n)
	}
	b.mu.Unlock()

	for name, ex := range map[string]a2asrv.AgentExecutor{"another executor": plainExecutor{}, "another model": b.executor(&service{answer: done})} {
		if r := b.deliver(ex, b.accept("other")); r.State() != a2a.TaskStateCompleted {
			b.t.Errorf("%s: the turn is %s", name, r.State())
		}
	}
}

// accept stores a message that no queue delivers.
func (b *bench) accept(text string) string {
	b.t.Helper()
	b.Jobs.Keep()
	defer b.Jobs.Pass(b.Queue)
	return b.send(1, text)[0]
}

// deliver gives a job to a worker of its own.
func (b *bench) deliver(ex a2asrv.AgentExecutor, id string) task.Record {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.worker(ex).ServeHTTP(w, httptest.NewRequest("POST", queue.PathTurn, strings.NewReader(string(queue.Job{Task: id}.Body()))))
	if w.Code != http.StatusNoContent {
		b.t.Errorf("a job was answered %d", w.Code)
	}
	return b.Load(id)
}

// A message that makes the model fail fails itself within a quarter of an hour, with that
// reason. It is told from an outage although no other request is made, and beside others they
// are answered.
func TestMessageThatBreaksTheModel(t *testing.T) {
	for name, bad := range map[string]standin.Reply{
		"internal error": scripts.Fail(500, "INTERNAL", "broken"),
		"broke off":      {Chunks: standin.Text("half of", "").Chunks[:1], Cut: true},
	} {
		for _, others := range []int{0, 100} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &service{answer: func(r standin.Request) standin.Reply {
						if strings.Contains(string(r.Body), "poison") {
							return bad
						}
						return done(r)
					}}
					b := newBench(t, s)
					poison := b.send(1, "poison")
					healthy := b.send(others, "go")
					took := b.await(poison, time.Hour)
					b.await(healthy, time.Hour)

					r := b.Load(poison[0])
					if took > 15*time.Minute || r.State() != a2a.TaskStateFailed || !strings.Contains(says(r), name) || r.Attempt != b.Rules.Attempts {
						t.Errorf("after %v and %d attempts the task is %s: %s", took, r.Attempt, r.State(), says(r))
					}
					if n := b.ended(healthy); n[a2a.TaskStateCompleted] != others {
						t.Errorf("beside it the tasks ended as %v", n)
					}
				})
			})
		}
	}
}

// A service that is away for everything is not blamed on the only message that there is.
func TestOutageUnderOneTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{answer: done}
		s.fails(scripts.Fail(500, "INTERNAL", "broken"))
		b := newBench(t, s)
		start := time.Now()
		ids := b.send(1, "go")
		time.Sleep(6 * time.Hour)
		if turns, probes := s.between(start.Add(5*time.Minute), time.Now()); turns+probes > 2*355 {
			t.Errorf("%d requests and %d probes in 6 h", turns, probes)
		}
		s.returns()
		b.await(ids, 11*time.Minute)
		if n := b.ended(ids); n[a2a.TaskStateCompleted] != 1 {
			t.Errorf("the task ended as %v", n)
		}
	})
}

// A turn of many steps goes on where it was, although a share of its requests fails.
func TestHealthyTurn(t *testing.T) {
	var steps int
	count := tools.New("count", "Counts.", func(context.Context, struct{}) (map[string]int, error) { return map[string]int{"n": 1}, nil })
	walk := func(r standin.Request) standin.Reply {
		results := 0
		for _, c := range r.Contents {
			for _, p := range c.Parts {
				if p.FunctionResponse != nil {
					results++
				}
			}
		}
		if results == steps {
			return done(r)
		}
		return standin.Call(&genai.FunctionCall{Name: "count"}).After(time.Second)
	}

	for _, tt := range []struct {
		name   string
		turns  int
		steps  int
		fails  standin.Reply
		repeat int
	}{
		{"alone", 1, 40, scripts.Fail(503, "UNAVAILABLE", "overloaded"), conformance.Size(1, 20)},
		{"beside others", 21, conformance.Size(8, 40), scripts.Fail(500, "INTERNAL", "broken"), conformance.Size(1, 5)},
	} {
		steps = tt.steps

		for range tt.repeat {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, &service{answer: sometimes(30, tt.fails, walk)}, count)
					ids := b.send(tt.turns, "walk")
					b.await(ids, 12*time.Hour)

					for _, id := range ids {
						if r := b.Load(id); r.State() != a2a.TaskStateCompleted {
							t.Errorf("a turn ended as %s: %s; its runs: %v", r.State(), says(r), r.Marks)
						}
					}
				})
			})
		}
	}
}
