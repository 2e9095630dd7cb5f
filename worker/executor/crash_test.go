package executor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/adapters/standin"
	"errand/shared/bus"
	"errand/shared/credential"
	"errand/shared/desk"
	"errand/shared/kv"
	"errand/shared/lab/scripts"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
	"errand/worker/tools"
	"errand/worker/turn"
)

// A site runs a turn in processes that die. The store is a real one, and the time is the
// test's: it moves when a turn is parked.
type site struct {
	*world.World
	t      *testing.T
	desk   *desk.Desk
	setup  setup
	reads  *turn.Conversation // nil: the default
	given  *credential.Store  // nil: there are no credentials
	worker *turn.Worker       // of the newest process
	now    time.Time
	retry  int

	mu     sync.Mutex
	lease  time.Duration // of its turns; 0: the usual one, which is renewed as real time passes
	points int           // so far, in the life of the process
	killAt int           // the point at which the process dies; 0: never
	at     func(n int)   // called at each point; nil: nothing
	dead   chan struct{} // closed then
	writes []string
	lists  int // of entries
}

// errDead is what a dead process reads when its test is over.
var errDead = errors.New("the process is dead")

func newSite(t *testing.T) *site {
	s := &site{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), dead: make(chan struct{})}
	s.World = world.New(t, world.Config{Now: s.clock})
	s.desk = s.Desk(s.Store)
	return s
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// point is a moment at which the process may die. A dead process does nothing more, until its
// test is over.
func (s *site) point() error {
	s.mu.Lock()
	s.points++
	dead := s.dead
	if s.points == s.killAt {
		close(dead)
	}
	n, at := s.points, s.at
	s.mu.Unlock()
	if at != nil {
		at(n)
	}

	select {
	case <-dead:
		<-s.t.Context().Done()
		return errDead
	default:
		return nil
	}
}

// A mortal is a store of records and of entries in a process that may die before and after
// each write.
type mortal struct {
	task.Store
	s    *site
	dead chan struct{}
}

func (m mortal) alive() error {
	select {
	case <-m.dead:
		<-m.s.t.Context().Done()
		return errDead
	default:
		return nil
	}
}

func (m mortal) Load(ctx context.Context, id string) (task.Record, error) {
	if err := m.alive(); err != nil {
		return task.Record{}, err
	}
	return m.Store.Load(ctx, id)
}

func (m mortal) Watch(ctx context.Context, id string) iter.Seq2[task.Record, error] {
	return m.Store.Watch(ctx, id)
}

func (m mortal) Commit(ctx context.Context, r task.Record) (task.Record, error) {
	if err := errors.Join(m.alive(), m.s.point()); err != nil {
		return task.Record{}, err
	}
	m.s.note("commit")
	r, err := m.Store.Commit(ctx, r)
	return r, errors.Join(err, m.s.point())
}

type mortalKV struct {
	kv.Store
	mortal
}

func (m mortalKV) Get(ctx context.Context, key string) (kv.Entry, error) {
	if err := m.alive(); err != nil {
		return kv.Entry{}, err
	}
	return m.Store.Get(ctx, key)
}

func (m mortalKV) List(ctx context.Context, prefix, after string, limit int) ([]kv.Entry, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	m.s.mu.Lock()
	m.s.lists++
	m.s.mu.Unlock()
	return m.Store.List(ctx, prefix, after, limit)
}

func (m mortalKV) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	if err := errors.Join(m.alive(), m.s.point()); err != nil {
		return kv.Entry{}, err
	}
	m.s.note("put")
	e, err := m.Store.Put(ctx, e)
	return e, errors.Join(err, m.s.point())
}

func (s *site) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, what)
}

// noBus takes all events.
type noBus struct{}

func (noBus) Publish(context.Context, ...bus.Event) error { return nil }

// process begins another process, which dies at the point, and delivers the job to it. It
// returns when the job is answered or the process is dead.
func (s *site) process(id string, killAt int) {
	s.t.Helper()
	s.mu.Lock()
	s.points, s.killAt, s.dead = 0, killAt, make(chan struct{})
	dead := s.dead
	s.mu.Unlock()

	store := mortal{s.Store, s, dead}
	s.worker = turn.New(turn.Config{
		Lease: s.lease, Conversation: s.reads, Pace: turn.Pace{Soon: time.Hour}, // no write depends on how busy the machine is
		Desk: s.desk, Store: store, KV: mortalKV{s.Store.KV(), store}, Bus: noBus{}, Executor: newExecutor(s.t, s.setup), Log: s.Log, Credentials: s.given,
	})
	s.retry++
	req := httptest.NewRequestWithContext(s.t.Context(), "POST", queue.PathTurn, strings.NewReader(string(queue.Job{Task: id}.Body())))
	req.Header.Set(queue.HeaderQueue, task.Turns)
	req.Header.Set(queue.HeaderName, "job")
	req.Header.Set(queue.HeaderRetry, strconv.Itoa(s.retry)) // the queue has given up the attempt before

	worker, answered := s.worker, make(chan struct{})
	go func() {
		defer close(answered)
		worker.ServeHTTP(httptest.NewRecorder(), req)
	}()
	select {
	case <-answered:
	case <-dead:
	case <-time.After(2 * time.Minute):
		s.t.Error("the run does not end")
	}
}

