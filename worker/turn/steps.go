package turn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/kv"
	"errand/shared/task"
	"errand/worker/run"
)

// steps are the steps of a session's turn: the record has the open one, and package kv the
// results and the steps before it (R16).
type steps struct {
	s *session
	r task.Record // as the run began: its ids are those of every version

	mu     sync.Mutex       // held while writing an entry
	stored map[int]kv.Entry // the entries of steps that this run has read or written, by number
}

var _ run.Steps = (*steps)(nil)

// Past implements run.Steps.
func (p *steps) Past(ctx context.Context) ([]task.Kept, error) {
	r := p.r
	if r.Steps <= r.First {
		return nil, nil
	}

	var past []task.Kept
	for after := r.StepKey(r.First); ; {
		list, err := p.s.w.cfg.KV.List(ctx, r.StepPrefix(), after, kv.LimitCount)
		if err != nil {
			return nil, unread(err)
		}

		for _, e := range list {
			after = e.Key
			switch {
			case e.Key > r.StepKey(r.Steps):
				return p.withOpen(ctx, r, past)
			case strings.Contains(e.Key[len(r.StepPrefix()):], "."): // a large reply
				continue
			}

			k, err := task.DecodeKept(e.Value)
			if err != nil {
				return nil, err
			}
			p.stored[k.Number] = e
			past = append(past, k)
		}

		if len(list) == 0 {
			return p.withOpen(ctx, r, past)
		}
	}
}

// withOpen completes the steps with the open one, of which the record knows more than the
// entry does.
func (p *steps) withOpen(ctx context.Context, r task.Record, past []task.Kept) ([]task.Kept, error) {
	if r.Step == nil {
		return past, nil
	}

	open := task.Kept{Step: *r.Step}
	if n := len(past); n > 0 && past[n-1].Number == open.Number {
		open.Results = past[n-1].Results
		past = past[:n-1]
	}

	if open.Hash != "" {
		e, err := p.s.w.cfg.KV.Get(ctx, r.LargeKey(open.Step))
		switch {
		case errors.Is(err, kv.ErrNotFound):
			return nil, fmt.Errorf("reading the reply of a step: %w", err)
		case err != nil:
			return nil, unread(err)
		}
		if open.Step, err = open.Join(e.Value); err != nil {
			return nil, err
		}
	}

	return append(past, open), nil
}

// unread parks a turn whose steps cannot be read: the store is to blame, and no attempt is lost.
func unread(err error) error {
	return &run.Pause{For: unreadFor, Err: fmt.Errorf("reading the steps of the turn: %w", err)}
}

// Open implements run.Steps.
func (p *steps) Open(ctx context.Context, s task.Step, begins []int) (task.Step, error) {
	size, err := s.Size()
	switch {
	case err != nil:
		return s, err
	case size > task.MaxReply:
		return s, task.ErrTooLarge
	}

	large := len(s.Reply)
	for _, c := range s.Calls {
		large += len(c.Args)
	}

	p.s.commit.Lock()
	defer p.s.commit.Unlock()
	s.Number = p.s.rec.Steps + 1
	events := p.s.take()
	err = task.ErrTooLarge
	if large <= task.LimitReply {
		err = p.open(ctx, events, s, begins)
	}

	if errors.Is(err, task.ErrTooLarge) {
		s.Epoch = p.s.rec.Epoch
		small, text, lerr := p.putLarge(ctx, s)
		if lerr != nil {
			return s, lerr
		}
		if err = p.open(ctx, events, small, begins); err == nil {
			return p.s.rec.Step.Join(text)
		}
	}
	if err != nil {
		return s, err
	}

	return *p.s.rec.Step, nil
}

// open commits a step.
func (p *steps) open(ctx context.Context, events []a2a.Event, s task.Step, begins []int) error {
	_, err := p.s.persist(ctx, func(r task.Record, t task.Fence) (task.Record, bool, error) {
		return r.OpenStep(p.s.w.cfg.Desk.Moment(), t, events, s, begins)
	})
	if err == nil {
		p.s.moved.Store(true)
	}
	return err
}

// putLarge stores the large parts of a step, and returns them in their stored form.
func (p *steps) putLarge(ctx context.Context, s task.Step) (small task.Step, text []byte, err error) {
	small, text, err = s.Split()
	if err != nil {
		return s, nil, err
	}

	e := kv.Entry{Key: p.r.LargeKey(small), Owner: p.r.Owner, Value: text}
	err = p.again(ctx, func(ctx context.Context) error {
		_, err := p.s.w.cfg.KV.Put(ctx, e)
		if errors.Is(err, kv.ErrConflict) { // an answer was lost: under this epoch there is one reply
			return nil
		}
		return err
	})
	return small, text, err
}

