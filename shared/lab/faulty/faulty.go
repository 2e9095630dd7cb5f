// Package faulty wraps a task.Store so that a test can make its calls fail, lose their
// answers, or return other records.
//
//	down := faulty.Refusing(db, faulty.Create, errors.New("the disk is full"))
//	desk := desk.New(desk.Config{Store: down})
//
// It is not a store: a real one is behind it, and calls without a fault go there.
package faulty

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"errand/shared/task"
)

// An Op is a method of task.Store.
type Op string

// The methods of task.Store.
const (
	Create Op = "Create"
	Load   Op = "Load"
	Commit Op = "Commit"
	Watch  Op = "Watch"
	List   Op = "List"
)

// A Call is one call of a method.
type Call struct {
	Op   Op
	ID   string // of the record; empty for List
	Seen int    // for Watch: the number of values so far
}

// A Store is a task.Store with two hooks. Both may be nil. They are called concurrently if
// the store is.
type Store struct {
	task.Store

	// Before is called before the store. If it returns an error, the store is not called, and
	// the caller gets this error. For Watch it is called before the first value and after
	// each one, and an error ends the watch.
	Before func(Call) error

	// After is called with the result of the store, and returns the result for the caller.
	// For Watch it is called with each value. For List it is not called.
	After func(c Call, r task.Record, err error) (task.Record, error)
}

var _ task.Store = Store{}

// Create implements task.Store.
func (s Store) Create(ctx context.Context, r task.Record) (task.Record, error) {
	return s.do(Call{Op: Create, ID: r.ID()}, func() (task.Record, error) { return s.Store.Create(ctx, r) })
}

// Load implements task.Store.
func (s Store) Load(ctx context.Context, id string) (task.Record, error) {
	return s.do(Call{Op: Load, ID: id}, func() (task.Record, error) { return s.Store.Load(ctx, id) })
}

// Commit implements task.Store.
func (s Store) Commit(ctx context.Context, r task.Record) (task.Record, error) {
	return s.do(Call{Op: Commit, ID: r.ID()}, func() (task.Record, error) { return s.Store.Commit(ctx, r) })
}

// Watch implements task.Store.
func (s Store) Watch(ctx context.Context, id string) iter.Seq2[task.Record, error] {
	return func(yield func(task.Record, error) bool) {
		c := Call{Op: Watch, ID: id}
		if err := s.before(c); err != nil {
			yield(task.Record{}, err)
			return
		}

		for r, err := range s.Store.Watch(ctx, id) {
			r, err = s.after(c, r, err)
			if !yield(r, err) || err != nil {
				return
			}

			c.Seen++
			if err := s.before(c); err != nil {
				yield(task.Record{}, err)
				return
			}
		}
	}
}

// List implements task.Store.
func (s Store) List(ctx context.Context, q task.Query) (task.Page, error) {
	if err := s.before(Call{Op: List}); err != nil {
		return task.Page{}, err
	}
	return s.Store.List(ctx, q)
}

func (s Store) do(c Call, call func() (task.Record, error)) (task.Record, error) {
	if err := s.before(c); err != nil {
		return task.Record{}, err
	}
	r, err := call()
	return s.after(c, r, err)
}

func (s Store) before(c Call) error {
	if s.Before == nil {
		return nil
	}
	return s.Before(c)
}

func (s Store) after(c Call, r task.Record, err error) (task.Record, error) {
	if s.After == nil {
		return r, err
	}
	return s.After(c, r, err)
}

// Refusing returns a store that answers all calls of op with err.
func Refusing(s task.Store, op Op, err error) Store {
	return Store{Store: s, Before: func(c Call) error {
		if c.Op == op {
			return err
		}
		return nil
	}}
}

// ErrLost is the error of a call whose answer is lost.
var ErrLost = errors.New("the connection broke")

// Losing returns a store that carries the first n successful calls of op out and then answers
// ErrLost.
func Losing(s task.Store, op Op, n int) Store {
	var lost atomic.Int64
	return Store{Store: s, After: func(c Call, r task.Record, err error) (task.Record, error) {
		if c.Op == op && err == nil && lost.Add(1) <= int64(n) {
			return task.Record{}, ErrLost
		}
		return r, err
	}}
}

// Loading returns a store that passes every loaded record through change.
func Loading(s task.Store, change func(task.Record) (task.Record, error)) Store {
	return Store{Store: s, After: func(c Call, r task.Record, err error) (task.Record, error) {
		if c.Op == Load && err == nil {
			return change(r)
		}
		return r, err
	}}
}

// Newer makes a record one of a newer version of the program, which must not be committed. Use
// it with Loading.
func Newer(r task.Record) (task.Record, error) {
	r.Schema = task.Schema + 1
	return r, nil
}

// Unreadable replaces a record by the error for one that cannot be decoded. Use it with
// Loading.
func Unreadable(task.Record) (task.Record, error) { return task.Decode([]byte("{"), nil, 1) }