func (s *site) send(id, text string, to string) task.Record {
	s.t.Helper()
	r, err := s.desk.Accept(s.t.Context(), desk.Message{Owner: "me", Message: &a2a.Message{
		ID: id, TaskID: a2a.TaskID(to), Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(text)},
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// until runs processes until the task waits for its client or has ended. Time passes where the
// turn is parked. The first processes die at the given points.
func (s *site) until(id string, kills ...int) task.Record {
	s.t.Helper()
	for range 60 {
		r := s.Load(id)
		if r.Terminal() || r.Interrupted() {
			return r
		}
		if wait := r.Wake.Sub(s.clock()); wait > 0 {
			s.mu.Lock()
			s.now = s.now.Add(wait)
			s.mu.Unlock()
		}
		kill := 0
		if len(kills) > 0 {
			kill, kills = kills[0], kills[1:]
		}
		s.process(id, kill)
	}
	s.t.Fatalf("the task does not end: %+v", s.Load(id))
	return task.Record{}
}

// A bank refunds orders. It may keep the keys of its requests.
type bank struct {
	s     *site
	keeps bool
	mu    sync.Mutex
	keys  map[string]string // orders by key
	made  []string          // refunds, as they happened
}

// refund is the tool that calls the bank. The process may die before and after the refund.
func (b *bank) refund() tools.Tool {
	type order struct {
		Order string `json:"order"`
		Cents int    `json:"cents"`
	}
	opts := []tools.Option{tools.Effects()}
	if !b.keeps {
		opts = append(opts, tools.KeepsKeys(0))
	}

	return tools.New("refund", "Refunds an order.", func(ctx context.Context, in order) (string, error) {
		if err := b.s.point(); err != nil {
			return "", err
		}

		key := tools.InfoFrom(ctx).Key
		b.mu.Lock()
		if _, known := b.keys[key]; !known || !b.keeps {
			b.keys[key] = in.Order
			b.made = append(b.made, fmt.Sprintf("%s %d", in.Order, in.Cents))
		}
		b.mu.Unlock()
		if err := b.s.point(); err != nil {
			return "", err
		}
		return "refunded " + in.Order, nil
	}, opts...)
}

func (b *bank) refunds() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(slices.Values(b.made))
}

// fickle is a model that asks for two refunds, each time in another order, with other ids and
// other words, until it sees their results.
func fickle() *scripts.Script {
	var mu sync.Mutex
	asks := 0
	return scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
		if r.Op != standin.OpStream {
			return standin.Text("1")
		}
		for _, c := range r.Contents {
			for _, p := range c.Parts {
				if p.FunctionResponse != nil {
					return standin.Text("Refunded both.")
				}
			}
		}

		mu.Lock()
		defer mu.Unlock()
		asks++
		calls := []*genai.FunctionCall{
			{ID: fmt.Sprintf("a%d", asks), Name: "refund", Args: map[string]any{"order": "A-1", "cents": 100}},
			{ID: fmt.Sprintf("b%d", asks), Name: "refund", Args: map[string]any{"order": "A-2", "cents": 200}},
		}
		if asks%2 == 0 {
			slices.Reverse(calls)
		}
		reply := standin.Call(calls...)
		reply.Chunks = append(unfinished(standin.Text(fmt.Sprintf("Try %d.", asks)).Chunks), reply.Chunks...)
		return reply
	})
}

