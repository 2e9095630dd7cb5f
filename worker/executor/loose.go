package executor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"errand/shared/task"
	"errand/worker/run"
)

// loose are the steps of a turn that no worker of Errand runs: nothing of them is kept.
type loose struct {
	info    string // the task's id
	mu      sync.Mutex
	n       int
	results map[int]task.Result // of the newest step
	now     func() time.Time
}

var _ run.Steps = (*loose)(nil)

// Past implements run.Steps.
func (*loose) Past(context.Context) ([]task.Kept, error) { return nil, nil }

// Open implements run.Steps.
func (l *loose) Open(ctx context.Context, s task.Step, begins []int) (task.Step, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	s.Number, l.results = l.n, map[int]task.Result{}
	return l.Begin(ctx, s, begins)
}

// Begin implements run.Steps.
func (l *loose) Begin(_ context.Context, s task.Step, calls []int) (task.Step, error) {
	s.Calls = slices.Clone(s.Calls)
	for _, i := range calls {
		s.Calls[i].Begin(l.now())
	}
	return s, nil
}

// Keep implements run.Steps. A result that comes late is dropped: the turn may be over.
func (l *loose) Keep(_ context.Context, s task.Step, results map[int]task.Result) (map[int]task.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Number == l.n {
		merged, _ := task.Kept{Step: s, Results: l.results}.Merge(results)
		l.results = merged.Results
	}
	return maps.Clone(l.results), nil
}

// Key implements run.Steps.
func (l *loose) Key(step, call int) string { return fmt.Sprintf("%s/%d.%d", l.info, step, call+1) }

// URL implements run.Steps.
func (*loose) URL(context.Context, int, int) string { return "" }
