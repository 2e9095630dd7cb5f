package gate_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/functions/sweep"
	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/bus"
	"errand/shared/desk"
	"errand/shared/lab/scripts"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/secret"
	"errand/shared/task"
	"errand/worker/executor"
	"errand/worker/tools"
	"errand/worker/turn"
)

// A service is a model service that may be away. It counts its requests.
type service struct {
	mu     sync.Mutex
	answer func(r standin.Request) standin.Reply // while it is there
	away   func() standin.Reply                  // nil: it is there
	refuse bool                                  // it is away and takes no connections

	calls   []call
	under   int  // requests that it works on
	back    bool // it was away
	opened  bool // and a probe has found it since
	through int  // requests of turns that it has answered since
	excess  int  // requests at once beyond one and those, at the worst
}

// A call is one request.
type call struct {
	at    time.Time
	probe bool
}

// fails makes the service answer every request with r.
func (s *service) fails(r standin.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = func() standin.Reply { return r }
}

// refuses makes the service take no connections.
func (s *service) refuses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = true
}

// returns makes the service answer again.
func (s *service) returns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.refuse, s.back = nil, false, true
}

// RoundTrip implements http.RoundTripper: it is the network before the service.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	refuse := s.refuse
	if refuse {
		s.calls = append(s.calls, call{at: time.Now(), probe: r.ContentLength < 200})
	}
	s.mu.Unlock()
	if refuse {
		r.Body.Close()
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	return standin.New(s.reply).Client().Transport.RoundTrip(r)
}

func (s *service) reply(ctx context.Context, r standin.Request) standin.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	probe := r.Config.MaxOutputTokens == 1
	s.calls = append(s.calls, call{time.Now(), probe})
	s.under++
	if s.opened && !probe {
		s.excess = max(s.excess, s.under-1-s.through)
	}

	var out standin.Reply
	switch {
	case s.away != nil:
		out = s.away()
	default:
		if out = s.answer(r); probe && out.Error == nil {
			out = scripts.Finish("MAX_TOKENS").After(300 * time.Millisecond)
		}
	}

	good, back := out.Error == nil && !out.Hang && !out.Cut, s.back
	ended := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.under--
		if back && good && probe {
			s.opened = true
		}
		if s.opened && good && !probe {
			s.through++
		}
	}
	if good { // it has replied when the delay is over
		time.AfterFunc(out.Delay, ended)
	} else {
		context.AfterFunc(ctx, ended)
	}
	return out
}

// between counts the requests of turns and the probes in a time.
func (s *service) between(from, to time.Time) (turns, probes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		switch {
		case c.at.Before(from) || !c.at.Before(to):
		case c.probe:
			probes++
		default:
			turns++
		}
	}
	return turns, probes
}

// A bench is a whole worker on a real store and a real queue, with sweeps every minute, in
// front of a service. It runs in the time of a bubble.
type bench struct {
	*world.World
	t       *testing.T
	desk    *desk.Desk
	service *service
	refused atomic.Int32 // jobs of turns that the queue must deliver again

	mu        sync.Mutex
	published map[string]int // notifications, by task
}

func newBench(t *testing.T, s *service, all ...tools.Tool) *bench {
	t.Helper()
	mux := http.NewServeMux()
	b := &bench{t: t, service: s, published: map[string]int{}}
	b.World = world.New(t, world.Config{Handler: mux})
	b.desk = b.Desk(b.Store)

	worker := b.worker(b.executor(s, all...))
	mux.HandleFunc("POST "+queue.PathTurn, func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		worker.ServeHTTP(answer, r)
		if answer.Code != http.StatusNoContent {
			b.refused.Add(1)
		}
		w.WriteHeader(answer.Code)
	})
	sweeps := sweep.New(sweep.Config{Desk: b.desk, Store: b.Store, KV: b.Store.KV(), Queue: b.Queue})
	mux.Handle("POST "+queue.PathSweep, sweeps)

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		sweeps.Run(ctx, time.Minute)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return b
}

// executor is the shipped one in front of a service.
func (b *bench) executor(s *service, all ...tools.Tool) a2asrv.AgentExecutor {
	b.t.Helper()
	m, err := gemini.New(context.Background(), gemini.Config{
		Name: "test-model", HTTPClient: &http.Client{Transport: s},
		Key: func(context.Context) (secret.Value, error) { return secret.NewValue([]byte("none")) },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	def := &agent.Agent{Name: "Test", Instructions: "Be brief.", Limits: agent.Limits{Steps: 100, TurnTokens: 10_000_000, OutputTokens: 2000}}
	for _, tool := range all {
		def.Tools = append(def.Tools, tool.Name())
	}
	e, err := executor.New(executor.Config{Agent: def, Model: m, Tools: all, Log: b.Log})
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

func (b *bench) worker(ex a2asrv.AgentExecutor) *turn.Worker {
	return turn.New(turn.Config{Desk: b.desk, Store: b.Store, KV: b.Store.KV(), Bus: b, Executor: ex, Log: b.Log})
}

// Publish implements bus.Publisher.
func (b *bench) Publish(_ context.Context, events ...bus.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		b.published[e.Task] = max(b.published[e.Task], e.Notification)
	}
	return nil
}

// send accepts messages of one owner, and returns the ids of their tasks.
func (b *bench) send(n int, text string) []string {
	b.t.Helper()
	var ids []string
	for range n {
		r, err := b.desk.Accept(context.Background(), desk.Message{Owner: "me", Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(text))})
		if err != nil {
			b.t.Fatal(err)
		}
		ids = append(ids, r.ID())
	}
	return ids
}

// ended counts the tasks that have ended, by their state.
func (b *bench) ended(ids []string) map[a2a.TaskState]int {
	b.t.Helper()
	n := map[a2a.TaskState]int{}
	for _, id := range ids {
		if r := b.Load(id); r.Terminal() {
			n[r.State()]++
		}
	}
	return n
}

// await lets time pass until all tasks have ended, and returns how much.
func (b *bench) await(ids []string, most time.Duration) time.Duration {
	b.t.Helper()
	start := time.Now()
	for left := ids; ; time.Sleep(time.Second) {
		var open []string
		for _, id := range left {
			if !b.Load(id).Terminal() {
				open = append(open, id)
				break
			}
		}
		if len(open) == 0 {
			return time.Since(start)
		}
		for len(left) > 0 && left[0] != open[0] {
			left = left[1:]
		}
		if time.Since(start) > most {
			r := b.Load(open[0])
			b.t.Fatalf("after %v task %s is %s, held %d, attempt %d, wake %v", most, open[0], r.State(), r.Held, r.Attempt, time.Until(r.Wake))
		}
	}
}

// says is the text of the task's status message.
func says(r task.Record) string {
	if m := r.Task.Status.Message; m != nil && len(m.Parts) > 0 {
		return m.Parts[0].Text()
	}
	return ""
}

// sometimes fails a share of the requests, in percent.
func sometimes(percent int, r standin.Reply, otherwise func(standin.Request) standin.Reply) func(standin.Request) standin.Reply {
	return func(q standin.Request) standin.Reply {
		if rand.N(100) < percent {
			return r
		}
		return otherwise(q)
	}
}
