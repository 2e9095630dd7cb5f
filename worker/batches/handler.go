package batches

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/queue"
	"errand/shared/task"
)

// settleFor is how long the settlement of a batch may take in one delivery of its job: less
// than the queue waits.
const settleFor = 9 * time.Minute

// A Handler handles the jobs of the lane batches. A job runs a turn of its batch. If the batch
// has ended then, or had before, the handler settles it: it ends the items that have not ended,
// makes the files of what there is, and notes that in the record. Of a deleted batch it deletes
// everything instead.
type Handler struct {
	*Executor
	turns Turns
	drain context.Context
	stop  context.CancelFunc
}

// Turns runs the turns of batches: a worker/turn worker with the executor.
type Turns interface {
	http.Handler
	Drain() // parks the turns that run
}

// Handler returns the handler of the jobs.
func (e *Executor) Handler(turns Turns) *Handler {
	drain, stop := context.WithCancel(context.Background())
	return &Handler{Executor: e, turns: turns, drain: drain, stop: stop}
}

// Drain parks turns and ends settlements, so that the process may end. They go on elsewhere.
func (h *Handler) Drain() {
	h.turns.Drain()
	h.stop()
}

// ServeHTTP implements http.Handler for [queue.PathBatch]. A 2xx acknowledges the job.
func (h *Handler) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	ctx := req.Context()
	body, err := io.ReadAll(http.MaxBytesReader(rw, req.Body, maxJob))
	job, perr := queue.Parse(body)
	if err != nil || perr != nil || job.Task == "" {
		h.cfg.Log.WarnContext(ctx, "job dropped: not a batch", "err", errors.Join(err, perr))
		rw.WriteHeader(http.StatusNoContent)
		return
	}

	answer := &status{header: http.Header{}}
	req.Body = io.NopCloser(bytes.NewReader(body))
	h.turns.ServeHTTP(answer, req)
	if answer.code < http.StatusBadRequest {
		if err := h.settle(ctx, job.Task); err != nil {
			h.cfg.Log.WarnContext(ctx, "batch not settled; the queue will deliver its job again", "batch", job.Task, "err", err)
			answer.code = desk.StatusOf(err)
		}
	}
	rw.WriteHeader(answer.code)
}

const maxJob = 64 << 10 // bytes of a job

// A status is an answer of which only the status counts.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) Write(b []byte) (int, error) { s.WriteHeader(http.StatusOK); return len(b), nil }
func (s *status) WriteHeader(code int) {
	if s.code == 0 {
		s.code = code
	}
}

// settle does what is left to do behind the end of a batch. Without an error there is nothing
// left, or the batch has not ended.
func (h *Handler) settle(ctx context.Context, id string) error {
	r, err := task.Load(ctx, h.cfg.Store, id)
	deleted := errors.Is(err, task.ErrDeleted)
	switch {
	case errors.Is(err, task.ErrNotFound) && !deleted, errors.Is(err, task.ErrUnreadable):
		return nil
	case err != nil && !deleted:
		return err
	case r.Lane != task.Batches || !r.Terminal() || r.Settled:
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	defer context.AfterFunc(h.drain, cancel)()
	if deleted {
		err = h.remove(ctx, r)
	} else {
		err = h.complete(ctx, r)
	}
	if errors.Is(err, task.ErrFenced) { // another delivery settles it
		return nil
	}
	if err != nil {
		return err
	}
	_, err = h.cfg.Desk.Change(ctx, r, func(r task.Record, now task.Moment) (task.Record, bool, error) { return r.Settle(now) })
	return err
}

// above is the epoch of a settlement: above that of every run, and of settlements before.
func above(r task.Record) func(batch.State) int64 {
	return func(st batch.State) int64 { return max(st.Epoch, r.Epoch) + 1 }
}

// complete ends the items that have not ended, and makes the files.
func (h *Handler) complete(ctx context.Context, r task.Record) error {
	w, err := h.open(ctx, r, func(st batch.State) int64 {
		if st.Whole { // no run writes it any more
			return st.Epoch
		}
		return above(r)(st)
	})
	if err != nil {
		return err
	}
	defer w.close()
	w.closing = &closing{fault: batch.Unrun(r, w.spec)}

	if w.st.Lines == 0 { // no line has begun, and none can: the state has another epoch now
		return w.empty(ctx)
	}
	if err := w.shut(ctx); err != nil {
		return err
	}
	w.st.Open = 0
	for !w.st.Whole {
		if err := w.collect(ctx, batch.Segments(w.st.Lines)); err != nil {
			return err
		}
		if !w.st.Done() {
			return errOpen
		}
		if err := w.files(ctx); err != nil {
			return err
		}
	}
	return w.tidy(ctx)
}
