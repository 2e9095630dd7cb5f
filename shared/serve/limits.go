package serve

import (
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// The defaults of Limits.
const (
	readFor     = 30 * time.Second
	writeFor    = 30 * time.Second
	discardFor  = 2 * time.Second
	headerFor   = 10 * time.Second
	idleFor     = 2 * time.Minute
	connections = 4096 // of about 64 KiB each while a stream is on them
	streams     = 250  // as many as Cloud Run lets into one instance of cardserver
	requests    = 200  // of the 250 that Cloud Run lets into one instance of cardserver
)

// discardMost is how many bytes of an unread body are thrown away after its answer.
const discardMost = 1 << 20

// A header may cost only so much memory that all connections together may send one.
const (
	maxHeader   = 16 << 10 // bytes, as Node.js has them by default: https://nodejs.org/api/cli.html#--max-http-header-sizesize
	maxLines    = 100      // as Apache has them by default: https://httpd.apache.org/docs/2.4/mod/core.html#limitrequestfields
	headerPiece = 1 << 10  // bytes that are read at once
)

// Limits bound the time and the number of connections, so that no caller holds a server.
// They stand before every handler. Zero fields have defaults.
type Limits struct {
	// Read is the time for a request to arrive, with its body: 30 s.
	Read time.Duration

	// Header is the time for the header of a request: 10 s. A new connection has it too.
	Header time.Duration

	// Idle is how long a connection stays open after an answer: 2 min.
	Idle time.Duration

	// Write is the time for an answer to be taken: 30 s. Waits and streams extend it with
	// each write, by http.ResponseController.
	Write time.Duration

	// Discard is the time in which the rest of a body is thrown away after the answer,
	// before the connection is closed: 2 s. A client that sends its whole body first can
	// read the answer in this time.
	Discard time.Duration

	// Connections is the largest number of open connections: 4,096, or fewer if the process
	// may open few files. One client address may have half of them, unless callers come
	// through a proxy (Options.Caller) or from this machine. A request on a connection of
	// HTTP/2 counts as one more connection while it is under way.
	Connections int

	// Requests is the largest number of requests under way from one client address behind a
	// proxy (Options.Caller): 200.
	Requests int
}

func (l Limits) withDefaults() Limits {
	if l.Read == 0 {
		l.Read = readFor
	}
	if l.Header == 0 {
		l.Header = headerFor
	}
	if l.Idle == 0 {
		l.Idle = idleFor
	}
	if l.Write == 0 {
		l.Write = writeFor
	}
	if l.Discard == 0 {
		l.Discard = discardFor
	}
	if l.Connections == 0 {
		l.Connections = min(connections, mostFiles())
	}
	if l.Requests == 0 {
		l.Requests = requests
	}
	return l
}

// A counter counts the things that addresses hold. The zero value is ready, and safe for
// concurrent use.
type counter struct {
	mu  sync.Mutex
	all int
	by  map[netip.Prefix]int // no zeros
}

// A shortage is the reason why a counter gives no more.
type shortage int

const (
	enough    shortage = iota
	allTaken           // by all addresses together
	shareUsed          // by this address
)

// take counts one more thing of an address, unless all addresses have most of them, or this
// one has share. An invalid address has no share of its own.
func (c *counter) take(from netip.Prefix, most, share int) shortage {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case from.IsValid() && c.by[from] >= share:
		return shareUsed
	case c.all >= most:
		return allTaken
	}
	c.all++
	if from.IsValid() {
		if c.by == nil {
			c.by = map[netip.Prefix]int{}
		}
		c.by[from]++
	}
	return enough
}

// release takes back one take.
func (c *counter) release(from netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.by[from] > 1 {
		c.by[from]--
	} else {
		delete(c.by, from)
	}
}

// shared refuses the requests of an address behind a proxy that has too many under way.
// Where the caller is the peer, the listener has counted its connections, and each has one
// request under way.
func shared(h http.Handler, o Options, l Limits) http.Handler {
	if o.Caller == nil {
		return h
	}
	var under counter
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := o.Caller(r)
		r = proxied(r, max(1, o.Proxies))
		if under.take(from, math.MaxInt, l.Requests) != enough {
			Answer{
				Status: http.StatusTooManyRequests, Type: plainText, RetryAfter: retryAfter, Timeout: l.Write,
				Body: []byte("your address has too many requests under way at this agent; end some, or try again\n"),
			}.Write(w)
			return
		}
		defer under.release(from)
		h.ServeHTTP(w, r)
	})
}

const (
	plainText  = "text/plain; charset=utf-8"
	retryAfter = time.Second // of refusals for want of room
)
