package sweep_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/functions/sweep"
	"errand/shared/kv"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
)

// Each of several sweeps of a lane enqueues and deletes the tasks of its shard, up to its own
// limit, and the first one alone deletes entries of kv. Together they leave nothing out.
func TestSweepsByShard(t *testing.T) {
	const shards, tasks = 4, 40
	now := start
	db := open(t, func() time.Time { return now })
	var owing, lapsed [shards][]string
	for i := range tasks {
		id, old := fmt.Sprintf("t%02d", i), fmt.Sprintf("old%02d", i)
		accept(t, db, id, start.Add(rules.Retention))
		owing[task.Bucket(id)%shards] = append(owing[task.Bucket(id)%shards], id)
		accept(t, db, old, start)
		finish(t, db, old, start, "TASK_STATE_COMPLETED")
		lapsed[task.Bucket(old)%shards] = append(lapsed[task.Bucket(old)%shards], old)
	}
	entry := func() {
		if _, err := db.KV().Put(t.Context(), kv.Entry{Key: "use/a", Owner: "alice", Expires: start.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	entry()

	now = start.Add(rules.Retention + 2*time.Hour)
	q := &world.Jobs{}
	s := newSweep(db, q, func() time.Time { return now }, func(c *sweep.Config) { c.Shards = shards })
	for i := shards - 1; i >= 0; i-- {
		post(s, string(queue.Job{Queue: task.Turns, Path: queue.PathSweep, Sweep: now, Shard: i, Of: shards}.Body()))
		got := slices.DeleteFunc(turns(q), func(id string) bool { return strings.HasPrefix(id, "old") }) // whose notification nobody has published
		slices.Sort(got)
		if diff := cmp.Diff(owing[i], got); diff != "" {
			t.Errorf("the sweep of shard %d has enqueued (-want +got):\n%s", i, diff)
		}
		q.Take()

		left := stored(t, db)
		for j, ids := range lapsed {
			for _, id := range ids {
				if there := slices.Contains(left, id); there != (j < i) {
					t.Errorf("after the sweep of shard %d, %s of shard %d is there: %t", i, id, j, there)
				}
			}
		}
		want := 1
		if i == 0 {
			want = 0
		}
		if n, err := db.KV().Purge(t.Context(), now, 1); err != nil || n != want {
			t.Errorf("after the sweep of shard %d, %d expired entries are there, %v; want %d", i, n, err, want)
		}
		entry()
	}
}
