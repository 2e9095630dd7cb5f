package share_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"errand/shared/share"
)

// Owners enter in turn, each of them first come, first served, and a small one does not
// overtake a large one that waits for room.
func TestLineServesOwnersInTurn(t *testing.T) {
	type entry struct {
		name, owner string
		n           int64
	}

	for _, row := range []struct {
		waiters []entry
		want    []string
	}{
		{[]entry{{"a1", "a", 2}, {"a2", "a", 2}, {"a3", "a", 2}, {"b1", "b", 2}, {"c1", "c", 2}, {"b2", "b", 2}}, []string{"a1", "b1", "c1", "a2", "b2", "a3"}},
		{[]entry{{"large", "a", 2}, {"small", "b", 1}}, []string{"large", "small"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := share.NewLine(2)
			if err := l.Enter(t.Context(), "held", 1); err != nil {
				t.Fatal(err)
			}

			var order []string
			for _, w := range row.waiters {
				go func() {
					if err := l.Enter(t.Context(), w.owner, w.n); err != nil {
						t.Error(err)
					}
					order = append(order, w.name)
					l.Leave(w.owner, w.n)
				}()

				synctest.Wait()
			}

			if len(order) > 0 {
				t.Fatalf("%v entered, and there is no room", order)
			}

			l.Leave("held", 1)
			synctest.Wait()
			if !slices.Equal(order, row.want) {
				t.Errorf("entered %v, want %v", order, row.want)
			}
		})
	}
}

// One who gives up leaves no trace, even if it is let in at the same moment.
func TestLineForgetsThoseWhoGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := share.NewLine(2)
		if err := l.Enter(t.Context(), "a", 2); err != nil {
			t.Fatal(err)
		}

		for i := range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if err := l.Enter(ctx, fmt.Sprint("b", i), 2); err == nil {
					l.Leave(fmt.Sprint("b", i), 2)
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}()

			synctest.Wait()
			if i%2 == 0 {
				go cancel()
				l.Leave("a", 2)
				synctest.Wait()
				if err := l.Enter(t.Context(), "a", 2); err != nil {
					t.Fatal(err)
				}
			}

			cancel()
			synctest.Wait()
		}

		l.Leave("a", 2)
		if err := l.Enter(t.Context(), "last", 2); err != nil {
			t.Error(err)
		}
	})
}
