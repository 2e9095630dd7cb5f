package task

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Times of calls.
const (
	// BeginWithin is how long after its commit was sent a call may begin. A cancel is
	// answered when this time is over for every call that it meets.
	BeginWithin = 5 * time.Second

	// LaterFor is how long a call may wait for a time or a word from outside, counted from
	// its first begin.
	LaterFor = 30 * 24 * time.Hour

	// ToldEvery is the least time between two claims of a turn that is woken from outside.
	ToldEvery = 10 * time.Second
)

// LimitReply is the size of a reply, in bytes, that a record holds. A larger one is put into
// package kv first.
const LimitReply = 64 << 10

// A Step is one reply of the model that asks for calls, with the state of these calls (R16).
// The record holds the newest one. The results of its calls, and the steps before it, are in
// package kv.
type Step struct {
	Number int             `json:"n"`     // of the task, from 1
	Epoch  int64           `json:"epoch"` // of the claim that opened it
	Turn   int             `json:"turn"`  // in which it was opened
	At     time.Time       `json:"at"`    // when it was opened
	Model  string          `json:"model,omitempty"`
	Spent  Spent           `json:"spent,omitzero"`  // cost of the reply
	Reply  json.RawMessage `json:"reply,omitempty"` // the reply without its calls, in the executor's own form
	Hash   string          `json:"hash,omitempty"`  // of the reply and the arguments, if they are in package kv instead
	Calls  []Call          `json:"calls"`           // in the model's order
	Asked  *Question       `json:"asked,omitempty"` // the question about a call that a person must answer

	Settled bool `json:"settled,omitempty"` // all calls have results: the model is next (R17)
}

// A Call is one call of a step.
type Call struct {
	ID      string          `json:"id,omitempty"` // the model's own
	Name    string          `json:"name"`
	Args    json.RawMessage `json:"args,omitempty"`
	Hash    string          `json:"hash,omitempty"` // of name and arguments
	Effects bool            `json:"effects,omitempty"`
	Keeps   time.Duration   `json:"keeps,omitempty"` // how long the receiver keeps keys; 0: it keeps none
	Limit   time.Duration   `json:"limit,omitempty"` // how long the call may take

	First time.Time `json:"first,omitzero"` // when it first began; zero: it has not
	Begun time.Time `json:"begun,omitzero"` // when it last began
	Times int       `json:"times,omitempty"`

	Wait time.Time `json:"wait,omitzero"`  // it asked to begin again then (R16h); zero: it did not
	Told bool      `json:"told,omitempty"` // with Wait: or when a word comes from outside
}

// A Question is a question about a call, which only a message answers that is accepted while
// the question stands (R16e).
type Question struct {
	Call   int       `json:"call"` // index in the step
	Hash   string    `json:"hash"` // of the call's name and arguments
	At     time.Time `json:"at"`
	Times  int       `json:"times"`            // how often the call had begun
	Answer string    `json:"answer,omitempty"` // id of the message that answers; empty: none yet
}

var errStep = errors.New("task: the step is not the open one")

// HashCall is the hash of a call's name and arguments.
func HashCall(name string, args json.RawMessage) string {
	return hash(append([]byte(name+"\n"), args...))
}

// hash is a short hash, of 120 bits.
func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// StepKey is the key of a step in package kv. Keys of a task's steps are in the order of
// their numbers.
func (r Record) StepKey(number int) string { return stepKey(r.StepPrefix(), number) }

func stepKey(prefix string, number int) string { return fmt.Sprintf("%s%06d", prefix, number) }

// StepPrefix begins the keys in package kv of everything that this life of the task has
// stored.
func (r Record) StepPrefix() string { return stepPrefix(r.ID(), r.life()) }

func stepPrefix(id, life string) string { return fmt.Sprintf("step/%s/%s/", id, life) }

// MemoPrefix begins the keys of the memos of this life: they come after all of its steps.
func (r Record) MemoPrefix() string { return r.StepPrefix() + "x/" }

// CredentialPrefix begins the keys of the credentials that this life of the task was given: they
// come after everything else, and no rerun takes them over.
func (r Record) CredentialPrefix() string { return r.StepPrefix() + "y/" }

