package task_test

import (
	"context"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// A script is a store whose watches yield the versions that the test lists.
type script struct {
	task.Store
	watches []watch
	begun   []time.Time
}

type watch struct {
	versions []int64
	err      error // how it ends; nil: with its context
}

func (s *script) Watch(ctx context.Context, _ string) iter.Seq2[task.Record, error] {
	return func(yield func(task.Record, error) bool) {
		s.begun = append(s.begun, time.Now())
		w := s.watches[min(len(s.begun), len(s.watches))-1]
		for _, n := range w.versions {
			if !yield(task.Record{Version: n}, nil) {
				return
			}
		}
		if w.err != nil {
			yield(task.Record{}, w.err)
			return
		}
		<-ctx.Done()
	}
}

// Follow yields only newer versions. It begins a broken watch again, later every time until
// one works, and ends when the record is gone or the caller stops.
func TestFollow(t *testing.T) {
	from := version(accepted(t, "x"), 5)
	for _, c := range []struct {
		name    string
		watches []watch
		lasts   time.Duration // 0: until the record is gone
		want    []int64
		begun   []time.Duration
	}{
		{"gone", []watch{{[]int64{5, 6}, task.ErrNotFound}}, 0, []int64{6}, []time.Duration{0}},
		{"its context ends", []watch{{[]int64{4, 5, 6, 7}, nil}}, time.Hour, []int64{6, 7}, []time.Duration{0}},
		{"broken and begun again", []watch{{[]int64{6}, errBroken}, {[]int64{6, 7}, errBroken}, {[]int64{7, 9}, task.ErrNotFound}}, 0,
			[]int64{6, 7, 9}, []time.Duration{0, time.Second, 2 * time.Second}},
		{"broken for long", []watch{{nil, errBroken}, {nil, errBroken}, {nil, errBroken}, {nil, errBroken}, {nil, errBroken}, {[]int64{6}, errBroken}, {nil, task.ErrNotFound}}, 0,
			[]int64{6}, []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 25 * time.Second, 26 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, began := t.Context(), time.Now()
				if c.lasts > 0 {
					end, cancel := context.WithTimeout(ctx, c.lasts)
					defer cancel()
					ctx = end
				}

				s := &script{watches: c.watches}
				var got []int64
				for r := range task.Follow(ctx, s, from.ID(), from.Version) {
					got = append(got, r.Version)
				}

				if diff := cmp.Diff(c.want, got); diff != "" || time.Since(began) < c.lasts || (ctx.Err() == nil) != (c.lasts == 0) {
					t.Errorf("ended after %v; versions (-want +got):\n%s", time.Since(began), diff)
				}

				var begun []time.Duration
				for _, at := range s.begun {
					begun = append(begun, at.Sub(began))
				}

				if !slices.Equal(begun, c.begun) {
					t.Errorf("watches were begun after %v, want %v", begun, c.begun)
				}
			})
		})
	}
}
