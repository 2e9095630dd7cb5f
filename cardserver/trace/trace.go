// Package trace says what a task did: its turns, runs, steps and calls, what they cost, why
// it waited, and what its webhooks were sent. It is what GET /tasks/{id}/trace answers.
//
// It puts together what the record and package kv hold, and stores nothing of its own. It is
// a page for people and their programs, no protocol: the record decides what happens next.
// What an earlier program did not note is null here, or counted as unknown.
package trace

import (
	"encoding/json"
	"time"
)

// Limits of one answer. A list of package kv bounds the bytes of a page.
const (
	MaxContent = 4 << 10 // bytes of the arguments, and of the result, of a call; of more than 32 calls of a step fewer
	minContent = 256     // bytes of them in a step of a thousand calls
	maxStep    = 2 * 32 * MaxContent
	maxName    = 256 // bytes of a name or an id that the model chose
	maxTurns   = 100 // turns that are shown: the newest
	MaxEntries = 100 // entries of package kv that a page is made of
)

// A Trace is one page of a task's trace. Everything but Steps and Results is in each page, as
// it is at present. The names of the fields in JSON are those of the API.
type Trace struct {
	Task    string    `json:"taskId"`
	Context string    `json:"contextId"`
	State   string    `json:"state"`   // as A2A 1.0 spells it
	StateAt time.Time `json:"stateAt"` // since when
	Now     time.Time `json:"now"`     // of the agent's clock
	Done    bool      `json:"done"`    // the task has ended, or waits for its client

	Spent     Spent  `json:"spent"`     // of all turns
	StepCount int    `json:"stepCount"` // steps so far
	Turns     []Turn `json:"turns"`     // the newest 100, oldest first
	TurnCount int    `json:"turnCount"`

	Runs        []Run `json:"runs"`        // those that are known, oldest first
	UnknownRuns int64 `json:"unknownRuns"` // runs of which nothing is known: the record keeps 64 marks, and earlier programs kept none

	Wait       *Wait      `json:"wait"`       // null: the task does not wait
	Deliveries []Delivery `json:"deliveries"` // one for each webhook

	Steps   []Step   `json:"steps"`   // of this page, oldest first
	Results []Result `json:"results"` // of this page: what steps of the agent's own code have stored
	Next    string   `json:"next"`    // the parameter after of the next page; empty: there is none
}

// Spent is the cost of some replies of the model, in tokens.
type Spent struct {
	Prompt   int64    `json:"prompt"`
	Output   int64    `json:"output"`
	Thought  int64    `json:"thought"`
	Cached   int64    `json:"cached"`             // the part of Prompt that came from a cache
	Replies  int64    `json:"replies"`            // with known tokens
	Unknown  int64    `json:"unknown"`            // that may have to be paid, with unknown tokens
	Price    *float64 `json:"price,omitempty"`    // in units of Currency; only if every reply has a price
	Currency string   `json:"currency,omitempty"` // three letters
}

// Tokens is the number of all tokens that are paid for.
func (s Spent) Tokens() int64 { return s.Prompt + s.Output + s.Thought }

// States of a Turn.
const (
	TurnEnded      = "ended"
	TurnOpen       = "open"       // it is the present one
	TurnWaiting    = "waiting"    // its message waits for the turn before to end
	TurnUnanswered = "unanswered" // the task ended before
)

// A Turn is the work on one message.
type Turn struct {
	Number  int        `json:"turn"`
	Message string     `json:"messageId"` // without its content
	State   string     `json:"state"`
	BegunAt *time.Time `json:"begunAt"` // when its message was accepted, or taken if it waited; null: not known
	Spent   *Spent     `json:"spent"`   // null: not known, as of every turn but the newest
}

// Ends of a Run.
const (
	RunRunning = "running" // it has not ended
	RunOverdue = "overdue" // its lease is over: its worker may be dead
	RunEnded   = "ended"   // with the turn
	RunUnknown = "unknown"
	// The others are the kinds of marks of package task: parked, waiting, used-up, broke, died.
)

// A Run is one attempt of a worker at a turn.
type Run struct {
	Number  int64      `json:"run"`
	Turn    int        `json:"turn"`    // with which it began
	BegunAt *time.Time `json:"begunAt"` // null: not known
	EndedAt *time.Time `json:"endedAt"` // null: it runs, or not known. Of a worker that died: when that was noticed
	End     string     `json:"end"`
	Why     string     `json:"why,omitempty"`
	LeftOut string     `json:"leftOut,omitempty"` // what the model was not shown of the conversation, in words; empty: it is as in the run before, or nothing
}

