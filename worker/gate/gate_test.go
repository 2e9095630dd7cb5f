package gate_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"errand/shared/model"
	"errand/worker/gate"
	"errand/worker/run"
)

// A fakeModel answers with the errors of a list, one after the other, and then well. It
// counts its requests.
type fakeModel struct {
	mu     sync.Mutex
	errs   []error
	took   time.Duration
	asked  int
	probed int
	under  int
	worst  int // requests at once
	chunks []model.Chunk
}

// change changes the model while requests may be under way.
func (m *fakeModel) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// asks returns how many requests there were, and how many of them were probes.
func (m *fakeModel) asks() (all, probes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked, m.probed
}

// A logBuffer keeps what is logged, also while it is read.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (m *fakeModel) Name() string                                        { return "fake" }
func (m *fakeModel) Check(context.Context) error                         { return nil }
func (m *fakeModel) Count(context.Context, model.Request) (int64, error) { return 7, nil }
func (m *fakeModel) Generate(ctx context.Context, r model.Request) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		m.mu.Lock()
		m.under++
		m.worst = max(m.worst, m.under)
		if m.asked++; r.MaxTokens == 1 {
			m.probed++
		}
		var err error
		if len(m.errs) > 0 {
			err, m.errs = m.errs[0], m.errs[1:]
		}
		chunks, took := m.chunks, m.took
		m.mu.Unlock()

		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.under--
		}()

		select {
		case <-time.After(took):
		case <-ctx.Done():
			yield(model.Chunk{}, ctx.Err())
			return
		}

		if err != nil {
			yield(model.Chunk{}, err)
			return
		}
		if chunks == nil {
			chunks = []model.Chunk{{Parts: []model.Part{{Text: "a"}}}, {Finish: model.FinishStop}}
		}
		for _, c := range chunks {
			if !yield(c, nil) {
				return
			}
		}
	}
}

var down = &model.Error{Cause: model.Unreached, Message: "refused"}

// ask makes a request of a turn, and returns how it ended.
func ask(ctx context.Context, g *gate.Gate, task string) error {
	for _, err := range g.Generate(run.With(ctx, run.Run{Task: task}), model.Request{}) {
		if err != nil {
			return err
		}
	}
	return nil
}

// pause is the pause in an error, or nil.
func pause(err error) *run.Pause {
	p, _ := errors.AsType[*run.Pause](err)
	return p
}

// The log has one line for a closed gate, however many turns wait, and an alert if an operator
// must act. Turns say why they wait.
func TestAlerts(t *testing.T) {
	for _, tt := range []struct {
		why   model.Cause
		alert bool
		log   string
		say   string
	}{
		{model.BadKey, true, "operator", "operator"},
		{model.NoBilling, true, "operator", "operator"},
		{model.NoLocation, true, "operator", "operator"},
		{model.DayQuota, true, "quota of the day", "quota of the day"},
		{model.Quota, false, "cannot be asked", "quota"},
		{model.Unreached, false, "cannot be asked", "not available"},
	} {
		t.Run(string(tt.why), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logBuffer
				failed := &model.Error{Code: 429, Cause: tt.why, Message: "m"}
				m := &fakeModel{errs: []error{failed, failed, failed, failed}}
				g := gate.New(m, slog.New(slog.NewTextHandler(&log, nil)))

				if p := pause(ask(t.Context(), g, "first")); p == nil || p.Hold != run.Away || p.Alert || !strings.Contains(p.Say, tt.say) {
					t.Errorf("the first turn waits as %+v", p)
				}

				for range 20 {
					_, p := g.Admit(t.Context(), "later")
					if p != nil && (p.Hold != run.Away || p.Alert || !strings.Contains(p.Say, tt.say)) {
						t.Errorf("a turn is held as %+v", p)
					}
					if p := pause(ask(t.Context(), g, "inside")); p == nil || !strings.Contains(p.Say, tt.say) {
						t.Errorf("a turn inside waits as %+v", p)
					}
				}

				if n := strings.Count(log.String(), "\n"); n != 1 || strings.Contains(log.String(), "alert=true") != tt.alert || !strings.Contains(log.String(), tt.log) {
					t.Errorf("the log is:\n%s", log.String())
				}

				time.Sleep(3 * time.Minute) // probes
				if leave, p := g.Admit(t.Context(), "back"); p != nil || !strings.Contains(log.String(), "answers again") {
					t.Errorf("after the outage a turn is held as %+v; the log is:\n%s", p, log.String())
				} else {
					leave()
				}
			})
		})
	}
}

// A job sends the probe that is due, and only one does: the others are held at once.
func TestProbeInsideAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeModel{took: time.Second}
		for range 10_000 {
			m.errs = append(m.errs, down)
		}
		g := gate.New(m, slog.New(slog.DiscardHandler))
		ask(t.Context(), g, "a")
		time.Sleep(24 * time.Hour) // no turn came, so the timer has stopped

		_, before := m.asks()
		m.change(func() { m.errs = nil })

		var wg sync.WaitGroup
		var admitted, held atomic.Int32
		for range 10 {
			wg.Go(func() {
				start := time.Now()
				switch _, p := g.Admit(t.Context(), "b"); {
				case p == nil && time.Since(start) == time.Second:
					admitted.Add(1)
				case p != nil && p.Hold == run.Away && time.Since(start) == 0:
					held.Add(1)
				}
			})
		}

		wg.Wait()
		_, probed := m.asks()
		if probed-before != 1 || admitted.Load() != 1 || held.Load() != 9 {
			t.Errorf("%d probes for ten jobs, %d admitted after it, %d held at once; want 1, 1, 9", probed-before, admitted.Load(), held.Load())
		}
		time.Sleep(time.Hour)
	})
}

