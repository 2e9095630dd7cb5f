package task_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// The tools that the model of steps calls. Their numbers are those of what a model wants: in
// another order, in other words and with other ids, it wants the same.
const (
	pay  uint8 = iota // has effects, and its receiver keeps keys
	mail              // has effects, and its receiver keeps no keys
	look              // has no effects
	deals
)

var toolNames = [deals]string{pay: "pay", mail: "mail", look: "look"}

const (
	callLimit = 120 // seconds that a call may take
	window    = int32(task.BeginWithin / time.Second)
	over      = window + callLimit // after its begin, no attempt at a call runs any more
	runFor    = 540                // seconds of a run
)

// A stepWorld is the whole state outside of the processes' code: the record, the steps in
// package kv, the memory of the workers, and the knowledge of outsiders. The present is
// always the instant start. When time passes, everything else moves into the past.
type stepWorld struct {
	rec     uint32
	kv      [maxSteps]entry
	hands   [2]hand
	seen    [deals]receiver
	late    lateResult
	asked   uint8 // how often the model was asked, modulo 2
	cancel  bool  // the client cancels, or deletes, the task
	deleted bool
	left    int32 // seconds until the cancel is answered; below 0: it is
	budget  [stepFaults]uint8
}

const maxSteps = 3

// An entry is a step in package kv. Results are 0 until there is one.
type entry struct {
	version uint8 // 0: there is none
	rose    uint8 // the newest version that there was
	results [deals]uint8
}

// A receiver is what the outside of a tool knows: the attempts that reached it.
type receiver struct {
	attempts uint8
	allowed  uint8 // persons who said: do it
	step     uint8 // of the key
	words    uint8 // of the arguments
	first    int32 // when the first attempt began
	busy     int32 // an attempt may still run until then
	told     bool  // a word came for the call since the last attempt began
}

// A lateResult is the result of a call that ended after its time limit.
type lateResult struct{ step, call, value uint8 }

// A hand is a worker with the run of a turn: the session of worker/turn, and the turn of
// worker/executor with its open step.
type hand struct {
	pc, then uint8 // then: where a read or a write of package kv goes on
	rec      uint32
	epoch    uint8
	until    int32 // when the run must have ended
	known    entry // the entry as the run has read or written it last
	results  [deals]uint8
	fresh    [deals]uint8

	// Sets of calls.
	begun   uint8 // the run has committed that they begin, and has not made them yet
	read    uint8 // their results were looked for
	missed  uint8 // their results were there then, and the run did not see them
	allowed uint8 // they were in doubt, and may begin after all
	running uint8
	waits   uint8 // they asked, in this run, to begin again later
	told    uint8 // or when told
	chosen  uint8 // that the next commit is about

	ends   [deals]int32 // time limits of those that run
	waitAt [deals]int32
	wake   int32 // of the park
	words  uint8 // of the reply
}

// Where a worker is in its work.
const (
	resting uint8 = iota
	readingSteps
	settling
	beginning
	calling
	keeping
	getting
	looking
	askingPerson
	parkingTurn
	modelling
	opening
	ending
	breaking
)

// Faults and other choices that are limited by a budget.
const (
	killed    = iota // a worker dies
	unheard          // the answer of an applied write is lost
	stolen           // the queue gives the job of a live worker to another one
	delayed          // time passes although a process could go on
	moment           // a short time passes
	canceled         // the client cancels
	removed          // the client deletes
	early            // the client says "do it" at any time
	agreed           // a person says "do it"
	unclear          // a person says something else
	overtime         // a call ends after its limit, with a result
	postponed        // a call wants to begin again later, or when told
	word             // a waiting call is told
	drained          // the worker must stop
	stepFaults
)

// The kinds of results. The rest of a result's number is the epoch of its run.
const (
	returned uint8 = iota
	confirmed
	leftAlone
	refused
	belated
	kinds
)

func resultOf(h *hand, kind uint8) uint8 { return h.epoch*kinds + kind }

// seconds of the world, clipped.
func ahead(t time.Time) int32 { return int32(t.Sub(start) / time.Second) }

func instant(secs int32) time.Time { return start.Add(time.Duration(secs) * time.Second) }

// plain is the record without everything that the protocol of steps does not depend on.
func plain(r task.Record) task.Record {
	t := &a2a.Task{ID: r.Task.ID, ContextID: r.Task.ContextID, Status: a2a.TaskStatus{State: r.State()}}
	stamp := start.Add(-time.Second)
	t.Status.Timestamp = &stamp
	if n := len(r.Task.History); n > 0 {
		t.History = r.Task.History[n-1:]
	}

	n := task.Record{
		Schema: r.Schema, Task: t, Owner: r.Owner, Lane: r.Lane, Requests: r.Requests, Turn: r.Turn, Since: start, Inbox: r.Inbox,
		Seq: r.Seq, Epoch: r.Epoch, Attempt: r.Attempt, Deaths: r.Deaths, Blamed: r.Blamed, Broke: r.Broke, Lease: r.Lease, Wake: r.Wake,
		Deleted: r.Deleted, Life: r.Life, Steps: r.Steps, Step: r.Step, First: r.First, Told: r.Told,
	}
	n.Lease.Retry = 0
	if !r.Paused.IsZero() {
		n.Paused = start
	}
	for _, m := range slices.Backward(r.Marks) {
		if m.Kind == task.MarkClaimed {
			n.Marks = []task.Mark{{At: m.At, Kind: m.Kind}}
			break
		}
	}
	return n
}

