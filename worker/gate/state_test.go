package gate

import (
	"fmt"
	"testing"
	"time"

	"errand/shared/model"
)

// A clock makes the times of a test.
type clock struct{ now time.Time }

func (c *clock) pass(d time.Duration) time.Time {
	c.now = c.now.Add(d)
	return c.now
}

func busy(why model.Cause) *model.Error { return &model.Error{Cause: why} }

// asks makes a request of a turn that ends after a second with e, or well.
func (c *clock) asks(t *testing.T, s *state, turn string, e *model.Error) (verdict, change) {
	t.Helper()
	q, ok, _ := s.start(c.now, turn)
	if !ok {
		t.Fatalf("%s got no place", turn)
	}
	c.pass(time.Second)
	if e == nil {
		s.succeed(c.now, q)
		return innocent, nothing
	}
	return s.fail(c.now, q, e)
}

func TestWhatClosesTheGate(t *testing.T) {
	type ask struct {
		turn string
		why  model.Cause // empty: the request got through
	}
	for _, tt := range []struct {
		name   string
		asks   []ask
		closed model.Cause
	}{
		{"a quota", []ask{{"a", model.Quota}}, ""}, // a cause without the status 429 is none
		{"not reached", []ask{{"a", model.Unreached}}, model.Unreached},
		{"a wrong key", []ask{{"a", model.BadKey}}, model.BadKey},
		{"a bill", []ask{{"a", model.NoBilling}}, model.NoBilling},
		{"two turns", []ask{{"a", model.Overloaded}, {"b", model.Broken}}, ""},
		{"three turns", []ask{{"a", model.Overloaded}, {"b", model.Broken}, {"c", model.Cut}}, model.Cut},
		{"one turn, often", []ask{{"a", model.Overloaded}, {"a", model.Overloaded}, {"a", model.Overloaded}, {"a", model.Overloaded}}, ""},
		{"a success between", []ask{{"a", model.Overloaded}, {"b", model.Overloaded}, {"d", ""}, {"c", model.Overloaded}, {"e", model.Overloaded}}, ""},
		{"a refusal between, which is an answer", []ask{{"a", model.Overloaded}, {"b", model.Overloaded}, {"d", model.Refused}, {"c", model.Overloaded}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := clock{time.Now()}, state{}

			for _, a := range tt.asks {
				var e *model.Error
				if a.why.Kind() != model.OfMessage && a.why != "" {
					e = busy(a.why)
				}
				c.asks(t, &s, a.turn, e)
			}

			if s.closed != tt.closed {
				t.Errorf("closed because of %q, want %q", s.closed, tt.closed)
			}
			if s.taken != 0 {
				t.Errorf("%d places are taken after all requests", s.taken)
			}
		})
	}

	for _, why := range []model.Cause{model.Quota, model.DayQuota, model.Overloaded} {
		c, s := clock{time.Now()}, state{}
		if c.asks(t, &s, "a", &model.Error{Code: 429, Cause: why}); s.closed != why {
			t.Errorf("after a 429 of %q the gate is closed because of %q", why, s.closed)
		}
	}
}

// A closed gate lets nothing through, names the probe's time, and is opened by the probe alone.
func TestClosedGate(t *testing.T) {
	c, s := clock{time.Now()}, state{}
	late, _, _ := s.start(c.now, "late")
	_, what := c.asks(t, &s, "a", busy(model.Unreached))
	if what != closes {
		t.Fatalf("the change is %d", what)
	}
	if ok, until := s.take(c.now, "b"); ok || !until.Equal(s.next) {
		t.Errorf("a place in a closed gate: %v, %v", ok, until)
	}
	if _, ok, _ := s.start(c.now, "b"); ok {
		t.Error("a request passed a closed gate")
	}

	s.succeed(c.now, late)
	if s.closed == "" {
		t.Error("a request that began before has opened the gate")
	}
	if s.due(c.now) || !s.due(c.now.Add(probeFirst)) {
		t.Errorf("the first probe is due at %v, want within %v", s.next.Sub(c.now), probeFirst)
	}

	start := c.now
	if got := s.probed(c.pass(time.Second), start, busy(model.Unreached)); got != nothing || s.closed == "" {
		t.Errorf("a probe that failed has made the change %d", got)
	}
	if got := s.probed(c.pass(time.Second), start, busy(model.BadKey)); got != worsens || s.closed != model.BadKey {
		t.Errorf("a probe that was refused has made the change %d, %q", got, s.closed)
	}
	if got := s.probed(c.pass(time.Second), start, nil); got != opens || s.closed != "" || s.limit != 1 {
		t.Errorf("a probe that got through has made the change %d, %q, limit %d", got, s.closed, s.limit)
	}
}

