package queue

import (
	"hash/fnv"
	"slices"
	"strconv"
)

// A Service is a program that queues call.
type Service string

// The services.
const (
	Worker    Service = "worker"
	Functions Service = "functions" // sweeps of every lane go there too
)

// Names of the lanes. Records keep them: never rename one.
const (
	Turns      = "turns"      // turns of tasks
	Deliveries = "deliveries" // webhooks
)

// A Lane is one kind of work with a queue of its own. The local queue, Cloud Tasks, the
// sweep and the deployment all go by the table of [Lanes]; a test holds infra/ to it.
type Lane struct {
	Name    string  // its short name
	Path    string  // where its jobs are delivered
	Service Service // the program that answers there
	Rate    int     // deliveries that one managed queue begins in a second, at most
	Slots   int     // deliveries under way at once in the local queue
	Shards  int     // managed queues that share its jobs
}

// Lanes are all lanes there are.
//
// 500 a second is the most that a queue of Cloud Tasks dispatches.
// https://cloud.google.com/tasks/docs/quotas
//
// Deliveries have many slots, because one does little but wait for a receiver: eight at
// each of a few hosts that hang must not keep all others waiting.
func Lanes() []Lane {
	return []Lane{
		{Name: Turns, Path: PathTurn, Service: Worker, Rate: 500, Slots: 32, Shards: 1},
		{Name: Deliveries, Path: PathDeliver, Service: Functions, Rate: 500, Slots: 256, Shards: 1},
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

// Queues are the short names of the lane's managed queues: its own, or NAME-0, NAME-1 ...
func (l Lane) Queues() []string {
	if l.Shards <= 1 {
		return []string{l.Name}
	}
	var names []string
	for i := range l.Shards {
		names = append(names, l.Name+"-"+strconv.Itoa(i))
	}
	return names
}

// QueueOf is the managed queue that carries the jobs about a task: always the same one.
func (l Lane) QueueOf(task string) string {
	all := l.Queues()
	h := fnv.New32a()
	_, _ = h.Write([]byte(task)) // never fails
	return all[h.Sum32()%uint32(len(all))]
}
