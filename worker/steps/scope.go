package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"errand/shared/kv"
)

// Times and tries of the store.
const (
	tries    = 5                      // to read or to write a step
	firstGap = 100 * time.Millisecond // before the second try; twice that before each further one
	storeFor = 10 * time.Second       // to store a result, whether or not the run has ended
)

// A scope is a Scope in use by one run. A nil scope stores nothing.
type scope struct {
	Scope

	mu      sync.Mutex
	stored  map[string]int           // the steps that this run knows to be stored, by key, and their bytes
	running map[string]chan struct{} // the steps that run, by name; closed at their end
	counted bool                     // the steps of earlier runs are in stored, or there are none
	bytes   int                      // the sum of stored
}

// runsKey is the key of the names of the steps that a context belongs to.
type runsKey struct{}

// do returns the result of a step: a stored one, or that of run.
func (s *scope) do(ctx context.Context, name string, run func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	if s == nil {
		return run(ctx)
	}

	outer, _ := ctx.Value(runsKey{}).([]string)
	if slices.Contains(outer, name) {
		return nil, fmt.Errorf("steps: step %q uses its own name within itself", name)
	}

	end, err := s.begin(ctx, name)
	if err != nil {
		return nil, err
	}
	defer end()

	key := s.Prefix + segment(name)
	if s.mayBeStored(key) {
		result, err := s.read(ctx, key, name)
		if !errors.Is(err, kv.ErrNotFound) {
			return result, err
		}
	}

	if err := s.room(ctx, name); err != nil {
		return nil, err
	}
	result, err := run(context.WithValue(ctx, runsKey{}, append(slices.Clip(outer), name)))
	if err != nil {
		return nil, err
	}
	return s.store(ctx, name, result)
}

// begin waits until no other step with the name runs, and returns a function for the end of
// this one.
func (s *scope) begin(ctx context.Context, name string) (end func(), err error) {
	for {
		s.mu.Lock()
		other, runs := s.running[name]
		if !runs {
			this := make(chan struct{})
			s.running[name] = this
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.running, name)
				close(this)
			}, nil
		}
		s.mu.Unlock()

		select {
		case <-other:
		case <-ctx.Done():
			return nil, fmt.Errorf("steps: waiting for the other step %q: %w", name, ctx.Err())
		}
	}
}

// mayBeStored reports whether a step must be looked up before it is run.
func (s *scope) mayBeStored(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.stored[key]
	return known || !s.Fresh
}

// note counts a step that is stored.
func (s *scope) note(key string, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += bytes - s.stored[key]
	s.stored[key] = bytes
}

// read returns a stored result, or kv.ErrNotFound.
func (s *scope) read(ctx context.Context, key, name string) (json.RawMessage, error) {
	var e kv.Entry
	err := retry(ctx, func() (err error) {
		e, err = s.KV.Get(ctx, key)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("steps: reading step %q: %w", name, err)
	}

	step, err := Read(e)
	if err != nil {
		return nil, err
	}
	if step.Name != name {
		return nil, fmt.Errorf("steps: the entry of step %q holds step %q", name, step.Name)
	}
	s.note(key, len(e.Value))
	return step.Result, nil
}

// room returns an error if the turn may store no further step. The steps of earlier runs are
// counted when this run is about to store its first one.
func (s *scope) room(ctx context.Context, name string) error {
	s.mu.Lock()
	counted := s.counted
	s.mu.Unlock()
	if !counted {
		if err := s.count(ctx); err != nil {
			return fmt.Errorf("steps: counting the steps of earlier runs: %w", err)
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.stored) >= s.MaxSteps:
		return fmt.Errorf("%w: the turn has %d steps, at most %d, and %q is one more", ErrLimit, len(s.stored), s.MaxSteps, name)
	case s.bytes >= s.MaxBytes:
		return fmt.Errorf("%w: the steps of the turn have %d bytes, at most %d, and %q is one more", ErrLimit, s.bytes, s.MaxBytes, name)
	}
	return nil
}

// count notes the steps that are stored.
func (s *scope) count(ctx context.Context) error {
	after := ""
	for {
		var list []kv.Entry
		err := retry(ctx, func() (err error) {
			list, err = s.KV.List(ctx, s.Prefix, after, kv.LimitCount)
			return err
		})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.counted = true
			return nil
		}

		for _, e := range list {
			s.note(e.Key, len(e.Value))
		}
		after = list[len(list)-1].Key
	}
}

// store stores a result, unless the step has one, and returns the stored one.
func (s *scope) store(ctx context.Context, name string, result json.RawMessage) (json.RawMessage, error) {
	e, err := s.entry(name, result)
	if err != nil {
		return nil, err
	}

	s.mu.Lock()
	sum := s.bytes + len(e.Value)
	s.mu.Unlock()
	switch {
	case len(e.Value) > kv.LimitValue:
		return nil, fmt.Errorf("%w: the result of step %q takes %d bytes, at most %d", ErrLimit, name, len(e.Value), kv.LimitValue)
	case sum > s.MaxBytes:
		return nil, fmt.Errorf("%w: with step %q the steps of the turn have %d bytes, at most %d", ErrLimit, name, sum, s.MaxBytes)
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeFor)
	defer cancel()

	// A put whose outcome is unknown is made again: if it was made the first time, the second
	// one is a conflict with it.
	err = retry(ctx, func() error {
		_, err := s.KV.Put(ctx, e)
		return err
	})
	switch {
	case errors.Is(err, kv.ErrConflict):
		return s.read(ctx, e.Key, name)
	case err != nil:
		return nil, fmt.Errorf("steps: storing the result of step %q: %w", name, err)
	}
	s.note(e.Key, len(e.Value))
	return result, nil
}

// retry repeats a call of the store while its outcome is unknown.
func retry(ctx context.Context, call func() error) error {
	gap := firstGap
	for n := 1; ; n++ {
		err := call()
		if n == tries || err == nil || ctx.Err() != nil || isAnswer(err) {
			return err
		}

		select {
		case <-time.After(gap):
		case <-ctx.Done():
			return err
		}
		gap *= 2
	}
}

// isAnswer reports whether an error of the store is its answer, which another try would not
// change.
func isAnswer(err error) bool {
	return slices.ContainsFunc([]error{kv.ErrNotFound, kv.ErrConflict, kv.ErrTooLarge, kv.ErrInvalid}, func(e error) bool { return errors.Is(err, e) })
}
