package task_test

import (
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A stepOp names one call of a transition: the record and the arguments. Transitions are
// pure, so each call is made once.
type stepOp struct {
	rec  uint32
	op   byte
	args [8]int32
}

type stepResult struct {
	rec     uint32
	changed bool
	verdict task.Verdict
	err     error
	bad     string
}

const (
	stepClaim = 'a' + iota
	stepOpen
	stepBegin
	stepPark
	stepAsk
	stepEnd
	stepGiveBack
	stepFollow
	stepCancel
	stepDelete
	stepTell
	stepAge
)

func (s *stepSearch) now() task.Moment { return s.rules.At(start) }

// op applies a transition, and checks the laws that hold for all of them.
func (s *stepSearch) op(rec uint32, op byte, apply func(r task.Record, res *stepResult) task.Record, args ...int32) stepResult {
	k := stepOp{rec: rec, op: op}
	copy(k.args[:], args)
	res, ok := s.memo[k]
	if !ok {
		was := s.recs[rec]
		next := apply(was, &res)
		if res.rec = rec; res.err == nil && res.changed {
			if op != stepAge {
				res.bad = unlawfulSteps(was, next, op)
			}
			res.rec = s.intern(next)
		}
		s.memo[k] = res
	}
	if res.bad != "" {
		s.violation("%s", res.bad)
	}
	return res
}

func (s *stepSearch) intern(r task.Record) uint32 {
	r = plain(r)
	key := stepKeyOf(r)
	i, ok := s.index[key]
	if !ok {
		i = uint32(len(s.recs))
		s.index[key] = i
		s.recs = append(s.recs, r)
	}
	return i
}

// unlawfulSteps checks the laws that hold for every change of a record.
func unlawfulSteps(was, r task.Record, op byte) string {
	forgot := r.Attempt <= 1 && r.Deaths+r.Blamed == 0
	gaveBack := 0
	if op == stepPark {
		gaveBack = 1
	}

	switch {
	case op == stepDelete:
		return ""
	case r.Seq < was.Seq || r.Turn < was.Turn || r.Steps < was.Steps || r.First < was.First || r.Broke < was.Broke && r.Turn == was.Turn:
		return "a counter went back"
	case was.Terminal():
		return "an ended task was changed"
	case r.Epoch != was.Epoch && (op != stepClaim || r.Epoch != was.Epoch+1):
		return "the epoch jumped"
	case !forgot && (r.Attempt < was.Attempt-gaveBack || r.Deaths < was.Deaths || r.Blamed < was.Blamed):
		return "an attempt was forgotten without progress"
	case r.Deaths > r.Attempt+1 || r.Blamed > max(0, r.Deaths-1):
		return "a turn has more deaths than attempts, or is blamed for the first one"
	case r.Step != nil && r.Step.Number != r.Steps:
		return "the open step is not the newest one"
	case r.Interrupted() && len(r.Inbox) > 0 && (r.Step == nil || r.Step.Asked == nil):
		return "a task waits for its client although a message waits"
	case r.Told && !r.Paused.IsZero() && !r.Terminal() && r.Wake.After(start.Add(task.ToldEvery)):
		return "a call that was told waits on"
	}

	if r.Turn > was.Turn && (r.Step != nil || r.First != r.Steps) {
		if q := asked(r); q == nil || q.Answer == "" || q.Answer != r.Task.History[len(r.Task.History)-1].ID {
			return "a turn goes on with a step, but its message answers no question about it"
		}
	}
	return unlawfulCalls(was, r, op)
}

// unlawfulCalls checks that calls begin by the commits that say so, and by no other.
func unlawfulCalls(was, r task.Record, op byte) string {
	if was.Step == nil || r.Step == nil || was.Step.Number != r.Step.Number {
		return ""
	}
	for i, c := range r.Step.Calls {
		old := was.Step.Calls[i]
		switch {
		case c.ID != old.ID || c.Hash != old.Hash:
			return "an open call was replaced"
		case c.Times < old.Times || c.Begun.Before(old.Begun) || !old.First.IsZero() && !c.First.Equal(old.First):
			return "a begin was forgotten"
		case c.Times != old.Times && op != stepBegin:
			return "a call began by another commit"
		}
	}
	return ""
}

// asked is the question about a call of the open step.
func asked(r task.Record) *task.Question {
	if r.Step == nil {
		return nil
	}
	return r.Step.Asked
}

func (s *stepSearch) claim(rec uint32, i int) stepResult {
	return s.op(rec, stepClaim, func(r task.Record, res *stepResult) (n task.Record) {
		c := task.Claim{Lease: task.Lease{
			Until: instant(leaseSeconds), Queue: task.Turns, Name: "j", Retry: 1, Nonce: fmt.Sprintf("w%d.%d", i, r.Epoch+1), Alone: true,
		}}
		if n, v, _, err := r.Claim(s.now(), c); err == nil && v == task.Claimed && !n.Apart(s.rules) {
			c.Lease.Alone = false
		}
		n, res.verdict, res.changed, res.err = r.Claim(s.now(), c)
		return n
	}, int32(i))
}

// fence is the fence of a run: its view of the record that it writes to.
func (s *stepSearch) fence(h *hand) task.Fence {
	return task.Fence{Epoch: int64(h.epoch), Seq: s.recs[h.rec].Seq}
}

// using is the event that tells which tools are used.
func using() []a2a.Event {
	return []a2a.Event{&a2a.TaskStatusUpdateEvent{TaskID: "t", ContextID: "c", Status: a2a.TaskStatus{State: a2a.TaskStateWorking}}}
}

func (s *stepSearch) openStep(rec uint32, h *hand, want []uint8, begins []int) stepResult {
	t, number := s.fence(h), s.recs[h.rec].Steps+1
	return s.op(rec, stepOpen, func(r task.Record, res *stepResult) (n task.Record) {
		if s.sc.without.has(stepEpoch) {
			t.Epoch = r.Epoch
		}
		if s.sc.without.has(beginCommit) {
			begins = nil
		}
		n, res.changed, res.err = r.OpenStep(s.now(), t, using(), s.reply(number, want, h.words), begins)
		return n
	}, int32(t.Epoch), int32(t.Seq), int32(number), int32(h.words), maskOf(begins))
}

func maskOf(calls []int) (mask int32) {
	for _, i := range calls {
		mask |= 1 << i
	}
	return mask
}

func (s *stepSearch) beginCalls(rec uint32, h *hand) stepResult {
	t, step := s.fence(h), s.recs[h.rec].Step
	times, key := map[int]int{}, int32(0)
	for i, c := range step.Calls {
		if h.chosen&(1<<i) != 0 {
			times[i] = c.Times
			key |= int32(c.Times+1) << (8 * i)
		}
	}
	return s.op(rec, stepBegin, func(r task.Record, res *stepResult) (n task.Record) {
		n, res.changed, res.err = r.BeginCalls(s.now(), t, using(), step.Number, times)
		return n
	}, int32(t.Epoch), int32(t.Seq), int32(step.Number), key)
}

func (s *stepSearch) parkTurn(rec uint32, h *hand) stepResult {
	t, p := s.fence(h), task.Parking{Wake: instant(h.wake)}
	args := []int32{int32(t.Epoch), int32(t.Seq), h.wake, int32(h.chosen)<<8 | int32(h.told)}
	for i, at := range h.waitAt {
		if h.chosen&(1<<i) != 0 {
			p.Waits = append(p.Waits, task.Wait{Call: i, At: instant(at), Told: h.told&(1<<i) != 0})
			args = append(args, at)
		}
	}
	return s.op(rec, stepPark, func(r task.Record, res *stepResult) (n task.Record) {
		n, res.changed, res.err = r.Park(s.now(), t, nil, p)
		return n
	}, args...)
}

// ask ends the turn with a question about a call.
func (s *stepSearch) ask(rec uint32, h *hand, call int) stepResult {
	t, c := s.fence(h), s.recs[h.rec].Step.Calls[call]
	return s.op(rec, stepAsk, func(r task.Record, res *stepResult) (n task.Record) {
		q := &task.Question{Call: call, Hash: c.Hash, At: start, Times: c.Times}
		n, res.changed, res.err = r.Finish(s.now(), t, nil, task.Outcome{
			State: a2a.TaskStateInputRequired, Message: &a2a.Message{ID: "question", Parts: parts}, Question: q,
		})
		if len(n.Inbox) > 0 && res.changed && s.sc.without.has(boundAnswer) {
			m := n.Inbox[0]
			n.Inbox, n.Requests = n.Inbox[1:], n.Requests[:len(n.Requests)-1]
			n, res.changed, res.err = n.FollowUp(s.now(), m, task.Request{ID: m.ID, Fingerprint: "p"})
		}
		return n
	}, int32(t.Epoch), int32(t.Seq), int32(call), int32(c.Times))
}

func (s *stepSearch) endTurn(rec uint32, h *hand) stepResult {
	t := s.fence(h)
	return s.op(rec, stepEnd, func(r task.Record, res *stepResult) (n task.Record) {
		n, res.changed, res.err = r.Finish(s.now(), t, nil, task.Outcome{State: a2a.TaskStateCompleted})
		return n
	}, int32(t.Epoch), int32(t.Seq))
}

func (s *stepSearch) breakOff(rec uint32, h *hand) stepResult {
	t := s.fence(h)
	return s.op(rec, stepGiveBack, func(r task.Record, res *stepResult) (n task.Record) {
		n, res.changed, res.err = r.GiveBack(s.now(), t, task.Spent{})
		return n
	}, int32(t.Epoch), int32(t.Seq))
}

func (s *stepSearch) send(rec uint32, what string) stepResult {
	return s.op(rec, stepFollow, func(r task.Record, res *stepResult) (n task.Record) {
		m := personSays(r, what)
		n, res.changed, res.err = r.FollowUp(s.now(), m, task.Request{ID: m.ID, Fingerprint: "p"})
		return n
	}, int32(what[0]))
}

func (s *stepSearch) cancelTask(rec uint32) stepResult {
	return s.op(rec, stepCancel, func(r task.Record, res *stepResult) (n task.Record) {
		n, res.changed, res.err = r.Cancel(s.now(), &a2a.Message{ID: "cancel", Parts: parts}, nil)
		return n
	})
}

func (s *stepSearch) deleteTask(rec uint32) stepResult {
	return s.op(rec, stepDelete, func(r task.Record, res *stepResult) (n task.Record) {
		n, res.changed, res.err = r.Delete(s.now())
		return n
	})
}

func (s *stepSearch) tellCall(rec uint32, step, call int) stepResult {
	return s.op(rec, stepTell, func(r task.Record, res *stepResult) (n task.Record) {
		n, res.changed, res.err = r.Tell(s.now(), step, call)
		if s.sc.without.has(keptWord) && r.Paused.IsZero() {
			n.Told = false
		}
		return n
	}, int32(step), int32(call))
}

// canBegin is how long a call may begin after the task has ended, in seconds; below 0: none
// may.
func canBegin(r task.Record) int32 {
	until := r.BeginsUntil()
	if until.IsZero() {
		return -1
	}
	return max(ahead(until), -1)
}

// leaves is for calls that ask to begin again later.
const leaves = int32(5 * time.Minute / time.Second)
