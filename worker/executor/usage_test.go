package executor_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/adapters/sqlstore"
	"errand/shared/model"
	"errand/shared/usage"
	"errand/worker/run"
)

// newMeter gives the owner acme/ci 100 tokens a day, and others no limit. It is noon.
func newMeter(t *testing.T) *usage.Meter {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), filepath.Join(t.TempDir(), "errand.db"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := usage.New(usage.Config{
		KV: db.KV(), Limit: func(owner string) (int64, bool) { return 100, owner == "acme/ci" },
		Now: func() time.Time { return time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour) },
	})
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// of is a first message of a caller.
func of(caller string) *a2asrv.ExecutorContext {
	ec := message()
	ec.User = a2asrv.NewAuthenticatedUser(caller, nil)
	return ec
}

func wantToday(t *testing.T, m *usage.Meter, want int64) {
	t.Helper()
	if got, err := m.Today(t.Context(), "acme/ci"); err != nil || got != want {
		t.Errorf("the caller has used %d tokens today, %v; want %d", got, err, want)
	}
}

// paused checks that a turn waits for the caller's next day.
func paused(t *testing.T, r result) {
	t.Helper()
	p, ok := errors.AsType[*run.Pause](r.err)
	if !ok || r.final != nil || p.For != time.Hour || !p.Aside || p.Alert || !strings.Contains(p.Say, "tokensPerDay") || !strings.Contains(p.Say, "tomorrow") {
		t.Errorf("got %v %q, %v, want a pause of an hour that names the limit", r.state(), r.says(), r.err)
	}
}

// The tokens of each reply count, also of one that breaks off. A caller whose tokens are
// used up waits before the first request of a turn and between two steps. Others go on.
func TestTokensOfTheDay(t *testing.T) {
	meter := newMeter(t)
	spent := model.Usage{Prompt: 20, Output: 8, Thought: 2, Cached: 7}
	call := model.Part{Call: &model.Call{Name: "nothing", Args: []byte(`{}`)}}
	done := []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Usage: spent, Finish: "STOP"}}

	m := &chunks{list: done}
	e := newExecutor(t, setup{model: m, usage: meter})
	if r := answered(t, t.Context(), e, of("acme/ci")); r.state() != a2a.TaskStateCompleted {
		t.Fatalf("got %v %q, %v", r.state(), r.says(), r.err)
	}
	wantToday(t, meter, 30)

	m.list, m.err = []model.Chunk{{Parts: []model.Part{{Text: "a"}}, Usage: spent}}, errors.New("the stream is cut")
	if r := answered(t, t.Context(), e, of("acme/ci")); r.err == nil {
		t.Fatalf("got %v", r.state())
	}
	wantToday(t, meter, 60)

	m.list, m.err, m.seen = []model.Chunk{{Parts: []model.Part{call}, Usage: spent, Finish: "STOP"}}, nil, nil
	paused(t, answered(t, t.Context(), e, of("acme/ci")))
	if len(m.seen) != 2 {
		t.Errorf("the turn waits after %d steps, want 2", len(m.seen))
	}
	wantToday(t, meter, 120)

	m.list, m.seen = done, nil
	paused(t, answered(t, t.Context(), e, of("acme/ci")))
	if len(m.seen) != 0 {
		t.Error("the model is asked for a caller whose tokens are used up")
	}
	if r := answered(t, t.Context(), e, of("acme/other")); r.state() != a2a.TaskStateCompleted {
		t.Errorf("another caller: %v %q, %v", r.state(), r.says(), r.err)
	}
	wantToday(t, meter, 120)
}
