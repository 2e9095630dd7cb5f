package task_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// A source is what topics learn from: a record that is read, and a feed.
type source struct {
	t      *testing.T
	topics *task.Topics
	loads  atomic.Int32
	feeds  atomic.Int32 // that run

	mu   sync.Mutex
	now  task.Record
	err  error
	hold chan struct{} // not nil: reads wait for it
	told chan task.Record
	cut  chan error
}

func newSource(t *testing.T, edit ...func(*task.TopicsConfig)) *source {
	s := &source{t: t, now: version(accepted(t, "x"), 1), told: make(chan task.Record), cut: make(chan error)}
	c := task.TopicsConfig{Load: s.load, Now: time.Now}
	for _, f := range edit {
		f(&c)
	}
	if c.Linger > 0 || c.Poll > 0 {
		c.Feed = s.feed
	}
	s.topics = task.NewTopics(c)
	return s
}

func version(r task.Record, n int64) task.Record {
	r.Version = n
	return r
}

func (s *source) load(ctx context.Context, _ string) (task.Record, error) {
	s.loads.Add(1)
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return task.Record{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.err
}

func (s *source) feed(ctx context.Context, _ string, tell func(task.Record)) error {
	s.feeds.Add(1)
	defer s.feeds.Add(-1)
	for {
		select {
		case r := <-s.told:
			tell(r)
		case err := <-s.cut:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// set makes a version the one that is read, or an error.
func (s *source) set(n int64, err error) task.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.err = version(s.now, n), err
	return s.now
}

// A watcher is one watch and all that it has yielded.
type watcher struct {
	stop context.CancelFunc
	gate chan struct{} // not nil: it takes the next version when the test says so
	gone atomic.Bool

	mu   sync.Mutex
	seen []int64
	err  error
}

func (s *source) watch() *watcher { return s.begin(&watcher{}) }

func (s *source) begin(w *watcher) *watcher {
	ctx, stop := context.WithCancel(s.t.Context())
	w.stop = stop
	go func() {
		defer w.gone.Store(true)
		for r, err := range s.topics.Watch(ctx, "t1") {
			w.mu.Lock()
			if w.err = err; err == nil {
				w.seen = append(w.seen, r.Version)
			}
			w.mu.Unlock()
			if w.gate != nil {
				<-w.gate
			}
		}
	}()
	return w
}

// saw checks what a watcher has yielded so far, and whether that was all.
func (s *source) saw(w *watcher, err error, versions ...int64) {
	s.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if diff := cmp.Diff(versions, w.seen); diff != "" || !errors.Is(w.err, err) {
		s.t.Errorf("the watch ended with %v, want %v; its versions: want (-), got (+):\n%s", w.err, err, diff)
	}
	if ended := w.gone.Load(); ended != (err != nil) {
		s.t.Errorf("the watch has ended: %v, its error is %v", ended, w.err)
	}
}

// read checks how often the record was read since the last check.
func (s *source) read(want int32) {
	s.t.Helper()
	if got := s.loads.Swap(0); got != want {
		s.t.Errorf("the record was read %d times, want %d", got, want)
	}
}

// feeding waits d and checks how many feeds run then.
func (s *source) feeding(d time.Duration, want int32) {
	s.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if got := s.feeds.Load(); got != want {
		s.t.Errorf("after %v %d feeds run, want %d", d, got, want)
	}
}

func linger(c *task.TopicsConfig) { c.Linger = time.Second }

func poll(c *task.TopicsConfig) { c.Poll = time.Minute }

// However many begin to watch a record at once, and later, it is read once.
func TestWatchersShareARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.hold = make(chan struct{})
		var all []*watcher
		for range 1000 {
			all = append(all, s.watch())
		}

		synctest.Wait()
		close(s.hold)
		for _, w := range all {
			s.saw(w, nil, 1)
		}

		s.topics.Publish(s.set(2, nil))
		for _, w := range all {
			s.saw(w, nil, 1, 2)
		}

		late := s.watch()
		s.saw(late, nil, 2)
		s.read(1)

		for _, w := range append(all, late) {
			w.stop()
		}

		synctest.Wait()
		if n := s.topics.Watched(); n != 0 {
			t.Errorf("%d records are watched after every watch has ended", n)
		}

		s.saw(s.watch(), nil, 2)
		s.read(1)
	})
}