// passed is the record after some seconds. Times that are too far back to make a difference
// become the same time.
func (s *stepSearch) passed(r task.Record, secs int32) task.Record {
	back := func(t time.Time, floor int32) time.Time {
		if t.IsZero() {
			return t
		}
		return instant(max(ahead(t)-secs, -floor))
	}

	r = plain(r)
	r.Lease.Until, r.Wake = back(r.Lease.Until, 0), back(r.Wake, 0)
	for i := range r.Marks {
		r.Marks[i].At = back(r.Marks[i].At, int32(task.ToldEvery/time.Second))
	}
	if r.Step == nil {
		return r
	}

	step := *r.Step
	step.At, step.Calls = start, slices.Clone(step.Calls)
	for i := range step.Calls {
		c := &step.Calls[i]
		c.First, c.Begun, c.Wait = back(c.First, s.young()), back(c.Begun, over+1), back(c.Wait, 0)
	}
	if step.Asked != nil {
		q := *step.Asked
		q.At = start
		step.Asked = &q
	}
	r.Step = &step
	return r
}

// young is the age in seconds from which a first begin is old. Where receivers keep keys for
// longer than the world lasts, no first begin is.
func (s *stepSearch) young() int32 {
	if s.sc.keeps == 0 {
		return 0
	}
	return int32(s.sc.keeps/time.Second) + 1
}

// stepKeyOf encodes everything about a plain record.
func stepKeyOf(r task.Record) string {
	b := make([]byte, 0, 256)
	num := func(vs ...int64) {
		for _, v := range vs {
			b = strconv.AppendInt(append(b, ' '), v, 36)
		}
	}

	when := func(t time.Time) {
		if t.IsZero() {
			b = append(b, ' ', '-')
			return
		}
		num(int64(ahead(t)))
	}

	flag := func(v bool) { b = strconv.AppendBool(b, v) }
	ids := func(list []*a2a.Message) {
		for _, m := range list {
			b = append(append(b, ' '), m.ID...)
		}
		b = append(b, '|')
	}

	b = append(append(b, string(r.State())...), r.Lease.Nonce...)
	num(int64(r.Turn), r.Seq, r.Epoch, int64(r.Attempt), int64(r.Deaths), int64(r.Blamed), int64(r.Broke), int64(r.Steps), int64(r.First), int64(len(r.Requests)))

	when(r.Lease.Until)
	when(r.Wake)
	when(r.Paused)
	flag(r.Lease.Alone)
	flag(r.Told)
	flag(r.Deleted)
	ids(r.Task.History)
	ids(r.Inbox)
	for _, m := range r.Marks {
		when(m.At)
	}

	if r.Step == nil {
		return string(b)
	}

	num(int64(r.Step.Number), r.Step.Epoch, int64(r.Step.Turn))
	for _, c := range r.Step.Calls {
		b = append(append(b, ' '), c.ID...)
		num(int64(c.Times))
		when(c.First)
		when(c.Begun)
		when(c.Wait)
		flag(c.Told)
	}
	if q := r.Step.Asked; q != nil {
		num(int64(q.Call), int64(q.Times))
		b = append(append(b, '?'), q.Answer...)
	}
	return string(b)
}

// dealOf and wordsOf are what a call of a step is about, and the words of the model's reply.
func dealOf(c task.Call) uint8  { return uint8(slices.Index(toolNames[:], c.Name)) }
func wordsOf(c task.Call) uint8 { return c.ID[0] - '0' }

// reply is the model's reply for a step: what it wants, in another order and other words each
// time that it is asked.
func (s *stepSearch) reply(number int, want []uint8, words uint8) task.Step {
	step := task.Step{Number: number, Model: "m", Reply: json.RawMessage(`[]`)}
	for _, d := range want {
		c := task.Call{
			ID: fmt.Sprintf("%d%s", words, toolNames[d]), Name: toolNames[d],
			Args: json.RawMessage(fmt.Sprintf(`{"words":%d}`, words)), Limit: callLimit * time.Second,
		}
		c.Hash = task.HashCall(c.Name, c.Args)
		switch d {
		case pay:
			c.Effects, c.Keeps = true, s.keeps()
		case mail:
			c.Effects = true
		}
		step.Calls = append(step.Calls, c)
	}
	if words == 1 {
		slices.Reverse(step.Calls)
	}
	return step
}

func (s *stepSearch) keeps() time.Duration {
	if s.sc.keeps == 0 {
		return 24 * time.Hour
	}
	return s.sc.keeps
}

// merge adds results to an entry, as package task decides.
func merge(e entry, calls int, results [deals]uint8) (next entry, changed bool) {
	decode := func(all [deals]uint8) map[int]task.Result {
		out := map[int]task.Result{}
		for i, v := range all {
			if v != 0 {
				out[i] = task.Result{Value: json.RawMessage(strconv.Itoa(int(v)))}
			}
		}
		return out
	}

	k, changed := task.Kept{Step: task.Step{Calls: make([]task.Call, calls)}, Results: decode(e.results)}.Merge(decode(results))
	for i, r := range k.Results {
		v, _ := strconv.Atoi(string(r.Value))
		e.results[i] = uint8(v)
	}
	return e, changed
}

// put stores an entry if its version is the one that is there.
func (e *entry) put(next entry) bool {
	if e.version != next.version {
		return false
	}
	e.rose++
	e.version, e.results = e.rose, next.results
	return true
}

// personSays is the next message of a person.
func personSays(r task.Record, what string) *a2a.Message {
	return &a2a.Message{ID: fmt.Sprintf("m%d-%s", len(r.Requests)+1, what), Role: a2a.MessageRoleUser, Parts: parts}
}

// The answers of persons.
const (
	saysDoIt     = "do"
	saysHappened = "happened"
	saysLeave    = "leave"
	saysOther    = "other"
)

func answerIn(m *a2a.Message) string {
	_, what, _ := strings.Cut(m.ID, "-")
	return what
}