// Reasons of a Wait.
const (
	WaitWorker = "worker" // a worker must take the turn
	WaitPark   = "park"   // the turn was put off
	WaitCalls  = "calls"  // its calls wait for a time or a word from outside
	WaitRetry  = "retry"  // the next attempt is held back
	WaitClient = "client" // for the client's message
)

// A Wait says what a task waits for at present.
type Wait struct {
	For   string     `json:"for"`
	Until *time.Time `json:"until"` // null: no time is set
	Why   string     `json:"why,omitempty"`
}

// A Step is one reply of the model that asked for calls. Of a step that is not Known only the
// number is: nothing of it was kept.
type Step struct {
	Number int    `json:"step"`
	Known  bool   `json:"known"`
	Turn   int    `json:"turn,omitempty"`
	Run    int64  `json:"run,omitempty"` // in which it was opened
	Model  string `json:"model,omitempty"`

	At       *time.Time `json:"at"`    // when the reply had come
	Spent    *Spent     `json:"spent"` // of the reply
	Open     bool       `json:"open"`  // a call has no result
	Question *Question  `json:"question,omitempty"`
	Calls    []Call     `json:"calls"`
}

// A Question is about a call, and for a person.
type Question struct {
	Call   int       `json:"call"`
	At     time.Time `json:"at"`
	Answer string    `json:"answerId,omitempty"` // the message that answers
}

// States of a Call.
const (
	CallDone    = "done"
	CallRunning = "running"
	CallPending = "pending" // it begins, or is made again, with the next run
	CallWaiting = "waiting" // it asked to begin again later
	CallDoubt   = "doubt"   // it was begun, and may have had its effect
	CallAsked   = "asked"   // a person is asked about it
	CallDropped = "dropped" // the task ended first
)

// A Call is one call of a step.
type Call struct {
	Number  int    `json:"call"`
	Key     string `json:"key"` // by which its receiver recognises it
	ID      string `json:"id,omitempty"`
	Name    string `json:"name"`
	State   string `json:"state"`
	Effects bool   `json:"effects"`

	Args   *Content `json:"args"`   // null: they are not known
	Result *Content `json:"result"` // null: there is none

	FirstAt  *time.Time `json:"firstAt"`  // when it first began; null: it has not
	BegunAt  *time.Time `json:"begunAt"`  // when it last began
	Times    int        `json:"times"`    // it began with a commit; a call without effects may be repeated without
	ResultAt *time.Time `json:"resultAt"` // when the result was there

	WaitUntil *time.Time `json:"waitUntil,omitempty"` // it begins again then
	OrTold    bool       `json:"orTold,omitempty"`    // or when a word comes from outside
}

// A Content is JSON of a call. Cut content is text, the beginning of the JSON.
type Content struct {
	Value json.RawMessage `json:"value,omitempty"` // all of it
	Begin string          `json:"begin,omitempty"`
	Bytes int             `json:"bytes"` // of all of it
	Cut   bool            `json:"cut,omitempty"`
}

// A Result is what a step of the agent's own code has stored. When is not known.
type Result struct {
	Turn   int      `json:"turn"`
	Name   string   `json:"name"`
	Result *Content `json:"result"` // null: it cannot be read
}

// A Delivery is the state of a webhook, of whose URL it names the origin alone.
type Delivery struct {
	ID       string     `json:"id"`
	Origin   string     `json:"origin"`
	State    string     `json:"state"` // active or dead
	Gone     bool       `json:"gone"`  // dead because the receiver answered 410
	Notes    int        `json:"notes"`
	Sent     int        `json:"delivered"`   // notes 1 to this one were answered 2xx
	Failures int        `json:"failures"`    // of the next one
	NextAt   *time.Time `json:"nextAttempt"` // null: none is planned
	Attempts []Attempt  `json:"attempts"`    // the last ten, oldest first
}

// An Attempt is one request to a webhook.
type Attempt struct {
	At     time.Time `json:"at"`
	Note   int       `json:"note"`             // 0: a ping
	Status int       `json:"status,omitempty"` // HTTP
	Error  string    `json:"error,omitempty"`  // there was no answer
}