// Begin implements run.Steps.
func (p *steps) Begin(ctx context.Context, s task.Step, calls []int) (task.Step, error) {
	times := map[int]int{}
	for _, i := range calls {
		times[i] = s.Calls[i].Times
	}

	p.s.commit.Lock()
	defer p.s.commit.Unlock()
	events := p.s.take()
	_, err := p.s.persist(ctx, func(r task.Record, t task.Fence) (task.Record, bool, error) {
		return r.BeginCalls(p.s.w.cfg.Desk.Moment(), t, events, s.Number, times)
	})
	if err != nil {
		return s, err
	}

	s.Calls = slices.Clone(s.Calls)
	for i, c := range p.s.rec.Step.Calls {
		c.Args = s.Calls[i].Args
		s.Calls[i] = c
	}
	return s, nil
}

// Keep implements run.Steps.
func (p *steps) Keep(ctx context.Context, s task.Step, results map[int]task.Result) (map[int]task.Result, error) {
	if len(results) > 0 {
		if err := p.s.keepMade(ctx); err != nil {
			return nil, fmt.Errorf("storing what calls have made: %w", err)
		}
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	known, look := p.stored[s.Number], len(results) == 0
	wrote := false
	var all task.Kept

	err := p.again(ctx, func(ctx context.Context) (err error) {
		if look { // another run may have stored some since, or one of the task that is run again
			if known, err = p.read(ctx, s.Number); err != nil {
				return err
			}
			if results, err = p.lateResults(ctx, s.Number); err != nil {
				return err
			}
		}
		all = task.Kept{Step: s}
		if known.Version > 0 {
			if all, err = task.DecodeKept(known.Value); err != nil {
				return err
			}
			all.Step = s
		}

		var changed bool
		if all, changed = all.Merge(results); !changed {
			return nil
		}
		text, err := all.Encode()
		if err != nil {
			return err
		}

		wrote = true
		e, err := p.s.w.cfg.KV.Put(ctx, kv.Entry{Key: p.r.StepKey(s.Number), Owner: p.r.Owner, Value: text, Version: known.Version})
		if err == nil {
			known = e
			return nil
		}
		if stored, gerr := p.read(ctx, s.Number); gerr == nil {
			known = stored
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("storing the results of calls: %w", err)
	}

	p.stored[s.Number] = known
	if wrote {
		p.s.moved.Store(true)
	}
	return all.Results, nil
}

// read reads the entry of a step, which is zero if there is none.
func (p *steps) read(ctx context.Context, number int) (kv.Entry, error) {
	e, err := p.s.w.cfg.KV.Get(ctx, p.r.StepKey(number))
	if errors.Is(err, kv.ErrNotFound) {
		return kv.Entry{}, nil
	}
	return e, err
}

// Key implements run.Steps.
func (p *steps) Key(step, call int) string { return p.r.CallKey(step, call) }

// URL implements run.Steps.
func (p *steps) URL(_ context.Context, step, call int) string {
	if p.s.w.cfg.WakeURL == nil || p.r.WakeKey == "" {
		return ""
	}
	return p.s.w.cfg.WakeURL(p.r.WakeKey, p.r.WakeName(step, call))
}

// again repeats a write of kv until it is answered, the run ends, or a verdict stays the
// same: a conflict is read and merged by the next try.
func (p *steps) again(ctx context.Context, write func(context.Context) error) error {
	for try := 1; ; try++ {
		err := write(ctx)
		switch {
		case err == nil, errors.Is(err, kv.ErrTooLarge), errors.Is(err, kv.ErrInvalid):
			return err
		case errors.Is(err, kv.ErrConflict) && try < maxConflicts:
			continue
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(min(time.Duration(try)*100*time.Millisecond, time.Second)):
		}
	}
}

// noting keeps the results of errand/worker/steps, and notes in the record that the run has
// stored one.
type noting struct {
	kv.Store
	s *session
}

// Put implements kv.Store.
func (n noting) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	e, err := n.Store.Put(ctx, e)
	if err == nil {
		n.s.progress(ctx)
	}
	return e, err
}

const (
	maxConflicts = 5                // refused writes that are repeated at once
	unreadFor    = 30 * time.Second // rest of a turn whose steps cannot be read
)
