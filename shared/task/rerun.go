package task

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// This file makes the task that runs another one again (R16i): the same messages, in the same
// context, from the steps of the turn that did not succeed.

// maxOrigins is how often a task may be run again, each time as the rerun of the one before.
const maxOrigins = 64

// Errors of Rerun.
var (
	ErrOpen      = errors.New("task: the task has not ended")
	ErrSucceeded = errors.New("task: the task has succeeded")
	ErrItem      = errors.New("task: the task is a batch, or the item of one")
	ErrReruns    = fmt.Errorf("task: the task was run again %d times in a row", maxOrigins)

	// ErrLate says that the task expires before a rerun of it has surely taken over its steps.
	ErrLate = errors.New("task: the task expires too soon")
)

// An Origin is a task that another one runs again.
type Origin struct {
	Task    string `json:"task"`
	Life    string `json:"life"`
	Steps   int    `json:"steps,omitempty"`   // number of the last step that is taken over from it
	Turn    int    `json:"turn,omitempty"`    // and of the last turn whose other entries are
	Anew    bool   `json:"anew,omitempty"`    // those of its last turn are not taken over
	Brought bool   `json:"brought,omitempty"` // its entries in package kv were copied
}

// A Rerunning says how a task is run again.
type Rerunning struct {
	ID       string // of the new task
	Life     string // drawn for it, as that of an [Acceptance]
	WakeKey  string // signs the URLs that wake its calls
	Anew     bool   // begin without what the turn has stored
	Webhooks bool   // take over the webhooks
}

// Rerun makes the record of the task that runs r again, which has failed, or was rejected or
// canceled. The turn that did not succeed begins again, with the messages and artifacts before
// it. Messages that no turn had taken wait for theirs. Unless it begins anew, it goes on from
// the steps of the turn, whose calls keep their keys, so that none with effects happens twice.
// The limits of a turn count what it does itself.
//
// Errors: ErrDeleted, ErrOpen, ErrSucceeded, ErrItem, ErrReruns, ErrLate, ErrTooLarge, and those
// of webhooks.
func (r Record) Rerun(m Moment, as Rerunning) (Record, error) {
	if err := r.noRerun(); err != nil {
		return Record{}, err
	}
	if len(r.Origins) >= maxOrigins {
		return Record{}, ErrReruns
	}
	origins := r.originsOf(as.Anew)
	if !origins[len(origins)-1].Brought && !m.Now.Add(m.Rules.Age+time.Hour).Before(r.Expires) {
		return Record{}, ErrLate
	}

	at := m.Now.Truncate(time.Millisecond)
	n := Record{
		Schema: schemaOfReruns, Owner: r.Owner, Lane: r.Lane, Requests: r.Requests, Turn: r.Turn, Since: m.Now, Asked: m.Now,
		Life: as.Life, WakeKey: as.WakeKey, Origins: origins, Steps: r.First, First: r.First,
		Task: &a2a.Task{
			ID: a2a.TaskID(as.ID), ContextID: r.Task.ContextID,
			Status: a2a.TaskStatus{State: a2a.TaskStateSubmitted, Timestamp: &at},
		},
	}
	n.Task.History, n.Inbox = r.messagesOf(n.Task.ID)
	n.takeArtifacts(r, as.Anew)
	if !as.Anew {
		n.takeSteps(m, r)
	}

	for _, h := range r.Webhooks {
		if !as.Webhooks {
			break
		}
		h = Webhook{ID: h.ID, URL: h.URL, Scheme: h.Scheme, Sealed: h.Sealed, Dialect: h.Dialect}
		if err := n.putWebhook(m, h); err != nil {
			return Record{}, err
		}
	}

	return n.checked(m, LimitResult)
}

// originsOf are the origins of a rerun. One that begins anew takes over what the turns before the
// last one have stored, and knows no step of the last one, of whichever task.
func (r Record) originsOf(anew bool) []Origin {
	last := Origin{Task: r.ID(), Life: r.life(), Steps: r.Steps, Turn: r.Turn, Anew: anew}
	if anew {
		last.Steps, last.Turn = r.First, r.Turn-1
	}
	last.Brought = last.Steps == 0 && last.Turn == 0

	all := append(slices.Clone(r.Origins), last)
	for i := range all {
		all[i].Steps, all[i].Turn = min(all[i].Steps, last.Steps), min(all[i].Turn, last.Turn)
	}
	return all
}

// MayRerun reports whether the task is one that Rerun runs again, sooner or later after its end.
func (r Record) MayRerun() bool { return r.noRerun() == nil }

