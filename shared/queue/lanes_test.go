package queue_test

import (
	"fmt"
	"slices"
	"testing"

	"errand/shared/queue"
	"errand/shared/task"
)

// Records and queues call the lanes by the same names, and no two lanes share a path.
func TestLanes(t *testing.T) {
	var names, paths []string
	for _, l := range queue.Lanes() {
		found, ok := queue.LaneOf(l.Name)
		if !ok || found != l {
			t.Errorf("LaneOf(%q) = %+v, %t", l.Name, found, ok)
		}
		if l.Rate < 1 || l.Slots < 1 || l.Shards < 1 || l.Service != queue.Worker && l.Service != queue.Functions {
			t.Errorf("%+v has no rate, slots, shards or known service", l)
		}
		if slices.Contains(paths, l.Path) {
			t.Errorf("two lanes deliver to %s", l.Path)
		}
		names, paths = append(names, l.Name), append(paths, l.Path)
	}
	if want := []string{task.Turns, task.Deliveries, task.Batches, task.Bulk}; !slices.Equal(names, want) {
		t.Errorf("the lanes are %q, want those of records, %q", names, want)
	}
	if l, ok := queue.LaneOf("nonsense"); ok {
		t.Errorf("LaneOf(\"nonsense\") = %+v, want none", l)
	}
}

// All jobs about one task go to the same shard, and the jobs about many tasks use all
// shards.
func TestShards(t *testing.T) {
	one := queue.Lane{Name: "turns", Shards: 1}
	if got := one.QueueOf("a"); got != "turns" || !slices.Equal(one.Queues(), []string{"turns"}) {
		t.Errorf("a lane of one shard has the queues %q and takes %s", one.Queues(), got)
	}

	lane, used := queue.Lane{Name: "turns", Shards: 4}, map[string]int{}
	for i := range 400 {
		id := fmt.Sprint("task-", i)
		first, again := lane.QueueOf(id), lane.QueueOf(id)
		used[first]++
		if first != again {
			t.Errorf("the jobs of %s go to two queues", id)
		}
	}
	for _, name := range []string{"turns-0", "turns-1", "turns-2", "turns-3"} {
		if used[name] < 50 {
			t.Errorf("%d of 400 tasks have the queue %s, want at least 50", used[name], name)
		}
	}
	if len(used) != 4 {
		t.Errorf("the queues are %v", used)
	}
}