// TestRefundIsMadeOnce kills the process at every point of the turn, before and after each
// write and each refund. Every refund is made once, with the arguments of the stored call.
func TestRefundIsMadeOnce(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		t.Run(map[bool]string{true: "keys are kept", false: "keys are not kept"}[keeps], func(t *testing.T) {
			points := 0
			for kill := 0; kill == 0 || kill <= points; kill++ {
				t.Run(fmt.Sprint("point ", kill), func(t *testing.T) {
					s := newSite(t)
					b := &bank{s: s, keeps: keeps, keys: map[string]string{}}
					s.setup = setup{model: scripted(t, fickle()), tools: []tools.Tool{b.refund()}}
					id := s.send("m1", "Refund A-1 and A-2.", "").ID()

					r := s.until(id, kill)
					for n := 2; r.Interrupted(); n++ {
						r = answerTruly(s, b, r, n)
					}

					if kill == 0 {
						points = s.points
						t.Logf("%d points, writes %v", points, s.writes)
					}
					if diff := cmp.Diff([]string{"A-1 100", "A-2 200"}, b.refunds()); diff != "" {
						t.Errorf("refunds (-want +got):\n%s", diff)
					}
					if got := answerOf(r); r.State() != a2a.TaskStateCompleted || got != "Refunded both." {
						t.Errorf("%s, %q, %+v", r.State(), got, r.Task.Status.Message)
					}
				})
			}
		})
	}
}

// answerTruly answers the question about a call as a person does who has looked.
func answerTruly(s *site, b *bank, r task.Record, n int) task.Record {
	s.t.Helper()
	q := r.Step.Asked
	if b.keeps || q == nil {
		s.t.Fatalf("asked %+v", r.Task.Status.Message)
	}
	order := "A-1"
	if strings.Contains(string(r.Step.Calls[q.Call].Args), "A-2") {
		order = "A-2"
	}
	say := "It did not: do it"
	if slices.ContainsFunc(b.refunds(), func(m string) bool { return strings.HasPrefix(m, order) }) {
		say = "it happened."
	}
	s.send(fmt.Sprint("m", n), say, r.ID())
	return s.until(r.ID())
}

func answerOf(r task.Record) string {
	var texts []string
	for _, a := range r.Task.Artifacts {
		for _, p := range a.Parts {
			texts = append(texts, p.Text())
		}
	}
	return strings.Join(texts, "|")
}

// TestArtifactOfACallStays kills the process at every point of the turn. The artifact that a call
// has made is there at the end, and so is the answer.
func TestArtifactOfACallStays(t *testing.T) {
	write := tools.New("write", "Writes a file.", func(ctx context.Context, _ struct{}) (string, error) {
		return "written", tools.Artifact(ctx, &a2a.Artifact{Name: "file", Parts: a2a.ContentParts{a2a.NewTextPart("the file")}})
	})

	points := 0
	for kill := 0; kill == 0 || kill <= points; kill++ {
		t.Run(fmt.Sprint("point ", kill), func(t *testing.T) {
			s := newSite(t)
			script := scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
				if r.Op != standin.OpStream {
					return standin.Text("1")
				}
				if len(r.Contents) == 1 {
					return standin.Call(call("write", nil))
				}
				if err := s.point(); err != nil {
					return standin.Text("of a dead process")
				}
				return standin.Text("Done.")
			})
			s.setup = setup{model: scripted(t, script), tools: []tools.Tool{write}}

			r := s.until(s.send("m1", "Write.", "").ID(), kill)
			if kill == 0 {
				points = s.points
				t.Logf("%d points, writes %v", points, s.writes)
			}
			if got := answerOf(r); r.State() != a2a.TaskStateCompleted || got != "the file|Done." {
				t.Errorf("%s, %q", r.State(), got)
			}
		})
	}
}

// TestWritesOfATurn counts: a short task has three writes, its acceptance included, and a turn
// with n steps 2n more.
func TestWritesOfATurn(t *testing.T) {
	for steps := range 4 {
		s := newSite(t)
		var calls []string
		var replies []standin.Reply
		for range steps {
			replies = append(replies, standin.Call(call("add", map[string]any{"a": 1, "b": 2}), call("add", map[string]any{"a": 3, "b": 4})))
		}
		s.setup = setup{model: scripted(t, scripts.New(append(replies, standin.Text("Done."))...)), tools: []tools.Tool{add(&calls)}}
		id := s.send("m1", "Add.", "").ID()
		if r := s.until(id); answerOf(r) != "Done." {
			t.Errorf("%d steps: %v", steps, r.Task.Status)
		}

		counts := map[string]int{}
		for _, w := range s.writes {
			counts[w]++
		}
		want := map[string]int{"commit": 2 + steps, "put": steps}
		maps.DeleteFunc(want, func(_ string, n int) bool { return n == 0 })
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Errorf("%d steps: writes beside the acceptance (-want +got):\n%s", steps, diff)
		}
	}
}