// CallKey is the key by which the receiver of a call recognises it, in every attempt and in
// every rerun that goes on from its step.
func (r Record) CallKey(step, call int) string {
	id, life := r.keeper(step)
	return callKey(id, life, step, call)
}

// WakeName is what names a call of the record in the URL that wakes it.
func (r Record) WakeName(step, call int) string { return callKey(r.ID(), r.life(), step, call) }

func callKey(id, life string, step, call int) string {
	return fmt.Sprintf("%s/%s/%d.%d", id, life, step, call+1)
}

// life is the life of the task. Records of earlier programs have none.
func (r Record) life() string {
	if r.Life == "" {
		return "0"
	}
	return r.Life
}

// A Move is what must happen next to a call that has no result.
type Move int

// Moves of a call.
const (
	Begin  Move = iota // it begins by a commit
	Repeat             // it is made again, without a commit, because it has no effects
	Hold               // nothing is done before a time
	Doubt              // it may have happened: its tool is asked, and then a person
)

// Next decides what must happen next to a call without a result, in a run that has not begun
// it (R16d). With Hold, until is the time.
func (c Call) Next(now time.Time) (m Move, until time.Time) {
	over := c.Begun.Add(BeginWithin + c.Limit) // no attempt runs any more
	switch {
	case now.Before(c.Wait):
		return Hold, c.Wait
	case !c.Wait.IsZero() || c.Begun.IsZero():
		return Begin, time.Time{}
	case !c.Effects:
		return Repeat, time.Time{}
	case now.Before(over):
		return Hold, over
	case !c.keysEnd().Before(now):
		return Begin, time.Time{}
	}
	return Doubt, time.Time{}
}

// keysEnd is the last moment at which the call may begin again: its receiver must know the
// key until the end of that attempt.
func (c Call) keysEnd() time.Time { return c.First.Add(c.Keeps - BeginWithin - c.Limit) }

// InTime reports whether the attempt that last began ends while the receiver of the call still
// knows the key. The commit of a begin may take long, so a run asks after it. An attempt that
// is not in time must not be made: the call is in doubt.
func (c Call) InTime() bool { return c.Keeps == 0 || c.Times < 2 || !c.Begun.After(c.keysEnd()) }

// Begin notes that the call begins now.
func (c *Call) Begin(now time.Time) {
	if c.First.IsZero() {
		c.First = now
	}
	c.Begun, c.Wait, c.Told = now, time.Time{}, false
	c.Times++
}

// own makes the record's step its own, so that it may be changed.
func (r *Record) own() *Step {
	s := *r.Step
	s.Calls = slices.Clone(s.Calls)
	if s.Asked != nil {
		q := *s.Asked
		s.Asked = &q
	}
	r.Step = &s
	return &s
}

// OpenStep commits a reply that asks for calls, with the events so far (R16a). The calls in
// begins begin with the commit. The step before it must have all its results. Attempt becomes zero: a
// retry goes on from here.
func (r Record) OpenStep(m Moment, t Fence, events []a2a.Event, s Step, begins []int) (next Record, changed bool, err error) {
	if r.Epoch == t.Epoch && r.Step != nil && r.Step.Number == s.Number && r.Step.Epoch == t.Epoch && !r.Terminal() {
		return r, false, nil
	}
	if _, err := r.fence(Fence{Epoch: t.Epoch, Seq: r.Seq}, ""); err != nil {
		return r, false, err
	}
	if s.Number != r.Steps+1 {
		return r, false, errStep
	}

	n := r.change()
	if r.Seq == t.Seq {
		n.applyAll(m, t.Epoch, events)
	}

	s.Epoch, s.Turn, s.At, s.Asked = t.Epoch, r.Turn, m.Now, nil
	s.Calls = slices.Clone(s.Calls)
	for _, i := range begins {
		s.Calls[i].Begin(m.Now)
	}
	n.Step, n.Steps, n.Schema = &s, s.Number, max(r.Schema, schemaOfSteps)
	n.spend(s.Spent)
	n.forget()

	n.dropUnfinished(t.Epoch)
	n.keepMade()
	next, err = n.checked(m, LimitResult)
	return next, err == nil, err
}

