package conformance

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/kv"
	"errand/shared/steps"
)

// kvPurgeExpiredOnly: a purge changes nothing that a caller sees, and a key goes on behind its
// last version.
func kvPurgeExpiredOnly(t *testing.T, b kvBench) {
	end := epoch.Add(time.Hour)
	never, later := put(t, b, entry("use/never", "x")), put(t, b, entry("use/z", "x", until(end.AddDate(0, 0, 1))))
	last := int64(0)
	for i := range 150 {
		last = max(last, put(t, b, entry(fmt.Sprintf("use/old-%d", i), "x", until(end))).Version)
	}
	b.clock.set(end.Add(time.Minute))

	for _, limit := range []int{0, 1, 100, 100} {
		n, err := b.Purge(t.Context(), b.clock.now(), limit)
		if err != nil || n < 0 || n > limit {
			t.Errorf("Purge of at most %d = %d, %v", limit, n, err)
		}
	}
	holds(t, b, never)
	holds(t, b, later)
	lacks(t, b, "use/old-7")
	if again := put(t, b, entry("use/old-7", "y")); again.Version <= last {
		t.Errorf("after a purge the version is %d, not above %d", again.Version, last)
	}
}

// kvStepsAreDeleted: all steps of a task go, however many there are, and no other entry does.
func kvStepsAreDeleted(t *testing.T, b kvBench) {
	large := make([]byte, 300<<10)
	for i := range 230 {
		e := entry(fmt.Sprintf("step/a/life%d/%06d", i%3, i), "x")
		if i < 10 {
			e.Value = large
		}
		put(t, b, e)
	}
	want := []string{"step/a-b/life/000001", "step/a.b/life/000001", "step/a0/life/000001", "step/aa/life/000001", "use/a/life/000001"}
	for _, key := range want {
		put(t, b, entry(key, "x"))
	}

	for range 2 {
		if err := steps.Delete(t.Context(), b, "a", nil); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, walkKeys(t, b, "", 100)); d != "" {
			t.Fatalf("entries that are left (-want +got):\n%s", d)
		}
	}
}

// kvStepsOfALaterTaskAreKept: a task that begins under the same id keeps its steps, whenever
// that is.
func kvStepsOfALaterTaskAreKept(t *testing.T, b kvBench) {
	errNow := errors.New("not now")
	for page := range 3 {
		for i := range 250 {
			put(t, b, entry(fmt.Sprintf("step/a/old/%06d", i), "x"))
		}

		asked := 0
		later := put(t, b, entry("step/a/zlater/000001", "x", func(e *kv.Entry) { e.Value = []byte(fmt.Sprint(page)) }))
		replaced := func(context.Context) (bool, error) { asked++; return asked > page, nil }
		err := steps.Delete(t.Context(), b, "a", replaced)
		wantError(t, "Delete", err, steps.ErrReplaced)
		holds(t, b, later)
		err = steps.Delete(t.Context(), b, "a", func(context.Context) (bool, error) { return false, errNow })
		wantError(t, "Delete without an answer", err, errNow)
		holds(t, b, later)

		if err := steps.Delete(t.Context(), b, "a", nil); err != nil {
			t.Fatal(err)
		}
		lacks(t, b, later.Key)
	}
}
