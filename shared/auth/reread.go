package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// fileAge is how long a reading of the access file is used. A principal or key that was
	// removed is refused that long after at the latest.
	fileAge = 30 * time.Second
	// readFor bounds a reading. The file may lie on a volume whose server does not answer.
	readFor = 5 * time.Second
)

// A reading is an access file as it was at a time. A reading that failed has the roster of
// the one before.
type reading struct {
	*roster
	text []byte
	at   time.Time
}

func (r *reading) old(now time.Time) bool { return now.Sub(r.at) >= fileAge }

// current is the roster by a reading that is fresh enough. One request reads the file for
// all that come meanwhile.
func (a *Access) current() *roster {
	if a.anonymous {
		return &roster{}
	}
	if r := a.kept.Load(); !r.old(a.now()) {
		return r.roster
	}

	a.reread.Lock()
	defer a.reread.Unlock()
	return a.renewed()
}

// latest is the roster by the last reading, without a wait. It has an old file read again in
// the background.
func (a *Access) latest() *roster {
	r := a.kept.Load()
	if r.old(a.now()) && a.reread.TryLock() {
		go func() {
			defer a.reread.Unlock()
			a.renewed()
		}()
	}
	return r.roster
}

// renewed reads the file again unless another call just has. The caller holds a.reread.
func (a *Access) renewed() *roster {
	r := a.kept.Load()
	if !r.old(a.now()) {
		return r.roster
	}

	next, err := a.read(r)
	a.report(err)
	if err != nil {
		next = &reading{r.roster, r.text, a.now()}
	}
	a.kept.Store(next)
	a.hold.review(next.roster, a.now())
	return next.roster
}

// read reads the file. The same text as before keeps its roster.
func (a *Access) read(before *reading) (*reading, error) {
	text, err := a.open()
	if err != nil {
		return nil, fmt.Errorf("reading ERRAND_ACCESS: %w", err)
	}
	r := &reading{text: text, at: a.now()}
	if before != nil && bytes.Equal(text, before.text) {
		r.roster = before.roster
		return r, nil
	}

	f, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading ERRAND_ACCESS, %s:\n%w", a.path, err)
	}
	if before != nil {
		r.roster = a.roster(f, before.roster)
	} else {
		r.roster = a.roster(f, nil)
	}
	return r, nil
}

// content is what a reading of the file got.
type content struct {
	text []byte
	err  error
}

// open returns the content of the file. Only one reading hangs at a time: while it does, the
// later ones fail at once, and no caller waits for them. The caller holds a.reread.
func (a *Access) open() ([]byte, error) {
	slow := fmt.Errorf("%s was not read within %v", a.path, readFor)
	select {
	case <-a.hanging: // it has ended, and its content may be old
		a.hanging = nil
	default:
		if a.hanging != nil {
			return nil, slow
		}
	}

	got := make(chan content, 1)
	go func() {
		text, err := a.content()
		got <- content{text, err}
	}()

	timeout := time.NewTimer(readFor)
	defer timeout.Stop()
	select {
	case c := <-got:
		return c.text, c.err
	case <-timeout.C:
		a.hanging = got
		return nil, slow
	}
}

// report logs the trouble with the file once, and its end. The caller holds a.reread.
func (a *Access) report(err error) {
	switch {
	case err == nil && a.trouble != "":
		a.trouble = ""
		a.log.Info("the access file is in use again")
	case err != nil && err.Error() != a.trouble:
		a.trouble = err.Error()
		a.log.Error("the access file cannot be used: callers are let in by the last one that could; mend the file, and it is read again within 30 s",
			"err", err, "alert", true)
	}
}

// held are the callers of calls that last long.
type held struct {
	mu    sync.Mutex
	calls map[*call]struct{}
	timer *time.Timer // runs while there are calls
}

type call struct {
	caller Principal
	end    context.CancelCauseFunc
}

// Hold returns a context for a call that lasts long, such as a stream. The context ends
// when the access file no longer lets its caller in, within 30 s, or not with all rights
// that the caller came with. [Gone] returns the reason. cancel must be called.
func (a *Access) Hold(ctx context.Context) (held context.Context, cancel context.CancelFunc) {
	p, ok := From(ctx)
	if !ok || p.proof == nil {
		return context.WithCancel(ctx)
	}
	ctx, end := context.WithCancelCause(ctx)
	c := &call{p, end}
	a.hold.add(c, a)
	if err := a.kept.Load().admits(p, a.now()); err != nil { // the file was read again meanwhile
		end(gone(err))
	}
	return ctx, func() {
		a.hold.remove(c)
		end(nil)
	}
}

// Gone is the [*Refusal] that ended a context of Hold, or nil.
func Gone(ctx context.Context) error {
	if no, ok := errors.AsType[*Refusal](context.Cause(ctx)); ok {
		return no
	}
	return nil
}

func (h *held) add(c *call, a *Access) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls == nil {
		h.calls = map[*call]struct{}{}
	}
	h.calls[c] = struct{}{}
	if h.timer == nil {
		h.timer = time.AfterFunc(a.untilOld(), a.watch)
	}
}

func (h *held) remove(c *call) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.calls, c)
}

// review ends the calls whose callers the roster does not let in.
func (h *held) review(l *roster, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.calls {
		if err := l.admits(c.caller, now); err != nil {
			delete(h.calls, c)
			c.end(gone(err))
		}
	}
}

func gone(err error) *Refusal {
	no := &Refusal{
		Status: http.StatusUnauthorized, Scheme: bearer, Realm: realm, Reason: reasonOf(err), presented: true,
		Message: "the call was ended: its caller is " + reasonOf(err),
	}
	switch {
	case errors.Is(err, expiredKey):
		no.Message = "the call was ended: it came with " + reasonOf(err)
	case errors.Is(err, reduced):
		no.Status, no.Scheme, no.By = http.StatusForbidden, "", "right"
		no.Message = "the call was ended: " + reasonOf(err)
	}
	return no
}

// watch reads the file again for calls that last, while there are any. Requests may have
// read it since, and the time counts from the last reading.
func (a *Access) watch() {
	a.current() // reviews the calls, since keys expire without a change of the file
	a.hold.mu.Lock()
	defer a.hold.mu.Unlock()
	if len(a.hold.calls) == 0 {
		a.hold.timer = nil
		return
	}
	a.hold.timer.Reset(a.untilOld())
}

// untilOld is the time until the present reading is old.
func (a *Access) untilOld() time.Duration {
	return max(fileAge-a.now().Sub(a.kept.Load().at), time.Millisecond)
}
