package model

import (
	"fmt"
	"time"
)

// A Kind says whose fault a failed step is, and so how its turn goes on.
type Kind int

// Kinds of errors.
const (
	Busy       Kind = iota // the service's: the turn waits, and its age bounds the waiting
	OfMessage              // the message's: the request can never succeed
	OfOperator             // the operator's: a person must mend something first
)

// A Cause is the reason of a failed step, in a word for logs.
type Cause string

// Causes, by the kind of their errors.
const (
	Refused Cause = "request refused" // OfMessage: wrong, too large, or about a file that the service cannot read

	BadKey     Cause = "key refused"      // OfOperator: the key or the access token
	NoRights   Cause = "no rights"        // OfOperator
	NoBilling  Cause = "billing"          // OfOperator: no plan, no credit, or a spending cap
	NoLocation Cause = "location"         // OfOperator: the service is not offered from here
	NoModel    Cause = "no such model"    // OfOperator: its name, or the service's address
	Quota      Cause = "quota"            // Busy: of a short time, such as a minute
	DayQuota   Cause = "quota of the day" // Busy
	Unreached  Cause = "not reached"      // Busy
	Overloaded Cause = "overloaded"       // Busy: the service or a gateway has no capacity now
	Broken     Cause = "internal error"   // Busy: 500, or an answer that cannot be read
	Cut        Cause = "answer broke off" // Busy: the stream ended before its end
	Silent     Cause = "answer stopped"   // Busy: nothing came for too long
)

// An Error is a failed step. Message may quote the service and is for logs only.
type Error struct {
	Code       int           // HTTP status; 0: there was none, or the stream ended after it
	Status     string        // the service's name for the error, for example RESOURCE_EXHAUSTED
	Cause      Cause         // empty: as Code says
	RetryAfter time.Duration // how long the service asks to wait; 0: it did not say
	Message    string
	Err        error // the cause; may be nil
}

// Error implements error.
func (e *Error) Error() string {
	if e.Code == 0 {
		return fmt.Sprintf("model: %s: %s", e.Why(), e.Message)
	}
	return fmt.Sprintf("model answered %d %s: %s", e.Code, e.Status, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Why is the cause. Without a Cause it is that of the HTTP status.
func (e *Error) Why() Cause {
	switch c := e.Code; {
	case e.Cause != "":
		return e.Cause
	case c == 401:
		return BadKey
	case c == 402:
		return NoBilling
	case c == 403:
		return NoRights
	case c == 404, c == 501:
		return NoModel
	case c == 429:
		return Quota
	case c < 400: // no answer of the service, but perhaps of a proxy that redirects
		return Unreached
	case c == 408, c == 409, c == 499, c == 502, c == 503, c == 504:
		return Overloaded
	case c < 500:
		return Refused
	}
	return Broken
}

// Kind is the kind of the error.
func (e *Error) Kind() Kind { return e.Why().Kind() }

// Kind is the kind of the cause's errors.
func (c Cause) Kind() Kind {
	switch c {
	case Refused:
		return OfMessage
	case BadKey, NoRights, NoBilling, NoLocation, NoModel:
		return OfOperator
	}
	return Busy
}

// MayBeOfMessage reports whether a busy error may yet be the message's fault: some messages
// make a service break.
func (c Cause) MayBeOfMessage() bool { return c == Broken || c == Cut || c == Silent }
