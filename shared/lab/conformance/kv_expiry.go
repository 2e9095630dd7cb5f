package conformance

import (
	"fmt"
	"testing"
	"time"

	"errand/shared/kv"
)

func kvExpiredIsAbsent(t *testing.T, b kvBench) {
	end := epoch.Add(time.Hour)
	old := put(t, b, entry("use/a", "x", until(end)))
	never := put(t, b, entry("use/b", "x"))
	b.clock.set(end.Add(-1))
	holds(t, b, old)
	_, err := b.Put(t.Context(), entry("use/a", "y"))
	wantError(t, "Put that creates before the old entry expires", err, kv.ErrConflict)

	b.clock.set(end)
	lacks(t, b, "use/a")
	_, err = b.Put(t.Context(), entry("use/a", "y", of(old.Version)))
	wantError(t, "Put over an expired version", err, kv.ErrConflict)
	lacks(t, b, "use/a")
	young := put(t, b, entry("use/a", "z", func(e *kv.Entry) { e.Owner = "other" }))
	b.clock.set(end.AddDate(100, 0, 0))
	holds(t, b, young)
	holds(t, b, never)
	_, err = b.Put(t.Context(), entry("use/a", "y", of(old.Version)))
	wantError(t, "Put over the version that had expired", err, kv.ErrConflict)
	holds(t, b, young)
}

// kvExpiryIsReplaced: each version has its own expiry.
func kvExpiryIsReplaced(t *testing.T, b kvBench) {
	end := epoch.Add(time.Hour)
	longer := put(t, b, altered(put(t, b, entry("use/longer", "", until(end))), until(end.Add(time.Millisecond))))
	never := put(t, b, altered(put(t, b, entry("use/never", "", until(end))), until(time.Time{})))
	put(t, b, altered(put(t, b, entry("use/now", "")), until(epoch)))
	lacks(t, b, "use/now")
	b.clock.set(end)
	holds(t, b, longer)
	holds(t, b, never)
}

func kvExpiredIsCreatedOnce(t *testing.T, b kvBench) {
	for round := range 3 {
		put(t, b, entry("use/a", "x", until(b.clock.now().Add(time.Hour))))
		b.clock.set(b.clock.now().Add(time.Hour))
		won := winner(t, 32, kv.ErrConflict, func(i int) error {
			_, err := b.Put(t.Context(), entry("use/a", fmt.Sprint(i), until(b.clock.now().Add(time.Minute))))
			return err
		})
		got, err := b.Get(t.Context(), "use/a")
		if err != nil || string(got.Value) != fmt.Sprint(won) {
			t.Errorf("round %d: Get = %q, %v, but call %d created the entry", round, got.Value, err, won)
		}
		b.clock.set(b.clock.now().Add(time.Minute))
	}
}
