package task_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// An opKey names one call of a transition: the record and the arguments. Transitions are
// pure, so each call is made once.
type opKey struct {
	rec  uint32
	op   byte
	args [14]uint8
}

type opResult struct {
	rec     uint32
	changed bool
	verdict task.Verdict
	err     error
	bad     string
}

const (
	opAccept = 'a' + iota
	opFollow
	opCancel
	opWebhook
	opDropWebhook
	opRedrive
	opClaim
	opProgress
	opFinish
	opPark
	opDelivered
	opPublished
	opSwept
	opLeaseLost
	opAge
	opDelete
	opGiveBack
	opBeside
)

func (s *search) now() task.Moment { return s.sc.rules.At(start) }

// op applies a transition and checks the laws that hold for all of them.
func (s *search) op(k opKey, apply func(r task.Record, res *opResult) task.Record) opResult {
	res, ok := s.memo[k]
	if !ok {
		was := s.recs[k.rec]
		before := encoding(was)
		next := apply(was, &res)
		if !bytes.Equal(before, encoding(was)) {
			res.bad = "a transition changed its receiver"
		}
		switch {
		case res.err != nil || !res.changed:
			res.rec = k.rec
		default:
			if res.bad == "" && k.op != opAge {
				res.bad = s.unlawful(was, next, k.op)
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

// asked lists the debts for which the front door adds jobs, as the desk does: the debts
// that are new between its first read of the record and its last one.
func (s *search) asked(first, last uint32) []task.Debt {
	before, after := s.recs[first], s.recs[last]
	if first == last {
		return after.Owed(s.now(), start)
	}
	if s.sc.remove.has(noNewNotification) {
		after.Published = len(after.Notifications)
	}
	if s.sc.remove.has(noRevived) {
		before.Webhooks = after.Webhooks
	}
	return task.NewDebts(before, after, s.now())
}

// soon lists the record's debts within Patience. Due brings the later ones.
func (s *search) soon(r task.Record, lanes ...string) []task.Debt {
	now := s.now()
	return slices.DeleteFunc(r.Owed(now, start.Add(now.Rules.Patience)), func(d task.Debt) bool {
		return len(lanes) > 0 && !slices.Contains(lanes, d.Lane)
	})
}

func (s *search) intern(r task.Record) uint32 {
	key := s.keyOf(r)
	i, ok := s.index[key]
	if !ok {
		i = uint32(len(s.recs))
		s.index[key] = i
		s.recs, s.infos = append(s.recs, bare(r)), append(s.infos, infoOf(r))
	}
	return i
}

func encoding(r task.Record) []byte {
	if r.Task == nil {
		return nil
	}
	enc, err := bare(r).Encode()
	if err != nil {
		return []byte(err.Error())
	}
	return append(enc.Head[:len(enc.Head):len(enc.Head)], enc.Body...)
}

var parts = a2a.ContentParts{a2a.NewTextPart("x")}

func message(n uint8) *a2a.Message {
	return &a2a.Message{ID: fmt.Sprintf("m%d", n), Role: a2a.MessageRoleUser, Parts: parts}
}

func (s *search) accept() opResult {
	return s.op(opKey{op: opAccept}, func(_ task.Record, res *opResult) task.Record {
		a := task.Acceptance{ID: "t", Context: "c", Owner: "o", Lane: task.Turns, Message: message(1), Request: task.Request{ID: message(1).ID, Fingerprint: "p1"}}
		for i := range s.sc.inline {
			a.Webhooks = append(a.Webhooks, hook(uint8(i+1), 0))
		}
		if s.sc.remove.has(noCursor) {
			a.Webhooks = nil
		}
		r, err := task.Accept(s.now(), a)
		res.changed, res.err = true, err
		return r
	})
}

func hook(id, version uint8) task.Webhook {
	return task.Webhook{ID: fmt.Sprintf("h%d", id), URL: fmt.Sprintf("https://h%d.test/%d", id, version)}
}

func (s *search) followUp(rec uint32, msg uint8) opResult {
	return s.op(opKey{rec, opFollow, [14]uint8{msg}}, func(r task.Record, res *opResult) (n task.Record) {
		if s.sc.remove.has(noSeen) {
			r.Requests = nil
		}
		n, res.changed, res.err = r.FollowUp(s.now(), message(msg), task.Request{ID: message(msg).ID, Fingerprint: fmt.Sprintf("p%d", msg)})
		if s.sc.remove.has(noSeen) {
			n.Requests = append(s.recs[rec].Requests[:len(s.recs[rec].Requests):len(s.recs[rec].Requests)], n.Requests...)
		}
		return n
	})
}

func (s *search) cancel(rec uint32, again bool) opResult {
	say := &a2a.Message{ID: "cancel", Parts: parts}
	if again && s.sc.remove.has(cancelMemory) {
		say.ID = "cancel-again"
	}
	return s.op(opKey{rec, opCancel, [14]uint8{uint8(len(say.ID))}}, func(r task.Record, res *opResult) (n task.Record) {
		n, res.changed, res.err = r.Cancel(s.now(), say, nil)
		if s.sc.remove.has(frontDebt) && res.changed {
			n = bare(n)
			n.Notifications = append([]task.Notification(nil), n.Notifications...)
			n.Notifications[len(n.Notifications)-1].Front = false
			if !s.behind(n) {
				n.Due = task.Due{}
			}
		}
		return n
	})
}

// delete returns the record 0, as if nothing had been left, if ids do not stay.
func (s *search) delete(rec uint32) opResult {
	res := s.op(opKey{rec: rec, op: opDelete}, func(r task.Record, res *opResult) (n task.Record) {
		n, res.changed, res.err = r.Delete(s.now())
		return n
	})
	if s.sc.remove.has(idsStay) {
		res.rec = 0
	}
	return res
}

func (s *search) behind(r task.Record) bool {
	for _, h := range r.Webhooks {
		if h.State == task.WebhookActive && h.Cursor < len(r.Notifications) {
			return true
		}
	}
	return false
}

func (s *search) setWebhook(rec uint32, id, version uint8) opResult {
	return s.op(opKey{rec, opWebhook, [14]uint8{id, version}}, func(r task.Record, res *opResult) (n task.Record) {
		n, res.changed, res.err = r.SetWebhook(s.now(), hook(id, version))
		return n
	})
}

func (s *search) dropWebhook(rec uint32, id uint8) opResult {
	return s.op(opKey{rec, opDropWebhook, [14]uint8{id}}, func(r task.Record, res *opResult) (n task.Record) {
		n, res.changed, res.err = r.DropWebhook(s.now(), hook(id, 0).ID)
		return n
	})
}

// redrive sends everything again to the first generation of the webhook, the one that its
// caller has read.
func (s *search) redrive(rec uint32, id uint8) opResult {
	return s.op(opKey{rec, opRedrive, [14]uint8{id}}, func(r task.Record, res *opResult) (n task.Record) {
		if len(r.Notifications) == 0 {
			return r // there is no notification to send again
		}
		n, res.changed, res.err = r.Redrive(s.now(), hook(id, 0).ID, 1, 1)
		return n
	})
}

func nonce(i int, n uint8) string { return fmt.Sprintf("w%d.%d", i, n) }

const leaseSeconds = 570

// apart reports whether the worker's claim would have to run the turn apart.
func (s *search) apart(r task.Record, i int, k worker) bool {
	c := claimOf(i, k)
	c.Lease.Alone = true
	n, v, _, err := r.Claim(s.now(), c)
	return err == nil && v == task.Claimed && n.Apart(s.sc.rules)
}

func claimOf(i int, k worker) task.Claim {
	return task.Claim{Published: int(k.told), Lease: task.Lease{
		Until: start.Add(leaseSeconds * time.Second), Queue: task.Turns, Name: fmt.Sprintf("j%d", k.name),
		Retry: int(k.retry), Nonce: nonce(i, k.nonce),
	}}
}

// claim is the claim of a worker. alone: nothing else runs in its process.
func (s *search) claim(rec uint32, i int, k worker, again, alone bool) opResult {
	args := [14]uint8{uint8(i), k.nonce, k.name, k.retry, k.told}
	if again && s.sc.remove.has(claimMemory) {
		args[5] = 1
	}
	if alone {
		args[6] = 1
	}

	return s.op(opKey{rec, opClaim, args}, func(r task.Record, res *opResult) (n task.Record) {
		c := claimOf(i, k)
		c.Lease.Alone = alone
		if s.sc.remove.has(apart) {
			r.Lease.Alone = false
		}

		switch {
		case args[5] == 1:
			c.Lease.Nonce += "again"
		case s.sc.remove.has(leaseCheck) && r.Lease != (task.Lease{}):
			r.Lease.Until = start.Add(-time.Second)
		case s.sc.remove.has(takeover):
			c.Lease.Name = fmt.Sprintf("j%d.%d", k.name, k.retry)
		}

		n, res.verdict, res.changed, res.err = r.Claim(s.now(), c)
		if s.sc.remove.has(attempts) && n.Attempt > 0 {
			n = bare(n)
			n.Attempt = 1
		}
		if s.sc.remove.has(blame) {
			n = bare(n)
			n.Blamed = 0
		}
		if s.sc.remove.has(deaths) {
			n = bare(n)
			n.Deaths, n.Blamed = 0, 0
		}

		return n
	})
}

// turn is the fence of a run: its view of the record that it writes to.
func (s *search) turn(r task.Record, k worker, again bool) task.Fence {
	t := task.Fence{Epoch: int64(k.epoch), Seq: int64(k.seq)}
	if s.sc.remove.has(fencing) || again && s.sc.remove.has(finishMemory) {
		t = task.Fence{Epoch: r.Epoch, Seq: r.Seq}
	}
	if s.sc.remove.has(epoch) {
		t.Epoch = r.Epoch
	}
	return t
}

func (s *search) said(k worker, more bool) []a2a.Event {
	if !s.sc.speaks {
		return nil
	}
	return []a2a.Event{artifact(fmt.Sprintf("a%d", k.turn), more, fmt.Sprintf("e%d.", k.epoch))}
}

func runArgs(k worker, again bool, more ...uint8) (args [14]uint8) {
	args = [14]uint8{k.epoch, k.seq, k.turn, k.said, k.msg}
	if again {
		args[5] = 1
	}
	copy(args[6:], more)
	return args
}

func (s *search) progress(rec uint32, k worker, again bool) opResult {
	return s.op(opKey{rec, opProgress, runArgs(k, again)}, func(r task.Record, res *opResult) (n task.Record) {
		n, res.changed, res.err = r.Progress(s.now(), s.turn(r, k, again), s.said(k, false))
		return n
	})
}

// Outcomes of a run.
const (
	completes = iota + 1
	asks
	fails
)

var outcomes = [...]a2a.TaskState{
	completes: a2a.TaskStateCompleted, asks: a2a.TaskStateInputRequired, fails: a2a.TaskStateFailed,
}

func (s *search) finish(rec uint32, k worker, again bool, how uint8) opResult {
	return s.op(opKey{rec, opFinish, runArgs(k, again, how)}, func(r task.Record, res *opResult) (n task.Record) {
		t, was := s.turn(r, k, again), r
		if s.sc.remove.has(terminalGuard) && r.Terminal() {
			work := *r.Task
			work.Status.State = a2a.TaskStateWorking
			r.Task, r.Lease = &work, task.Lease{Nonce: "gone"}
		}

		if s.sc.remove.has(inboxCheck) {
			r.Inbox = nil
		}

		n, res.changed, res.err = r.Finish(s.now(), t, s.said(k, k.said > 0), task.Outcome{State: outcomes[how]})
		if s.sc.remove.has(inboxCheck) {
			n.Inbox = was.Inbox
		}

		if s.sc.speaks && res.changed && res.err == nil && res.bad == "" {
			want := fmt.Sprintf("e%d.", k.epoch)
			if k.said > 0 {
				want += want
			}
			if got, ok := texts(n)[fmt.Sprintf("a%d", k.turn)]; ok && got != want {
				res.bad = fmt.Sprintf("an artifact mixes attempts: %s, want %s", got, want)
			}
		}

		return n
	})
}

func (s *search) parkTurn(rec uint32, k worker, again bool) opResult {
	return s.op(opKey{rec, opPark, runArgs(k, again, uint8(k.wake>>8), uint8(k.wake))}, func(r task.Record, res *opResult) (n task.Record) {
		wake := start.Add(time.Duration(k.wake) * time.Second)
		n, res.changed, res.err = r.Park(s.now(), s.turn(r, k, again), nil, task.Parking{Wake: wake})
		return n
	})
}

// waits is the schedule of deliveries. After the last wait the webhook is dead.
var waits = [...]time.Duration{5 * time.Second, 5 * time.Minute}

func (s *search) delivered(rec uint32, pass [maxWebhooks]leg) opResult {
	k := opKey{rec: rec, op: opDelivered}
	for i, l := range pass {
		copy(k.args[i*7:], []uint8{l.hook, l.gen, l.cursor, l.attempt, l.sent, l.fail})
	}

	return s.op(k, func(r task.Record, res *opResult) (n task.Record) {
		var out []task.Delivery
		for _, l := range pass {
			if l.hook == 0 {
				continue
			}

			d := task.Delivery{Sent: int(l.sent), Webhook: task.Webhook{
				ID: hook(l.hook, 0).ID, Gen: int64(l.gen), Cursor: int(l.cursor), Attempt: int(l.attempt),
			}}

			failed := int(l.attempt)
			if l.sent > 0 {
				failed = 0
			}

			switch {
			case l.fail == gone:
				d.Fail, d.Gone = true, true
			case l.fail == refuse:
				if d.Fail = true; failed < len(waits) {
					d.Wait = start.Add(waits[failed])
				}
			}

			if h, ok := r.Webhook(d.Webhook.ID); ok && s.sc.remove.has(generation) {
				d.Webhook.Gen = h.Gen
			}

			out = append(out, d)
		}

		n, res.changed, res.err = r.Delivered(s.now(), out)
		return n
	})
}

func (s *search) published(rec uint32, notes uint8) opResult {
	return s.op(opKey{rec, opPublished, [14]uint8{notes}}, func(r task.Record, res *opResult) (n task.Record) {
		n, res.changed, res.err = r.MarkPublished(s.now(), int(notes))
		return n
	})
}

func (s *search) swept(rec uint32) opResult {
	return s.op(opKey{rec: rec, op: opSwept}, func(r task.Record, res *opResult) (n task.Record) {
		n, lanes, err := r.Swept(s.now(), start)
		res.changed, res.err = len(lanes) > 0, err
		return n
	})
}

// giveBack ends the lease of a run that ended in an error.
func (s *search) giveBack(rec uint32, k worker) opResult {
	return s.op(opKey{rec, opGiveBack, runArgs(k, false)}, func(r task.Record, res *opResult) (n task.Record) {
		n, res.changed, res.err = r.GiveBack(s.now(), s.turn(r, k, false), task.Spent{})
		return n
	})
}

// beside lets other turns run beside a turn that ran alone.
func (s *search) beside(rec uint32, k worker) opResult {
	return s.op(opKey{rec, opBeside, runArgs(k, false)}, func(r task.Record, res *opResult) (n task.Record) {
		n, res.changed, res.err = r.Beside(s.now(), s.turn(r, k, false))
		return n
	})
}

func (s *search) leaseLost(rec uint32) opResult {
	return s.op(opKey{rec: rec, op: opLeaseLost}, func(r task.Record, res *opResult) (n task.Record) {
		n, res.err = r.LeaseLost(s.now(), task.Crew{Turns: 1})
		res.changed = true
		return n
	})
}

func fenced(err error) bool { return errors.Is(err, task.ErrFenced) }
