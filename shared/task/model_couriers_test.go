package task_test

import (
	"slices"

	"errand/shared/task"
)

// events makes the steps of the bus handler: for the newest notification it adds a delivery
// job if a webhook is behind, and then acknowledges the event.
func (s *search) events(w world) {
	for note := 1; note <= maxNotifications; note++ {
		if w.bus[note] == 0 {
			continue
		}

		n := w
		n.bus[note]--

		if s.sc.remove.has(noCursor) {
			s.posted(&n, 1, uint8(note), true)
			s.move(n, note-1, "bus handler posts the event")
			if !s.sc.remove.has(busOrder) {
				return
			}
			continue
		}

		in := s.infos[w.rec]
		behind := false
		for _, h := range in.hooks {
			behind = behind || h.active && h.cursor < in.notes
		}

		if !behind || uint8(note) != in.notes {
			s.move(n, note-1, "bus handler acknowledges the event")
			continue
		}

		if w.budget[crash] > 0 {
			v := w
			s.hint(&v, 0)
			s.fault(v, crash, note-1, "bus handler adds a delivery, dies")
		}

		if w.budget[outage] > 0 {
			s.fault(w, outage, note-1, "bus handler: the queue is unavailable")
		}

		s.hint(&n, 0)
		s.move(n, note-1, "bus handler adds a delivery")
	}
}

// hint adds a delivery job, unless the same job waits already: a second one is a duplicate,
// which is a fault of its own.
func (s *search) hint(w *world, at int32) {
	for _, j := range w.jobs {
		if j.lane == deliveryLane && j.by == 0 && j.at == at {
			return
		}
	}
	s.add(w, deliveryLane, at)
}

// courier makes the steps of one delivery pass.
func (s *search) courier(w world, i int) {
	k := w.couriers[i]
	switch k.pc {
	case idle:
		if i == 0 || w.couriers[i-1].pc != idle {
			s.pickUp(w, i)
		}
	case unsureOf:
		s.reports(w, i)
	case running:
		open := false
		for n, l := range k.pass {
			if l.hook != 0 && l.fail == 0 && l.cursor+l.sent < l.notes {
				open = true
				s.posts(w, i, n)
			}
		}
		if !open {
			s.reports(w, i)
		}
	}
}

// pickUp takes a delivery job and reads which webhooks are behind.
func (s *search) pickUp(w world, i int) {
	for n, j := range w.jobs {
		if j.lane != deliveryLane || j.by != 0 || j.at > 0 || n > 0 && j == w.jobs[n-1] {
			continue
		}
		v, in := w, s.infos[w.rec]
		k := courier{pc: running}
		some := false
		for slot, h := range in.hooks {
			if h.active && h.cursor < in.notes && h.next <= 0 {
				some = true
				k.pass[slot] = leg{hook: h.id, gen: h.gen, cursor: h.cursor, attempt: h.attempt, notes: in.notes}
			}
		}
		v.jobs[n].by = byCourier(i)
		v.sortJobs()
		if !some {
			v.drop(byCourier(i))
			s.move(v, i, "courier finds every webhook up to date")
			continue
		}
		v.couriers[i] = k
		s.move(v, i, "courier begins a pass")
	}
}

// posts sends the next notification of a leg, if the record says that it is still wanted.
func (s *search) posts(w world, i, n int) {
	l := &w.couriers[i].pass[n]
	if !s.sc.remove.has(reading) {
		h := s.hookOf(w.rec, l.gen)
		if h == nil || !h.active || h.cursor != l.cursor || h.attempt != l.attempt {
			l.notes = l.cursor + l.sent
			s.move(w, i, "courier finds the webhook changed")
			return
		}
		l.notes = s.infos[w.rec].notes
	}
	note := l.cursor + l.sent + 1
	for _, how := range []uint8{refuse, gone} {
		if w.budget[how] == 0 {
			continue
		}
		v := w
		v.couriers[i].pass[n].fail = how
		s.posted(&v, l.gen, note, false)
		s.fault(v, int(how), i, "courier posts, the receiver refuses")
	}
	l.sent++
	s.posted(&w, l.gen, note, true)
	s.move(w, i, "courier posts")
}

// reports commits the outcomes of a pass, enqueues the next attempt if it is near, and
// acknowledges.
func (s *search) reports(w world, i int) {
	res := s.delivered(w.rec, w.couriers[i].pass)
	if res.changed {
		s.stored(&w, res.rec)
		if w.budget[lost] > 0 {
			n := w
			n.couriers[i].pc = unsureOf
			s.fault(n, lost, i, "courier commits, answer lost")
		}
	}

	left := s.recs[w.rec] // with only the webhooks that this pass must enqueue again
	left.Webhooks = slices.Clone(left.Webhooks)
	left.Webhooks = slices.DeleteFunc(left.Webhooks, func(h task.Webhook) bool {
		return !slices.ContainsFunc(w.couriers[i].pass[:], func(l leg) bool { return l.fail == refuse && int64(l.gen) == h.Gen })
	})

	owed := s.soon(left, task.Deliveries)
	if len(owed) > 0 && w.budget[outage] > 0 {
		n := w
		n.drop(byCourier(i))
		n.couriers[i] = courier{}
		s.fault(n, outage, i, "courier commits, the queue is unavailable")
	}

	w.drop(byCourier(i))
	w.couriers[i] = courier{}
	s.enqueue(&w, owed)
	s.move(w, i, "courier commits")
}
