package executor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/model"
	"errand/shared/task"
	"errand/worker/run"
	"errand/worker/tools"
)

// An open is the open step of a turn, in one run (R16).
type open struct {
	task.Step
	parts   []model.Part        // the reply
	calls   []callable          // by the index of the call
	results map[int]task.Result // as they are stored
	fresh   map[int]task.Result // not stored yet
	waits   map[int]task.Wait   // calls that asked, in this run, to begin again later
	allowed map[int]bool        // calls in doubt that may begin again after all
}

// A callable is what this program makes of a call.
type callable struct {
	tool  tools.Tool
	call  tools.Call // nil: it cannot be made
	begun bool       // this run has committed that it begins, and has not made it yet
	read  bool       // its result was looked for after its time limit
	deaf  bool       // the end of the run made an artifact of it fail
}

// known reports whether the call has a result.
func (o *open) known(i int) bool {
	_, stored := o.results[i]
	_, fresh := o.fresh[i]
	return stored || fresh
}

// open makes a reply that asks for calls the open step of the turn. The first calls begin with
// the commit.
func (t *turn) open(ctx context.Context, s step) (*open, error) {
	o := &open{parts: merged(s.parts), results: map[int]task.Result{}}
	o.Number, o.Model, o.Spent = t.stepped+1, t.used.model, s.spent
	for _, c := range s.calls {
		o.Calls = append(o.Calls, task.Call{ID: c.ID, Name: c.Name, Args: c.Args, Hash: task.HashCall(c.Name, c.Args)})
	}

	t.prepare(o)
	for i := range o.Calls {
		if tool := o.calls[i].tool; o.calls[i].call != nil {
			c := &o.Calls[i]
			c.Effects, c.Keeps, c.Limit = tool.HasEffects(), tool.KeyAge(), tool.TimeLimit()
		}
	}

	var err error
	if o.Reply, err = encodeReply(o.parts, s.calls); err != nil {
		return nil, err
	}
	begins := t.plan(o).begin
	if !t.fits(o, begins) {
		begins = nil
	}
	if err := t.announce(o, begins); err != nil {
		return nil, err
	}

	o.Step, err = t.steps.Open(ctx, o.Step, begins)
	if err != nil {
		return nil, fmt.Errorf("storing a reply that asks for calls: %w", err)
	}
	for _, i := range begins {
		o.calls[i].begun = true
	}
	t.stepped = o.Number
	return o, nil
}

// reopen makes a stored step the open step of this run. The tools may be others by now: a call
// that cannot be made any more, and has not begun, is refused.
func (t *turn) reopen(k task.Kept) (*open, error) {
	o := &open{Step: k.Step, results: k.Results}
	var err error
	if o.parts, err = decodeReply(k.Reply, k.Calls); err != nil {
		return nil, err
	}
	t.prepare(o)
	return o, nil
}

// prepare binds the calls, and refuses those that cannot be made.
func (t *turn) prepare(o *open) {
	o.fresh, o.waits, o.allowed = map[int]task.Result{}, map[int]task.Wait{}, map[int]bool{}
	o.calls = make([]callable, len(o.Calls))
	for i, c := range o.Calls {
		tool, call, refusal := t.bind(i, &model.Call{Name: c.Name, Args: c.Args})
		o.calls[i] = callable{tool: tool, call: call}
		if refusal != nil && !o.known(i) && (c.Times == 0 || !c.Effects) {
			o.fresh[i] = task.Result{Value: refusal, At: t.now()}
		}
	}
}

// A plan is what to do next about the calls of a step that have no result.
type plan struct {
	begin []int     // these begin side by side by a commit
	make  []int     // these are made side by side: the first ones of begin, those that have begun, and repetitions
	look  []int     // these may have happened: look for their results
	doubt []int     // these may have happened, and no receiver keeps their keys
	until time.Time // nothing is done about others before this time
}

