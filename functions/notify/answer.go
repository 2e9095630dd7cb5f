package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// patientFor is the least wait after a receiver was too slow or asked us to slow
// down.
const patientFor = time.Minute

// An answer is what came of one attempt.
type answer struct {
	status int           // 0: none
	class  string        // of the failure, if there is no status
	after  time.Duration // Retry-After
	cause  string        // of the failure, for the operator
}

func (a answer) ok() bool { return a.status/100 == 2 }

// next is when to try again after the given number of failures: the schedule's
// wait, give or take a fifth, or what the receiver asks for up to twice that. The
// zero time: never, the schedule is used up.
func (a answer) next(schedule []time.Duration, failures int, now time.Time) time.Time {
	if failures >= len(schedule) {
		return time.Time{}
	}
	base := schedule[failures]
	wait := time.Duration(float64(base) * (0.8 + 0.4*rand.Float64()))
	if a.status == http.StatusTooManyRequests || a.class == classTimeout {
		base, wait = max(base, patientFor), max(wait, patientFor)
	}
	return now.Add(max(wait, min(a.after, 2*base)))
}

// retryAfter reads the header's seconds or date; 0 if there is no wait in it.
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

const classTimeout = "timeout"

// classOf names a failure without saying anything that the receiver sent.
func classOf(err error) string {
	var (
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		rec  tls.RecordHeaderError
		wait net.Error
		op   *net.OpError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &wait) && wait.Timeout():
		return classTimeout
	case errors.As(err, &dns):
		return "dns"
	case errors.As(err, &cert), errors.As(err, &rec):
		return "tls"
	case errors.As(err, &op):
		return "connection"
	}
	return "exchange"
}
