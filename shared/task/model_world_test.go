package task_test

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// Sizes of the model's world. A world that needs more is a violation: then something
// multiplies.
const (
	maxJobs          = 7
	maxNotifications = 8
	maxGens          = 5
	maxWebhooks      = 2
)

// A world is the whole state outside of the processes' code: the store's one record, the
// queue, the bus, the memory of each process, and the knowledge of outsiders. It holds no
// pointers, so that it can be compared and hashed. The present is always the instant start.
// When time passes, everything else moves into the past.
type world struct {
	rec      uint32 // index of the stored record; 0: none
	jobs     [maxJobs]job
	bus      [maxNotifications + 1]uint8 // waiting events, by notification
	workers  [2]worker
	couriers [2]courier
	fronts   [6]uint8  // how far each request is
	first    [6]uint32 // of an unsure request: the record that it read first
	budget   [faults]uint8
	seen     witness
}

// A job is an accepted queue task. by is the process that handles it.
type job struct {
	lane, name, retry, by uint8
	at                    int32 // seconds from now
}

const (
	noLane = iota
	turnLane
	deliveryLane
)

// A worker is one process that runs turns.
type worker struct {
	pc, op             uint8
	name, retry, nonce uint8 // of delivery and claim
	told               uint8 // notifications that it knows to be published, or must publish
	epoch, seq         uint8
	turn, msg, said    uint8
	wake               int32
}

// A courier is one process that delivers to webhooks.
type courier struct {
	pc   uint8
	pass [maxWebhooks]leg
}

// A leg is the part of a delivery pass for one webhook.
type leg struct{ hook, gen, cursor, attempt, notes, sent, fail uint8 }

// A witness is the knowledge of the outsiders.
type witness struct {
	accepted uint8 // messages whose sender got the task as the answer
	answered uint8 // messages with an execution that took effect
	topic    uint16
	cancel   uint8
	tasks    uint8
	qlost    bool
	deleted  bool           // the task's deletion has returned
	guilty   uint8          // errors of runs, and deaths of workers that ran nothing else
	dropped  uint8          // generations whose deletion has returned
	start    [maxGens]uint8 // cursor at creation + 1
	recv     [maxGens]uint8 // newest notification received
	acked    [maxGens]uint8 // newest notification answered 2xx
}

// Faults and other choices that are limited by a budget.
const (
	crash = iota
	duplicate
	queueLoss
	busLoss
	outage // of the queue, when a job is added
	lost   // the answer of an applied write
	expire // of a lease under a live worker
	refuse // a receiver answers 500
	gone   // a receiver answers 410
	throttle
	gated   // the gate of the model is closed
	restart // of everything, local queue and bus included
	poison  // a turn kills its worker
	breaks  // a run ends in an error
	busy    // other turns run in the process of a turn that must run apart
	minute  // a turn has run alone for a minute
	faults
)

// info holds the facts about a record that processes and checks need.
type info struct {
	state                 a2a.TaskState
	terminal, interrupted bool
	deleted               bool
	epoch, seq, turn      uint8
	told, notes           uint8
	attempt               int
	front                 uint16 // notifications made by the front door
	leased, live, alone   bool
	leaseName, leaseRetry uint8
	nonce                 string
	until                 int32
	due                   int32 // seconds from now; -1: no work is pending
	hooks                 []hookInfo
	msg                   uint8 // the message being answered
	seen, history, inbox  uint8
}

type hookInfo struct {
	id, gen, cursor, attempt uint8
	active                   bool
	next                     int32
}

func seconds(t time.Time) int32 {
	d := t.Sub(start)
	if d > 0 {
		return int32((d + time.Second - 1) / time.Second)
	}
	return int32(d / time.Second)
}

func bit(id string) uint8 {
	if len(id) == 2 && id[0] == 'm' {
		return 1 << (id[1] - '1')
	}
	return 0
}

