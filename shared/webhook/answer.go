package webhook

import (
	"net/http"
	"strconv"
	"time"
)

// An Answer is what came of one attempt.
type Answer struct {
	Status int           // HTTP status; 0: none
	Class  string        // of the failure, if there is no status
	After  time.Duration // Retry-After
	Cause  string        // of the failure, for the operator's log
}

// Classes of failures without a status.
const (
	ClassTimeout    = "timeout"
	ClassDNS        = "dns"
	ClassTLS        = "tls"
	ClassConnection = "connection"
	ClassExchange   = "exchange" // not HTTP, or cut off
	ClassRefused    = "refused"  // an address that webhooks may not have
	ClassRequest    = "request"  // it could not be made: its credentials cannot be opened, or no token was to be had
)

// OK says that the receiver has taken the note: only 2xx does.
func (a Answer) OK() bool { return a.Status/100 == 2 }

// Gone says that the receiver wants nothing more.
func (a Answer) Gone() bool { return a.Status == http.StatusGone }

// Alive says that something answered, whatever it was.
func (a Answer) Alive() bool { return a.Status != 0 }

// RetryAfter reads the header's seconds or date; 0 if there is no wait in it.
func RetryAfter(header string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}