// plan decides what to do next. Calls run side by side, unless their tool runs alone: such a
// call waits until no other can be made.
func (t *turn) plan(o *open) plan {
	var p plan
	var alone []int
	begins := map[int]bool{}
	now := t.now()

	for i, c := range o.Calls {
		move, until := o.next(i, now)
		switch {
		case o.known(i):
			continue
		case move == task.Hold:
			if p.until.IsZero() || until.Before(p.until) {
				p.until = until
			}
			continue
		case c.Effects && c.Times > 0 && c.Wait.IsZero() && !o.calls[i].begun && !o.calls[i].read:
			p.look = append(p.look, i)
			continue
		case move == task.Doubt || o.calls[i].call == nil:
			p.doubt = append(p.doubt, i)
			continue
		}

		begins[i] = move == task.Begin
		if o.calls[i].tool.RunsAlone() {
			alone = append(alone, i)
		} else {
			p.make = append(p.make, i)
		}
	}

	if len(p.make) == 0 && len(alone) > 0 {
		p.make = alone[:1]
	}
	for _, i := range p.make {
		if begins[i] {
			p.begin = append(p.begin, i)
		}
	}
	return p
}

// next is the move of a call in this run.
func (o *open) next(i int, now time.Time) (task.Move, time.Time) {
	c := o.Calls[i]
	if w, waits := o.waits[i]; waits {
		return task.Hold, w.At
	}
	if o.allowed[i] {
		return task.Begin, time.Time{}
	}
	if o.calls[i].begun {
		if now.Sub(c.Begun) <= task.BeginWithin {
			return task.Repeat, time.Time{}
		}
		return task.Begin, time.Time{} // it must not begin under so old a commit
	}
	return c.Next(now)
}

// settle makes the calls of the step until each of them has a result, and adds the step to the
// conversation. An error ends the run: also one that parks it, or asks a person.
func (t *turn) settle(ctx context.Context, o *open) error {
	if err := t.answered(ctx, o); err != nil {
		return err
	}

	for {
		p := t.plan(o)
		var err error

		switch {
		case len(p.make) > 0:
			err = t.makeCalls(ctx, o, p)
		case len(o.fresh) > 0:
			err = t.keep(ctx, o)
		case len(p.look) > 0:
			err = t.look(ctx, o, p.look)
		case len(p.doubt) > 0:
			err = t.resolve(ctx, o, p.doubt[0])
		case !p.until.IsZero():
			err = t.hold(ctx, o, p.until)
		case t.wanted != nil: // a call failed for want of a credential, and the turn asks for it
			if err = t.answer.close(a2a.TaskStateAuthRequired); err == nil {
				err = t.wanted
			}
		default:
			t.remember(o)
			return nil
		}

		if err != nil {
			return t.brokenOff(ctx, o, err)
		}
	}
}

// brokenOff is the error of a run that had to stop within a step. Calls that asked to wait are
// not forgotten: they would be in doubt.
func (t *turn) brokenOff(ctx context.Context, o *open, err error) error {
	if ctx.Err() == nil || len(o.waits) == 0 {
		return err
	}
	p := t.plan(o)
	if len(p.make)+len(p.look)+len(p.doubt) > 0 {
		p.until = t.now()
	}
	return t.hold(ctx, o, p.until)
}

// remember adds a step with all its results to the conversation.
func (t *turn) remember(o *open) {
	results := make([]model.Part, len(o.Calls))
	for i, c := range o.Calls {
		value := o.results[i].Value
		t.said += len(value) + len(c.Name) + 64
		results[i] = model.Part{Result: &model.Result{ID: c.ID, Name: c.Name, Value: value}}
	}
	t.history = append(t.history,
		model.Content{Role: model.RoleModel, Parts: o.parts},
		model.Content{Role: model.RoleUser, Parts: results})
	t.answer.clear()
}

// makeCalls begins calls by a commit, if they need one, and makes them.
func (t *turn) makeCalls(ctx context.Context, o *open, p plan) error {
	if !t.fits(o, p.make) {
		return &run.Pause{Err: errNoTime, UsedUp: t.fruitless}
	}

	if len(p.begin) > 0 {
		if err := t.announce(o, p.begin); err != nil {
			return err
		}
		begun, err := t.steps.Begin(ctx, o.Step, p.begin)
		if err != nil {
			return fmt.Errorf("committing that calls begin: %w", err)
		}
		before := o.Calls
		o.Step = begun
		for _, i := range p.begin {
			sure := o.allowed[i] || !before[i].Wait.IsZero() // it begins whatever its receiver knows
			o.calls[i].begun, o.calls[i].read, o.allowed[i] = sure || o.Calls[i].InTime(), false, false
		}
		return nil // the plan decides whether that took too long
	}

	return t.group(ctx, o, p.make)
}