func infoOf(r task.Record) info {
	in := info{
		state: r.State(), terminal: r.Terminal(), interrupted: r.Interrupted(), deleted: r.Deleted,
		epoch: uint8(r.Epoch), seq: uint8(r.Seq), turn: uint8(r.Turn), told: uint8(r.Published), notes: uint8(len(r.Notifications)),
		attempt: r.Attempt, leased: r.Lease != (task.Lease{}), alone: r.Lease.Alone, nonce: r.Lease.Nonce, due: -1,
	}

	if in.leased {
		in.live, in.until, in.leaseRetry = r.Lease.Until.After(start), seconds(r.Lease.Until), uint8(r.Lease.Retry)
		n, _ := strconv.Atoi(strings.TrimPrefix(r.Lease.Name, "j"))
		in.leaseName = uint8(n)
	}

	if !r.Due.At.IsZero() {
		in.due = max(0, seconds(r.Due.At))
	}

	for i, n := range r.Notifications {
		if n.Front {
			in.front |= 1 << i
		}
	}

	for _, h := range r.Webhooks {
		in.hooks = append(in.hooks, hookInfo{
			id: h.ID[1] - '0', gen: uint8(h.Gen), cursor: uint8(h.Cursor), attempt: uint8(h.Attempt),
			active: h.State == task.WebhookActive, next: seconds(h.Next),
		})
	}

	for _, m := range r.Task.History {
		if b := bit(m.ID); b != 0 {
			in.history |= b
			in.msg = b
		}
	}

	for _, s := range r.Requests {
		in.seen |= bit(s.ID)
	}

	for _, m := range r.Inbox {
		in.inbox |= bit(m.ID)
	}

	return in
}

// keyOf encodes in few bytes everything about a record that the protocol depends on. It
// leaves out the fields that only clients read (times of events, the log).
func (s *search) keyOf(r task.Record) string {
	b := make([]byte, 0, 256)
	num := func(v int64) { b = strconv.AppendInt(append(b, ' '), v, 36) }
	str := func(v string) { b = append(append(b, ' '), v...) }

	when := func(t time.Time) {
		if t.IsZero() {
			b = append(b, ' ', '-')
			return
		}
		num(int64(seconds(t)))
	}

	str(string(r.State()) + strconv.FormatBool(r.Deleted))
	if m := r.Task.Status.Message; m != nil {
		str(m.ID)
	}

	for _, v := range []int64{int64(r.Turn), r.Seq, int64(r.Published), r.Epoch, int64(r.Attempt), int64(r.Deaths), int64(r.Blamed), int64(r.Broke), r.Gens} {
		num(v)
	}

	when(r.Lease.Until)
	str(r.Lease.Name)
	num(int64(r.Lease.Retry))
	str(r.Lease.Nonce + strconv.FormatBool(r.Lease.Alone))
	when(r.Wake)
	when(r.Asked)
	when(r.Due.At)
	for _, a := range r.Asks {
		str(a.Lane)
		num(int64(a.Debts))
		when(a.At)
		num(int64(a.N))
	}

	if s.sc.patient {
		when(r.Since)
		when(r.Stamp().Truncate(time.Second))
	}

	for _, m := range r.Task.History {
		str(m.ID)
	}

	for _, a := range r.Task.Artifacts {
		str(string(a.ID))
		for _, p := range a.Parts {
			str(p.Text())
		}
	}

	for _, v := range r.Requests {
		str(v.ID)
	}

	b = append(b, '|')
	for _, v := range r.Made {
		str(string(v.ID))
		num(v.Epoch)
	}

	b = append(b, '|')
	for _, m := range r.Inbox {
		str(m.ID)
	}

	for _, h := range r.Webhooks {
		str(h.ID + h.URL + h.State + strconv.FormatBool(h.Gone))
		num(h.Gen)
		num(int64(h.Cursor))
		num(int64(h.Attempt))
		when(h.Next)
	}

	for _, n := range r.Notifications {
		str(string(n.State) + string(n.Artifact) + strconv.FormatBool(n.Front))
		num(n.Seq)
	}

	return string(b)
}

