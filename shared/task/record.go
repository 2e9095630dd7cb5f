// Package task is the record of one task and the protocol that changes it.
//
// It holds data, pure transitions (rules R0 to R15 of docs/design.md) and the
// ports to the stores of records. All users of a store share Update and Follow, all
// adapters share Topics. The package does no I/O of its own and knows no queue, bus
// or model: adapters store records, services act on decisions.
package task

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Schema is the version of the stored form that this program writes. A record
// of a newer schema is read and never written.
const Schema = 1

// Names of the queues that carry jobs about records, as package queue has them.
const (
	Turns      = "turns"      // a turn is owed
	Deliveries = "deliveries" // a webhook is behind
)

// A Record is one task as stored. The names of its fields are persisted in every
// store: add or remove, never rename.
//
// A Record is a value. Transitions return a changed copy and change nothing the
// receiver points to, so records may be shared between goroutines and cached.
type Record struct {
	Schema  int            // version of the stored form
	Task    *a2a.Task      // what clients see; its history does not hold Inbox
	Owner   string         // tenant/principal: who may see it; never a credential
	Lane    string         // the queue of its turns
	Seen    []Seen         // every message accepted, oldest first
	Turn    int            // the message being answered, from 1
	Since   time.Time      // when this turn's message was accepted: the age limit counts from it
	Made    []Made         // artifacts of this turn and who wrote them (R5)
	Inbox   []*a2a.Message // accepted follow-ups, not yet taken
	Hooks   []Hook         // webhooks
	Gens    int64          // hooks ever made: the source of Hook.Gen
	Seq     int64          // events so far, without gaps
	Log     []Entry        // the newest events, for streams
	Notes   []Note         // notified events, 1..n without gaps, never trimmed
	Told    int            // notes known to be published
	Epoch   int64          // fencing token: +1 at each claim
	Attempt int            // claims since the last progress a retry can build on
	Lease   Lease          // who runs the turn; zero: nobody
	Wake    time.Time      // parked: nobody runs it before then; zero: not parked
	Asked   time.Time      // when a job or hint was last asked for
	Due     Due            // derived at every commit: when the sweep must look
	Expires time.Time      // when it may be purged; zero: not yet known
	Version int64          // compare-and-swap token, kept by the store

	extra   map[string]json.RawMessage // fields of other versions; they survive a rewrite
	encoded *Encoded                   // the stored form, when already made
}

// Seen is one accepted message: how it is recognised, and what came with it.
type Seen struct {
	ID         string         `json:"id"`                   // the message's id, or its request's where clients reuse those
	Print      string         `json:"print"`                // fingerprint of its content
	Extensions []string       `json:"extensions,omitempty"` // URIs of the protocol extensions activated for it
	Metadata   map[string]any `json:"metadata,omitempty"`   // of the request, not of the message
}

// Made is one artifact of the current turn.
type Made struct {
	ID    a2a.ArtifactID `json:"id"`
	Epoch int64          `json:"epoch"` // that last wrote it
}

// Lease says who runs the turn.
type Lease struct {
	Until time.Time `json:"until"` // after it, anybody may claim
	Queue string    `json:"queue"` // queue that delivered the claim
	Name  string    `json:"name"`  // its name for the delivery
	Retry int       `json:"retry"` // failed deliveries of that name before this one
	Nonce string    `json:"nonce"` // of the claim, so that it recognises itself
}

// Due is the earliest debt of a record.
type Due struct {
	At   time.Time // when the sweep must look; zero: nothing is owed
	Lane string    // the queue of that debt
}

// States of a Hook.
const (
	HookActive = "active"
	HookDead   = "dead" // the schedule is used up, or the receiver said 410
)

