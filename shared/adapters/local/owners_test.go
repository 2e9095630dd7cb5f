package local_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/local"
	"errand/shared/queue"
)

// of is a turn of an owner's task.
func of(owner, id string) queue.Job {
	job := turn(id)
	job.Owner = owner
	return job
}

// Owners are served in turn, whatever the number of their jobs.
func TestOwnersAreServedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLog(nil)
		held := map[string]time.Duration{"long": 5 * time.Minute, "short": time.Minute}

		q := open(t, local.QueueConfig{Lanes: lanes(local.Limits{Slots: 1}), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			job, err := queue.Read(w, r)
			if err != nil {
				t.Error(err)
			}

			time.Sleep(held[job.Task])
			r.Body = io.NopCloser(bytes.NewReader(job.Body()))
			h.ServeHTTP(w, r)
		})})

		addAll(t, q, of("", "long"), of("", "short")) // the two slots
		synctest.Wait()
		for i := range 5 {
			addAll(t, q, of("a", fmt.Sprint("a", i)))
		}

		addAll(t, q, of("b", "b0"), of("b", "b1"), of("c", "c0"))
		time.Sleep(10 * time.Minute)
		want := []string{"short", "a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4", "long"}
		if diff := cmp.Diff(want, h.tasks()); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

// While one owner's jobs wait by the hundred, half of the slots are free, and another owner's
// job starts at once. The jobs of the first owner then take what is free again.
func TestAFloodLeavesSlots(t *testing.T) {
	const slots = 8 // of one owner alone

	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most, began := map[string]int{}, map[string]int{}, map[string]time.Time{}
		start := time.Now()

		h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			var body [200]byte
			n, _ := r.Body.Read(body[:])
			job, err := queue.Parse(body[:n])
			if err != nil {
				t.Error(err)
				return
			}

			owner := job.Task[:1]
			mu.Lock()
			began[job.Task] = time.Now()
			running[owner]++
			most[owner] = max(most[owner], running[owner])
			mu.Unlock()
			time.Sleep(time.Minute)
			mu.Lock()
			running[owner]--

			mu.Unlock()
		})

		q := open(t, local.QueueConfig{Handler: h, Lanes: lanes(local.Limits{Slots: slots})})
		for i := range 100 {
			addAll(t, q, of("a", fmt.Sprint("a", i)))
		}

		synctest.Wait()
		addAll(t, q, of("b", "b0"))
		synctest.Wait()
		mu.Lock()
		if diff := cmp.Diff(map[string]int{"a": slots, "b": 1}, running); diff != "" {
			t.Errorf("running (-want +got):\n%s", diff)
		}
		if !began["b0"].Equal(start) {
			t.Errorf("the other owner's job began %v later", began["b0"].Sub(start))
		}

		mu.Unlock()

		// Beside an owner who wants as much, each has a third of all.
		for i := 1; i < 50; i++ {
			addAll(t, q, of("b", fmt.Sprint("b", i)))
		}

		time.Sleep(3*time.Minute + 30*time.Second)
		mu.Lock()
		if third := 2 * slots / 3; running["a"] < third || running["b"] < third || running["a"]+running["b"] > 2*slots-third {
			t.Errorf("side by side %v run, want %d of %d each", running, third, 2*slots)
		}

		mu.Unlock()

		time.Sleep(time.Hour)
		synctest.Wait()
		if len(began) != 150 || most["a"] != slots {
			t.Errorf("%d jobs ran, at most %d of one owner; want 150 and %d", len(began), most["a"], slots)
		}
	})
}

// An owner with a number of its own has so many at once, although more is free.
func TestOwnersNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		q := open(t, local.QueueConfig{Handler: g, Lanes: lanes(local.Limits{Most: func(owner string) int64 {
			if owner == "few" {
				return 2
			}
			return 1000
		}})})
		for i := range 5 {
			addAll(t, q, of("few", fmt.Sprint("f", i)), of("many", fmt.Sprint("m", i)))
		}
		synctest.Wait()

		running := map[byte]int{}
		for range len(g.entered) {
			running[(<-g.entered)[0]]++
		}
		if running['f'] != 2 || running['m'] != 5 {
			t.Errorf("%d of the owner with a number run, and %d of the other; want 2 and 5", running['f'], running['m'])
		}
		close(g.opened)
		synctest.Wait()
		if n := len(g.entered); n != 3 {
			t.Errorf("%d more ran, want 3", n)
		}
	})
}

// While no slot is free, a new job costs as much with many owners that wait as with one.
func TestAFullLaneAsksOneOwner(t *testing.T) {
	const owners = 100

	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		asked := 0
		q := open(t, local.QueueConfig{Handler: g, Lanes: lanes(local.Limits{Slots: 1, Most: func(string) int64 {
			asked++
			return 1000
		}})})
		addAll(t, q, of("", "x"), of("", "y")) // the two slots
		synctest.Wait()

		asked = 0
		for i := range owners {
			addAll(t, q, of(fmt.Sprint("owner", i), fmt.Sprint("t", i)))
		}
		if asked > owners {
			t.Errorf("%d owners were asked for %d jobs, want one each", asked, owners)
		}
		close(g.opened)
	})
}