// A request that began before the gate opened has seen the outage that is over.
func TestLateFailure(t *testing.T) {
	c, s := clock{time.Now()}, state{}
	late, _, _ := s.start(c.now, "late")
	c.asks(t, &s, "a", busy(model.Unreached))
	s.probed(c.pass(time.Minute), c.now, nil)
	if s.fail(c.pass(time.Second), late, busy(model.Unreached)); s.closed != "" {
		t.Error("a late failure has closed the gate again")
	}
	if c.asks(t, &s, "b", busy(model.Unreached)); s.closed == "" {
		t.Error("a new failure has not closed the gate")
	}
}

// Probes come in growing times, a minute apart at most, and never before the service has said.
func TestProbes(t *testing.T) {
	c, s := clock{time.Now()}, state{}
	c.asks(t, &s, "a", busy(model.Unreached))
	for n, longest := 0, probeFirst; n < 20; n, longest = n+1, min(2*longest, probeMost) {
		if wait := s.next.Sub(c.now); wait > longest || wait < longest/2 {
			t.Errorf("probe %d is due after %v, want %v to %v", n, wait, longest/2, longest)
		}
		c.now = s.next
		s.probed(c.now, c.now, busy(model.Unreached))
	}

	for _, wait := range []time.Duration{5 * time.Second, 3 * time.Minute, 20 * time.Hour} {
		s.probed(c.now, c.now, &model.Error{Code: 429, RetryAfter: wait})
		if got := s.next.Sub(c.now); got < wait || got > max(wait+wait/10+time.Second, probeMost) {
			t.Errorf("after a wait of %v the next probe is due after %v", wait, got)
		}
	}

	start := c.now
	s.probed(c.pass(30*time.Second), start, busy(model.Silent))
	if got := s.next.Sub(start); got > probeMost {
		t.Errorf("two probes are %v apart", got)
	}
}

// After the gate has opened there is place for one request, and for one more with each success.
// Requests begin apart.
func TestComingBack(t *testing.T) {
	c, s := clock{time.Now()}, state{}
	c.asks(t, &s, "a", busy(model.Unreached))
	start := c.now
	s.probed(c.pass(4*time.Second), start, nil)

	first, ok, _ := s.start(c.now, "a")
	if _, again, _ := s.start(c.pass(10*time.Second), "b"); !ok || again {
		t.Fatalf("the first request passes: %v, one beside it: %v", ok, again)
	}
	s.succeed(c.now, first) // 10 s
	second, ok, _ := s.start(c.now, "a")
	apart := s.reply / 2
	_, soon, until := s.start(c.pass(apart-time.Millisecond), "b")
	_, then, _ := s.start(c.pass(time.Millisecond), "b")
	if !ok || soon || !then || !until.Equal(c.now) {
		t.Errorf("the second request passes: %v; another %v later: %v, %v later: %v", ok, apart-time.Millisecond, soon, apart, then)
	}
	if s.succeed(c.pass(time.Hour), second); s.limit != 3 || s.taken != 1 {
		t.Errorf("after two successes %d may run at once, and %d run", s.limit, s.taken)
	}
}

func TestAnOpenGateDoesNotLimit(t *testing.T) {
	s := state{}
	now := time.Now()
	for n := range 1000 {
		if ok, _ := s.take(now, fmt.Sprint(n)); !ok {
			t.Fatalf("no place for request %d", n)
		}
	}
}

