package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"errand/shared/kv"
)

// MaxMemos bounds the memos that a turn is shown, in bytes of their values. The newest ones of
// the newest tasks come first, and older ones are left out.
const MaxMemos = 1 << 20

// besides is how many tasks are read at once.
const besides = 8

// An Earlier is a task whose memos a turn may read. The keys of the memos of all of its turns
// begin with Prefix, such as step/TASK/LIFE/x/.
type Earlier struct{ Task, Prefix string }

// A Memo is a value that a turn has left for the later turns of its conversation.
type Memo struct {
	Task  string // whose turn left it
	Turn  int    // of the task, from 1
	Name  string
	Value json.RawMessage
}

// Leave stores a value for the later turns of the conversation, and returns what is stored: as
// for a step, the first value with a name counts, in all runs of the turn. A later turn finds it
// with [Memos] from then on, however this turn ends. It is deleted with its task. Names are
// those of steps, and memos count towards the limits of the turn's steps.
//
// Without a Scope it returns the value as it is read back from JSON, and stores nothing.
func Leave[T any](ctx context.Context, name string, value T) (T, error) {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	if s == nil || s.Memos == "" {
		return do(ctx, nil, "", name, func(context.Context) (T, error) { return value, nil })
	}
	return do(ctx, s, s.Memos, name, func(context.Context) (T, error) { return value, nil })
}

// Memos returns the memos of the earlier turns of the task, and of the other tasks of its
// conversation that the turn is shown, which may still run. Tasks come in the order of the
// conversation, the own one last, and the memos of a turn in the order of their names, if these
// are plain: of a-z, 0-9, '.', '_' and '-', at most 64 bytes. all is false if older ones have no
// room.
//
// A read that fails is made again, up to five times. Then the error is an [Again].
func Memos(ctx context.Context) (memos []Memo, all bool, err error) {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	if s == nil {
		return nil, true, nil
	}

	found := make([][]Memo, len(s.Earlier))
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(besides)
	for i, t := range s.Earlier {
		g.Go(func() (err error) {
			found[i], err = s.memosOf(inner, t)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, false, later("steps: reading the memos of the conversation: %w", err)
	}

	memos = slices.Concat(found...)
	newest := newestOf(memos)
	for _, m := range newest {
		if s.Take != nil {
			if err := s.Take(m.Value); err != nil {
				return nil, false, fmt.Errorf("steps: reading the memos of the conversation: %w", err)
			}
		}
	}
	return newest, len(newest) == len(memos), nil
}

// newestOf leaves out the memos that have no room, from the newest on that has none.
func newestOf(memos []Memo) []Memo {
	room := MaxMemos
	for i, m := range slices.Backward(memos) {
		if room -= len(m.Value); room < 0 {
			return memos[i+1:]
		}
	}
	return memos
}

// memosOf reads the memos of a task but those of the turn itself. Of a task with more than the
// room of all, the oldest are empty: they are not held in memory.
func (s *scope) memosOf(ctx context.Context, t Earlier) (memos []Memo, err error) {
	size, held := 0, 0
	err = list(ctx, s.KV, t.Prefix, func(e kv.Entry) error {
		if strings.HasPrefix(e.Key, s.Memos) || e.Owner != s.Owner {
			return nil
		}
		m, err := readMemo(t, e)
		if err != nil {
			return err
		}
		memos = append(memos, m)
		for size += len(m.Value); size > 2*MaxMemos; held++ {
			size -= len(memos[held].Value)
			memos[held].Value = nil
		}
		return nil
	})
	return memos, err
}

// readMemo reads an entry of a memo.
func readMemo(t Earlier, e kv.Entry) (Memo, error) {
	step, err := Read(e)
	if err != nil {
		return Memo{}, err
	}
	turn, _, _ := strings.Cut(strings.TrimPrefix(e.Key, t.Prefix), "/")
	n, err := strconv.Atoi(strings.TrimPrefix(turn, "t"))
	if err != nil {
		return Memo{}, fmt.Errorf("steps: the key %s names no turn", e.Key)
	}
	return Memo{Task: t.Task, Turn: n, Name: step.Name, Value: step.Result}, nil
}

// list calls f for the entries under a prefix, in the order of their keys.
func list(ctx context.Context, store kv.Store, prefix string, f func(kv.Entry) error) error {
	for after := ""; ; {
		var page []kv.Entry
		err := retry(ctx, func() (err error) {
			page, err = store.List(ctx, prefix, after, kv.LimitCount)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}

		for _, e := range page {
			if err := f(e); err != nil {
				return err
			}
			after = e.Key
		}
	}
}
