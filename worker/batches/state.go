package batches

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/task"
)

// saveTries bounds the writes of a state whose outcome is unknown.
const saveTries = 5

// saveFor is how long the last write of a run may take whose time is over.
const saveFor = 5 * time.Second

// takeOver reads the state, and makes it this run's: from then on no run with a lower epoch can
// write it. task.ErrFenced: a higher one has it.
func (w *work) takeOver(ctx context.Context, epoch func(batch.State) int64) error {
	for try := 1; ; try++ {
		err := w.read(ctx)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return err
		}

		next, ok := w.st.TakeOver(epoch(w.st))
		switch {
		case !ok:
			return task.ErrFenced
		case next == w.st && w.entry.Version > 0: // an earlier turn of the same claim
			w.saved = w.st
			return nil
		}

		w.st = next
		if err = w.put(ctx); err == nil || !errors.Is(err, kv.ErrConflict) || try == saveTries {
			return err
		}
	}
}

// read reads the state. kv.ErrNotFound: there is none.
func (w *work) read(ctx context.Context) error {
	e, err := w.cfg.KV.Get(ctx, batch.StateKey(w.id))
	w.st, w.entry = batch.State{}, kv.Entry{Key: batch.StateKey(w.id), Owner: w.r.Owner, Expires: w.r.Ends}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(e.Value, &w.st); err != nil {
		return fmt.Errorf("reading the state of the batch %s: %w", w.id, err)
	}
	w.entry.Version = e.Version
	return nil
}

// put writes the state once.
func (w *work) put(ctx context.Context) error {
	value, err := json.Marshal(w.st)
	if err != nil {
		return err
	}
	e := w.entry
	e.Value = value
	if e, err = w.cfg.KV.Put(ctx, e); err != nil {
		return err
	}
	w.entry.Version, w.saved, w.savedAt = e.Version, w.st, time.Now()
	return nil
}

// save writes the state. task.ErrFenced: another run has taken the batch over.
func (w *work) save(ctx context.Context) error {
	mine := w.st
	for try := 1; ; try++ {
		err := w.put(ctx)
		if err == nil {
			return nil
		}

		saved, rerr := w.wrote(ctx, mine)
		if saved || errors.Is(rerr, task.ErrFenced) {
			return rerr
		}
		if err = errors.Join(err, rerr); try == saveTries || ctx.Err() != nil {
			return fmt.Errorf("writing the state of the batch %s: %w", w.id, err)
		}
	}
}

// wrote looks whether a write was made whose answer was lost: that of mine, or an earlier one
// of this run. task.ErrFenced: another run has the batch, or it was deleted.
func (w *work) wrote(ctx context.Context, mine batch.State) (bool, error) {
	e, err := w.cfg.KV.Get(ctx, batch.StateKey(w.id))
	if errors.Is(err, kv.ErrNotFound) {
		return false, task.ErrFenced
	}
	if err != nil {
		return false, err
	}

	var now batch.State
	if err := json.Unmarshal(e.Value, &now); err != nil || now.Epoch != mine.Epoch {
		return false, task.ErrFenced
	}
	w.entry.Version = e.Version
	value, err := json.Marshal(mine)
	if err != nil || !bytes.Equal(value, e.Value) {
		return false, err
	}
	w.saved, w.savedAt = mine, time.Now()
	return true, nil
}

// saveLate writes the state of a run whose time is over. If it fails, a later run does a few
// steps again.
func (w *work) saveLate(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveFor)
	defer cancel()
	if w.st == w.saved {
		return
	}
	if err := w.save(ctx); err != nil && !errors.Is(err, task.ErrFenced) {
		w.cfg.Log.WarnContext(ctx, "the progress of a batch was not stored; the next run makes it again", "batch", w.id, "err", err)
	}
}

// advance stores the first step of a run, so that it is no attempt without progress if its
// process dies during the first round, which can take long.
func (w *work) advance(ctx context.Context) error {
	if w.advanced {
		return nil
	}
	if err := w.save(ctx); err != nil {
		return err
	}
	w.advanced = true
	w.moved(ctx)
	return nil
}

// now is the time in the form in which the state is read back.
func (w *work) now() time.Time { return w.cfg.Desk.Now().UTC().Round(0) }

// due reports whether the state is to be written.
func (w *work) due() bool {
	return w.st != w.saved && time.Since(w.savedAt) >= w.cfg.Save
}
