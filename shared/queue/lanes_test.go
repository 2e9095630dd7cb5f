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
		if l.Rate < 1 || l.Slots < 1 || l.Service != queue.Worker && l.Service != queue.Functions {
			t.Errorf("%+v has no rate, slots or known service", l)
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

// All jobs about one task go to the same queue, and the jobs about many tasks use all queues.
// More queues leave the ones that there are.
func TestShards(t *testing.T) {
	lane := queue.Lane{Name: "turns"}
	for _, none := range []int{0, 1} {
		if got := lane.QueueOf("a", none); got != "turns" || !slices.Equal(lane.Queues(none), []string{"turns"}) {
			t.Errorf("a lane of one shard has the queues %q and takes %s", lane.Queues(none), got)
		}
	}

	used := map[string]int{}
	for i := range 400 {
		id := fmt.Sprint("task-", i)
		first, again := lane.QueueOf(id, 4), lane.QueueOf(id, 4)
		used[first]++
		if first != again {
			t.Errorf("the jobs of %s go to two queues", id)
		}
		if first != lane.Queues(4)[task.Bucket(id)%4] {
			t.Errorf("the jobs of %s go to %s, and its shard is another one", id, first)
		}
	}

	for _, name := range lane.Queues(4) {
		if used[name] < 50 {
			t.Errorf("%d of 400 tasks have the queue %s, want at least 50", used[name], name)
		}
	}

	if len(used) != 4 || !slices.Equal(lane.Queues(4), []string{"turns", "turns-1", "turns-2", "turns-3"}) {
		t.Errorf("the queues are %q, of which %v are used", lane.Queues(4), used)
	}
	if task.Buckets != queue.MostShards {
		t.Errorf("tasks are in %d buckets, and a lane has at most %d queues", task.Buckets, queue.MostShards)
	}
}
