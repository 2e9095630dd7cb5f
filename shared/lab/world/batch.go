package world

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/task"
)

// EndBatch ends a batch as its run does: its record, and how far it came.
func (w *World) EndBatch(id string, state a2a.TaskState, s batch.State) {
	w.t.Helper()
	Finish(w.t, w.Store, id, w.Moment(), nil, task.Outcome{State: state})
	w.Settle(id)
	w.SetBatch(id, s)
}

// Settle notes that nothing is left to do behind the end of a batch.
func (w *World) Settle(id string) {
	w.t.Helper()
	Update(w.t, w.Store, id, func(r task.Record) (task.Record, bool, error) { return r.Settle(w.Moment()) })
}

// SetBatch stores how far a batch is.
func (w *World) SetBatch(id string, s batch.State) {
	w.t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := w.Store.KV().Get(context.Background(), batch.StateKey(id))
	if err == nil || errors.Is(err, kv.ErrNotFound) {
		_, err = w.Store.KV().Put(context.Background(), kv.Entry{Key: batch.StateKey(id), Value: text, Version: e.Version})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
