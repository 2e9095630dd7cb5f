package task_test

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// unlawful checks the laws that hold for every change of a record.
func (s *search) unlawful(was, r task.Record, op byte) string {
	for i, e := range r.Log {
		if e.Seq != r.Seq-int64(len(r.Log)-1-i) {
			return "the log has a gap"
		}
	}

	for i, n := range r.Notifications {
		if n.Seq > r.Seq || i > 0 && n.Seq < r.Notifications[i-1].Seq {
			return "notifications are out of order"
		}
	}

	if r.Published > len(r.Notifications) {
		return "more notifications are published than there are"
	}
	if r.Terminal() && (len(r.Inbox) > 0 || r.Lease != (task.Lease{}) || !r.Wake.IsZero()) {
		return "an ended task still has messages, a lease or a wake-up"
	}
	if r.Interrupted() && len(r.Inbox) > 0 {
		return "a task waits for its client although a message waits"
	}
	if owes := s.owes(r); owes != !r.Due.At.IsZero() && !s.sc.remove.has(frontDebt) {
		return fmt.Sprintf("owes = %v, but due %v", owes, r.Due)
	}

	switch {
	case was.Task == nil:
		return ""
	case was.Deleted && bytes.Equal(encoding(was), encoding(r)):
		return ""
	case was.Deleted:
		return "a deleted task was changed"
	case op == opDelete:
		return unlawfulDelete(was, r)
	}

	return s.unlawfulStep(was, r, op)
}

// unlawfulDelete checks that a deletion keeps what recognizes a repeated message, and no
// content.
func unlawfulDelete(was, r task.Record) string {
	text, want := fmt.Sprintf("%+v", r.View()), fmt.Sprintf("%+v", &a2a.Task{
		ID: was.Task.ID, ContextID: was.Task.ContextID, Status: a2a.TaskStatus{State: r.State(), Timestamp: r.Task.Status.Timestamp},
	})
	switch {
	case !r.Deleted || !r.Terminal() || was.Terminal() && r.State() != was.State():
		return "a deletion left the task in the state " + string(r.State())
	case text != want || len(r.Webhooks)+len(r.Notifications)+len(r.Log)+len(r.Made) > 0:
		return "a deletion left content"
	case r.Epoch <= was.Epoch || r.Expires.IsZero() || was.Terminal() && !r.Expires.Equal(was.Expires):
		return "a deletion neither took the turn nor kept the retention"
	}
	for _, q := range was.Requests {
		if known, err := r.Accepted(q.ID, q.Fingerprint); !known || err != nil {
			return "a deletion forgot a message"
		}
	}
	return ""
}

func (s *search) unlawfulStep(was, r task.Record, op byte) string {
	switch {
	case r.Seq < was.Seq || r.Turn < was.Turn || r.Published < was.Published || len(r.Requests) < len(was.Requests):
		return "a counter went back"
	case r.Epoch < was.Epoch || r.Epoch > was.Epoch && (op != opClaim || r.Epoch != was.Epoch+1):
		return "the epoch jumped"
	case len(r.Notifications) < len(was.Notifications):
		return "a notification was forgotten"
	}

	if bad := s.unlawfulBlame(was, r, op); bad != "" {
		return bad
	}

	for i, n := range was.Notifications {
		if m := r.Notifications[i]; m.Seq != n.Seq || m.State != n.State || m.Artifact != n.Artifact {
			return "a notification was changed"
		}
	}

	if was.Terminal() && clientView(was) != clientView(r) {
		return "an ended task was changed"
	}

	for _, h := range r.Webhooks {
		if old, ok := was.Webhook(h.ID); ok && old.Gen == h.Gen && h.Cursor < old.Cursor {
			return "a cursor went back"
		}
		if h.Gen > r.Gens || h.Cursor > len(r.Notifications) {
			return "a webhook is ahead of its record"
		}
	}

	return ""
}

// unlawfulBlame checks the laws of deaths and blame.
func (s *search) unlawfulBlame(was, r task.Record, op byte) string {
	forgot := r.Attempt <= 1 && r.Deaths+r.Blamed == 0
	died := op == opClaim && was.Lease != (task.Lease{}) || op == opLeaseLost
	gaveBack := 0
	if op == opPark { // its own attempt
		gaveBack = 1
	}
	switch {
	case s.sc.remove.has(attempts | deaths | blame | apart):
		return ""
	case r.Deaths > r.Attempt || r.Blamed > max(0, r.Deaths-1):
		return "a turn has more deaths than attempts, or is blamed for the first one"
	case !forgot && (r.Attempt < was.Attempt-gaveBack || r.Deaths < was.Deaths || r.Blamed < was.Blamed):
		return "a death was forgotten without progress"
	case !died && !forgot && (r.Deaths != was.Deaths || r.Blamed != was.Blamed):
		return "a turn was blamed although no worker died"
	case r.Blamed > was.Blamed && op == opClaim && !was.Lease.Alone:
		return "a turn was blamed that did not run alone"
	case r.Lease != (task.Lease{}) && op == opClaim && r.Apart(s.sc.rules) && !r.Lease.Alone:
		return "a turn that must run apart was claimed beside others"
	}
	return ""
}