// A place is used once, and given back once.
func TestPlaces(t *testing.T) {
	c, s := clock{time.Now()}, state{}
	c.asks(t, &s, "x", busy(model.Unreached))
	start := c.now
	s.probed(c.pass(time.Second), start, nil)

	if ok, _ := s.take(c.pass(time.Minute), "a"); !ok {
		t.Fatal("no place")
	}
	q, ok, _ := s.start(c.pass(time.Minute), "a")
	s.leave("a") // its turn has ended, and the request has used the place
	if _, other, _ := s.start(c.now, "b"); !ok || other || s.taken != 1 {
		t.Errorf("the request in a kept place passes: %v, one beside it: %v, %d places taken", ok, other, s.taken)
	}
	s.succeed(c.now, q)
	s.take(c.pass(time.Hour), "a")
	s.leave("a")
	s.leave("a")
	if s.taken != 0 {
		t.Errorf("%d places are taken after all have left", s.taken)
	}

	s.take(c.pass(time.Hour), "a")
	c.pass(time.Hour)
	if c.asks(t, &s, "b", busy(model.Unreached)); s.closed == "" {
		t.Fatal("the gate is open")
	}
	if _, ok, _ := s.start(c.now, "a"); ok || s.taken != 0 {
		t.Errorf("a kept place passes a closed gate: %v, %d places taken", ok, s.taken)
	}
}

// A message is blamed only if the service works for others.
func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name         string
		why          model.Cause
		good, failed int // requests of others since the message's last failure
		want         verdict
	}{
		{"alone", model.Broken, 0, 0, unsure},
		{"beside a few", model.Broken, 9, 0, unsure},
		{"beside a few that fail too", model.Broken, 0, 2, unsure},
		{"others get through", model.Broken, 10, 0, guilty},
		{"nine in ten", model.Silent, 18, 2, guilty},
		{"not nine in ten", model.Cut, 17, 3, innocent},
		{"the service has no capacity", model.Overloaded, 100, 0, innocent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := clock{time.Now()}, state{}
			for range 50 {
				c.asks(t, &s, "before", nil)
			}

			for n := range 2 { // the first failure counts from its own start, and later ones from the last
				q, _, _ := s.start(c.now, "bad")

				if n > 0 {
					c.asks(t, &s, "bad", busy(model.Overloaded)) // one's own requests say nothing
				}
				for range tt.failed {
					c.asks(t, &s, "other", busy(model.Overloaded))
				}
				for range tt.good {
					c.asks(t, &s, "other", nil)
				}

				if got, _ := s.fail(c.pass(time.Second), q, busy(tt.why)); got != tt.want {
					t.Errorf("failure %d: %d, want %d", n+1, got, tt.want)
				}
			}
		})
	}
}

// A message is not blamed in an outage, nor while failures are fresh that were the service's:
// the same request got through later. A success ends the suspicion.
func TestWhatSpeaksForAMessage(t *testing.T) {
	c, s := clock{time.Now()}, state{}
	bad, _, _ := s.start(c.now, "bad")
	for range 20 {
		c.asks(t, &s, "other", nil)
	}
	c.asks(t, &s, "other", busy(model.Unreached))
	if got, _ := s.fail(c.now, bad, busy(model.Broken)); got != innocent {
		t.Errorf("behind a closed gate a failure is %d", got)
	}

	s = state{}
	for range 4 {
		c.asks(t, &s, "other", busy(model.Broken))
		c.asks(t, &s, "other", nil)
	}
	if got, _ := c.asks(t, &s, "bad", busy(model.Broken)); got != innocent {
		t.Errorf("beside fresh failures of the service a failure is %d", got)
	}
	c.pass(recent)
	if got, _ := c.asks(t, &s, "bad", busy(model.Broken)); got != unsure {
		t.Errorf("after old ones it is %d", got)
	}

	for range outcomes {
		c.asks(t, &s, "other", nil)
	}
	if got, _ := c.asks(t, &s, "bad", busy(model.Broken)); got != guilty {
		t.Errorf("after many good requests it is %d", got)
	}

	c.asks(t, &s, "bad", nil)
	c.pass(recent)
	if got, _ := c.asks(t, &s, "bad", busy(model.Broken)); got != unsure {
		t.Errorf("the first failure after a success is %d", got)
	}
}
