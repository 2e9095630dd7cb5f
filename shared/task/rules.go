package task

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Sizes that the changes of a record may let its encoding reach (R14). Each size leaves
// room for the next smaller change, so that a task can always be ended. The ceiling is
// Firestore's limit of 1 MiB for a document.
// https://firebase.google.com/docs/firestore/quotas
const (
	LimitAccept        = 512 << 10 // accept and follow-up
	limitWebhooks      = 64 << 10  // all webhooks of a task
	LimitResult        = 896 << 10 // progress and result
	LimitStore         = 960 << 10 // everything else; no store takes more
	limitLog           = 64 << 10  // the events kept for streams
	limitNotifications = 256       // notifications; beyond it only those of states are added
	limitText          = 256       // bytes of a notification's text
	limitTries         = 10        // attempts kept with a webhook
)

// LongestRun is how long one run of a turn may take at most: a minute less than queues wait for
// its answer, so that a run has ended before its queue gives it up.
const LongestRun = 29 * time.Minute

// Errors of transitions. A transition that returns one of them changes nothing.
var (
	ErrFenced   = errors.New("task: the turn is no longer ours")
	ErrTerminal = errors.New("task: the task has ended")
	ErrMismatch = errors.New("task: the message id was used for another message")
	ErrInbox    = errors.New("task: too many messages are waiting")
	ErrWebhooks = errors.New("task: too many webhooks")

	// ErrWebhookURL says that another webhook of the task has the URL: a task sends each of
	// its notifications once to a URL.
	ErrWebhookURL = errors.New("task: another webhook has this URL")

	// ErrSoon says that a ping or a re-drive of the webhook was requested a moment ago
	// ([Webhook.Rest]).
	ErrSoon = errors.New("task: a ping or a re-drive of the webhook was requested a moment ago")
)

// Rules are the times and counts that transitions go by. All parts of an installation use
// the same rules.
type Rules struct {
	// Patience is how long a requested job may take before a sweep adds it again. Each
	// further job may take twice as long, up to [Rules.Longest].
	Patience time.Duration

	Answer    time.Duration   // how long an interrupted task waits for its client
	Retention time.Duration   // how long a terminal task is kept
	Age       time.Duration   // age limit of a turn: its waits for calls do not count
	Run       time.Duration   // how long one run of a turn may take; then it is parked and begins again
	Attempts  int             // claims without progress before the turn fails
	Parks     []time.Duration // backoff before each of the last claims, the longest before the last
	Inbox     int             // follow-ups that may wait at once
	Webhooks  int             // webhooks of a task
}

// Defaults are the rules of an installation that configures none.
func Defaults() Rules {
	return Rules{
		Patience: time.Minute, Answer: 30 * 24 * time.Hour, Retention: 30 * 24 * time.Hour,
		Age: 24 * time.Hour, Run: LongestRun, Attempts: 5,
		Parks: []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute},
		Inbox: 16, Webhooks: 10,
	}
}

// A Moment is the time of a decision and the rules it goes by.
type Moment struct {
	Now   time.Time
	Rules Rules
}

// At is the moment of a decision under these rules.
func (ru Rules) At(now time.Time) Moment { return Moment{Now: now.UTC().Round(0), Rules: ru} }

// change begins a transition: a copy whose task may be changed.
func (r Record) change() Record {
	t := *r.Task
	r.Task = &t
	r.encoded = nil
	return r
}

// checked ends a transition: it trims the log, derives Due, and encodes the record once for
// both the size check here and the store.
func (r Record) checked(m Moment, limit int) (Record, error) {
	r.trimLog()
	r.Due, r.Asks = r.debt(m.Rules)
	enc, err := r.Encode()
	if err != nil {
		return Record{}, err
	}
	if enc.Size() > limit {
		return Record{}, fmt.Errorf("task %s: %w: %d bytes, at most %d", r.Task.ID, ErrTooLarge, enc.Size(), limit)
	}
	r.encoded = enc
	return r, nil
}

// setStatus moves the task to state and logs the event. Status times rise strictly, in
// whole milliseconds, even if the clock steps back.
func (r *Record) setStatus(m Moment, state a2a.TaskState, msg *a2a.Message, meta map[string]any) {
	at := m.Now.UTC().Truncate(time.Millisecond)
	if floor := r.Stamp().Add(time.Millisecond); at.Before(floor) {
		at = floor
	}
	r.Task.Status = a2a.TaskStatus{State: state, Timestamp: &at, Message: r.fromAgent(msg)}
	meta = packMap(meta)
	r.Task.Metadata = merged(r.Task.Metadata, meta)
	if state.Terminal() {
		r.Expires = at.Add(m.Rules.Retention)
		if !r.Ends.IsZero() {
			r.Expires = r.Ends
		}
	}
	status := r.Task.Status
	r.log(Entry{Status: &status, Metadata: meta})
}

// fromAgent fills in the fields that every message of the agent carries.
func (r *Record) fromAgent(msg *a2a.Message) *a2a.Message {
	if msg == nil {
		return nil
	}
	m := *packMessage(msg)
	m.Role, m.TaskID, m.ContextID = a2a.MessageRoleAgent, r.Task.ID, r.Task.ContextID
	if m.ID == "" {
		m.ID = fmt.Sprintf("%s-%d", r.Task.ID, r.Seq+1)
	}
	return &m
}

// addHistory appends messages without touching the receiver's array.
func (r *Record) addHistory(msgs ...*a2a.Message) {
	h := r.Task.History
	r.Task.History = append(h[:len(h):len(h)], msgs...)
}

// noteState adds a notification of the present state.
func (r *Record) noteState(front bool) {
	r.addNotification(Notification{
		At: r.Stamp(), Seq: r.Seq, State: r.State(), Text: shortText(r.Task.Status.Message), Front: front,
	})
}

func (r *Record) addNotification(n Notification) {
	if n.State == "" && len(r.Notifications) >= limitNotifications {
		return
	}
	r.Notifications = append(r.Notifications[:len(r.Notifications):len(r.Notifications)], n)
	r.reviveWebhooks(n.At)
}

// shortText is the beginning of a message's text, cut between characters.
func shortText(m *a2a.Message) string {
	if m == nil {
		return ""
	}
	for _, p := range m.Parts {
		if t := p.Text(); t != "" {
			return short(t)
		}
	}
	return ""
}

func short(t string) string { return strings.ToValidUTF8(t[:min(len(t), limitText)], "") }

func merged(a, b map[string]any) map[string]any {
	if len(b) == 0 {
		return a
	}
	out := make(map[string]any, len(a)+len(b))
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}
