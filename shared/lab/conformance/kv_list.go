package conformance

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/kv"
)

func list(t *testing.T, s kv.Store, prefix, after string, limit int) []kv.Entry {
	t.Helper()
	got, err := s.List(t.Context(), prefix, after, limit)
	if err != nil {
		t.Fatalf("List(%q, %q, %d): %v", prefix, after, limit, err)
	}
	size := 0
	for _, e := range got {
		size += e.Size()
	}
	if len(got) > max(limit, 1) || len(got) > 1 && size > kv.LimitList {
		t.Fatalf("List(%q, %q, %d) returned %d entries of %d bytes", prefix, after, limit, len(got), size)
	}
	return got
}

// walkKeys lists all keys, page by page.
func walkKeys(t *testing.T, s kv.Store, prefix string, limit int) []string {
	t.Helper()
	keys := []string{}
	for after := ""; ; after = keys[len(keys)-1] {
		got := list(t, s, prefix, after, limit)
		for _, e := range got {
			keys = append(keys, e.Key)
		}
		if len(got) == 0 {
			return keys
		}
	}
}

func kvListOrder(t *testing.T, b kvBench) {
	var want []string
	for _, c := range "-._09az" { // each kind of character, on either side of a slash
		want = append(want, fmt.Sprintf("a/%c", c), fmt.Sprintf("a/a%c/b", c), fmt.Sprintf("a/a/%c", c), fmt.Sprintf("%c/a", c))
	}
	want = append(want, "a/a", "a/aa", "a/a/b/c", "__/__", "../..", "-/-", "a/0009", "a/0010", "a/10", "a/9")
	slices.Sort(want)
	want = slices.Compact(want)
	for _, key := range slices.Backward(want) {
		put(t, b, entry(key, "x"))
	}
	for _, limit := range []int{1, 2, 7, len(want), kv.LimitCount} {
		if d := cmp.Diff(want, walkKeys(t, b, "", limit)); d != "" {
			t.Errorf("lists of %d (-want +got):\n%s", limit, d)
		}
	}
}

func kvListPrefixAndAfter(t *testing.T, b kvBench) {
	var all []string
	for _, key := range []string{"batch/a", "step/a-b/1", "step/a/1", "step/a/10", "step/a/2", "step/a0/1", "use/a"} {
		all = append(all, put(t, b, entry(key, "of "+key)).Key)
	}

	texts := append([]string{"", "s", "step", "step/", "step/a", "step/a/", "step/a/1", "t", "-", "z", "a/", "step/a/3"}, all...)
	for _, prefix := range texts {
		for _, after := range texts {
			want, got := []string{}, []string{}
			for _, key := range all {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}

			for _, e := range list(t, b, prefix, after, kv.LimitCount) {
				got = append(got, e.Key)
				if string(e.Value) != "of "+e.Key || e.Owner != someone {
					t.Errorf("List has %+v", e)
				}
			}

			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("List(%q, %q) (-want +got):\n%s", prefix, after, d)
			}
		}
	}
}

func kvListLimit(t *testing.T, b kvBench) {
	for i := range 5 {
		put(t, b, entry(fmt.Sprint("use/", i), "x"))
	}
	for limit, want := range map[int]int{math.MinInt: 1, -1: 1, 0: 1, 1: 1, 4: 4, 5: 5, 6: 5, math.MaxInt: 5} {
		if got := list(t, b, "use/", "", limit); len(got) != want {
			t.Errorf("List with limit %d returned %d entries, want %d", limit, len(got), want)
		}
	}
}

func kvListBytes(t *testing.T, b kvBench) {
	var want []string
	for i, size := range []int{kv.LimitValue, 10, kv.LimitValue, kv.LimitValue, 300 << 10, 300 << 10, 300 << 10, 300 << 10, 0} {
		want = append(want, put(t, b, entry(fmt.Sprint("use/", i), strings.Repeat("x", size))).Key)
	}
	for _, limit := range []int{1, 2, 100} {
		if d := cmp.Diff(want, walkKeys(t, b, "use/", limit)); d != "" {
			t.Errorf("lists of %d (-want +got):\n%s", limit, d)
		}
	}
}

// kvListSkipsExpired: a list finds the entries after any number of expired ones.
func kvListSkipsExpired(t *testing.T, b kvBench) {
	end := epoch.Add(time.Hour)
	var want []string
	for i := range 230 {
		e := entry(fmt.Sprintf("use/%03d", i), "x")
		if i != 0 && i != 215 && i != 217 {
			e.Expires = end
		} else {
			want = append(want, e.Key)
		}
		put(t, b, e)
	}
	b.clock.set(end)
	for _, limit := range []int{1, 2, 100} {
		if d := cmp.Diff(want, walkKeys(t, b, "use/", limit)); d != "" {
			t.Errorf("lists of %d (-want +got):\n%s", limit, d)
		}
	}
}

// kvListWhileWriting: a list has each untouched entry once while others change.
func kvListWhileWriting(t *testing.T, b kvBench) {
	for i := range 20 {
		put(t, b, entry(fmt.Sprintf("use/%02d/still", i), "x"))
		put(t, b, entry(fmt.Sprintf("use/%02d/moving", i), "x"))
	}

	seen := map[string]int{}
	for n, after := 0, ""; ; n++ {
		got := list(t, b, "use/", after, 3)
		if len(got) == 0 {
			break
		}

		for _, e := range got {
			seen[e.Key]++
			after = e.Key
		}

		if n < 20 {
			if err := b.Delete(t.Context(), fmt.Sprintf("use/%02d/moving", (n+10)%20), 0); err != nil {
				t.Fatal(err)
			}
			put(t, b, entry(fmt.Sprintf("use/%02d/new", n), "x"))
		}
	}

	for i := range 20 {
		if key := fmt.Sprintf("use/%02d/still", i); seen[key] != 1 {
			t.Errorf("%s was listed %d times, want once", key, seen[key])
		}
	}
}
