// Package task holds the record of one task and the protocol that changes it.
//
// It holds data, pure transitions (rules R0 to R15 of docs/design.md) and the ports to the
// stores of records. All users of a store share Update and Follow, all adapters share
// Topics. The package does no I/O of its own and knows no queue, bus or model: adapters
// store records, services act on decisions.
//
// Its words: a notification (Notification) is an event that webhooks and the topic are told of; a
// debt is pending work of a record; the front door is the service that clients call.
package task

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Schema is the version of the stored form that this program writes. A record with a newer
// schema is read and never written.
const Schema = schemaOfReruns

// A record has the least schema whose programs know all of it. Programs before steps would forget
// which calls have begun, and those before reruns would give calls other keys.
const (
	beforeSteps    = 1
	schemaOfSteps  = 2
	schemaOfReruns = 3
)

// Names of the lanes that carry jobs about records. Package queue has the same names.
const (
	Turns      = "turns"      // a turn is pending
	Deliveries = "deliveries" // a webhook has undelivered notifications
	Batches    = "batches"    // a batch is fed, collected or ended
	Bulk       = "bulk"       // a turn of the item of a batch is pending
)

// A Record is one task as stored. The names of its fields are persisted in every store: add
// or remove fields, never rename one.
//
// A Record is a value. Transitions return a changed copy and change nothing the receiver
// points to, so records may be shared between goroutines and cached. Objects and arrays in
// metadata and data parts are JSON text ([Object]) until [Clone] decodes them.
type Record struct {
	Schema        int            // version of the stored form
	Task          *a2a.Task      // the task as clients see it, without Inbox in its history
	Owner         string         // tenant/principal that may see the task; never a credential
	Lane          string         // lane of the jobs for its turns
	Requests      []Request      // accepted messages, oldest first
	Turn          int            // number of the message being answered, from 1
	Since         time.Time      // when this turn's message was accepted: the age limit counts from it
	Made          []Made         // artifacts of this turn and the claims that wrote them (R5)
	Inbox         []*a2a.Message // accepted follow-ups that no turn has taken yet
	Webhooks      []Webhook      // webhooks
	Gens          int64          // webhooks ever set: the source of Webhook.Gen
	Seq           int64          // number of events so far, without gaps
	Log           []Entry        // the newest events, for streams
	Notifications []Notification // notifications, 1..n without gaps, never trimmed
	Published     int            // notifications known to be published
	Epoch         int64          // fencing token: +1 at each claim
	Attempt       int            // claims since the last progress that a retry can build on
	Deaths        int            // those of them whose worker died
	Blamed        int            // those deaths for which this turn is to blame
	Lease         Lease          // the claim of the worker that runs the turn; zero: none
	Wake          time.Time      // parked: the turn backs off until then; zero: not parked
	Asked         time.Time      // when a change last requested jobs
	Asks          []Ask          // lanes for whose debts sweeps have added jobs again
	Due           Due            // derived at every commit: when the sweep must look at the record
	Life          string         // drawn when the record was made: an expired task's id can come again
	WakeKey       string         // signs the URLs that wake calls of this life; empty: there are none
	Steps         int            // steps so far: replies that asked for calls
	Step          *Step          // the newest step, while its turn goes on from it
	First         int            // number of the last step before the work that goes on
	Told          bool           // a word for a waiting call came since the last claim
	Paused        time.Time      // since when the turn waits for its calls, or may not run: that does not count towards its age
	Broke         int            // workers that died under this turn, with progress or without
	Turned        Spent          // cost of this turn
	Spent         Spent          // cost of the task
	Marks         []Mark         // the newest claims and parks, for people to read
	Deleted       bool           // its owner has deleted it: ids and fingerprints are all that is left
	Expires       time.Time      // when the record may be purged; zero: not known yet
	Version       int64          // compare-and-swap token, kept by the store
	Held          int            // holds of the turn since its last progress (R17)
	Ends          time.Time      // when the record expires once it has ended: a batch and its items end together; zero: after the retention
	Origins       []Origin       // the tasks that this one runs again, each as a rerun of the one before; empty: none
	Settled       bool           // of a batch that has ended: its items have ended too, and its files are whole (R19)

	extra    map[string]json.RawMessage // fields that other versions wrote; they survive a rewrite
	encoded  *Encoded                   // the stored form, if it is made already
	headOnly bool                       // read without its body, so only the head can be written
}

