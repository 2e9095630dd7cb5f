package task_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// A source is the store that topics learn from: a record to read, and a feed.
type source struct {
	t      *testing.T
	topics *task.Topics
	loads  atomic.Int32
	feeds  atomic.Int32 // feeds that run now

	mu   sync.Mutex
	now  task.Record
	err  error
	big  weak.Pointer[a2a.Task]
	hold chan struct{} // not nil: reads wait for it
	news chan task.Record
	cut  chan error
}

func newSource(t *testing.T, edit ...func(*task.TopicsConfig)) *source {
	s := &source{t: t, now: version(accepted(t, "x"), 1), news: make(chan task.Record), cut: make(chan error)}
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
		case r := <-s.news:
			tell(r)
		case err := <-s.cut:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// set makes reads return a version, or an error.
func (s *source) set(n int64, err error) task.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.err = version(s.now, n), err
	return s.now
}

// A watcher is one watch and the versions that it has yielded.
type watcher struct {
	stop context.CancelFunc
	gate chan struct{} // not nil: the watcher waits for it after each version
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

// wantSeen checks which versions a watcher has yielded so far, and the error that ended it,
// if any.
func (s *source) wantSeen(w *watcher, err error, versions ...int64) {
	s.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if diff := cmp.Diff(versions, w.seen); diff != "" || !errors.Is(w.err, err) {
		s.t.Errorf("the watch ended with %v, want %v; versions (-want +got):\n%s", w.err, err, diff)
	}
	if ended := w.gone.Load(); ended != (err != nil) {
		s.t.Errorf("ended = %v for a watch with the error %v", ended, w.err)
	}
}

// wantReads checks how often the record was read since the last check.
func (s *source) wantReads(want int32) {
	s.t.Helper()
	if got := s.loads.Swap(0); got != want {
		s.t.Errorf("the record was read %d times, want %d", got, want)
	}
}

// wantFeeds waits d and then checks how many feeds run.
func (s *source) wantFeeds(d time.Duration, want int32) {
	s.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if got := s.feeds.Load(); got != want {
		s.t.Errorf("after %v %d feeds run, want %d", d, got, want)
	}
}

func linger(c *task.TopicsConfig) { c.Linger = time.Second }

func poll(c *task.TopicsConfig) { c.Poll = time.Minute }

// A thousand watchers that begin at once, and a later one, share one read of the record.
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
			s.wantSeen(w, nil, 1)
		}

		s.topics.Publish(s.set(2, nil))
		for _, w := range all {
			s.wantSeen(w, nil, 1, 2)
		}

		late := s.watch()
		s.wantSeen(late, nil, 2)
		s.wantReads(1)

		for _, w := range append(all, late) {
			w.stop()
		}

		synctest.Wait()
		if n := s.topics.Watched(); n != 0 {
			t.Errorf("%d records are watched after every watch has ended", n)
		}

		s.wantSeen(s.watch(), nil, 2)
		s.wantReads(1)
	})
}

// A large record is let go when all watchers have seen it. Later watchers share a read of
// it. A watcher that is behind still gets it, and one that leaves behind lets it go.
func TestLargeRecordsAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		kept := func() *a2a.Task {
			runtime.GC()
			return s.big.Value()
		}

		s.large(1)
		s.hold = make(chan struct{})
		slow := s.begin(&watcher{gate: make(chan struct{})})
		quick := s.watch()
		synctest.Wait()
		close(s.hold)
		s.wantSeen(slow, nil, 1)
		s.wantSeen(quick, nil, 1)
		s.forget()
		if kept() != nil {
			t.Error("a record that all watchers have seen is kept")
		}

		s.topics.Publish(s.large(2))
		s.forget()
		s.wantSeen(quick, nil, 1, 2)
		if kept() == nil {
			t.Error("a record is let go before a slow watcher has seen it")
		}
		close(slow.gate)
		s.wantSeen(slow, nil, 1, 2)
		if kept() != nil {
			t.Error("a record is kept after the slow watcher has seen it")
		}
		s.wantReads(1)

		s.large(2)
		s.hold = make(chan struct{})
		var late []*watcher
		for range 100 {
			late = append(late, s.watch())
		}
		synctest.Wait()
		close(s.hold)
		for _, w := range late {
			s.wantSeen(w, nil, 2)
		}
		s.wantReads(1)
		s.forget()
		if kept() != nil {
			t.Error("a record is kept after its later watchers have seen it")
		}

		s.large(2)
		behind := s.begin(&watcher{gate: make(chan struct{})})
		s.wantSeen(behind, nil, 2)
		s.topics.Publish(s.large(3))
		s.forget()
		synctest.Wait()
		if kept() == nil {
			t.Error("a record is let go before a slow watcher has seen it")
		}
		behind.stop()
		close(behind.gate)
		synctest.Wait()
		if kept() != nil {
			t.Error("a record is kept for a watcher that has left")
		}
	})
}

