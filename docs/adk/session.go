package adk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/adk/v2/session"

	"errand/worker/run"
	"errand/worker/steps"
)

// Sessions is ADK's session.Service on the store of Errand. The session of a turn is its
// conversation: the owner of the task and the A2A context name it, and it consists of what its
// turns have left (steps.Memos). So it needs no key and no expiry of its own, its bytes are those
// of the turns, and it goes with its tasks.
//
// A turn sees the sessions of no other conversation, and no owner sees one of another owner.
// Events are stored before a tool runs, after its result, with a question, and at the end. They are
// atomic together with those before them, since the last time, and durable when AppendEvent
// returns or the tool begins. Two runs of a turn store the same events once. Two turns of a
// conversation that run at the same time each see what the other one has stored when they begin,
// and later turns see both, one after the other.
//
// An error of the store ends the run. The turn runs again, and nobody else needs to try again.
type Sessions struct{}

var _ session.Service = Sessions{}

// errElsewhere is the error for any session but that of the turn.
var errElsewhere = errors.New("adk: a turn has the session of its own conversation and no other")

// of returns the turn that a context belongs to, if the session is its own.
func (Sessions) of(ctx context.Context, id string) (*turn, error) {
	t := from(ctx)
	if t == nil || id != t.conversation {
		return nil, errElsewhere
	}
	return t, nil
}

// Create implements session.Service. The session of a conversation exists, so it only takes a
// state into it.
func (s Sessions) Create(ctx context.Context, r *session.CreateRequest) (*session.CreateResponse, error) {
	t, err := s.of(ctx, r.SessionID)
	if err != nil {
		return nil, err
	}
	if err := t.change(r.State); err != nil {
		return nil, err
	}
	return &session.CreateResponse{Session: view{t: t, user: r.UserID}}, nil
}

// Get implements session.Service.
func (s Sessions) Get(ctx context.Context, r *session.GetRequest) (*session.GetResponse, error) {
	t, err := s.of(ctx, r.SessionID)
	if err != nil {
		return nil, err
	}
	return &session.GetResponse{Session: view{t: t, user: r.UserID, newest: r.NumRecentEvents, after: r.After}}, nil
}

// List implements session.Service: there is the session of the turn.
func (s Sessions) List(ctx context.Context, r *session.ListRequest) (*session.ListResponse, error) {
	t := from(ctx)
	if t == nil {
		return nil, errElsewhere
	}
	return &session.ListResponse{Sessions: []session.Session{view{t: t, user: r.UserID}}}, nil
}

// Delete implements session.Service, and refuses: a conversation goes with its tasks.
func (Sessions) Delete(context.Context, *session.DeleteRequest) error {
	return errors.New("adk: a session is deleted with the tasks of its conversation: DELETE /tasks/{id}")
}

// AppendEvent implements session.Service. An event that another run of the turn has stored takes
// the place of ev.
func (s Sessions) AppendEvent(ctx context.Context, in session.Session, ev *session.Event) error {
	t, err := s.of(ctx, in.ID())
	if err != nil || ev.Partial {
		return err
	}
	return t.add(ctx, ev)
}

// A turn is one run of one turn, with its session. The runner, the model and the tools of a turn
// share it.
type turn struct {
	app          string
	conversation string // the A2A context
	task         string
	number       int        // of the turn in its task, from 1
	open         []question // of the turns before, that wait for an answer
	message      string     // the id of the message that the session has as it is; empty: it answers a question

	mu      sync.Mutex
	past    []*session.Event // of the turns before
	events  []*session.Event // of this one
	saved   int              // how many of these are stored
	chunks  int              // in how many memos
	before  map[string]any   // the state as the turn began
	state   map[string]any
	last    int64           // place of the newest turn before, in milliseconds of Unix time
	replies map[string]int  // that the agents have had, by their places
	given   map[string]bool // calls whose results were stored before this run
	failed  error           // why this run can have no outcome
}

// A chunk is what a memo holds. Its names are persisted.
type chunk struct {
	// Of the first chunk of a turn: its place in the conversation, which is the time of its begin
	// in milliseconds of Unix time, but after all turns that it has seen; the state before it; and
	// the id of the message that the first event holds, if its files are to be found there.
	Place   int64          `json:"place,omitempty"`
	State   map[string]any `json:"state,omitempty"`
	Message string         `json:"message,omitempty"`

	Events []*session.Event `json:"events"`
}

// memo is the name of a chunk.
func memo(n int) string { return fmt.Sprintf("adk.%06d", n) }

// begin reads the conversation of a turn.
func begin(ctx context.Context, app string, ec *a2asrv.ExecutorContext) (*turn, error) {
	t := &turn{app: app, conversation: ec.ContextID, task: string(ec.TaskID), replies: map[string]int{}, given: map[string]bool{}}
	if r, ok := run.From(ctx); ok {
		t.number = r.Turn
	}

	memos, all, err := steps.Memos(ctx)
	if err != nil {
		return nil, err
	}
	turns, err := turnsOf(memos, messagesOf(ec))
	if err != nil {
		return nil, err
	}

	if n := len(turns); n > 0 {
		t.last = turns[n-1].place
	}
	t.open = openOf(turns, t.task)
	t.past, t.state = history(turns, t.open, all)
	t.before = maps.Clone(t.state)
	return t, nil
}

