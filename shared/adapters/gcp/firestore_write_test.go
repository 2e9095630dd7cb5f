package gcp_test

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/gcp"
	"errand/shared/lab/emulator"
	"errand/shared/task"
)

// hashed returns an id like that of an accepted task.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:26]
}

func accepted(t testing.TB, id string, now time.Time) task.Record {
	t.Helper()
	r, err := task.Accept(task.Defaults().At(now), task.Acceptance{
		ID: id, Context: hashed(id), Owner: "someone", Lane: task.Turns,
		Message: a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("Please find out what a heron eats.")),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// canceled returns a task that has ended and expires in thirty days.
func canceled(t testing.TB, id string, now time.Time) task.Record {
	t.Helper()
	r, changed, err := accepted(t, id, now).Cancel(task.Defaults().At(now), a2a.NewMessage(a2a.MessageRoleAgent), nil)
	if err != nil || !changed {
		t.Fatalf("Cancel: %t, %v", changed, err)
	}
	return r
}

// undelivered adds a dead webhook to a record.
func undelivered(t testing.TB, r task.Record) task.Record {
	t.Helper()
	m := task.Defaults().At(r.Asked)
	r, _, err := r.SetWebhook(m, task.Webhook{ID: "h", URL: "https://example.com/"})
	if err != nil {
		t.Fatal(err)
	}
	h, _ := r.Webhook("h")
	r, changed, err := r.Delivered(m, []task.Delivery{{Webhook: h, Fail: true}})
	if err != nil || !changed {
		t.Fatalf("Delivered: %t, %v", changed, err)
	}
	return r
}

func stored(t testing.TB, f *gcp.Firestore, r task.Record) task.Record {
	t.Helper()
	r, err := f.Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// asked changes a record a little.
func asked(r task.Record, now time.Time) (task.Record, bool, error) {
	next, lanes, err := r.Swept(task.Defaults().At(now), r.Due.At)
	return next, len(lanes) > 0, err
}

func TestShortTaskIsThreeWrites(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	now := task.Defaults().At(time.Now())
	r := stored(t, f, accepted(t, hashed("a"), now.Now))

	lease := task.Lease{Until: now.Now.Add(time.Minute), Queue: task.Turns, Name: "n", Nonce: "x"}
	r, err := task.Update(t.Context(), f, r.ID(), func(r task.Record) (task.Record, bool, error) {
		next, verdict, changed, err := r.Claim(now, task.Claim{Lease: lease})
		if verdict != task.Claimed {
			t.Errorf("the claim's verdict is %v", verdict)
		}
		return next, changed, err
	})
	if err != nil {
		t.Fatal(err)
	}

	answer := a2a.NewArtifactEvent(r.Task, a2a.NewTextPart("Fish."))
	turn := task.Fence{Epoch: r.Epoch, Seq: r.Seq}
	r, err = task.UpdateFrom(t.Context(), f, r, func(r task.Record) (task.Record, bool, error) {
		return r.Finish(now, turn, []a2a.Event{answer}, task.Outcome{State: a2a.TaskStateCompleted})
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = f.Load(t.Context(), r.ID()); err != nil || r.State() != a2a.TaskStateCompleted {
		t.Fatalf("the task is %s, %v", r.State(), err)
	}

	if documents, requests := w.written(); documents != 3 || requests != 3 {
		t.Errorf("accept, claim and end wrote %d documents in %d requests, want 3 in 3", documents, requests)
	}
}

// A new task costs one write and no read, as before ids had their present form. A process
// asks once whether there are records of an earlier version, and where there are, a new
// task costs one read.
func TestReadsOfACreate(t *testing.T) {
	host, now := newWire(t).host, time.Now()
	for name, want := range map[string]int{"a new database": 0, "a database of an earlier version": 1} {
		w := newWire(t)
		project := emulator.Project(t)
		earlier := openIn(t, host, project, gcp.FirestoreOptions{})
		for i := range 3 {
			id, _ := task.Derive("someone", fmt.Sprint("before-", i))
			if want > 0 {
				id = task.Former(id)
			}
			stored(t, earlier, accepted(t, id, now))
		}

		f := openIn(t, w.host, project, gcp.FirestoreOptions{})
		for i := range 3 {
			id, _ := task.Derive("someone", fmt.Sprint(i))
			stored(t, f, accepted(t, id, now))
		}

		if documents, requests := w.written(); documents != 3 || requests != 3 {
			t.Errorf("%s: 3 tasks wrote %d documents in %d requests", name, documents, requests)
		}
		w.with(func() {
			if len(w.queries) != 1 || w.queries[0].GetLimit().GetValue() != 1 || w.reads != 3*want {
				t.Errorf("%s: 3 tasks took %d reads and the queries %v, want %d reads and one query of one document", name, w.reads, w.queries, 3*want)
			}
		})
	}
}

// The field exists only with a dead webhook, because it costs index entries with any value.
func TestDeadIsAFieldOnlyWhereAWebhookIs(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	m := task.Defaults().At(time.Now())
	r := stored(t, f, accepted(t, hashed("a"), m.Now))
	r, err := f.Commit(t.Context(), undelivered(t, r))
	if err != nil {
		t.Fatal(err)
	}

	r, changed, err := r.DropWebhook(m, "h")
	if err != nil || !changed {
		t.Fatalf("DropHook: %t, %v", changed, err)
	}
	if _, err := f.Commit(t.Context(), r); err != nil {
		t.Fatal(err)
	}

	var got []string
	w.with(func() {
		for _, c := range w.commits {
			v, ok := c.Writes[0].GetUpdate().GetFields()["dead"]
			named := slices.Contains(c.Writes[0].GetUpdateMask().GetFieldPaths(), "dead")
			got = append(got, fmt.Sprintf("is there: %t, true: %t, replaced: %t", ok, v.GetBooleanValue(), named))
		}
	})

	want := []string{
		"is there: false, true: false, replaced: false", // created
		"is there: true, true: true, replaced: true",
		"is there: false, true: false, replaced: true",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the field dead (-want +got):\n%s", d)
	}
}

// The client repeats a write whose answer was lost, and the repetition fails because of the
// first write.
func TestLostAnswersAreSettled(t *testing.T) {
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	now := time.Now()

	w.with(func() { w.lose = 1 })
	r := accepted(t, hashed("a"), now)
	if _, err := f.Create(t.Context(), r); !errors.Is(err, task.ErrExists) {
		t.Errorf("Create whose answer was lost: %v, want ErrExists", err)
	}

	r, err := f.Load(t.Context(), r.ID())
	if err != nil {
		t.Fatalf("Load of the created record: %v", err)
	}

	w.with(func() { w.lose = 1 })
	next, _, err := asked(r, now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Commit(t.Context(), next); !errors.Is(err, task.ErrConflict) {
		t.Errorf("Commit whose answer was lost: %v, want ErrConflict", err)
	}

	w.with(func() { w.lose = 1 })
	later, decided := now.Add(2*time.Second), 0
	got, err := task.Update(t.Context(), f, r.ID(), func(r task.Record) (task.Record, bool, error) {
		decided++
		return asked(r, later)
	})
	if err != nil || decided != 2 || len(got.Asks) != 1 || !got.Asks[0].At.Equal(later) {
		t.Errorf("Update whose answer was lost: asked %v, decided %d times, %v; want %v, twice", got.Asks, decided, err, later)
	}
	if again, err := f.Load(t.Context(), r.ID()); err != nil || again.Version != got.Version {
		t.Errorf("Update gave version %d, Load %d, %v", got.Version, again.Version, err)
	}
}

// If a record is replaced after the purge has found it, the purge does not delete the new one.
func TestPurgeLeavesReplacedRecords(t *testing.T) {
	w := newWire(t)
	now := time.Now()
	clock := func() time.Time { return now.AddDate(0, 0, 40) }
	f := open(t, w.host, gcp.FirestoreOptions{Now: clock})
	old := stored(t, f, canceled(t, hashed("a"), now))
	fresh := accepted(t, old.ID(), clock())
	var once sync.Once

	w.with(func() {
		w.onCommit = func(req *pb.CommitRequest) {
			if req.Writes[0].GetDelete() != "" {
				once.Do(func() {
					if _, err := f.Create(t.Context(), fresh); err != nil {
						t.Errorf("Create in place of the expired record: %v", err)
					}
				})
			}
		}
	})

	if n, err := f.Purge(t.Context(), clock(), 10); n != 0 || err != nil {
		t.Errorf("Purge = %d, %v, want 0, because the expired record was replaced", n, err)
	}
	if r, err := f.Load(t.Context(), old.ID()); err != nil || r.State() != a2a.TaskStateSubmitted {
		t.Errorf("Load of the new record = %v, %v", r.Task, err)
	}
}

// A purge has no deadline as a whole. Each of its calls has one.
func TestLongPurgeIsNotBrokenOff(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	now := time.Now()
	f := open(t, w.host, gcp.FirestoreOptions{})
	const records = 17 // one more than are deleted concurrently
	for i := range records {
		stored(t, f, canceled(t, hashed(fmt.Sprint(i)), now))
	}
	w.with(func() { w.onCommit = func(*pb.CommitRequest) { time.Sleep(6 * time.Second) } })
	if n, err := f.Purge(t.Context(), now.AddDate(0, 0, 40), 100); n != records || err != nil {
		t.Errorf("Purge = %d, %v, want %d", n, err, records)
	}
}

// If an expired record is purged just before Create replaces it, Create creates the new one.
func TestReplacingAPurgedRecord(t *testing.T) {
	w := newWire(t)
	now := time.Now()
	clock := func() time.Time { return now.AddDate(0, 0, 40) }
	f := open(t, w.host, gcp.FirestoreOptions{Now: clock})
	old := stored(t, f, canceled(t, hashed("a"), now))
	var once sync.Once
	w.with(func() {
		w.onCommit = func(req *pb.CommitRequest) {
			if req.Writes[0].GetUpdate() != nil && req.Writes[0].GetCurrentDocument().GetUpdateTime() != nil {
				once.Do(func() {
					if n, err := f.Purge(t.Context(), clock(), 10); n != 1 || err != nil {
						t.Errorf("Purge = %d, %v, want 1", n, err)
					}
				})
			}
		}
	})
	if _, err := f.Create(t.Context(), accepted(t, old.ID(), clock())); err != nil {
		t.Errorf("Create in place of a record that was purged meanwhile: %v", err)
	}
}

func TestKeysThatCannotBeToldApartAreRefused(t *testing.T) {
	f := open(t, emulator.Firestore(t), gcp.FirestoreOptions{})
	r := accepted(t, hashed("a"), time.Now())
	r.Owner = strings.Repeat("x", 1501)
	if _, err := f.Create(t.Context(), r); err == nil {
		t.Error("Create with an owner of 1,501 bytes succeeds; Firestore compares 1,500")
	}
}

func TestIDsThatCannotBe(t *testing.T) {
	f := open(t, emulator.Firestore(t), gcp.FirestoreOptions{})
	for _, id := range []string{"", ".", "..", "a/b", "__a__", "\xff", strings.Repeat("x", 1501)} {
		if _, err := f.Load(t.Context(), id); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("Load(%.10q): %v, want ErrNotFound", id, err)
		}
		r := accepted(t, id, time.Now())
		if _, err := f.Create(t.Context(), r); err == nil {
			t.Errorf("Create(%.10q) succeeds", id)
		}
		r.Version = 1
		if _, err := f.Commit(t.Context(), r); !errors.Is(err, task.ErrConflict) {
			t.Errorf("Commit(%.10q): %v, want ErrConflict", id, err)
		}
		for _, err := range f.Watch(t.Context(), id) {
			if !errors.Is(err, task.ErrNotFound) {
				t.Errorf("Watch(%.10q): %v, want ErrNotFound", id, err)
			}
		}
		if _, err := f.List(t.Context(), task.Query{Limit: 1, After: task.Ref{At: time.Now(), ID: id}}); err != nil {
			t.Errorf("List after %.10q: %v", id, err)
		}
	}
}

func BenchmarkFirestoreCreate(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			f := open(b, emulator.Firestore(b), gcp.FirestoreOptions{})
			rs := make([]task.Record, b.N)
			for i := range rs {
				rs[i] = accepted(b, hashed(fmt.Sprint(i)), time.Now().Add(time.Duration(i)*time.Millisecond))
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						if _, err := f.Create(b.Context(), rs[i]); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
		})
	}
}