// A gate that no turn asks costs nothing: its probes end.
func TestIdleGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeModel{}
		for range 10_000 {
			m.errs = append(m.errs, down)
		}
		g := gate.New(m, slog.New(slog.DiscardHandler))
		ask(t.Context(), g, "a")
		time.Sleep(24 * time.Hour)
		before, n := m.asks()
		if n < 10 || n > 40 {
			t.Errorf("%d probes in a day without a turn", n)
		}

		g.Admit(t.Context(), "b") // its own job sends the probe that has been due for long
		if all, _ := m.asks(); all != before+1 {
			t.Errorf("the first job of the next day made %d requests", all-before)
		}
		time.Sleep(10 * time.Minute)
		if all, _ := m.asks(); all < before+8 {
			t.Errorf("%d probes in ten minutes with a turn", all-before)
		}
	})
}

// Later requests of a turn wait a little at a full gate, and pause then.
func TestFullGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeModel{errs: []error{down}}
		g := gate.New(m, slog.New(slog.DiscardHandler))
		ask(t.Context(), g, "a")
		time.Sleep(10 * time.Second) // the probe opens the gate

		m.change(func() { m.took = 4 * time.Second })
		go ask(context.Background(), g, "a")
		synctest.Wait()
		if _, p := g.Admit(t.Context(), "b"); p == nil || p.Hold != run.Full || p.Say == "" {
			t.Errorf("a turn at a full gate is held as %+v", p)
		}
		if err := ask(t.Context(), g, "c"); err != nil {
			t.Errorf("a request that waits 4 s at a full gate ended with %v", err)
		}

		m.change(func() { m.took = time.Minute })
		go ask(context.Background(), g, "a")
		go ask(context.Background(), g, "b")
		go ask(context.Background(), g, "c")
		synctest.Wait()
		time.Sleep(30 * time.Second)
		start := time.Now()
		if p := pause(ask(t.Context(), g, "d")); p == nil || p.Hold != run.Full || time.Since(start) != 5*time.Second {
			t.Errorf("after %v at a full gate a request waits as %+v", time.Since(start), p)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := ask(ctx, g, "e"); err != context.Canceled {
			t.Errorf("a stopped turn at a full gate ended with %v", err)
		}
		time.Sleep(5 * time.Minute)
	})
}

// A request ends in several ways, and the turn is told how to go on.
func TestEndsOfRequests(t *testing.T) {
	broken := &model.Error{Code: 500, Message: "broken"}
	refused := &model.Error{Code: 400, Message: "no"}
	for _, tt := range []struct {
		name   string
		errs   []error
		chunks []model.Chunk
		want   error // nil: a pause, or with well no error
		well   bool
		asked  int
	}{
		{"an answer", nil, nil, nil, true, 1},
		{"the message's fault", []error{refused}, nil, refused, false, 1},
		{"perhaps its fault, and a probe gets through", []error{broken}, nil, broken, false, 2},
		{"perhaps its fault, and the probe is found wrong, which is an answer", []error{broken, refused}, nil, broken, false, 2},
		{"perhaps its fault, and the probe fails", []error{broken, broken}, nil, nil, false, 2},
		{"no capacity", []error{&model.Error{Code: 503}}, nil, nil, false, 1},
		{"stopped", []error{context.Canceled}, nil, context.Canceled, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &fakeModel{errs: tt.errs, chunks: tt.chunks}
			err := ask(t.Context(), gate.New(m, slog.New(slog.DiscardHandler)), "a")
			switch {
			case tt.well && err != nil, tt.want != nil && err != tt.want, !tt.well && tt.want == nil && pause(err) == nil:
				t.Errorf("the request ended with %v", err)
			case m.asked != tt.asked:
				t.Errorf("%d requests, want %d", m.asked, tt.asked)
			}
		})
	}

	m := &fakeModel{chunks: []model.Chunk{{Parts: []model.Part{{Text: "half"}}}}}
	err := ask(t.Context(), gate.New(m, slog.New(slog.DiscardHandler)), "a")
	if p := pause(err); p == nil { // the probe ends without a reason too
		t.Errorf("a stream without an end ended with %v", err)
	}
}

// A turn that was stopped, or that has enough, is no failure and keeps no place.
func TestCallerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &fakeModel{errs: []error{down}}
		g := gate.New(m, slog.New(slog.DiscardHandler))
		ask(t.Context(), g, "a")
		time.Sleep(10 * time.Second)
		m.change(func() { m.took = time.Hour })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := ask(ctx, g, "a"); err != context.DeadlineExceeded {
			t.Errorf("a stopped request ended with %v", err)
		}
		m.change(func() { m.took = 0 })
		time.Sleep(time.Hour)
		for range g.Generate(t.Context(), model.Request{}) {
			break
		}
		time.Sleep(time.Hour)
		if leave, p := g.Admit(t.Context(), "b"); p != nil {
			t.Errorf("a turn is held as %+v", p)
		} else {
			leave()
		}
	})
}

// A closed gate lets no count of tokens through.
func TestCount(t *testing.T) {
	m := &fakeModel{errs: []error{down}}
	g := gate.New(m, slog.New(slog.DiscardHandler))
	if n, err := g.Count(t.Context(), model.Request{}); n != 7 || err != nil {
		t.Errorf("Count = %d, %v", n, err)
	}
	ask(t.Context(), g, "a")
	var e *model.Error
	if _, err := g.Count(t.Context(), model.Request{}); !errors.As(err, &e) {
		t.Errorf("Count behind a closed gate = %v", err)
	}
	if g.Name() != "fake" || g.Check(t.Context()) != nil {
		t.Error("the gate has no name, or does not check its model")
	}
}
