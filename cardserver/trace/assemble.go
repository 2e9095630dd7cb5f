package trace

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"errand/shared/task"
)

// Assemble puts a page of a task's trace together. class is the failure of an attempt as the
// caller may know it.
func Assemble(r task.Record, p Page, now time.Time, class func(task.Try) string) Trace {
	known, unknown := runs(r, now)
	t := Trace{
		Task: r.ID(), Context: r.Task.ContextID, State: string(r.State()), StateAt: r.Stamp(), Now: now.UTC(),
		Done: r.Terminal() || r.Interrupted(), Spent: spent(r.Spent), StepCount: r.Steps,
		Turns: turns(r, unknown), TurnCount: len(r.Requests), Wait: wait(r, now),
		Runs: known, UnknownRuns: unknown,
		Deliveries: deliveries(r, class), Steps: stepsOf(r, p, now), Results: p.Results, Next: p.Next,
	}
	if t.Results == nil {
		t.Results = []Result{}
	}
	return t
}

// spent is a cost as it is shown.
func spent(s task.Spent) Spent {
	out := Spent{
		Prompt: s.Prompt, Output: s.Output, Thought: s.Thought, Cached: s.Cached,
		Replies: s.Replies, Unknown: s.Unknown, Currency: s.Currency,
	}
	if s.Currency != "" {
		price := float64(s.Nanos) / 1e9
		out.Price = &price
	}
	return out
}

// turns are the newest turns. Messages are answered in the order in which they were accepted.
func turns(r task.Record, unknownRuns int64) []Turn {
	out := []Turn{}
	for i := max(0, len(r.Requests)-maxTurns); i < len(r.Requests); i++ {
		t := Turn{Number: i + 1, Message: brief(r.Requests[i].ID), State: TurnEnded}
		over := r.Terminal() || r.Interrupted()

		switch {
		case t.Number > r.Turn && r.Terminal():
			t.State = TurnUnanswered
		case t.Number > r.Turn:
			t.State = TurnWaiting
		case t.Number == r.Turn && !over:
			t.State = TurnOpen
		}

		if t.Number == r.Turn {
			s := spent(r.Turned)
			t.Spent = &s
			t.BegunAt = begun(r, unknownRuns)
		}
		out = append(out, t)
	}
	return out
}

// begun is when the present turn began. The waits of its calls have moved Since, so it is not
// known after one, nor when such a wait may be among the marks that were dropped.
func begun(r task.Record, unknownRuns int64) *time.Time {
	if unknownRuns > 0 && len(r.Marks) > 0 {
		return nil
	}
	for i, m := range r.Marks {
		if m.Turn == r.Turn && m.Kind == task.MarkWaiting && i < len(r.Marks)-1 {
			return nil
		}
	}
	return at(r.Since)
}

// runs are the runs that the record's marks tell of, and the number of the others.
func runs(r task.Record, now time.Time) (known []Run, unknown int64) {
	known = []Run{}
	for _, m := range r.Marks {
		n := len(known)
		if n == 0 || known[n-1].Number != m.Run {
			known = append(known, Run{Number: m.Run, Turn: m.Turn, End: RunUnknown})
			n++
		}
		run := &known[n-1]
		switch m.Kind {
		case task.MarkClaimed:
			run.BegunAt = at(m.At)
			continue
		case task.MarkLeftOut:
			run.LeftOut = m.Why
			continue
		}
		run.EndedAt, run.End, run.Why = at(m.At), m.Kind, m.Why
	}

	for i := range known {
		if known[i].End != RunUnknown {
			continue
		}
		if known[i].Number == r.Epoch {
			known[i].last(r, now)
		} else if i+1 < len(known) {
			known[i].within(r, known[i+1].BegunAt)
		}
	}
	return known, max(0, r.Epoch-int64(len(known)))
}

// last says how the newest run stands, which has no mark of its end.
func (u *Run) last(r task.Record, now time.Time) {
	switch {
	case r.Terminal() || r.Interrupted():
		u.End, u.EndedAt = RunEnded, at(r.Stamp())
	case r.Lease != (task.Lease{}) && r.Lease.Until.After(now):
		u.End = RunRunning
	case r.Lease != (task.Lease{}):
		u.End = RunOverdue
	}
}

// within finds the end of a run in the notification of the turn's end, before the next run.
func (u *Run) within(r task.Record, next *time.Time) {
	if u.BegunAt == nil || next == nil {
		return
	}
	for _, n := range r.Notifications {
		if n.State != "" && !n.At.Before(*u.BegunAt) && !n.At.After(*next) {
			u.End, u.EndedAt = RunEnded, at(n.At)
		}
	}
}

// wait is what the task waits for at present.
func wait(r task.Record, now time.Time) *Wait {
	var newest task.Mark
	if n := len(r.Marks); n > 0 {
		newest = r.Marks[n-1]
	}
	parked := newest.Kind == task.MarkParked || newest.Kind == task.MarkUsedUp

	switch {
	case r.Terminal() || r.Lease != (task.Lease{}):
		return nil
	case r.Interrupted():
		return &Wait{For: WaitClient}
	case !r.Paused.IsZero() && newest.Kind == task.MarkWaiting:
		return &Wait{For: WaitCalls, Until: at(r.Wake), Why: newest.Why}
	case r.Wake.After(now) && parked:
		return &Wait{For: WaitPark, Until: at(r.Wake), Why: newest.Why}
	case r.Wake.After(now):
		return &Wait{For: WaitRetry, Until: at(r.Wake)}
	}
	return &Wait{For: WaitWorker}
}

