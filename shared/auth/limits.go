package auth

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Limits are the limits of one caller. None is the value of a limit that there is not.
type Limits struct {
	Turns        int64 // turns, and items of batches beside them, that run at once in the local queue; None: its fair share
	Waiting      int64 // tasks that wait for their turn or run
	Requests     int64 // a second, counted in each process
	Streams      int64 // streams and waits at once, counted in each process
	Stored       int64 // bytes of its tasks, in an SQL store, and of its files
	TokensPerDay int64 // of the model, by days in UTC
}

// None is the value of a limit that there is not.
const None int64 = math.MaxInt64

// unlimited are the limits of anonymous callers, who cannot be told from each other: a limit
// of one of them would be a limit of all.
var unlimited = Limits{Turns: None, Waiting: None, Requests: None, Streams: None, Stored: None, TokensPerDay: None}

// byDefault are the limits of a caller for whom the access file says nothing else. Its stored bytes
// have room for several manifests of the largest size, 2 GiB, with the results.
var byDefault = Limits{Turns: None, Waiting: 1000, Requests: 200, Streams: 500, Stored: 8 << 30, TokensPerDay: None}

// fileLimits are limits as written. An empty one is the one of all callers, or the default.
type fileLimits struct {
	Turns        string `yaml:"turns"`
	Waiting      string `yaml:"waiting"`
	Requests     string `yaml:"requests"`
	Streams      string `yaml:"streams"`
	Stored       string `yaml:"stored"`
	TokensPerDay string `yaml:"tokensPerDay"`
}

// over returns the limits with those that are written.
func (f fileLimits) over(l Limits) Limits {
	for _, r := range limitRows(&f, &l) {
		if r.text != "" {
			*r.limit, _ = r.parse()
		}
	}
	return l
}

// A limitRow says how a limit is written, how it was, and where its value belongs.
type limitRow struct {
	name   string
	none   string // word for None
	form   string // in words
	number func(string) (int64, bool)
	text   string
	limit  *int64
}

// parse reads the text.
func (r limitRow) parse() (int64, bool) {
	if r.text == r.none {
		return None, true
	}
	return r.number(r.text)
}

func limitRows(f *fileLimits, l *Limits) []limitRow {
	return []limitRow{
		{"turns", "fair", "a number of turns such as 8, or fair", whole, f.Turns, &l.Turns},
		{"waiting", "none", "a number of tasks such as 1000, or none", whole, f.Waiting, &l.Waiting},
		{"requests", "none", "a rate such as 200/s, or none", rateOf, f.Requests, &l.Requests},
		{"streams", "none", "a number of streams such as 500, or none", whole, f.Streams, &l.Streams},
		{"stored", "none", "a size such as 500MiB or 2GiB, or none", size, f.Stored, &l.Stored},
		{"tokensPerDay", "none", "a number of tokens such as 1000000, or none", whole, f.TokensPerDay, &l.TokensPerDay},
	}
}

// whole reads a whole number above zero.
func whole(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0 && n <= math.MaxInt32*1000
}

func rateOf(s string) (int64, bool) {
	n, perSecond := strings.CutSuffix(s, "/s")
	rate, ok := whole(n)
	return rate, ok && perSecond
}

func size(s string) (int64, bool) {
	for unit, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			count, ok := whole(n)
			return count * bytes, ok && count <= math.MaxInt64/bytes
		}
	}
	return 0, false
}

// limits checks limits as written.
func (c *checker) limits(path string, f fileLimits) {
	for _, r := range limitRows(&f, &Limits{}) {
		at := path + "." + r.name
		switch {
		case r.text != "":
			if _, ok := r.parse(); !ok {
				c.Failf(at, "must be %s", r.form)
			}
		case c.Has(at):
			c.Failf(at, "is empty: give %s", r.form)
		}
	}
}

// Limited is the refusal of a caller that has reached a limit of its own. The message says
// what to do, and gets the name of the limit.
func Limited(limit string, after time.Duration, message string) *Refusal {
	return &Refusal{
		Status: http.StatusTooManyRequests, By: "limit " + limit, Reason: "its limit " + limit + " is reached", After: after,
		Message: message + " (limit " + limit + ")",
	}
}

// Limits returns the limits of an owner, by the last reading of the file. It never blocks: a
// reading that is old is renewed in the background, for later calls.
func (a *Access) Limits(owner string) Limits {
	if a.anonymous {
		return unlimited
	}
	return a.latest().limitsOf(owner)
}

// limitsOf returns the limits of an owner. A principal of an issuer of everyone has those of
// all callers.
func (l *roster) limitsOf(owner string) Limits {
	if own, ok := l.own[owner]; ok {
		return own
	}
	return l.limits
}
