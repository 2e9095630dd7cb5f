package uploads

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"errand/shared/kv"
)

// Limits of a sweep.
const (
	every    = time.Hour       // from the end of a sweep to the next one, of all processes
	claimed  = 5 * time.Minute // so long another process leaves a part of a sweep to the one that began it
	perSweep = 20_000          // entries of a part
	page     = 500
	failures = 100 // files that cannot be swept; more of them are an outage
)

// progress is the value of sweepKey. Its names are persisted.
type progress struct {
	Next  time.Time `json:"next"`            // when the next part may begin
	After string    `json:"after,omitempty"` // the key behind which it begins; empty: a sweep begins
}

// sweepKey is the one entry that does not belong to a file.
const sweepKey = "sweep/files"

// An Ended reports whether a task is no more: it is deleted, or it was never accepted.
type Ended func(ctx context.Context, task string) (bool, error)

// Sweep deletes the files whose time is over, and what killed processes have left. It is called
// once a minute, by any number of processes, and does something once an hour. It returns the
// number of files that it has deleted. An error about one file does not keep it from the
// others, which the next sweep tries again.
func (s *Store) Sweep(ctx context.Context, ended Ended) (deleted int, err error) {
	mark, at, err := s.beginSweep(ctx)
	if err != nil || mark.Version == 0 {
		return 0, err
	}

	var failed []error
	for seen := 0; seen < perSweep; {
		list, err := s.cfg.KV.List(ctx, ofFiles, at.After, page)
		if err != nil {
			return deleted, errors.Join(append(failed, err)...)
		}
		if len(list) == 0 {
			at = progress{Next: s.cfg.Now().Add(every)}
			return deleted, errors.Join(append(failed, s.endSweep(ctx, mark, at))...)
		}

		for _, v := range list {
			gone, err := s.sweep(ctx, v, ended)
			if gone {
				deleted++
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("sweeping %s: %w", v.Key, err))
			}
			if len(failed) > failures || ctx.Err() != nil {
				return deleted, errors.Join(failed...)
			}
		}
		seen += len(list)
		at.After = list[len(list)-1].Key
	}

	at.Next = s.cfg.Now()
	return deleted, errors.Join(append(failed, s.endSweep(ctx, mark, at))...)
}

// beginSweep takes the next part of a sweep, if it is time for one and no other process has
// taken it. Otherwise the mark has no version.
func (s *Store) beginSweep(ctx context.Context) (mark kv.Entry, at progress, err error) {
	mark, err = s.cfg.KV.Get(ctx, sweepKey)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		mark = kv.Entry{Key: sweepKey}
	case err != nil:
		return kv.Entry{}, at, err
	default:
		if err := json.Unmarshal(mark.Value, &at); err != nil {
			at = progress{} // begin anew
		}
	}

	now := s.cfg.Now()
	if now.Before(at.Next) {
		return kv.Entry{}, at, nil
	}
	mark.Value, err = json.Marshal(progress{Next: now.Add(claimed), After: at.After})
	if err == nil {
		mark, err = s.cfg.KV.Put(ctx, mark)
	}
	if err != nil {
		mark = kv.Entry{}
	}
	if errors.Is(err, kv.ErrConflict) { // another process was faster
		err = nil
	}
	return mark, at, err
}

// endSweep says where the next part begins. If it is not stored, the part is done again.
func (s *Store) endSweep(ctx context.Context, mark kv.Entry, at progress) (err error) {
	if mark.Value, err = json.Marshal(at); err != nil {
		return err
	}
	if _, err = s.cfg.KV.Put(ctx, mark); errors.Is(err, kv.ErrConflict) {
		return nil // it took so long that another process has begun
	}
	return err
}

// sweep deletes a file if its time is over.
func (s *Store) sweep(ctx context.Context, v kv.Entry, ended Ended) (gone bool, err error) {
	e, err := read(v)
	if err != nil {
		return false, err
	}

	now := s.cfg.Now()
	switch e.State {
	case incoming:
		over := e.Created.Add(2 * Within) // an upload ends after half of it
		if e.Until.After(over) {
			over = e.Until
		}
		if now.Before(over) {
			return false, nil
		}
		err = s.remove(ctx, e)

	case going:
		err = s.remove(ctx, e)
	case whole, dropping:
		if e.State == whole && now.Before(e.Created.Add(Day)) {
			return false, nil
		}
		var named bool
		if named, err = s.named(ctx, e, ended); err != nil || named && e.State == whole {
			return false, err
		}
		gone, err = s.dropUnnamed(ctx, e)
		return gone, ours(err)
	default:
		return false, fmt.Errorf("the state %q is not known", e.State)
	}
	return err == nil, ours(err)
}

// ours is err, unless it says that another process is at the same file.
func ours(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, kv.ErrConflict) {
		return nil
	}
	return err
}

// named reports whether a task names a file. It deletes the entries of those that are no more.
// A keep that is young is not asked about: its task is going to be accepted.
func (s *Store) named(ctx context.Context, e stored, ended Ended) (bool, error) {
	prefix := ofTasks + e.at() + "/"
	for after := ""; ; {
		list, err := s.cfg.KV.List(ctx, prefix, after, page)
		if err != nil || len(list) == 0 {
			return false, err
		}

		for _, k := range list {
			after = k.Key
			var v keep
			if err := json.Unmarshal(k.Value, &v); err != nil {
				return true, fmt.Errorf("reading about a task: %s: %w", k.Key, err)
			}
			task := strings.TrimPrefix(k.Key, prefix)
			if s.cfg.Now().Before(v.At.Add(settled)) {
				return true, nil
			}
			if over, err := ended(ctx, task); err != nil || !over {
				return true, err
			}
			if kept, err := s.forget(ctx, k, task, e.at()); err != nil || kept {
				return true, err
			}
		}
	}
}

// forget deletes the entries of a task that names a file, unless the task is kept anew
// meanwhile.
func (s *Store) forget(ctx context.Context, k kv.Entry, task, at string) (kept bool, err error) {
	t := kv.Entry{Key: byTask + task + "/" + at, Owner: k.Owner, Expires: k.Expires}
	if err := s.cfg.KV.Delete(ctx, t.Key, 0); err != nil {
		return true, err
	}
	err = s.cfg.KV.Delete(ctx, k.Key, k.Version)
	if errors.Is(err, kv.ErrConflict) {
		return true, s.cover(ctx, t)
	}
	return err != nil, err
}