// stepsOf are the steps of a page.
func stepsOf(r task.Record, p Page, now time.Time) []Step {
	out := []Step{}
	for n := p.From + 1; n <= p.Through; n++ {
		k, kept := p.Kept[n]
		if open := r.Step; open != nil && open.Number == n {
			k, kept = withOpen(*open, k, p.Args), true
		}
		if !kept {
			out = append(out, Step{Number: n, Calls: []Call{}})
			continue
		}
		out = append(out, step(r, k, now))
	}
	return out
}

// withOpen is the step of the record, which knows more of it than its entry, with the results
// and the arguments that the record does not have.
func withOpen(s task.Step, k task.Kept, args []json.RawMessage) task.Kept {
	if s.Hash != "" {
		s.Calls = append([]task.Call(nil), s.Calls...)
		for i := range s.Calls {
			switch {
			case i < len(k.Calls):
				s.Calls[i].Args = k.Calls[i].Args
			case len(args) == len(s.Calls):
				s.Calls[i].Args = args[i]
			}
		}
	}
	k.Step = s
	return k
}

func step(r task.Record, k task.Kept, now time.Time) Step {
	cost := spent(k.Spent)
	s := Step{
		Number: k.Number, Known: true, Turn: k.Turn, Run: k.Epoch, Model: brief(k.Model),
		At: at(k.At), Spent: &cost, Open: k.Open(), Calls: []Call{},
	}
	if q := k.Asked; q != nil {
		s.Question = &Question{Call: q.Call + 1, At: q.At.UTC(), Answer: brief(q.Answer)}
	}

	most := MaxContent
	if n := len(k.Calls); n > 0 {
		most = max(minContent, min(most, maxStep/2/n))
	}

	for i, c := range k.Calls {
		v := Call{
			Number: i + 1, Key: r.CallKey(k.Number, i), ID: brief(c.ID), Name: brief(c.Name), Effects: c.Effects,
			FirstAt: at(c.First), BegunAt: at(c.Begun), Times: c.Times, State: CallDone,
		}
		if c.Args != nil || k.Hash == "" {
			v.Args = content(c.Args, most)
		}
		if res, ok := k.Results[i]; ok {
			v.Result, v.ResultAt = content(res.Value, most), at(res.At)
		} else {
			v.State = stateOf(r, k, i, now)
			v.WaitUntil, v.OrTold = at(c.Wait), c.Told
		}
		s.Calls = append(s.Calls, v)
	}
	return s
}

// stateOf is the state of a call without a result.
func stateOf(r task.Record, k task.Kept, call int, now time.Time) string {
	c := k.Calls[call]
	open := r.Step != nil && r.Step.Number == k.Number
	switch {
	case k.Asked != nil && k.Asked.Call == call && k.Asked.Answer == "" && !r.Terminal():
		return CallAsked
	case (r.Terminal() || !open) && c.Effects && !c.Begun.IsZero():
		return CallDoubt
	case r.Terminal() || !open:
		return CallDropped
	case !c.Wait.IsZero():
		return CallWaiting
	case c.Begun.IsZero():
		return CallPending
	}

	runs := r.Lease != (task.Lease{}) && r.Lease.Until.After(now)
	switch mine := !c.Begun.Before(claimed(r)); {
	case c.Effects && !(runs && mine):
		return CallDoubt
	case runs:
		return CallRunning
	}
	return CallPending
}

// claimed is when the newest run began; zero: it is not known.
func claimed(r task.Record) (t time.Time) {
	for _, m := range r.Marks {
		if m.Kind == task.MarkClaimed {
			t = m.At
		}
	}
	return t
}

// deliveries are the webhooks. Their URLs may be secrets, so the origin is all that is shown.
func deliveries(r task.Record, class func(task.Try) string) []Delivery {
	out := []Delivery{}
	for _, h := range r.Webhooks {
		d := Delivery{
			ID: h.ID, Origin: origin(h.URL), State: h.State, Gone: h.Gone, Notes: len(r.Notifications),
			Sent: h.Cursor, Failures: h.Attempt, Attempts: []Attempt{},
		}
		if h.State == task.WebhookActive && h.Cursor < len(r.Notifications) {
			d.NextAt = at(h.Next)
		}
		for _, t := range h.Tries {
			d.Attempts = append(d.Attempts, Attempt{At: t.At.UTC(), Note: t.Notification, Status: t.Status, Error: class(t)})
		}
		out = append(out, d)
	}
	return out
}

func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// content is JSON as it is shown: all of it, or its beginning.
func content(text json.RawMessage, most int) *Content {
	if len(text) == 0 {
		text = json.RawMessage("{}")
	}
	c := &Content{Bytes: len(text)}
	switch {
	case len(text) <= most:
		c.Value = text
	default:
		c.Begin, c.Cut = strings.ToValidUTF8(string(text[:most]), ""), true
	}
	return c
}

// brief is the beginning of a name.
func brief(s string) string {
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "") + "..."
	}
	return s
}

// at is a time that may not be known.
func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