// fits reports whether the calls can end within the rest of the run.
func (t *turn) fits(o *open, calls []int) bool {
	for _, i := range calls {
		if !t.until.IsZero() && t.now().Add(o.Calls[i].Limit).After(t.until) && !o.calls[i].begun {
			return false
		}
	}
	return true
}

// announce tells the client which tools with effects are used.
func (t *turn) announce(o *open, calls []int) error {
	for _, i := range calls {
		if c := o.Calls[i]; c.Effects {
			say := t.message(fmt.Sprintf("step%d-call%d", o.Number, i+1), "Using the tool "+c.Name+".")
			if !t.yield(a2a.NewStatusUpdateEvent(t.info, a2a.TaskStateWorking, say), nil) {
				return errGone
			}
		}
	}
	return nil
}

// keep stores the new results.
func (t *turn) keep(ctx context.Context, o *open) error {
	if len(o.fresh) == 0 {
		return nil
	}
	ctx, cancel := outlasting(ctx, func(error) time.Duration { return keepFor }) // the calls have happened, also if the run ends meanwhile
	defer cancel()
	stored, err := t.steps.Keep(ctx, o.Step, o.fresh)
	if err != nil {
		return err
	}
	o.results, o.fresh = stored, map[int]task.Result{}
	return nil
}

// look reads again which calls have a result, after their time limits.
func (t *turn) look(ctx context.Context, o *open, calls []int) error {
	stored, err := t.steps.Keep(ctx, o.Step, nil)
	if err != nil {
		return err
	}
	o.results = stored
	for _, i := range calls {
		o.calls[i].read = true
	}
	return nil
}

// hold waits until something may be done about the calls. A long wait parks the turn.
func (t *turn) hold(ctx context.Context, o *open, until time.Time) error {
	d := until.Sub(t.now())
	if len(o.waits) == 0 && !o.waiting() && d <= shortHold && t.now().Add(d).Before(t.until) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}

	pause := &run.Pause{For: d, Err: errHeld, Say: "The task is waiting until it is known whether a call was made."}
	for i, c := range o.Calls {
		w, now := o.waits[i]
		if !now && !c.Wait.IsZero() && !o.known(i) {
			w = task.Wait{Call: i, At: c.Wait, Told: c.Told}
			now = true
		}
		if now {
			pause.Waits = append(pause.Waits, w)
			pause.Say = fmt.Sprintf("The task is waiting: the tool %s goes on later, at %s at the latest.", c.Name, w.At.UTC().Format(time.RFC3339))
		}
	}
	return pause
}

// waiting reports whether a call of an earlier run waits.
func (o *open) waiting() bool {
	return slices.ContainsFunc(o.Calls, func(c task.Call) bool { return !c.Wait.IsZero() })
}

// storedPart is a part of a reply in its stored form. Its names are persisted. A call is
// named by its index: the step has the calls.
type storedPart struct {
	Text      string `json:"text,omitempty"`
	Thought   bool   `json:"thought,omitempty"`
	Signature []byte `json:"signature,omitempty"`
	Call      *int   `json:"call,omitempty"`
	Data      []byte `json:"data,omitempty"`
	URI       string `json:"uri,omitempty"`
	MIME      string `json:"mime,omitempty"`
}

// encodeReply writes a reply without the arguments of its calls.
func encodeReply(parts []model.Part, calls []*model.Call) (json.RawMessage, error) {
	stored := make([]storedPart, len(parts))
	for i, p := range parts {
		stored[i] = storedPart{Text: p.Text, Thought: p.Thought, Signature: p.Signature, Data: p.Data, URI: p.URI, MIME: p.MIME}
		if p.Call != nil {
			n := slices.Index(calls, p.Call)
			stored[i].Call = &n
		}
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encoding a reply: %w", err)
	}
	return text, nil
}

// decodeReply reads a reply.
func decodeReply(text json.RawMessage, calls []task.Call) ([]model.Part, error) {
	var stored []storedPart
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, fmt.Errorf("the stored reply cannot be read: %w", err)
	}
	parts := make([]model.Part, len(stored))
	for i, p := range stored {
		parts[i] = model.Part{Text: p.Text, Thought: p.Thought, Signature: p.Signature, Data: p.Data, URI: p.URI, MIME: p.MIME}
		if p.Call != nil && *p.Call >= 0 && *p.Call < len(calls) {
			c := calls[*p.Call]
			parts[i].Call = &model.Call{ID: c.ID, Name: c.Name, Args: c.Args}
		}
	}
	return parts, nil
}