// A Hook is one webhook of a task. Its Cursor is the whole state of delivery:
// notes up to Cursor were answered 2xx or given up.
type Hook struct {
	ID       string    `json:"id"`
	Gen      int64     `json:"gen"` // generation: a replaced hook is another one
	URL      string    `json:"url"`
	Scheme   string    `json:"scheme,omitempty"`  // of Authorization
	Sealed   string    `json:"sealed,omitempty"`  // token and credentials, encrypted; equal ones are sealed to the same text
	Dialect  string    `json:"dialect,omitempty"` // protocol version it was made in; empty: 1.0
	State    string    `json:"state"`
	Gone     bool      `json:"gone,omitempty"`     // dead by 410: a new note does not revive it
	Cursor   int       `json:"cursor"`             // notes delivered
	Snapshot int       `json:"snapshot,omitempty"` // number of the note that is told as the whole task; 0: none
	Attempt  int       `json:"attempt"`            // failures of the note after Cursor
	Since    time.Time `json:"since,omitzero"`     // that note was not tried before: the schedule begins then, or when the note was made
	Next     time.Time `json:"next"`               // not tried before
	Ping     time.Time `json:"ping,omitzero"`      // a ping was asked for then and is not sent yet; zero: none
	Tries    []Try     `json:"tries,omitempty"`    // the last attempts, oldest first
}

// A Try is one attempt to deliver, kept for people to look at.
type Try struct {
	At     time.Time `json:"at"`
	Note   int       `json:"note"`             // 0: a ping
	Status int       `json:"status,omitempty"` // HTTP status; 0: no answer
	Error  string    `json:"error,omitempty"`  // class of the failure, never content
}

// An Entry is one event, for streams. Exactly one of Status and Artifact is set.
type Entry struct {
	Seq      int64           `json:"seq"`
	Status   *a2a.TaskStatus `json:"-"`
	Metadata map[string]any  `json:"-"` // of the status update
	Artifact *Chunk          `json:"-"`
}

// A Chunk is one artifact update. Plain text that is still in the artifact is
// kept by reference: bytes From to To of the text of part Part.
type Chunk struct {
	ID       a2a.ArtifactID
	Append   bool
	Last     bool
	Part     int
	From, To int
	Inline   *a2a.Artifact  // the update itself, where a reference cannot say it
	Metadata map[string]any // of the update
}

// A Note is one notified event: a terminal or interrupted state, or a completed
// artifact. Its number is its position, from 1.
type Note struct {
	At       time.Time      `json:"at"`
	Seq      int64          `json:"seq"`             // Record.Seq when it happened
	State    a2a.TaskState  `json:"state,omitempty"` // of a state note
	Text     string         `json:"text,omitempty"`  // of its status message, at most 256 bytes
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

// Terminal says that the task can change no more.
func (r Record) Terminal() bool { return r.State().Terminal() }

// Expired says whether the record is to be treated as absent. Times are compared in
// milliseconds, as the indexes of stores have them.
func (r Record) Expired(now time.Time) bool {
	return !r.Expires.IsZero() && r.Expires.UnixMilli() <= now.UnixMilli()
}

// Interrupted says that the task waits for its client.
func (r Record) Interrupted() bool { return Interrupted(r.State()) }

// Interrupted says whether a task in state waits for its client.
func Interrupted(state a2a.TaskState) bool {
	return state == a2a.TaskStateInputRequired || state == a2a.TaskStateAuthRequired
}

// Request is what came with the message being answered. It is a copy.
func (r Record) Request() Seen {
	if r.Turn < 1 || r.Turn > len(r.Seen) { // messages are answered in the order they were accepted
		return Seen{}
	}
	s := r.Seen[r.Turn-1]
	s.Extensions, s.Metadata = slices.Clone(s.Extensions), cloneMap(s.Metadata)
	return s
}

// Visible says whether owner may see the record. To everybody else the task does
// not exist.
func (r Record) Visible(owner string) bool { return r.Owner == owner }

// View is the task as a client sees it now: with the accepted follow-ups at the
// end of its history (R13). It shares everything with the record.
func (r Record) View() *a2a.Task {
	t := *r.Task
	if len(r.Inbox) > 0 {
		t.History = append(t.History[:len(t.History):len(t.History)], r.Inbox...)
	}
	return &t
}

// Hook finds a webhook by its id.
func (r Record) Hook(id string) (Hook, bool) {
	for _, h := range r.Hooks {
		if h.ID == id {
			return h, true
		}
	}
	return Hook{}, false
}

// HasDead says whether a webhook of the record is dead.
func (r Record) HasDead() bool {
	return slices.ContainsFunc(r.Hooks, func(h Hook) bool { return h.State == HookDead })
}
