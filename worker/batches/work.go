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
	moved func(context.Context)       // notes that the run makes progress
	flush func(context.Context) error // commits what was said
	said  string                      // the last progress that was said

	advanced bool // the run has stored a step

	answered map[int]map[int]bool // lines that the batch before has answered, by segment
	closing  *closing             // why no further line begins; nil: they do
	lines    *lineReader          // the lines behind the cursor; nil: not open
	scanned  bool                 // index and bad are read
	index    batch.Index
	bad      map[int]batch.Bad
	blind    bool // the manifest is gone: only records tell what lines are
	ended    int  // items that ended between the last two looks
	again    int  // times that the segments had to be written again

	known   batch.Known // the cost of items, if there is a budget
	pending []int       // lines of items whose cost is not known, in their order
}

// open begins the work of a run with an epoch, which epoch derives from the state.
func (e *Executor) open(ctx context.Context, r task.Record, epoch func(batch.State) int64) (*work, error) {
	w := &work{cfg: e.cfg, id: r.ID(), r: r, budget: batch.BudgetOf(r), say: func(a2a.Event) {}, moved: func(context.Context) {}, flush: func(context.Context) error { return nil }, answered: map[int]map[int]bool{}}
	var err error
	if w.spec, err = batch.SpecOf(r); err != nil {
		return nil, err
	}
	return w, w.takeOver(ctx, epoch)
}

func (w *work) close() { w.lines.close() }

// rounds does what is to be done, again and again, until the batch ends or has to wait.
func (w *work) rounds(ctx context.Context) (a2a.Event, error) {
	switch {
	case w.st.Whole && w.st.Error != "": // it was rejected by a run that died before it could say so
		return w.rejected(), nil
	case w.st.Lines == 0 && w.late():
		return nil, &failure{expired.says}
	case w.st.Lines == 0:
		if end, err := w.scan(ctx); end != nil || err != nil {
			return end, err
		}
		w.moved(ctx)
	}

	if err := w.beginReckoning(ctx); err != nil {
		return nil, err
	}
	for {
		began := time.Now()
		end, err := w.round(ctx)
		if end != nil || err != nil {
			return end, err
		}
		w.moved(ctx)

		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(w.cfg.Look - time.Since(began)):
		}
	}
}

// late reports whether the deadline is over.
func (w *work) late() bool { return !w.cfg.Desk.Now().Before(w.spec.Deadline) }

// round looks, feeds and collects once.
func (w *work) round(ctx context.Context) (a2a.Event, error) {
	if w.closing == nil && w.late() {
		w.closing = expired
	}
	if w.closing != nil {
		if err := w.shut(ctx); err != nil {
			return nil, err
		}
	}

	open, err := w.look(ctx)
	if err != nil {
		return nil, err
	}
	_, ended := w.st.Collectable(open, w.st.Closed)
	used, say, err := w.reckon(ctx)
	if err != nil {
		return nil, err
	}

	wait := time.Duration(0)
	if w.closing == nil && !used {
		if wait, err = w.feed(ctx); err != nil {
			return nil, err
		}
	}
	if err := w.collect(ctx, ended); err != nil {
		return nil, err
	}

	switch {
	case w.st.Done():
		return w.finish(ctx)
	case used && w.closing == nil && w.st.Fed < w.st.Lines:
		return w.ask(say), nil
	case wait > 0 && w.st.Open == 0:
		return nil, w.outOfTokens(wait)
	}
	return nil, w.report(ctx)
}
