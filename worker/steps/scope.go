package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
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
	stored  map[string]int           // steps that are stored or may be, by key, and their bytes; 0 while one runs
	running map[string]chan struct{} // the steps that run, by key; closed at their end
	counted map[string]bool          // the prefixes of which the steps of earlier runs are in stored
	bytes   int                      // the sum of stored
}

// runsKey is the key of the names of the steps that a context belongs to.
type runsKey struct{}

// do returns the result of a step: a stored one, or that of run. The keys of its kind of step
// begin with prefix.
func (s *scope) do(ctx context.Context, prefix, name string, run func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {

	outer, _ := ctx.Value(runsKey{}).([]string)
	if slices.Contains(outer, name) {
		return nil, fmt.Errorf("steps: step %q uses its own name within itself", name)
	}

	key := prefix + segment(name)
	end, err := s.begin(ctx, key, name)
	if err != nil {
		return nil, err
	}
	defer end()

	if s.mayBeStored(key) {
		result, err := s.read(ctx, key, name)
		if !errors.Is(err, kv.ErrNotFound) {
			return result, err
		}
	}

	free, err := s.room(ctx, prefix, key, name)
	if err != nil {
		return nil, err
	}
	defer free()

	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("steps: step %q was not begun: %w", name, err)
	}
	result, err := run(context.WithValue(ctx, runsKey{}, append(slices.Clip(outer), name)))
	if err != nil {
		return nil, err
	}
	return s.store(ctx, key, name, result)
}

// begin waits until no other step with the key runs, and returns a function for the end of
// this one.
func (s *scope) begin(ctx context.Context, key, name string) (end func(), err error) {
	for {
		s.mu.Lock()
		other, runs := s.running[key]
		if !runs {
			this := make(chan struct{})
			s.running[key] = this
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.running, key)
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

// note counts a step that is stored, or may be. It returns false, and counts nothing, if that
// makes the steps of the turn larger than most.
func (s *scope) note(key string, bytes, most int) (sum int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum = s.bytes + bytes - s.stored[key]
	if sum > most {
		return sum, false
	}
	s.bytes, s.stored[key] = sum, bytes
	return sum, true
}

// read returns a stored result, or kv.ErrNotFound.
func (s *scope) read(ctx context.Context, key, name string) (json.RawMessage, error) {
	var e kv.Entry
	err := retry(ctx, func() (err error) {
		e, err = s.KV.Get(ctx, key)
		return err
	})
	if err != nil {
		return nil, later("steps: reading step %q: %w", name, err)
	}

	step, err := Read(e)
	if err != nil {
		return nil, err
	}
	if step.Name != name {
		return nil, fmt.Errorf("steps: the entry of step %q holds step %q", name, step.Name)
	}
	s.note(key, len(e.Value), math.MaxInt)
	return step.Result, nil
}

// room takes the room of one more step, or returns an error if the turn has none. free gives
// it back at the end of the step, if nothing was stored. The steps of earlier runs are counted
// when a run needs room for the first time.
func (s *scope) room(ctx context.Context, prefix, key, name string) (free func(), err error) {
	s.mu.Lock()
	counted := s.Fresh || s.counted[prefix]
	s.mu.Unlock()
	if !counted {
		if err := s.count(ctx, prefix); err != nil {
			return nil, later("steps: counting the steps of earlier runs: %w", err)
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= s.stored[key] // of an earlier try that was not stored after all
	delete(s.stored, key)
	switch {
	case len(s.stored) >= s.MaxSteps:
		return nil, fmt.Errorf("%w: the turn has %d steps, at most %d, and %q is one more", ErrLimit, len(s.stored), s.MaxSteps, name)
	case s.bytes >= s.MaxBytes:
		return nil, fmt.Errorf("%w: the steps of the turn have %d bytes, at most %d, and %q is one more", ErrLimit, s.bytes, s.MaxBytes, name)
	}
	s.stored[key] = 0

	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stored[key] == 0 {
			delete(s.stored, key)
		}
	}, nil
}

// count notes the steps that are stored under a prefix.
func (s *scope) count(ctx context.Context, prefix string) error {
	err := list(ctx, s.KV, prefix, func(e kv.Entry) error {
		s.note(e.Key, len(e.Value), math.MaxInt)
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted[prefix] = true
	return nil
}

// store stores a result, unless the step has one, and returns the stored one.
func (s *scope) store(ctx context.Context, key, name string, result json.RawMessage) (json.RawMessage, error) {
	e, err := s.entry(key, name, result)
	if err != nil {
		return nil, err
	}

	if len(e.Value) > kv.LimitValue {
		return nil, fmt.Errorf("%w: the result of step %q takes %d bytes, at most %d", ErrLimit, name, len(e.Value), kv.LimitValue)
	}
	if sum, ok := s.note(e.Key, len(e.Value), s.MaxBytes); !ok {
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
		return nil, later("steps: storing the result of step %q: %w", name, err)
	}
	return result, nil
}

// later is an error of the store. It is an [Again] unless it is an answer, which a later run
// would get too. A kv.ErrNotFound of an entry that was there a moment ago is none.
func later(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if errors.Is(err, kv.ErrTooLarge) || errors.Is(err, kv.ErrInvalid) {
		return err
	}
	return &Again{Err: err}
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