// noRerun returns the reason why no task of this kind and state is run again.
func (r Record) noRerun() error {
	switch _, _, item := r.Item(); {
	case r.Deleted:
		return ErrDeleted
	case item || r.Lane == Batches:
		return ErrItem
	case !r.Terminal():
		return ErrOpen
	case r.State() == a2a.TaskStateCompleted:
		return ErrSucceeded
	}
	return nil
}

// messagesOf are the messages of the record as those of another task: the history up to the
// message of the last turn, which refers to this task, and those that no turn has taken.
func (r Record) messagesOf(id a2a.TaskID) (history, waiting []*a2a.Message) {
	turn := 0
	for _, old := range r.Task.History {
		msg := *old
		msg.TaskID = id
		if msg.Role != a2a.MessageRoleAgent {
			if turn++; turn > r.Turn {
				waiting = append(waiting, &msg)
				continue
			}
			if turn == r.Turn {
				msg.ReferenceTasks = append(msg.ReferenceTasks[:len(msg.ReferenceTasks):len(msg.ReferenceTasks)], r.Task.ID)
			}
		} else if turn >= r.Turn { // said by the turn that did not succeed
			continue
		}
		history = append(history, &msg)
	}
	return history, waiting
}

// takeArtifacts takes over the artifacts of the turns that succeeded, and those from which the
// steps of the last one go on.
func (r *Record) takeArtifacts(from Record, anew bool) {
	made := map[a2a.ArtifactID]Made{}
	for _, m := range from.Made {
		made[m.ID] = m
	}
	for _, a := range from.Task.Artifacts {
		m, ofTurn := made[a.ID]
		if ofTurn && (anew || !m.Kept) {
			continue
		}
		r.Task.Artifacts = append(r.Task.Artifacts, a)
		if ofTurn {
			r.Made = append(r.Made, m)
		}
	}
}

// takeSteps goes on from the steps of another record. A question about a call is asked again if
// it was not answered, and a call that waits begins again, because the word that it waits for
// reaches the other task.
func (r *Record) takeSteps(m Moment, from Record) {
	r.Steps = from.Steps
	if from.Step == nil {
		return
	}
	r.Step = from.Step
	s := r.own()
	if s.Asked != nil && s.Asked.Answer == "" {
		s.Asked = nil
	}
	for i := range s.Calls {
		if c := &s.Calls[i]; c.Wait.After(m.Now) {
			c.Wait = m.Now
		}
	}
}

// Origin returns the task whose steps the record goes on from. One that has copied no steps itself
// has made none either, and they are still those of the task before it.
func (r Record) Origin() (o Origin, ok bool) {
	if from := r.unbrought(); len(from) > 0 {
		return from[0], true
	}
	return Origin{}, false
}

// unbrought are the newest origin and those before it, back to the one that has the steps.
func (r Record) unbrought() []Origin {
	for i := len(r.Origins) - 1; i > 0; i-- {
		if r.Origins[i-1].Brought {
			return r.Origins[i:]
		}
	}
	return r.Origins
}

// Inherited is the number of the last step that the record has taken over.
func (r Record) Inherited() int {
	o, _ := r.Origin()
	return o.Steps
}

// Prefix begins the keys in package kv of all that the task has stored.
func (o Origin) Prefix() string { return stepPrefix(o.Task, o.Life) }

// StepKey is the key in package kv of a step of the task.
func (o Origin) StepKey(number int) string { return stepKey(o.Prefix(), number) }

// Bring notes that everything that the origin has stored was copied. The origin may be deleted
// from then on.
func (r Record) Bring(m Moment) (next Record, changed bool, err error) {
	o, ok := r.Origin()
	if !ok || o.Brought || r.Deleted {
		return r, false, nil
	}
	n := r.change()
	n.Origins = slices.Clone(r.Origins)
	for i := len(r.Origins) - len(r.unbrought()); i < len(n.Origins); i++ {
		n.Origins[i].Brought = true
	}
	next, err = n.checked(m, LimitStore)
	return next, err == nil, err
}

// Reruns reports whether the task runs the one with the id again, or a rerun of that.
func (r Record) Reruns(id string) bool {
	for _, o := range r.Origins {
		if o.Task == id {
			return true
		}
	}
	return false
}

// TurnKey begins the keys of effects of the turn that are no calls of a model. It is that of the
// first task that the record goes on from.
func (r Record) TurnKey() string {
	id, life := r.ID(), r.life()
	for _, o := range slices.Backward(r.Origins) {
		if o.Anew {
			break
		}
		id, life = o.Task, o.Life
	}
	return fmt.Sprintf("%s/%s/t%d/", id, life, r.Turn)
}

// keeper is the task and the life by which the calls of a step are known: those of the record in
// which it was opened.
func (r Record) keeper(step int) (id, life string) {
	for _, o := range r.Origins {
		if step <= o.Steps {
			return o.Task, o.Life
		}
	}
	return r.ID(), r.life()
}
