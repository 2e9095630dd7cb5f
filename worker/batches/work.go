package batches

import (
	"context"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/task"
)

// A work is a batch in the hands of one run: of its executor, or of its settlement. It is used
// by one goroutine.
type work struct {
	cfg    Config
	id     string
	r      task.Record // as the run began
	spec   batch.Spec
	budget *batch.Budget

	st, saved batch.State // now, and as it was last written or read
	savedAt   time.Time
	entry     kv.Entry // where the state is stored, without its value

	ec    *a2asrv.ExecutorContext
	say   func(a2a.Event)
	moved func(context.Context) // notes that the run makes progress
	said  string                // the last progress that was said

	closing *closing    // why no further line begins; nil: they do
	lines   *lineReader // the lines behind the cursor; nil: not open
	scanned bool        // index and bad are read
	index   []int64
	bad     map[int]batch.Bad
	old     *copied // lines that a batch before has answered
	open    task.Open
	ended   int // items that ended between the last two looks
	again   int // times that the segments had to be written again
}

// open begins the work of a run with an epoch, which epoch derives from the state.
func (e *Executor) open(ctx context.Context, r task.Record, epoch func(batch.State) int64) (*work, error) {
	w := &work{cfg: e.cfg, id: r.ID(), r: r, budget: batch.BudgetOf(r), say: func(a2a.Event) {}, moved: func(context.Context) {}}
	var err error
	if w.spec, err = batch.SpecOf(r); err != nil {
		return nil, err
	}
	return w, w.takeOver(ctx, epoch)
}

func (w *work) close() { w.lines.close() }

// rounds does what is to be done, again and again, until the batch ends or has to wait.
func (w *work) rounds(ctx context.Context) (a2a.Event, error) {
	if w.st.Lines == 0 {
		if end, err := w.scan(ctx); end != nil || err != nil {
			return end, err
		}
		w.moved(ctx)
	}

	for {
		began := w.cfg.Desk.Now()
		end, err := w.round(ctx, began)
		if end != nil || err != nil {
			return end, err
		}
		w.moved(ctx)

		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(w.cfg.Look - w.cfg.Desk.Now().Sub(began)):
		}
	}
}

// round feeds, looks and collects once.
func (w *work) round(ctx context.Context, now time.Time) (a2a.Event, error) {
	if w.closing == nil && !now.Before(w.spec.Deadline) {
		w.closing = expired
	}

	var err error
	wait := time.Duration(0)
	if w.closing != nil {
		err = w.shut(ctx)
	} else {
		wait, err = w.feed(ctx)
	}
	if err != nil {
		return nil, err
	}

	if err := w.look(ctx); err != nil {
		return nil, err
	}
	if err := w.collect(ctx); err != nil {
		return nil, err
	}
	if w.done() {
		return w.finish(ctx)
	}

	if w.open.N == 0 && wait > 0 {
		return nil, w.outOfTokens(wait)
	}
	return w.report(ctx)
}