// A watcher that breaks off while it reads leaves the read to another. A read that fails
// ends all watches that wait for it.
func TestReaderMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.hold = make(chan struct{})
		first := s.watch()
		synctest.Wait()
		second, third := s.watch(), s.watch()
		synctest.Wait()
		first.stop()
		synctest.Wait()
		s.read(2)

		close(s.hold)
		s.saw(second, nil, 1)
		s.saw(third, nil, 1)
		s.read(0)
		second.stop()
		third.stop()
		synctest.Wait()

		s.mu.Lock()
		s.hold = make(chan struct{})
		s.mu.Unlock()
		s.set(1, errBroken)
		first, second = s.watch(), s.watch()
		synctest.Wait()
		close(s.hold)
		s.saw(first, errBroken)
		s.saw(second, errBroken)

		s.read(1)
	})
}

var errBroken = errors.New("the connection broke")

// A record that has expired is not handed to a new watcher, though others watch it.
func TestExpiredRecordIsNotHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.now.Expires = time.Now().Add(time.Hour)
		s.saw(s.watch(), nil, 1)
		s.saw(s.watch(), nil, 1)
		s.read(1)
		time.Sleep(time.Hour)
		s.set(1, task.ErrNotFound)
		s.saw(s.watch(), task.ErrNotFound)
		s.read(1)
	})
}

// A version that a feed or a writer tells late is not told again, and a slow watcher
// skips to the newest.
func TestOnlyNewerVersionsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, linger)
		quick, slow := s.watch(), s.begin(&watcher{gate: make(chan struct{})})
		s.saw(quick, nil, 1)
		for _, n := range []int64{3, 2, 3, 4, 7, 5} {
			s.told <- version(s.now, n)
			s.topics.Publish(version(s.now, n))
			synctest.Wait()
		}
		s.saw(quick, nil, 1, 3, 4, 7)
		slow.gate <- struct{}{}
		s.saw(slow, nil, 1, 7)
		s.read(1)
		quick.stop()
		slow.stop()
		close(slow.gate)
		s.feeding(time.Minute, 0)
	})
}

// A feed goes on for a watcher that comes back soon, and ends with the last one else.
func TestFeedLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, linger)
		one, two := s.watch(), s.watch()
		s.feeding(0, 1)
		one.stop()
		s.feeding(time.Hour, 1)
		two.stop()
		s.feeding(999*time.Millisecond, 1)
		s.told <- s.set(2, nil)
		synctest.Wait()
		again := s.watch()
		s.saw(again, nil, 2)
		s.feeding(time.Hour, 1)
		s.read(1)
		again.stop()
		s.feeding(500*time.Millisecond, 1)
		s.watch().stop()
		s.feeding(900*time.Millisecond, 1) // since the last one left
		s.feeding(100*time.Millisecond, 0)
	})
}

// The end of a feed ends all watches with its error, and the next one begins another feed.
func TestFeedThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, linger)
		one, two := s.watch(), s.watch()
		s.saw(one, nil, 1)
		s.cut <- errBroken
		s.saw(one, errBroken, 1)
		s.saw(two, errBroken, 1)
		three := s.watch()
		s.saw(three, nil, 1)
		s.feeding(time.Minute, 1)
		s.told <- version(s.now, 2)
		s.saw(three, nil, 1, 2)

		s.topics.End("t1", task.ErrNotFound)
		s.saw(three, task.ErrNotFound, 1, 2)
		s.feeding(0, 0)
	})
}

// A watched record is read once a minute, however many watch it, and so a version or an
// end is found that the feed has missed.
func TestMissedVersionIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, poll)
		one, two := s.watch(), s.watch()
		s.saw(one, nil, 1)
		s.read(1)
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		s.read(60)

		s.set(2, nil)
		time.Sleep(time.Minute)
		s.saw(one, nil, 1, 2)
		s.set(3, errBroken) // the next time it may be there again
		time.Sleep(time.Minute)
		s.saw(one, nil, 1, 2)
		s.set(3, nil)
		time.Sleep(time.Minute)
		s.saw(one, nil, 1, 2, 3)

		s.set(3, task.ErrNotFound)
		time.Sleep(time.Minute)
		s.saw(one, task.ErrNotFound, 1, 2, 3)
		s.saw(two, task.ErrNotFound, 1, 2, 3)
		s.feeding(time.Hour, 0)
		s.read(4)
	})
}

// Closed topics have ended all watches and feeds, and begin no more.
func TestCloseEndsFeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, linger)
		w := s.watch()
		s.saw(w, nil, 1)
		s.topics.Close(errBroken)
		if n := s.feeds.Load(); n != 0 {
			t.Errorf("%d feeds run", n)
		}
		s.saw(w, errBroken, 1)
		s.saw(s.watch(), errBroken)
		s.read(1)
		s.feeding(time.Hour, 0)
	})
}
