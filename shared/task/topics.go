package task

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"
)

// TopicsConfig says how a store learns about changes of its records. Load and Now are
// required.
type TopicsConfig struct {
	Load func(ctx context.Context, id string) (Record, error) // like [Store.Load]
	Now  func() time.Time                                     // the clock that decides about expiry

	// Feed runs while a record is watched and calls tell with every version it learns of.
	// Its error ends the watches. nil: all versions come through [Topics.Publish].
	Feed func(ctx context.Context, id string, tell func(Record)) error

	Linger time.Duration // how long Feed goes on after the last watcher has left
	Poll   time.Duration // how often a record is read beside Feed, which may miss a version; 0: never
}

// Topics are the watched records of one store in one process. A record with many watchers
// is read once, fed once and polled once: they share a topic, which keeps the newest
// version for later watchers. It keeps a large record only until its watchers have seen it,
// and later ones read it again, because thousands of idle topics would fill the memory. No
// watcher holds up another watcher or a writer.
//
// Topics are a part for adapters: they implement an adapter's Watch. They are safe for
// concurrent use.
type Topics struct {
	cfg   TopicsConfig
	feeds sync.WaitGroup

	mu     sync.Mutex
	all    map[string]*topic
	closed error // not nil: no record can be watched any more
}

// A topic is one watched record. Topics.mu guards it.
type topic struct {
	id       string
	watchers int
	left     *time.Timer        // drops the topic after Linger, once the last watcher has left
	stop     context.CancelFunc // stops feed and poll
	reading  bool               // a watcher reads the first version for all of them
	newest   Record             // zero: none is kept
	version  int64              // the newest known; 0: none
	behind   int                // watchers that have not seen that version
	err      error              // not nil: the topic has ended
	changed  chan struct{}      // closed and replaced at every change
}

// NewTopics returns the topics of a store.
func NewTopics(c TopicsConfig) *Topics { return &Topics{cfg: c, all: map[string]*topic{}} }

// Watch implements [Store.Watch].
func (s *Topics) Watch(ctx context.Context, id string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		t, last := s.join(id), int64(0)
		defer func() { s.leave(t, last) }()

		for ctx.Err() == nil {
			s.mu.Lock()
			r, err, changed := t.newest, t.err, t.changed
			newer := r.Version > last && (last > 0 || !r.Expired(s.cfg.Now()))
			read := last == 0 && !newer && err == nil && !t.reading
			t.reading = t.reading || read
			if newer {
				last = r.Version
				t.caughtUp()
			}
			s.mu.Unlock()

			switch {
			case newer:
				if !yield(r, nil) {
					return
				}
			case err != nil:
				yield(Record{}, fmt.Errorf("watching task %.40q: %w", id, err))
				return
			case read:
				s.read(ctx, t)
			default:
				select {
				case <-changed:
				case <-ctx.Done():
				}
			}
		}
	}
}

// read reads the first version. If the caller stops watching meanwhile, another watcher
// reads it.
func (s *Topics) read(ctx context.Context, t *topic) {
	r, err := s.cfg.Load(ctx, t.id)
	if err != nil && ctx.Err() != nil {
		err = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.reading = false
	if !s.tell(t, r, err) {
		t.wake()
	}
}

// Publish brings a committed version to the watchers of its record.
func (s *Topics) Publish(r Record) { s.publish(r.ID(), r, nil) }

// End ends the watches of a record with an error: ErrNotFound, when it was deleted.
func (s *Topics) End(id string, err error) { s.publish(id, Record{}, err) }

func (s *Topics) publish(id string, r Record, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.all[id]; t != nil {
		s.tell(t, r, err)
	}
}

// Close ends all watches, and every later one, with an error, and waits for the feeds.
func (s *Topics) Close(err error) {
	s.mu.Lock()
	s.closed = err
	for _, t := range s.all {
		s.tell(t, Record{}, err)
	}
	s.mu.Unlock()
	s.feeds.Wait()
}

func (s *Topics) join(id string) *topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.all[id]
	if t == nil {
		t = &topic{id: id, err: s.closed, stop: func() {}, changed: make(chan struct{})}
		if t.err == nil {
			s.all[id] = t
			s.start(t)
		}
	}
	if t.watchers++; t.left != nil {
		t.left.Stop()
	}
	t.behind++
	return t
}

// leave takes a watcher away that has seen the version last.
func (s *Topics) leave(t *topic, last int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last < t.version || t.version == 0 {
		t.caughtUp()
	}
	if t.watchers--; t.watchers > 0 {
		return
	}
	if s.cfg.Linger <= 0 {
		s.drop(t)
		return
	}
	t.left = time.AfterFunc(s.cfg.Linger, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if t.watchers == 0 {
			s.drop(t)
		}
	})
}

// drop stops a topic. The next watcher begins another one.
func (s *Topics) drop(t *topic) {
	t.stop()
	if s.all[t.id] == t {
		delete(s.all, t.id)
	}
}

// start begins the feed and the poll of a topic.
func (s *Topics) start(t *topic) {
	if s.cfg.Feed == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	tell := func(r Record, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tell(t, r, err)
	}
	s.feeds.Go(func() {
		tell(Record{}, s.cfg.Feed(ctx, t.id, func(r Record) { tell(r, nil) }))
	})
	if s.cfg.Poll > 0 {
		s.feeds.Go(func() { s.poll(ctx, t.id, tell) })
	}
}

func (s *Topics) poll(ctx context.Context, id string, tell func(Record, error)) {
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if r, err := s.cfg.Load(ctx, id); err == nil || errors.Is(err, ErrNotFound) {
			tell(r, err)
		}
	}
}

// tell gives a topic a newer version, or the error that ends it. It returns false if that
// changes nothing.
func (s *Topics) tell(t *topic, r Record, err error) bool {
	if r.Deleted {
		err = ErrDeleted
	}
	switch {
	case t.err != nil:
		return false
	case err != nil:
		t.err = err
		s.drop(t)
	case r.Version > t.version:
		t.newest, t.version, t.behind = r, r.Version, t.watchers
	case r.Version == t.version && t.newest.Version == 0 && t.behind > 0: // read again for a later watcher
		t.newest = r
	default:
		return false
	}
	t.wake()
	return true
}

// caughtUp counts a watcher that has seen the newest version, or that has left without. After
// the last one a large record is let go.
func (t *topic) caughtUp() {
	if t.behind--; t.behind == 0 && t.newest.large() {
		t.newest = Record{}
	}
}

// keptBytes is the encoded size up to which a topic keeps its newest record for later
// watchers. A connection with a stream costs several times as much.
const keptBytes = 4 << 10

func (r Record) large() bool { return r.encoded != nil && r.encoded.Size() > keptBytes }

// wake makes every watcher look again.
func (t *topic) wake() {
	close(t.changed)
	t.changed = make(chan struct{})
}