// owes reports, independently of Due, whether any work is pending.
func (s *search) owes(r task.Record) bool {
	if !r.Terminal() || s.behind(r) {
		return true
	}
	for _, n := range r.Notifications[r.Published:] {
		if n.Front {
			return true
		}
	}
	return false
}

func clientView(r task.Record) string {
	text, err := json.Marshal(r.View())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// stored updates the outsiders' view for a newly stored record, and checks the record
// against their view before.
func (s *search) stored(w *world, rec uint32) {
	w.rec = rec
	in := &s.infos[rec]
	for _, h := range in.hooks {
		g := h.gen
		if g >= maxGens {
			s.violation("webhooks are made again and again")
			return
		}
		if w.seen.start[g] == 0 {
			w.seen.start[g], w.seen.recv[g], w.seen.acked[g] = h.cursor+1, h.cursor, h.cursor
		}
		if h.cursor > w.seen.acked[g] {
			s.violation("a cursor stands after a notification that its receiver has not taken")
		}
	}
	if w.seen.cancel == 1 && in.state != "TASK_STATE_CANCELED" {
		s.violation("the client got the answer that the task is canceled, but the task is %s", in.state)
	}

	// A turn that kills its worker every time has one death more than attempts. Deaths from
	// outside that strike it beside others may add one each.
	others := int(s.sc.budget[minute]) + int(s.sc.budget[expire]) + int(s.sc.budget[lost]) + int(s.sc.budget[crash])
	if bound := (s.sc.rules.Attempts+1)*(int(in.turn)+int(s.sc.budget[throttle])) + others; int(in.epoch) > bound {
		s.violation("a turn is claimed again and again")
	}
}

// posted is a notification that arrives at a receiver.
func (s *search) posted(w *world, gen, note uint8, ok bool) {
	seen := &w.seen
	if seen.dropped&(1<<gen) != 0 {
		s.violation("an attempt was decided after the delete had returned")
	}
	if note > seen.recv[gen]+1 || note == seen.recv[gen]+1 && seen.acked[gen] < note-1 {
		s.violation("notification %d was received out of order", note)
	}
	seen.recv[gen] = max(seen.recv[gen], note)
	if ok {
		seen.acked[gen] = max(seen.acked[gen], note)
	}
}

// answered counts one execution of the run's message that took effect.
func (s *search) answered(w *world, k worker) {
	if w.seen.answered&k.msg != 0 {
		s.violation("a message was answered twice")
	}
	w.seen.answered |= k.msg
}

// promise checks a world in which no step is left.
func (s *search) promise(w world) {
	if w.seen.tasks > 1 {
		s.violation("one message has %d tasks", w.seen.tasks)
	}
	if w.rec == 0 {
		if w.seen.accepted != 0 && !w.seen.deleted {
			s.violation("an accepted message is lost")
		}
		return
	}

	in := s.infos[w.rec]
	if in.deleted {
		if in.due >= 0 || w.seen.accepted&^in.seen != 0 {
			s.violation("a deleted task is still due, or has lost the ids of its messages")
		}
		return
	}

	switch {
	case w.seen.deleted:
		s.violation("a deleted task is there again")
	case !in.terminal && !in.interrupted:
		s.violation("the task is never answered: %s", in.state)
	case w.seen.accepted&^in.seen != 0:
		s.violation("an accepted message is not in the record")
	case in.seen&^in.history != 0:
		s.violation("an accepted message is lost: it never became history")
	case (in.interrupted || in.state == "TASK_STATE_COMPLETED") && in.seen&^w.seen.answered != 0:
		s.violation("an accepted message is not answered")
	case w.seen.cancel == 2 && in.state == "TASK_STATE_CANCELED":
		s.violation("the client's cancel was refused, but the task is canceled")
	}

	all := uint16(1)<<in.notes - 1
	if missing := all &^ w.seen.topic; !s.sc.deaf && (missing&in.front != 0 || missing != 0 && !w.seen.qlost) {
		s.violation("the topic never got notifications %b", missing)
	}

	if s.sc.remove.has(noCursor) {
		if s.sc.inline > 0 && w.seen.acked[1] != in.notes {
			s.violation("a webhook is behind for ever: %d of %d", w.seen.acked[1], in.notes)
		}
		return
	}

	for _, h := range in.hooks {
		switch {
		case h.active && h.cursor != in.notes:
			s.violation("a webhook is behind for ever: %d of %d", h.cursor, in.notes)
		case h.active && w.seen.acked[h.gen] != in.notes:
			s.violation("a webhook is up to date, its receiver is not")
		case !h.active && s.sc.budget[refuse] <= uint8(len(waits)) && s.sc.budget[gone] == 0:
			s.violation("a webhook died without a reason")
		}
	}

	if in.terminal && in.due >= 0 {
		s.violation("an ended task is still due")
	}
}
