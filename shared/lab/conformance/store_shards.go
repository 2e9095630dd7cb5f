package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// shardsDivide: each record that is due, or has expired, is in the list of exactly one shard,
// in order, whatever the size of the pages.
func shardsDivide(t *testing.T, s Stored, c *clock) {
	const all = 60
	var want []string
	for i := range all {
		at := i / 4 // four at a time
		r := create(t, s, record(fmt.Sprintf("t%02d", (i*7)%all), owing(at, task.Turns), func(r *task.Record) {
			r.Expires = epoch.Add(time.Duration(at) * time.Millisecond)
		}))
		want = append(want, r.ID())
	}
	slices.Sort(want)
	c.set(epoch.Add(time.Hour))

	lists := map[string]func(of task.Shard, after task.Ref, limit int) ([]task.Ref, error){
		"Due": func(of task.Shard, after task.Ref, limit int) ([]task.Ref, error) {
			return s.Due(t.Context(), task.Turns, of, c.now(), after, limit)
		},
		"Expired": func(of task.Shard, after task.Ref, limit int) (refs []task.Ref, err error) {
			list, err := s.Expired(t.Context(), of, c.now(), after, limit)
			for _, l := range list {
				refs = append(refs, l.Ref)
			}
			return refs, err
		},
	}

	for name, list := range lists {
		for _, of := range []int{1, 4} {
			for _, limit := range []int{3, 100} {
				var ids []string
				for i := range of {
					refs := pages(t, limit, func(after task.Ref) ([]task.Ref, error) { return list(task.Shard{Index: i, Of: of}, after, limit) })
					if !slices.IsSortedFunc(refs, earlier) {
						t.Errorf("%s of shard %d of %d, by %d, is not in order: %v", name, i, of, limit, refs)
					}
					for _, ref := range refs {
						ids = append(ids, ref.ID)
					}
				}

				slices.Sort(ids)
				if d := cmp.Diff(want, ids); d != "" {
					t.Errorf("%s of all %d shards, by %d (-want +got):\n%s", name, of, limit, d)
				}
			}
		}
	}
}

// pages reads a list to its end.
func pages(t *testing.T, limit int, list func(after task.Ref) ([]task.Ref, error)) (all []task.Ref) {
	t.Helper()
	for after := (task.Ref{}); ; after = all[len(all)-1] {
		refs, err := list(after)
		if err != nil || len(refs) > limit {
			t.Fatalf("a page of at most %d has %d, %v", limit, len(refs), err)
		}
		if all = append(all, refs...); len(refs) == 0 {
			return all
		}
	}
}

func earlier(a, b task.Ref) int {
	if d := a.At.Compare(b.At); d != 0 {
		return d
	}
	return strings.Compare(a.ID, b.ID)
}
