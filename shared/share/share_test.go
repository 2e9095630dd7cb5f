package share_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"errand/shared/share"
)

// fill takes one at a time, in turn for each owner, until all are refused. It returns what
// each of them got.
func fill(p *share.Pool, owners ...string) map[string]int64 {
	for more := true; more; {
		more = false
		for _, o := range owners {
			if p.Take(o, 1) == nil {
				more = true
			}
		}
	}
	got := map[string]int64{}
	for _, o := range owners {
		got[o] = p.Held(o)
	}
	return got
}

// One owner alone gets half, K owners get 1/(K+1) each.
func TestOwnersGetEqualShares(t *testing.T) {
	const size = 840 // a multiple of 2 to 8
	var names []string
	for len(names) < 7 {
		names = append(names, fmt.Sprint("owner", len(names)))
		want := int64(size / (len(names) + 1))
		for o, n := range fill(share.NewPool(size), names...) {
			if n != want {
				t.Errorf("of %d owners, %s got %d, want %d", len(names), o, n, want)
			}
		}
	}
}

// Whatever owners take and release: no more is held than there is, whoever holds something
// holds at most what was free when it took, and an owner without anything gets what fits.
func TestNobodyTakesTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 64).Draw(t, "size")
		p, held, all := share.NewPool(size), map[string]int64{}, int64(0)
		taken := map[string][]int64{}

		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			o := rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "owner")
			if n := len(taken[o]); n > 0 && rapid.Bool().Draw(t, "release") {
				was := taken[o][n-1]
				taken[o] = taken[o][:n-1]
				p.Release(o, was)
				held[o] -= was
				all -= was
				continue
			}

			n := rapid.Int64Range(1, 8).Draw(t, "n")
			err := p.Take(o, n)
			free := size - all - n

			switch {
			case free < 0:
				if !errors.Is(err, share.ErrFull) {
					t.Fatalf("%s took %d of %d: %v", o, n, size-all, err)
				}

			case o == "" || held[o] == 0 || held[o]+n <= free:
				if err != nil {
					t.Fatalf("%s holds %d and got none of %d: %v", o, held[o], size-all, err)
				}
				taken[o] = append(taken[o], n)
				held[o] += n
				all += n

			case !errors.Is(err, share.ErrOwn):
				t.Fatalf("%s holds %d and took %d of %d: %v", o, held[o], n, size-all, err)
			}

			if o != "" && p.Held(o) != held[o] {
				t.Fatalf("%s holds %d, want %d", o, p.Held(o), held[o])
			}
		}
	})
}