// TestNoCallBeginsAfterCancel cancels the task at every point of the turn. A refund that is
// made afterwards is one that had begun before.
func TestNoCallBeginsAfterCancel(t *testing.T) {
	for at := 1; at <= 14; at++ {
		t.Run(fmt.Sprint("point ", at), func(t *testing.T) {
			s := newSite(t)
			b := &bank{s: s, keys: map[string]string{}}
			s.setup = setup{model: scripted(t, fickle()), tools: []tools.Tool{b.refund()}}
			id := s.send("m1", "Refund A-1 and A-2.", "").ID()

			begun, canceled := 0, false
			var canceling sync.Mutex
			s.at = func(n int) {
				if n != at {
					return
				}

				canceling.Lock()
				defer canceling.Unlock()
				r, err := s.desk.ChangeByID(t.Context(), id, func(r task.Record, m task.Moment) (task.Record, bool, error) {
					return r.Cancel(m, a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart("canceled")), nil)
				})
				if err != nil {
					return // it had ended
				}

				canceled = true
				if r.Step != nil {
					for _, c := range r.Step.Calls {
						begun += c.Times
					}
				}
			}

			r := s.until(id)
			canceling.Lock() // the run ends as soon as the task is canceled
			defer canceling.Unlock()
			if !canceled {
				t.Fatalf("%s before the cancel", r.State())
			}
			if n := len(b.refunds()); r.State() != a2a.TaskStateCanceled || n > begun {
				t.Errorf("%s, %d refunds, and %d calls had begun at the cancel", r.State(), n, begun)
			}
		})
	}
}

// onWrite calls a function with everything that is written.
type onWrite func(string)

func (f onWrite) Write(b []byte) (int, error) {
	f(string(b))
	return len(b), nil
}

// BenchmarkTenSteps runs whole turns with ten steps, each with one instant tool.
func BenchmarkTenSteps(b *testing.B) {
	var calls []string
	w := world.New(b, world.Config{})
	model := scripted(b, scripts.Record(func(_ context.Context, r standin.Request) standin.Reply {
		if len(r.Contents) > 20 {
			return standin.Text("Done.")
		}
		return standin.Call(call("add", map[string]any{"a": 1, "b": 2}))
	}))
	limits := defaults()
	limits.Steps = 11
	exec := newExecutor(b, setup{model: model, tools: []tools.Tool{add(&calls)}, limits: limits})
	d := w.Desk(w.Store)
	worker := turn.New(turn.Config{Desk: d, Store: w.Store, KV: w.Store.KV(), Bus: noBus{}, Executor: exec, Log: w.Log})

	var n atomic.Int64
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			msg := &a2a.Message{ID: fmt.Sprint("m", n.Add(1)), Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart("Add.")}}
			r, err := d.Accept(b.Context(), desk.Message{Owner: "me", Message: msg})
			if err != nil {
				b.Fatal(err)
			}

			req := httptest.NewRequestWithContext(b.Context(), "POST", queue.PathTurn, strings.NewReader(string(queue.Job{Task: r.ID()}.Body())))
			worker.ServeHTTP(httptest.NewRecorder(), req)
			if r := w.Load(r.ID()); r.State() != a2a.TaskStateCompleted || r.Steps != 10 {
				b.Fatalf("%s after %d steps", r.State(), r.Steps)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "turns/s")
}

// TestStoppedRunKeepsWaits stops the process while one call of a step has asked to begin again
// later and another runs. The record knows that the first one waits.
func TestStoppedRunKeepsWaits(t *testing.T) {
	s := newSite(t)
	at := s.clock().Add(time.Hour)
	waiting := make(chan bool)
	later := tools.New("later", "Waits.", func(context.Context, struct{}) (string, error) {
		return "", tools.Later(at)
	})
	slow := tools.New("slow", "Takes long.", func(ctx context.Context, _ struct{}) (string, error) {
		<-waiting
		s.worker.Drain()
		<-ctx.Done()
		return "", ctx.Err()
	})
	script := scripts.New(standin.Call(call("slow", nil), call("later", nil)), standin.Text("Done."))
	s.setup = setup{model: scripted(t, script), tools: []tools.Tool{later, slow}, log: onWrite(func(line string) {
		if strings.Contains(line, "tool=later") { // its end is known
			close(waiting)
		}
	})}

	id := s.send("m1", "Wait.", "").ID()
	s.process(id, 0)
	if r := s.Load(id); r.Wake.IsZero() || !r.Step.Calls[1].Wait.Equal(at) || !r.Step.Calls[0].Wait.IsZero() {
		t.Errorf("parked until %v, calls %+v", r.Wake, r.Step.Calls)
	}
}