// large makes reads return a version of a large record, and watches its memory.
func (s *source) large(n int64) task.Record {
	r := version(accepted(s.t, strings.Repeat("x", 8<<10)), n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.big = r, weak.Make(r.Task)
	return r
}

// forget drops the record that reads return.
func (s *source) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = task.Record{}
}

// A watcher that stops while it reads leaves the read to another one. A read that fails
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
		s.wantReads(2)

		close(s.hold)
		s.wantSeen(second, nil, 1)
		s.wantSeen(third, nil, 1)
		s.wantReads(0)
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
		s.wantSeen(first, errBroken)
		s.wantSeen(second, errBroken)

		s.wantReads(1)
	})
}

var errBroken = errors.New("the connection broke")

// A new watcher does not get an expired record, even if others still watch it.
func TestExpiredRecordIsNotHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t)
		s.now.Expires = time.Now().Add(time.Hour)
		s.wantSeen(s.watch(), nil, 1)
		s.wantSeen(s.watch(), nil, 1)
		s.wantReads(1)
		time.Sleep(time.Hour)
		s.set(1, task.ErrNotFound)
		s.wantSeen(s.watch(), task.ErrNotFound)
		s.wantReads(1)
	})
}

// A version that a feed or a writer reports late is not yielded again, and a slow watcher
// skips to the newest.
func TestOnlyNewerVersionsAreYielded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, linger)
		quick, slow := s.watch(), s.begin(&watcher{gate: make(chan struct{})})
		s.wantSeen(quick, nil, 1)
		for _, n := range []int64{3, 2, 3, 4, 7, 5} {
			s.news <- version(s.now, n)
			s.topics.Publish(version(s.now, n))
			synctest.Wait()
		}
		s.wantSeen(quick, nil, 1, 3, 4, 7)
		slow.gate <- struct{}{}
		s.wantSeen(slow, nil, 1, 7)
		s.wantReads(1)
		quick.stop()
		slow.stop()
		close(slow.gate)
		s.wantFeeds(time.Minute, 0)
	})
}

// A feed goes on for a watcher that comes back soon. Otherwise it ends with the last
// watcher.
func TestFeedLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, linger)
		one, two := s.watch(), s.watch()
		s.wantFeeds(0, 1)
		one.stop()
		s.wantFeeds(time.Hour, 1)
		two.stop()
		s.wantFeeds(999*time.Millisecond, 1)
		s.news <- s.set(2, nil)
		synctest.Wait()
		again := s.watch()
		s.wantSeen(again, nil, 2)
		s.wantFeeds(time.Hour, 1)
		s.wantReads(1)
		again.stop()
		s.wantFeeds(500*time.Millisecond, 1)
		s.watch().stop()
		s.wantFeeds(900*time.Millisecond, 1) // since the last watcher left
		s.wantFeeds(100*time.Millisecond, 0)
	})
}

// When a feed ends, all watches end with its error, and the next watch begins another feed.
func TestFeedThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, linger)
		one, two := s.watch(), s.watch()
		s.wantSeen(one, nil, 1)
		s.cut <- errBroken
		s.wantSeen(one, errBroken, 1)
		s.wantSeen(two, errBroken, 1)
		three := s.watch()
		s.wantSeen(three, nil, 1)
		s.wantFeeds(time.Minute, 1)
		s.news <- version(s.now, 2)
		s.wantSeen(three, nil, 1, 2)

		s.topics.End("t1", task.ErrNotFound)
		s.wantSeen(three, task.ErrNotFound, 1, 2)
		s.wantFeeds(0, 0)
	})
}

// A watched record with many watchers is read once a minute. So they get a version, or an
// end, that the feed has missed.
func TestMissedVersionIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, poll)
		one, two := s.watch(), s.watch()
		s.wantSeen(one, nil, 1)
		s.wantReads(1)
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		s.wantReads(60)

		s.set(2, nil)
		time.Sleep(time.Minute)
		s.wantSeen(one, nil, 1, 2)
		s.set(3, errBroken) // a failing poll ends nothing: the next one may succeed
		time.Sleep(time.Minute)
		s.wantSeen(one, nil, 1, 2)
		s.set(3, nil)
		time.Sleep(time.Minute)
		s.wantSeen(one, nil, 1, 2, 3)

		s.set(3, task.ErrNotFound)
		time.Sleep(time.Minute)
		s.wantSeen(one, task.ErrNotFound, 1, 2, 3)
		s.wantSeen(two, task.ErrNotFound, 1, 2, 3)
		s.wantFeeds(time.Hour, 0)
		s.wantReads(4)
	})
}

// Close ends all watches and feeds, and no new ones begin.
func TestCloseEndsFeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(t, linger)
		w := s.watch()
		s.wantSeen(w, nil, 1)
		s.topics.Close(errBroken)
		if n := s.feeds.Load(); n != 0 {
			t.Errorf("%d feeds run", n)
		}
		s.wantSeen(w, errBroken, 1)
		s.wantSeen(s.watch(), errBroken)
		s.wantReads(1)
		s.wantFeeds(time.Hour, 0)
	})
}
