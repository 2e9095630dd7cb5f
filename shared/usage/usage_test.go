package usage_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"errand/shared/adapters/gcp"
	"errand/shared/adapters/sqlstore"
	"errand/shared/kv"
	"errand/shared/lab/emulator"
	"errand/shared/usage"
)

const patience = 60 * time.Second // a guard against hanging only

// A clock is set by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func at(text string) *clock {
	now, err := time.Parse(time.DateTime, text)
	if err != nil {
		panic(err)
	}
	return &clock{now: now}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// sqlite opens a store in a new file.
func sqlite(t *testing.T, now func() time.Time) kv.Store {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), filepath.Join(t.TempDir(), "errand.db"), sqlstore.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db.KV()
}

func firestore(t *testing.T, now func() time.Time) kv.Store {
	t.Helper()
	f, err := gcp.OpenFirestore(t.Context(), emulator.Project(t), "", gcp.FirestoreOptions{Now: now, Options: []option.ClientOption{
		option.WithEndpoint(emulator.Firestore(t)), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f.KV()
}

// onStores runs a test on each store.
func onStores(t *testing.T, now func() time.Time, test func(*testing.T, kv.Store)) {
	for name, open := range map[string]func(*testing.T, func() time.Time) kv.Store{"SQLite": sqlite, "Firestore": firestore} {
		t.Run(name, func(t *testing.T) { test(t, open(t, now)) })
	}
}

// A tap is a store whose calls a test counts, and follows or replaces.
type tap struct {
	kv.Store
	puts, lists, gets int
	put               func(kv.Entry) error // before each Put, outside of the lock; an error replaces it
	after             func() error         // after each Put that was made; an error replaces its answer
	down              error                // of all reads
	slow              time.Duration        // of each List

	mu   sync.Mutex
	made chan struct{} // a value for each Put
}

func tapped(s kv.Store) *tap { return &tap{Store: s, made: make(chan struct{}, 1000)} }

func (s *tap) Put(ctx context.Context, e kv.Entry) (kv.Entry, error) {
	s.mu.Lock()
	s.puts++
	before, after := s.put, s.after
	s.mu.Unlock()
	defer func() { s.made <- struct{}{} }()

	if before != nil {
		if err := before(e); err != nil {
			return kv.Entry{}, err
		}
	}
	e, err := s.Store.Put(ctx, e)
	if err == nil && after != nil {
		err = after()
	}
	return e, err
}

func (s *tap) Get(ctx context.Context, key string) (kv.Entry, error) {
	s.mu.Lock()
	s.gets++
	s.mu.Unlock()
	return s.Store.Get(ctx, key)
}

func (s *tap) List(ctx context.Context, prefix, after string, limit int) ([]kv.Entry, error) {
	s.mu.Lock()
	s.lists++
	down, slow := s.down, s.slow
	s.mu.Unlock()
	time.Sleep(slow)
	if down != nil {
		return nil, down
	}
	return s.Store.List(ctx, prefix, after, limit)
}

func (s *tap) counted() (puts, gets, lists int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts, s.gets, s.lists
}

func (s *tap) set(change func(*tap)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// await returns after the next write.
func (s *tap) await(t *testing.T) {
	t.Helper()
	select {
	case <-s.made:
	case <-time.After(patience):
		t.Fatal("nothing is written")
	}
}

// limited gives each owner but "free" a limit of 1,000 tokens.
func limited(owner string) (int64, bool) { return 1000, owner != "free" }

func meter(s kv.Store, c *clock) *usage.Meter {
	return usage.New(usage.Config{KV: s, Limit: limited, Now: c.Now})
}

func wantToday(t *testing.T, m *usage.Meter, owner string, want int64) {
	t.Helper()
	if got, err := m.Today(t.Context(), owner); err != nil || got != want {
		t.Errorf("today %s used %d, %v; want %d", owner, got, err, want)
	}
}

func closeMeter(t *testing.T, m *usage.Meter) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func all(t *testing.T, s kv.Store) []kv.Entry {
	t.Helper()
	list, err := s.List(t.Context(), "use/", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Of 40 processes some share an entry, because there are 16. All are counted, in at most 16
// entries, which name their owner and expire.
func TestProcessesAreCountedTogether(t *testing.T) {
	c := at("2031-05-06 12:00:00")
	onStores(t, c.Now, func(t *testing.T, s kv.Store) {
		var group sync.WaitGroup
		for n := range 40 {
			group.Go(func() {
				m := meter(s, c)
				m.Add("acme/ci", int64(1+n))
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()

		m := meter(s, c)
		wantToday(t, m, "acme/ci", 40*41/2)
		wantToday(t, m, "acme/other", 0)
		m.Add("acme/ci", 5)
		wantToday(t, m, "acme/ci", 40*41/2+5)
		closeMeter(t, m)
		wantToday(t, m, "acme/ci", 40*41/2+5)

		list := all(t, s)
		if len(list) == 0 || len(list) > 16 {
			t.Errorf("%d entries, want 1 to 16", len(list))
		}
		for _, e := range list {
			if e.Owner != "acme/ci" || !e.Expires.Equal(time.Date(2031, 5, 8, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("entry %s of %q expires %v", e.Key, e.Owner, e.Expires)
			}
		}
	})
}

// Another process writes the same entry between the reading and the writing of this one.
func TestProcessesThatShareAnEntryAreBothCounted(t *testing.T) {
	c := at("2031-05-06 12:00:00")
	onStores(t, c.Now, func(t *testing.T, s kv.Store) {
		slow := tapped(s)
		a, b := meter(slow, c), meter(s, c)
		b.Share(a)

		first := true
		slow.put = func(kv.Entry) error {
			if first {
				first = false
				b.Add("acme/ci", 20)
				return b.Close()
			}
			return nil
		}
		a.Add("acme/ci", 3)
		closeMeter(t, a)

		wantToday(t, meter(s, c), "acme/ci", 23)
		if n := len(all(t, s)); n != 1 {
			t.Errorf("%d entries, want the shared one", n)
		}
	})
}

// A write whose answer is lost is made again, and counted once.
func TestLostAnswersAreCountedOnce(t *testing.T) {
	c := at("2031-05-06 12:00:00")
	onStores(t, c.Now, func(t *testing.T, s kv.Store) {
		lossy := tapped(s)
		m := meter(lossy, c)
		lost := true
		lossy.after = func() error {
			if lost {
				lost = false
				return errors.New("the answer is lost")
			}
			return nil
		}
		m.Add("acme/ci", 7)
		lossy.await(t)
		closeMeter(t, m)
		if lost {
			t.Fatal("no answer was lost")
		}
		wantToday(t, meter(s, c), "acme/ci", 7)
	})
}

// The first tokens are written at once. Those of the next ten seconds are one write.
func TestWritesAreTenSecondsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tapped(sqlite(t, time.Now))
		m := usage.New(usage.Config{KV: s, Limit: limited})
		wantWrites := func(want int) {
			t.Helper()
			synctest.Wait()
			if puts, _, _ := s.counted(); puts != want {
				t.Errorf("%d writes after %v, want %d", puts, time.Now().UTC(), want)
			}
		}

		for n := range 3 {
			for range 100 {
				m.Add("acme/ci", 1)
				wantWrites(1 + n)
				time.Sleep(100*time.Millisecond - 1)
			}
			time.Sleep(100 * time.Nanosecond)
		}
		wantWrites(4)
		time.Sleep(time.Hour) // nothing is left to write
		wantWrites(4)
		m.Add("acme/ci", 1)
		wantWrites(5)

		m.Add("acme/ci", 1)
		closeMeter(t, m)
		wantWrites(6)
		wantToday(t, usage.New(usage.Config{KV: s, Limit: limited}), "acme/ci", 302)
	})
}

// Tokens that cannot be stored are stored later.
func TestFailedWritesAreRepeated(t *testing.T) {
	c := at("2031-05-06 12:00:00")
	s := tapped(sqlite(t, c.Now))
	s.put = func(kv.Entry) error { return errors.New("the store is away") }
	m := meter(s, c)
	m.Add("acme/ci", 1)
	s.await(t)
	if err := m.Close(); err == nil {
		t.Error("Close says nothing about tokens that are lost")
	}
	wantToday(t, m, "acme/ci", 1)
	s.set(func(s *tap) { s.put = nil })
	closeMeter(t, m)
	wantToday(t, meter(s, c), "acme/ci", 1)
}

// Other processes are read at most every ten seconds, and once for all who ask meanwhile.
func TestReadsAreTenSecondsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tapped(sqlite(t, time.Now))
		other := usage.New(usage.Config{KV: s, Limit: limited})
		other.Add("acme/ci", 10)
		closeMeter(t, other)

		m := usage.New(usage.Config{KV: s, Limit: limited})
		s.slow = time.Second // all have asked before the first one knows
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() { wantToday(t, m, "acme/ci", 10) })
		}
		group.Wait()
		other.Add("acme/ci", 10)
		closeMeter(t, other)
		time.Sleep(8*time.Second - 1) // the reading began two seconds ago
		wantToday(t, m, "acme/ci", 10)
		if _, _, lists := s.counted(); lists != 2 {
			t.Errorf("%d lists, want the one with the entry and the empty one", lists)
		}

		time.Sleep(time.Nanosecond)
		wantToday(t, m, "acme/ci", 20)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		time.Sleep(10 * time.Second)
		if _, err := m.Today(ctx, "acme/ci"); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who is gone: %v", err)
		}
	})
}

// Owners without a limit cost nothing.
func TestOwnersWithoutALimitAreNotCounted(t *testing.T) {
	c := at("2031-05-06 12:00:00")
	s := tapped(sqlite(t, c.Now))
	m := meter(s, c)
	m.Add("free", 1_000_000)
	m.Add("acme/ci", 0)
	wantToday(t, m, "free", 0)
	if wait, err := m.Wait(t.Context(), "free"); wait != 0 || err != nil {
		t.Errorf("waits %v, %v", wait, err)
	}
	closeMeter(t, m)
	if puts, gets, lists := s.counted(); puts+gets+lists != 0 || m.Days() != 0 {
		t.Errorf("%d writes, %d reads, %d lists, %d days, want none", puts, gets, lists, m.Days())
	}

	var none *usage.Meter
	none.Add("acme/ci", 5)
	wantToday(t, none, "acme/ci", 0)
	if wait, err := none.Wait(t.Context(), "acme/ci"); wait != 0 || err != nil {
		t.Errorf("without a meter: waits %v, %v", wait, err)
	}
	closeMeter(t, none)
}

// A day begins at midnight in UTC. What was counted before is stored in its own day, and then
// forgotten.
func TestDaysBeginAtMidnight(t *testing.T) {
	c := at("2031-05-06 23:59:59")
	s := tapped(sqlite(t, c.Now))
	m := meter(s, c)
	m.Add("acme/ci", 1)
	s.await(t)
	m.Add("acme/ci", 8)
	c.advance(time.Second)
	wantToday(t, m, "acme/ci", 0)
	m.Add("acme/ci", 5)
	wantToday(t, m, "acme/ci", 5)
	closeMeter(t, m)
	if n := len(all(t, s)); n != 2 {
		t.Errorf("%d entries, want one of each day", n)
	}

	before := meter(s, at("2031-05-06 12:00:00"))
	wantToday(t, before, "acme/ci", 9)
	wantToday(t, meter(s, c), "acme/ci", 5)

	c.advance(24 * time.Hour)
	wantToday(t, m, "acme/ci", 0)
	if n := m.Days(); n != 1 {
		t.Errorf("%d days are remembered, want today alone", n)
	}
	if n := len(all(t, s)); n != 1 {
		t.Errorf("%d entries two days later, want that of the second day", n)
	}
	c.advance(24 * time.Hour)
	if n := len(all(t, s)); n != 0 {
		t.Errorf("%d entries three days later, want none", n)
	}
}

// Days that cannot be stored are not remembered for ever.
func TestMemoryIsBoundedWithoutAStore(t *testing.T) {
	c := at("2031-05-06 12:00:00")
	s := tapped(sqlite(t, c.Now))
	s.put = func(kv.Entry) error { return errors.New("the store is away") }
	m := meter(s, c)
	for range 10 {
		m.Add("acme/ci", 1)
		c.advance(24 * time.Hour)
	}
	if n := m.Days(); n > 2 {
		t.Errorf("%d days are remembered, want at most two", n)
	}
	if err := m.Close(); err == nil {
		t.Error("Close says nothing about tokens that are lost")
	}
}

// Any number of owners may ask, and the tokens that were counted are kept.
func TestMemoryIsBoundedWithManyOwners(t *testing.T) {
	const owners = 25_000
	c := at("2031-05-06 12:00:00")
	s := tapped(sqlite(t, c.Now))
	s.down = errors.New("the store is away") // so that asking is quick
	m := meter(s, c)
	m.Add("acme/ci", 5)
	s.await(t) // stored, and still needed for the next write

	for n := range owners {
		if _, err := m.Today(t.Context(), fmt.Sprint("everyone/", n)); !errors.Is(err, s.down) {
			t.Fatal(err)
		}
	}

	if n := m.Days(); n > 10_000 {
		t.Errorf("%d days of %d owners are remembered, want at most 10,000", n, owners)
	}
	if used, err := m.Today(t.Context(), "acme/ci"); used != 5 || !errors.Is(err, s.down) {
		t.Errorf("used %d, %v; want the 5 tokens that were counted", used, err)
	}
	closeMeter(t, m)
}

func TestWait(t *testing.T) {
	for _, row := range []struct {
		time string
		used int64
		want time.Duration
	}{
		{"2031-05-06 12:00:00", 999, 0},
		{"2031-05-06 12:00:00", 1000, time.Hour},
		{"2031-05-06 23:00:00", 1000, time.Hour},
		{"2031-05-06 23:59:50", 5000, 10 * time.Second},
		{"2031-05-06 00:00:00", 1000, time.Hour},
	} {
		c := at(row.time)
		s := sqlite(t, c.Now)
		there, here := meter(s, c), meter(s, c)
		there.Add("acme/ci", 600)
		closeMeter(t, there)
		here.Add("acme/ci", row.used-600)
		if got, err := here.Wait(t.Context(), "acme/ci"); err != nil || got != row.want {
			t.Errorf("at %s with %d used: waits %v, %v; want %v", row.time, row.used, got, err, row.want)
		}
		closeMeter(t, here)

		c.advance(row.want)
		if got, err := here.Wait(t.Context(), "acme/ci"); row.want == 10*time.Second && (err != nil || got != 0) {
			t.Errorf("the next day: waits %v, %v; want none", got, err)
		}
	}
}

// Without the store an owner goes on, unless what is known is enough to stop it.
func TestWaitWithoutAStore(t *testing.T) {
	c := at("2031-05-06 12:00:00")
	away := errors.New("the store is away")
	s := tapped(sqlite(t, c.Now))
	s.down = away
	m := meter(s, c)
	m.Add("acme/ci", 999)
	if wait, err := m.Wait(t.Context(), "acme/ci"); wait != 0 || !errors.Is(err, away) {
		t.Errorf("with 999 known: waits %v, %v; want none and the error", wait, err)
	}
	m.Add("acme/ci", 1)
	if wait, err := m.Wait(t.Context(), "acme/ci"); wait != time.Hour || err != nil {
		t.Errorf("with 1,000 known: waits %v, %v; want an hour", wait, err)
	}
	closeMeter(t, m)
}
