package queue

import (
	"hash/fnv"
	"slices"
	"strconv"
	"time"
)

// A Service is a program that queues call.
type Service string

// The services.
const (
	Worker    Service = "worker"
	Functions Service = "functions" // it also runs the sweeps of all lanes
)

// Names of the lanes. Records keep them: never rename one.
const (
	Turns      = "turns"      // turns of tasks
	Deliveries = "deliveries" // webhooks
	Batches    = "batches"    // batches as a whole
	Bulk       = "bulk"       // turns of the items of batches
)

// A Lane is one kind of work with a queue of its own. The local queue, Cloud Tasks, the
// sweep and the deployment all follow the table of [Lanes]. A test compares infra/ with it.
type Lane struct {
	Name    string  // its short name
	Path    string  // path at which its jobs are delivered
	Service Service // program that answers there
	Rate    int     // most deliveries that one managed queue begins in a second
	Slots   int     // most deliveries of one owner alone at once in the local queue; all together have twice as many

	Deadline time.Duration // how long a delivery may take; that of a sweep may take ShortDeadline
}

// How long queues wait for the answer to a delivery. 30 min is the longest that Cloud Tasks waits.
// https://cloud.google.com/tasks/docs/creating-http-target-tasks
const (
	ShortDeadline = 10 * time.Minute
	LongDeadline  = 30 * time.Minute
)

// Lanes lists all lanes.
//
// 500 a second is the highest rate at which a queue of Cloud Tasks dispatches.
// https://cloud.google.com/tasks/docs/quotas
//
// Deliveries have many slots, because a delivery does little but wait for a receiver: eight
// deliveries at each of a few hosts that hang must not keep all others waiting.
func Lanes() []Lane {
	return []Lane{
		{Name: Turns, Path: PathTurn, Service: Worker, Rate: 500, Slots: 32, Deadline: LongDeadline},
		{Name: Deliveries, Path: PathDeliver, Service: Functions, Rate: 500, Slots: 256, Deadline: ShortDeadline},
		{Name: Batches, Path: PathBatch, Service: Worker, Rate: 500, Slots: 8, Deadline: LongDeadline},
		{Name: Bulk, Path: PathBulk, Service: Worker, Rate: 500, Slots: 32, Deadline: LongDeadline},
	}
}

// LaneOf finds a lane by its name.
func LaneOf(name string) (Lane, bool) {
	all := Lanes()
	i := slices.IndexFunc(all, func(l Lane) bool { return l.Name == name })
	if i < 0 {
		return Lane{}, false
	}
	return all[i], true
}

// Sweeps is the short name of the managed queue for the sweeps of all lanes. With a queue of
// their own, each queue's jobs go to one address, and no program can have them sent elsewhere.
const Sweeps = "sweeps"

// MostShards is how many managed queues a lane can have.
const MostShards = 8

// Queues lists the short names of the managed queues that share the jobs of the lane: its own
// name, NAME-1, NAME-2 ... So a further queue takes nothing away from those that there are.
func (l Lane) Queues(shards int) []string {
	names := []string{l.Name}
	for i := 1; i < shards; i++ {
		names = append(names, l.Name+"-"+strconv.Itoa(i))
	}
	return names
}

// QueueOf names the managed queue that carries the jobs about a task. It is the same for
// all jobs of the task.
func (l Lane) QueueOf(task string, shards int) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(task)) // never fails
	return l.Queues(shards)[h.Sum32()%uint32(max(shards, 1))]
}