// A Request is one accepted message: the id and the fingerprint by which a repetition is
// recognized, and the extensions and metadata of its request.
type Request struct {
	ID          string   `json:"id"`                   // the message's id, or its request's where clients reuse those
	Fingerprint string   `json:"print"`                // fingerprint of the message's content
	Extensions  []string `json:"extensions,omitempty"` // URIs of the protocol extensions activated for it
	Metadata    Object   `json:"metadata,omitempty"`   // metadata of the request, not of the message; stored in the body, and in heads written before
}

// Made is one artifact of the current turn.
type Made struct {
	ID    a2a.ArtifactID `json:"id"`
	Epoch int64          `json:"epoch"`          // of the claim that last wrote it
	Kept  bool           `json:"kept,omitempty"` // a step was opened, or a result stored, after it: later attempts go on from there
}

// Lease says which worker runs the turn.
type Lease struct {
	Until time.Time `json:"until"`           // after it, any worker may claim the turn
	Queue string    `json:"queue"`           // queue that delivered the claim's job
	Name  string    `json:"name"`            // the queue's name for the delivered job
	Retry int       `json:"retry"`           // failed deliveries under that name before this one
	Nonce string    `json:"nonce"`           // names the claim, so that a repeated claim recognises itself
	Alone bool      `json:"alone,omitempty"` // no other turn runs in the worker's process
}

// An Ask counts the jobs that sweeps have added for the debts that a record has in one lane.
// It ends with these debts: other ones in the lane are a new beginning.
type Ask struct {
	Lane  string    `json:"lane"`
	Debts uint32    `json:"debts"` // hash of the debts
	At    time.Time `json:"at"`    // when a sweep last added a job
	N     int       `json:"n"`     // jobs added by sweeps
}

// Due is the earliest debt of a record.
type Due struct {
	At   time.Time // when the sweep must look; zero: no work is pending
	Lane string    // lane of that debt
}

// States of a Webhook.
const (
	WebhookActive = "active"
	WebhookDead   = "dead" // the schedule is used up, or the receiver said 410
)

// A Webhook is one webhook of a task. Its Cursor is the whole state of delivery: notifications
// up to Cursor were answered 2xx or given up.
type Webhook struct {
	ID       string    `json:"id"`
	Gen      int64     `json:"gen"` // generation: a webhook that is replaced gets a new one
	URL      string    `json:"url"`
	Scheme   string    `json:"scheme,omitempty"`  // scheme of the Authorization header
	Sealed   string    `json:"sealed,omitempty"`  // token and credentials, encrypted; equal ones give the same text
	Dialect  string    `json:"dialect,omitempty"` // protocol version of the request that set it; empty: 1.0
	State    string    `json:"state"`
	Gone     bool      `json:"gone,omitempty"`     // dead because of a 410: a new notification does not revive it
	Cursor   int       `json:"cursor"`             // notifications delivered
	Snapshot int       `json:"snapshot,omitempty"` // number of the notification that is sent as the whole task; 0: none
	Attempt  int       `json:"attempt"`            // failed attempts at the notification after Cursor
	Since    time.Time `json:"since,omitzero"`     // when the webhook became ready for that notification: the schedule begins then, or when the notification was made
	Next     time.Time `json:"next"`               // that notification is not tried before
	Ping     time.Time `json:"ping,omitzero"`      // when a ping was requested that is not sent yet; zero: none
	Prompted time.Time `json:"prompted,omitzero"`  // when a ping or a re-drive was last requested; zero: never
	Tries    []Try     `json:"tries,omitempty"`    // the last attempts, oldest first
}

