package conformance

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// expired lists expired records to their end, in pages of the limit.
func expired(t *testing.T, s Stored, before time.Time, limit int) (all []task.Lapsed) {
	t.Helper()
	for after := (task.Ref{}); ; {
		list, err := s.Expired(t.Context(), task.Shard{}, before, after, limit)
		if err != nil || len(list) > limit {
			t.Fatalf("Expired of at most %d = %d, %v", limit, len(list), err)
		}
		if len(list) == 0 {
			return all
		}
		all, after = append(all, list...), list[len(list)-1].Ref
	}
}

// expiredOrderAndPages: records come in the order of their expiry and ids, each once, deleted
// ones and those that owe something among them.
func expiredOrderAndPages(t *testing.T, s Stored, c *clock) {
	const all = 30
	var want []task.Lapsed
	for i := range all {
		at := epoch.Add(time.Duration(i/4) * time.Minute) // four at a time
		r := create(t, s, record(fmt.Sprintf("t%02d", (i*7)%all), func(r *task.Record) { r.Expires = at }, owing(0, task.Turns)))
		want = append(want, task.Lapsed{Ref: task.Ref{At: at, ID: r.ID()}, Version: r.Version})
	}
	gone := removed(t, s, create(t, s, record("gone")), epoch)
	want = append(want, task.Lapsed{Ref: task.Ref{At: gone.Expires, ID: "gone"}, Version: gone.Version})
	create(t, s, record("never"))

	slices.SortFunc(want, func(a, b task.Lapsed) int {
		if d := a.At.Compare(b.At); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	c.set(gone.Expires.Add(time.Hour))
	for _, limit := range []int{1, 3, 100} {
		if d := cmp.Diff(want, expired(t, s, c.now(), limit)); d != "" {
			t.Errorf("Expired by %d (-want +got):\n%s", limit, d)
		}
	}

	if list := expired(t, s, want[5].At, 100); len(list) != 4 {
		t.Errorf("Expired before the second time = %v, want the first four", list)
	}
	if list, err := s.Expired(t.Context(), task.Shard{}, c.now(), task.Ref{}, 0); err != nil || len(list) != 0 {
		t.Errorf("Expired of at most none = %v, %v", list, err)
	}
}

// removeLeavesReplaced: a record that began under the same id since the list stays, also if it
// has expired too.
func removeLeavesReplaced(t *testing.T, s Stored, c *clock) {
	ends := func(r *task.Record) { r.Expires = c.now().Add(time.Hour) }
	for _, id := range []string{"a", "b", "c"} {
		create(t, s, record(id, ends))
	}
	c.set(epoch.Add(2 * time.Hour))
	list := expired(t, s, c.now(), 10)

	replaces := func(want ...bool) {
		t.Helper()
		var got []bool
		for _, l := range list {
			is, err := s.Replaced(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, is)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("Replaced (-want +got):\n%s", d)
		}
	}

	replaces(false, false, false)

	create(t, s, record("a"))
	create(t, s, record("b", ends))
	replaces(true, true, false)
	if n, err := s.Remove(t.Context(), list); n != 1 || err != nil {
		t.Errorf("Remove = %d, %v, want c alone", n, err)
	}

	replaces(true, true, false) // c is gone
	for _, id := range []string{"a", "b"} {
		if _, err := s.Load(t.Context(), id); err != nil {
			t.Errorf("Load(%s): %v", id, err)
		}
	}
	_, err := s.Load(t.Context(), "c")
	wantError(t, "Load of c", err, task.ErrNotFound)

	c.set(c.now().Add(2 * time.Hour))
	if n, err := s.Remove(t.Context(), list); n != 0 || err != nil {
		t.Errorf("Remove of an old list = %d, %v, want none", n, err)
	}
	if later := expired(t, s, c.now(), 10); len(later) != 1 || later[0].ID != "b" || later[0].Version == list[1].Version {
		t.Errorf("Expired = %v, want the later b", later)
	}
}

// removeOnce: of concurrent calls only one deletes and counts a record.
func removeOnce(t *testing.T, s Stored, c *clock) {
	const all, calls = 100, 4
	for i := range all {
		create(t, s, record(fmt.Sprint("t", i), func(r *task.Record) { r.Expires = epoch.Add(time.Second) }))
	}
	c.set(epoch.Add(time.Hour))
	list := expired(t, s, c.now(), all)

	var mu sync.Mutex
	var wg sync.WaitGroup
	total := 0
	for range calls {
		wg.Go(func() {
			n, err := s.Remove(t.Context(), list)
			if err != nil {
				t.Errorf("Remove: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	wg.Wait()

	if left := expired(t, s, c.now(), all); total != all || len(left) != 0 {
		t.Errorf("%d calls removed %d records and left %d, want %d and none", calls, total, len(left), all)
	}
}
