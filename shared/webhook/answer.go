package webhook

import (
	"net/http"
	"strconv"
	"time"
)

// An Answer is the receiver's answer to one attempt, or the reason why there is none.
type Answer struct {
	Status     int    // HTTP status; 0: no answer
	Class      string // class of the failure, if there is no status
	RetryAfter string // the header Retry-After
	Cause      string // text of the failure, for the operator's log
	Stopped    bool   // the courier was told to stop during the attempt
}

// Classes of failures without a status. They are stored with the attempts, ClassKeys
// excepted.
const (
	ClassTimeout    = "timeout"
	ClassDNS        = "dns"
	ClassTLS        = "tls"
	ClassConnection = "connection"
	ClassExchange   = "exchange" // the answer was not HTTP, or it was cut off
	ClassRefused    = "refused"  // webhooks may not reach the address
	ClassRequest    = "request"  // the request cannot be made: its credentials cannot be opened, or there is no token
	ClassKeys       = "keys"     // the keys that sign cannot be read; does not count as an attempt
)

// A Contact is the state of a host as one attempt has shown it.
type Contact uint8

// Contacts of an attempt.
const (
	NotAsked Contact = iota // nothing was sent, or the attempt was cut off: the state is unknown
	Answered                // the host answered, with any status
	Silent                  // the host did not answer
)

// contact is the state of the host after the answer.
func (a Answer) contact() Contact {
	switch {
	case a.Class == ClassRequest, a.Class == ClassRefused:
		return NotAsked
	case a.Status == 0:
		return Silent
	}
	return Answered
}

// ok reports whether the receiver has accepted the notification, which takes a 2xx.
func (a Answer) ok() bool { return a.Status/100 == 2 }

// gone reports whether the receiver wants no more notifications.
func (a Answer) gone() bool { return a.Status == http.StatusGone }

// retryAfter reads the seconds or the date of the header Retry-After, or returns 0.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func retryAfter(header string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}
