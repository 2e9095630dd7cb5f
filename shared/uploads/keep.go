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

// A keep is the value of filetask/H/ID/TASK. Its names are persisted.
type keep struct {
	At time.Time `json:"at"` // of the newest Keep
}

// Ages of a keep.
const (
	settled = time.Hour        // after it a task that is not there was not accepted
	fresh   = 20 * time.Minute // so long a repeated Keep writes nothing
)

// Keep says that a task of the owner names a file, and returns the file, which then stays
// until that time at least, and for any longer time that an earlier Keep of the task said.
// Zero: as long as the task is there. It is called before the task is accepted, again if the
// message is repeated, and again if the task may take longer. Errors: those of [Store.Named].
// Nothing is kept then.
//
// A file that is kept for a task that is not accepted within an hour goes as if it were not.
func (s *Store) Keep(ctx context.Context, owner, id, task string, until time.Time) (File, error) {
	e, err := s.findNamed(ctx, owner, id)
	if err != nil {
		return File{}, err
	}
	if strings.Contains(task, "/") {
		return File{}, fmt.Errorf("%w: the task %q", kv.ErrInvalid, task)
	}

	k := kv.Entry{Key: ofTasks + e.at() + "/" + task, Owner: owner, Expires: until}
	if err := s.keep(ctx, k); err != nil {
		return File{}, err
	}
	t := kv.Entry{Key: byTask + task + "/" + e.at(), Owner: owner, Expires: until}
	if err := s.cover(ctx, t); err != nil {
		return File{}, err
	}

	// Whoever deletes the file says so first and looks for tasks then. So one of the two sees
	// the other.
	now, err := s.get(ctx, owner, id)
	if err == nil && now.State != whole {
		err = ErrNotFound
	}
	if errors.Is(err, ErrNotFound) {
		err = errors.Join(err, s.cfg.KV.Delete(ctx, t.Key, 0), s.cfg.KV.Delete(ctx, k.Key, 0))
	}
	return now.file(), err
}

// keep writes the entry of a task that names a file, unless it was written a while ago and
// says the same.
func (s *Store) keep(ctx context.Context, k kv.Entry) (err error) {
	now := s.cfg.Now().UTC()
	if k.Value, err = json.Marshal(keep{At: now}); err != nil {
		return err
	}

	for try := 1; ; try++ {
		was, err := s.cfg.KV.Get(ctx, k.Key)
		switch {
		case err == nil:
			var v keep
			if json.Unmarshal(was.Value, &v) == nil && now.Sub(v.At) < fresh && !later(k.Expires, was.Expires) {
				return nil
			}
			if k.Version = was.Version; later(was.Expires, k.Expires) {
				k.Expires = was.Expires
			}
		case !errors.Is(err, kv.ErrNotFound):
			return err
		default:
			k.Version = 0
		}

		if _, err = s.cfg.KV.Put(ctx, k); err == nil || !errors.Is(err, kv.ErrConflict) || try == tries {
			return err
		}
	}
}

// cover writes an entry that has no value, if there is none that stays as long.
func (s *Store) cover(ctx context.Context, t kv.Entry) error {
	for try := 1; ; try++ {
		was, err := s.cfg.KV.Get(ctx, t.Key)
		switch {
		case err == nil && !later(t.Expires, was.Expires):
			return nil
		case err != nil && !errors.Is(err, kv.ErrNotFound):
			return err
		}
		t.Version = was.Version
		if _, err = s.cfg.KV.Put(ctx, t); err == nil || !errors.Is(err, kv.ErrConflict) || try == tries {
			return err
		}
	}
}

// later compares ends of entries, of which zero is never.
func later(a, b time.Time) bool {
	switch {
	case b.IsZero():
		return false
	case a.IsZero():
		return true
	}
	return a.Truncate(time.Millisecond).After(b)
}

// Release says that a task is no more, because its owner has deleted it. It deletes the files
// that no other task names. It is called after the deletion is durable, and again if the
// deletion is repeated.
func (s *Store) Release(ctx context.Context, task string) error {
	prefix := byTask + task + "/"
	if strings.Contains(task, "/") || kv.CheckKey(prefix+"x") != nil {
		return nil // no file is kept for it
	}

	for after := ""; ; {
		list, err := s.cfg.KV.List(ctx, prefix, after, kv.LimitCount)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, t := range list {
			after = t.Key
			at := strings.TrimPrefix(t.Key, prefix)
			if err := s.cfg.KV.Delete(ctx, ofTasks+at+"/"+task, 0); err != nil {
				return err
			}
			if err := s.drop(ctx, at); err != nil {
				return err
			}
			if err := s.cfg.KV.Delete(ctx, t.Key, 0); err != nil { // the last: it is how a repetition finds the rest
				return err
			}
		}
	}
}

// drop deletes a file that no task names.
func (s *Store) drop(ctx context.Context, at string) error {
	keeps, err := s.cfg.KV.List(ctx, ofTasks+at+"/", "", 1)
	if err != nil || len(keeps) > 0 {
		return err
	}

	v, err := s.cfg.KV.Get(ctx, ofFiles+at)
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	e, err := read(v)
	if err != nil {
		return err
	}

	if _, err = s.dropUnnamed(ctx, e); errors.Is(err, ErrNotFound) { // another process does it
		return nil
	}
	return err
}

// dropUnnamed deletes a file, unless a task names it meanwhile. ErrNotFound: another process
// has changed the entry.
func (s *Store) dropUnnamed(ctx context.Context, e stored) (dropped bool, err error) {
	switch e.State {
	case going:
		return true, s.remove(ctx, e)
	case whole:
		e.State = dropping
		if e, err = s.put(ctx, e); err != nil {
			return false, err
		}
	}

	keeps, err := s.cfg.KV.List(ctx, ofTasks+e.at()+"/", "", 1)
	if err != nil {
		return false, err
	}
	if len(keeps) > 0 {
		e.State = whole
		_, err = s.put(ctx, e)
		return false, err
	}
	return true, s.remove(ctx, e)
}
