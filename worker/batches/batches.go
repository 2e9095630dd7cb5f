// Package batches runs batches as a whole (R19): it scans a manifest, feeds its lines to the
// lane bulk, looks which of them have ended, collects their outcomes, and finishes with one
// file of answers and one of errors.
//
// It runs no item: worker/turn does, with the agent's executor. It decides nothing about lines
// either: shared/batch has these decisions. An [Executor] is run by a worker/turn worker of
// its own, as one long turn that parks and goes on. A [Handler] also ends what a batch leaves
// behind that its client has canceled or deleted.
//
// What is durable, and in which order: the index and the bad lines, then the state that knows
// the number of lines and the estimate of their cost. The record of an item, then the state whose cursor is behind its line.
// A segment of answers and errors, then the state that counts it. The files, then the state
// that says so, then the end of the task. So whatever dies, a later run does the last step
// again, and comes to the same bytes.
package batches

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/batch"
	"errand/shared/desk"
	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/objects"
	"errand/shared/task"
	"errand/shared/uploads"
	"errand/worker/run"
)

// A Store is the store of records as a batch uses it.
type Store interface {
	task.Store
	task.Items
}

// ErrGone says that a manifest is not there any more, or is not the one that was submitted.
var ErrGone = errors.New("batches: the manifest is gone, or has changed")

// Manifests opens manifests. It is safe for concurrent use.
type Manifests interface {
	// Open opens the manifest of an owner for reading, from a byte on. The caller closes it.
	// ErrGone: it will never be there again. After any other error, also of the reader, the
	// caller tries again.
	Open(ctx context.Context, owner string, in batch.Input, offset int64) (io.ReadCloser, error)
}

// Files keeps the files of batches: a files.Store, of which a batch needs these methods.
type Files interface {
	Put(ctx context.Context, u files.Upload, content io.Reader) (files.Info, error)
	Get(ctx context.Context, name string) (files.Info, io.ReadCloser, error)
	DeleteAll(ctx context.Context, folder string) error
}

// Config holds the parts and times of an Executor. Zero times have defaults.
type Config struct {
	Desk      *desk.Desk
	Store     Store    // the desk's
	KV        kv.Store // of the same database
	Files     Files
	Manifests Manifests
	Uploads   *uploads.Store  // the files that lines name
	Objects   objects.Guarded // judges the URLs of lines; zero: no line names an object
	Form      batch.Form      // what lines may ask of the agent
	Model     string          // the name of the model that answers
	Log       *slog.Logger

	// Look is the time between two looks at the items; 0: 1 s. Save is the least time between
	// two writes of the state; 0: 5 s.
	Look, Save time.Duration

	// Wait returns how long an owner has to wait whose tokens of the day are used up, or 0.
	// nil: no owner has such a limit.
	Wait func(ctx context.Context, owner string) (time.Duration, error)

	// Room returns task.ErrFull while there is no room for further items. nil: there is.
	Room func(ctx context.Context) error

	// Items runs the items, elsewhere. If it is a run.Counter it is asked for an estimate of what
	// the lines cost.
	Items a2asrv.AgentExecutor

	// URL makes the address of a path of the agent. nil: the path is the address.
	URL func(path string) string
}

// Times that have defaults.
const (
	lookEvery = time.Second
	saveEvery = 5 * time.Second
)

// An Executor runs a batch from its first to its last line. It is safe for concurrent use.
type Executor struct{ cfg Config }

var _ a2asrv.AgentExecutor = (*Executor)(nil)

// New returns an Executor.
func New(c Config) *Executor {
	if c.Look == 0 {
		c.Look = lookEvery
	}
	if c.Save == 0 {
		c.Save = saveEvery
	}
	if c.URL == nil {
		c.URL = func(path string) string { return path }
	}
	if c.Wait == nil {
		c.Wait = func(context.Context, string) (time.Duration, error) { return 0, nil }
	}
	if c.Room == nil {
		c.Room = func(context.Context) error { return nil }
	}
	return &Executor{c}
}

// Execute runs the batch until it ends, waits for its client, or the run is over. An error of a
// store parks it for a while, and costs no attempt: only its deadline ends a batch that cannot
// go on.
func (e *Executor) Execute(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		gone := false
		say := func(ev a2a.Event) { gone = gone || !yield(ev, nil) }
		end, err := e.execute(ctx, ec, say)
		if gone {
			return
		}
		if err != nil {
			yield(nil, pause(err))
			return
		}
		yield(end, nil)
	}
}

func (e *Executor) execute(ctx context.Context, ec *a2asrv.ExecutorContext, say func(a2a.Event)) (a2a.Event, error) {
	r, err := e.cfg.Store.Load(ctx, string(ec.TaskID))
	if err != nil {
		return nil, err
	}

	turn, _ := run.From(ctx)
	w, err := e.open(ctx, r, func(batch.State) int64 { return turn.Epoch })
	if err != nil {
		return nil, err
	}
	defer w.close()
	w.ec, w.say, w.moved, w.flush = ec, say, turn.Moved, turn.Flush

	end, err := w.rounds(ctx)
	if errors.Is(err, task.ErrFenced) || errors.Is(context.Cause(ctx), task.ErrFenced) {
		return nil, task.ErrFenced
	}
	w.saveLate(ctx)
	if err == nil || ctx.Err() != nil {
		return end, err
	}

	// The settlement ends the items of a batch that has failed, and makes its files. After the
	// deadline nothing else is worth waiting for.
	if why, failed := reason(err); failed || w.late() {
		return w.status(a2a.TaskStateFailed, why), nil
	}
	return nil, err
}

// Cancel ends nothing: the end of Execute's context stops the run, and [Handler] ends what it
// leaves behind.
func (e *Executor) Cancel(context.Context, *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(func(a2a.Event, error) bool) {}
}

// Pauses after errors.
const (
	againIn = 10 * time.Second
	fullFor = time.Minute
)

// pause parks a batch after an error that may pass.
func pause(err error) error {
	_, paused := errors.AsType[*run.Pause](err)
	switch {
	case paused, errors.Is(err, task.ErrFenced):
		return err
	case errors.Is(err, task.ErrFull):
		return &run.Pause{For: fullFor, Err: err, Alert: true, Say: "The batch waits: there is no room on the agent's disk. It goes on when its operator has made room."}
	}
	return &run.Pause{For: againIn, Err: err}
}