// KeepMade commits the events of a running turn so far, as [Record.Progress] does, before results
// of calls are stored. The artifacts stay from then on: later attempts do not make these calls
// again.
func (r Record) KeepMade(m Moment, t Fence, events []a2a.Event) (next Record, changed bool, err error) {
	if written, err := r.fence(t, ""); written || err != nil {
		return r, false, err
	}

	n := r.change()
	n.applyAll(m, t.Epoch, events)
	if n.Seq == r.Seq && !slices.ContainsFunc(r.Made, Made.loose) {
		return r, false, nil
	}

	n.keepMade()
	next, err = n.checked(m, LimitResult)
	return next, err == nil, err
}

// keepMade keeps the artifacts so far, whatever becomes of the attempt.
func (r *Record) keepMade() {
	r.Made = slices.Clone(r.Made)
	for i := range r.Made {
		r.Made[i].Kept = true
	}
}

// loose reports whether the artifact is dropped with its attempt.
func (m Made) loose() bool { return !m.Kept }

// BeginCalls commits that calls of the open step begin, or begin again (R16b). times says how
// often each of them has begun before, by index, so that the commit knows itself. The events so
// far are kept with it.
func (r Record) BeginCalls(m Moment, t Fence, events []a2a.Event, step int, times map[int]int) (next Record, changed bool, err error) {
	if _, err := r.fence(Fence{Epoch: t.Epoch, Seq: r.Seq}, ""); err != nil {
		return r, false, err
	}
	if r.Step == nil || r.Step.Number != step {
		return r, false, errStep
	}

	n := r.change()
	s := n.own()
	for i, before := range times {
		if s.Calls[i].Times > before {
			continue
		}
		s.Calls[i].Begin(m.Now)
		if s.Asked != nil && s.Asked.Call == i {
			s.Asked = nil
		}
		changed = true
	}
	if !changed {
		return r, false, nil
	}

	limit := LimitStore
	if r.Seq == t.Seq && len(events) > 0 {
		limit = LimitResult
		n.applyAll(m, t.Epoch, events)
	}

	next, err = n.checked(m, limit)
	return next, err == nil, err
}

// Tell wakes a call that waits for a word from outside (R16h). The record keeps the word: a
// park that finds it does not sleep, and the next claim clears it. A word for a step that is
// not the open one is late and changes nothing, nor does one for a call that does not wait
// while the turn waits for others.
func (r Record) Tell(m Moment, step, call int) (next Record, changed bool, err error) {
	if r.Terminal() || r.Told || r.Step == nil || r.Step.Number != step || call < 0 || call >= len(r.Step.Calls) {
		return r, false, nil
	}
	if !r.Paused.IsZero() && !r.Step.Calls[call].Told {
		return r, false, nil
	}

	n := r.change()
	n.Told = true
	if !r.Paused.IsZero() {
		n.Wake, n.Asked = n.wakeTold(m), m.Now
	}
	next, err = n.checked(m, LimitStore)
	return next, err == nil, err
}

// wakeTold is when a parked turn that was told may be claimed: not later than without the word.
func (r Record) wakeTold(m Moment) time.Time {
	if told := latest(m.Now, r.lastMark(MarkClaimed).Add(ToldEvery)); told.Before(r.Wake) {
		return told
	}
	return r.Wake
}

// hear lets the calls that were told begin again.
func (r *Record) hear(m Moment) {
	if !r.Told {
		return
	}
	r.Told = false
	if r.Step == nil {
		return
	}
	s := r.own()
	for i := range s.Calls {
		if c := &s.Calls[i]; c.Told && m.Now.Before(c.Wait) {
			c.Wait = m.Now
		}
	}
}

// unpause ends a wait whose time does not count towards the age of the turn.
func (r *Record) unpause(m Moment) {
	if !r.Paused.IsZero() && m.Now.After(r.Paused) {
		r.Since = r.Since.Add(m.Now.Sub(r.Paused))
	}
	r.Paused = time.Time{}
}

// spend adds to the cost of the turn and of the task.
func (r *Record) spend(s Spent) { r.Turned, r.Spent = r.Turned.Add(s), r.Spent.Add(s) }