// bare is the record with its persisted fields only.
func bare(r task.Record) task.Record {
	return task.Record{
		Schema: r.Schema, Task: r.Task, Owner: r.Owner, Lane: r.Lane, Requests: r.Requests, Turn: r.Turn, Since: r.Since,
		Made: r.Made, Inbox: r.Inbox, Webhooks: r.Webhooks, Gens: r.Gens, Seq: r.Seq, Log: r.Log, Notifications: r.Notifications,
		Published: r.Published, Epoch: r.Epoch, Attempt: r.Attempt, Deaths: r.Deaths, Blamed: r.Blamed, Lease: r.Lease, Wake: r.Wake, Asked: r.Asked, Asks: r.Asks,
		Due: r.Due, Deleted: r.Deleted, Expires: r.Expires, Version: r.Version,
		Life: r.Life, Steps: r.Steps, Step: r.Step, First: r.First, Told: r.Told, Paused: r.Paused, Broke: r.Broke,
	}
}

// aged is the record after d has passed. All times that are too far back to make a
// difference become the same time.
func (s *search) aged(r task.Record, d time.Duration) task.Record {
	back := func(t time.Time, floor time.Duration) time.Time {
		if t.IsZero() {
			return t
		}

		if t, low := t.Add(-d), start.Add(-floor); t.After(low) {
			return t
		} else {
			return low
		}
	}

	ru := s.sc.rules
	r = bare(r)
	t := *r.Task
	stamp, since := start.Add(-time.Second), start
	if s.sc.patient {
		stamp, since = back(r.Stamp(), ru.Answer), back(r.Since, ru.Age)
	}

	t.Status.Timestamp, r.Since, r.Task = &stamp, since, &t
	r.Asked, r.Wake = back(r.Asked, ru.Patience), back(r.Wake, 0)
	r.Lease.Until, r.Due.At = back(r.Lease.Until, 0), back(r.Due.At, 0)
	r.Asks = slices.Clone(r.Asks)
	for i := range r.Asks {
		r.Asks[i].At = back(r.Asks[i].At, ru.Longest())
	}
	r.Webhooks = slices.Clone(r.Webhooks)
	for i := range r.Webhooks {
		r.Webhooks[i].Next = back(r.Webhooks[i].Next, 0)
	}

	return r
}

func compareJobs(a, b job) int {
	for _, d := range []int{
		int(b.lane) - int(a.lane), int(a.name) - int(b.name), int(a.retry) - int(b.retry), int(a.by) - int(b.by),
	} {
		if d != 0 {
			return d
		}
	}
	return int(a.at) - int(b.at)
}

// sortJobs makes queues with equal jobs equal.
func (w *world) sortJobs() { slices.SortFunc(w.jobs[:], compareJobs) }

// freeName is a queue task's name that is not in use.
func (s *search) freeName(w *world) uint8 {
	for name := uint8(1); ; name++ {
		used := s.infos[w.rec].leaseName == name
		for _, j := range w.jobs {
			used = used || j.name == name
		}
		for _, k := range w.workers {
			used = used || k.name == name
		}
		if !used {
			return name
		}
	}
}

// add puts a job into the queue.
func (s *search) add(w *world, lane uint8, at int32) {
	s.addJob(w, job{lane: lane, name: s.freeName(w), at: max(0, at)})
}

// enqueue puts a job for each debt into the queue.
func (s *search) enqueue(w *world, owed []task.Debt) {
	for _, d := range owed {
		if d.Lane == task.Deliveries {
			s.hint(w, max(0, seconds(d.At)))
		} else {
			s.add(w, turnLane, seconds(d.At))
		}
	}
}

func (s *search) addJob(w *world, j job) {
	for i := range w.jobs {
		if w.jobs[i].lane == noLane {
			w.jobs[i] = j
			w.sortJobs()
			return
		}
	}
	s.violation("jobs pile up in the queue")
}

// drop removes the job that by handles from the queue.
func (w *world) drop(by uint8) {
	for i := range w.jobs {
		if w.jobs[i].lane != noLane && w.jobs[i].by == by {
			w.jobs[i] = job{}
			w.sortJobs()
			return
		}
	}
}

// giveBack makes the queue deliver the job that by handles again.
func (w *world) giveBack(by uint8) {
	for i := range w.jobs {
		if j := &w.jobs[i]; j.lane != noLane && j.by == by {
			j.by, j.retry = 0, j.retry+1
			w.sortJobs()
			return
		}
	}
}