// A Try is one attempt to deliver. It is kept for people to read.
type Try struct {
	At           time.Time `json:"at"`
	Notification int       `json:"note"`             // number of the notification; 0: a ping
	Status       int       `json:"status,omitempty"` // HTTP status; 0: no answer
	Error        string    `json:"error,omitempty"`  // class of the failure, never content
}

// An Entry is one event, for streams. Exactly one of Status and Artifact is set.
type Entry struct {
	Seq      int64           `json:"seq"`
	Status   *a2a.TaskStatus `json:"-"`
	Metadata map[string]any  `json:"-"` // metadata of the status update
	Artifact *Chunk          `json:"-"`
}

// A Chunk is one artifact update. Plain text that is still in the artifact is kept by
// reference: bytes From to To of the text of part Part.
type Chunk struct {
	ID       a2a.ArtifactID
	Append   bool
	Last     bool
	Part     int
	From, To int
	Inline   *a2a.Artifact  // the update itself, where a reference is not enough
	Metadata map[string]any // metadata of the update
}

// A Notification is a notification: a terminal or interrupted state, or a completed artifact. Its
// number is its position, from 1.
type Notification struct {
	At       time.Time      `json:"at"`
	Seq      int64          `json:"seq"`             // Record.Seq when it happened
	State    a2a.TaskState  `json:"state,omitempty"` // empty for an artifact
	Text     string         `json:"text,omitempty"`  // beginning of the status message's text, at most 256 bytes
	Artifact a2a.ArtifactID `json:"artifact,omitempty"`
	Front    bool           `json:"front,omitempty"` // made by the front door, not by a turn
}

// ID is the task's id.
func (r Record) ID() string { return string(r.Task.ID) }

// State is the task's state.
func (r Record) State() a2a.TaskState { return r.Task.Status.State }

// Stamp is the time of the task's status, in whole milliseconds UTC.
func (r Record) Stamp() time.Time {
	if t := r.Task.Status.Timestamp; t != nil {
		return *t
	}
	return time.Time{}
}

// Terminal reports whether the task has ended and can no longer change.
func (r Record) Terminal() bool { return r.State().Terminal() }

// Expired reports whether the record must be treated as absent. Times are compared in
// milliseconds, as the indexes of stores have them.
func (r Record) Expired(now time.Time) bool {
	return !r.Expires.IsZero() && r.Expires.UnixMilli() <= now.UnixMilli()
}

// Interrupted reports whether the task waits for its client.
func (r Record) Interrupted() bool { return Interrupted(r.State()) }

// Interrupted reports whether a task in the given state waits for its client.
func Interrupted(state a2a.TaskState) bool {
	return state == a2a.TaskStateInputRequired || state == a2a.TaskStateAuthRequired
}

// Request returns the rest of the request whose message is being answered. It is a copy
// with decoded metadata.
func (r Record) Request() Request {
	if r.Turn < 1 || r.Turn > len(r.Requests) { // messages are answered in the order they were accepted
		return Request{}
	}
	s := r.Requests[r.Turn-1]
	s.Extensions, s.Metadata = slices.Clone(s.Extensions), cloneMap(s.Metadata)
	return s
}

// Visible reports whether owner may see the record. For every other owner the task does not
// exist.
func (r Record) Visible(owner string) bool { return r.Owner == owner }

// View is the task as a client sees it now: with the accepted follow-ups at the end of its
// history (R13). It shares its contents with the record.
func (r Record) View() *a2a.Task {
	t := *r.Task
	if len(r.Inbox) > 0 {
		t.History = append(t.History[:len(t.History):len(t.History)], r.Inbox...)
	}
	return &t
}

// Webhook finds a webhook by its id.
func (r Record) Webhook(id string) (Webhook, bool) {
	for _, h := range r.Webhooks {
		if h.ID == id {
			return h, true
		}
	}
	return Webhook{}, false
}

// HasDead reports whether a webhook of the record is dead.
func (r Record) HasDead() bool {
	return slices.ContainsFunc(r.Webhooks, func(h Webhook) bool { return h.State == WebhookDead })
}