type key struct{}

func with(ctx context.Context, t *turn) context.Context { return context.WithValue(ctx, key{}, t) }

// from finds the turn that a context belongs to. nil: to none.
func from(ctx context.Context) *turn {
	t, _ := ctx.Value(key{}).(*turn)
	return t
}

// add adds an event, and stores it if it ends or begins something.
func (t *turn) add(ctx context.Context, ev *session.Event) error {
	if err := t.failure(); err != nil {
		return err
	}
	if err := t.change(ev.Actions.StateDelta); err != nil {
		return err
	}

	t.mu.Lock()
	t.events = append(t.events, ev)
	t.mu.Unlock()
	if len(ev.LongRunningToolIDs) == 0 && len(resultsIn(ev)) == 0 || ev.Author == "user" {
		return nil
	}
	return t.save(ctx)
}

// change applies a change of the state.
func (t *turn) change(delta map[string]any) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, value := range delta {
		if strings.HasPrefix(name, session.KeyPrefixApp) || strings.HasPrefix(name, session.KeyPrefixUser) {
			return fmt.Errorf("adk: the agent changes the state %q, which is not of its session: keep it in a service of your own", name)
		}
		t.state[name] = value
	}
	return nil
}

// save stores the events that are not stored. Those of the first run that came so far count: they
// take the place of this run's own.
func (t *turn) save(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	more := t.events[t.saved:]
	if len(more) == 0 {
		return nil
	}

	c := chunk{Events: make([]*session.Event, len(more))}
	for i, ev := range more {
		c.Events[i] = stored(ev)
	}
	content := more[0].Content
	first := t.chunks == 0 && t.message != "" && content != nil
	if t.chunks == 0 {
		c.Place, c.State = max(time.Now().UnixMilli(), t.last+1), lasting(t.before)
	}
	if first {
		c.Message, c.Events[0] = t.message, withoutFiles(c.Events[0])
	}

	left, err := steps.Leave(ctx, memo(t.chunks), c)
	if err != nil {
		t.failed = err
		return t.failed
	}

	if len(left.Events) == len(more) {
		for i, ev := range left.Events {
			ev.InvocationID = more[i].InvocationID
			*more[i] = *ev
		}
	}
	if first {
		more[0].Content = content
	}
	t.saved, t.chunks = len(t.events), t.chunks+1
	return nil
}

// fail notes that this run can have no outcome, and returns why.
func (t *turn) fail(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = err
	}
	return t.failed
}

// failure is why this run can have no outcome; nil: it can.
func (t *turn) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// stored is an event as it is stored: without state that is for this run alone.
func stored(ev *session.Event) *session.Event {
	e := *ev
	e.Actions.StateDelta = lasting(ev.Actions.StateDelta)
	return &e
}

// lasting is a state, or a change of it, without what is for one run alone.
func lasting(state map[string]any) map[string]any {
	out := maps.Clone(state)
	maps.DeleteFunc(out, func(name string, _ any) bool { return strings.HasPrefix(name, session.KeyPrefixTemp) })
	return out
}

// A view is a session of ADK: the turns before, and the events of this one so far.
type view struct {
	t      *turn
	user   string
	newest int       // events; 0: all
	after  time.Time // of the events; zero: all
}

// ID implements session.Session.
func (v view) ID() string { return v.t.conversation }

// AppName implements session.Session.
func (v view) AppName() string { return v.t.app }

// UserID implements session.Session.
func (v view) UserID() string { return v.user }

// State implements session.Session.
func (v view) State() session.State { return state{v.t} }

// LastUpdateTime implements session.Session.
func (v view) LastUpdateTime() time.Time {
	if all := v.list(); len(all) > 0 {
		return all[len(all)-1].Timestamp
	}
	return time.Time{}
}

// Events implements session.Session.
func (v view) Events() session.Events { return v.list() }

func (v view) list() events {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	all := slices.Concat(v.t.past, v.t.events)
	if v.newest > 0 {
		all = all[max(0, len(all)-v.newest):]
	}
	return slices.DeleteFunc(all, func(e *session.Event) bool { return e.Timestamp.Before(v.after) })
}

// events implements session.Events.
type events []*session.Event

// All implements session.Events.
func (e events) All() iter.Seq[*session.Event] { return slices.Values(e) }

// Len implements session.Events.
func (e events) Len() int { return len(e) }

// At implements session.Events.
func (e events) At(i int) *session.Event {
	if i < 0 || i >= len(e) {
		return nil
	}
	return e[i]
}

// A state implements session.State.
type state struct{ t *turn }

// Get implements session.State.
func (s state) Get(name string) (any, error) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if value, ok := s.t.state[name]; ok {
		return value, nil
	}
	return nil, session.ErrStateKeyNotExist
}

// Set implements session.State.
func (s state) Set(name string, value any) error { return s.t.change(map[string]any{name: value}) }

// All implements session.State.
func (s state) All() iter.Seq2[string, any] {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return maps.All(maps.Clone(s.t.state))
}
