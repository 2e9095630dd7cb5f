package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"errand/shared/task"
)

// Stored are all ports to the records of a database.
type Stored = interface {
	task.Store
	task.Chores
	task.DeadLetters
	task.Holder
	task.Items
}

// Store runs the laws of task.Store, task.Chores, task.DeadLetters, task.Holder and task.Items.
// open returns an empty store that uses now as its clock for expiry, and closes it by t.Cleanup.
func Store(t *testing.T, open func(t *testing.T, now func() time.Time) Stored) {
	for _, law := range []struct {
		name string
		run  func(*testing.T, Stored, *clock)
	}{
		{"CreateOnce", createOnce},
		{"ExpiredIsReplaced", expiredIsReplaced},
		{"FormerIDIsTaken", formerIDIsTaken},
		{"LoadMissing", loadMissing},
		{"RoundTripKeepsEverything", roundTripKeepsEverything},
		{"UnknownFieldsSurvive", unknownFieldsSurvive},
		{"NewerSchemaIsNotWritten", newerSchemaIsNotWritten},
		{"KeysAreAnyText", keysAreAnyText},
		{"TooLarge", tooLarge},
		{"CommitConflict", commitConflict},
		{"CommitOfMissing", commitOfMissing},
		{"CommitOfPurged", commitOfPurged},
		{"ReadYourWrite", readYourWrite},
		{"SharedRecordsUnchanged", sharedRecordsUnchanged},
		{"EndedContextIsAnError", endedContextIsAnError},
		{"WatchMissing", watchMissing},
		{"WatchArmedBeforeFirst", watchArmedBeforeFirst},
		{"WatchSeesNewest", watchSeesNewest},
		{"WatchEndsWithContext", watchEndsWithContext},
		{"WatchSlowDelaysNoOther", watchSlowDelaysNoOther},
		{"WatchJoinsOthers", watchJoinsOthers},
		{"WatchOfExpired", watchOfExpired},
		{"WatchEndsWhenPurged", watchEndsWhenPurged},
		{"ListOwnerOnly", listOwnerOnly},
		{"ListFilters", listFilters},
		{"ListOrderAndPages", listOrderAndPages},
		{"ListWhileWriting", listWhileWriting},
		{"ListTotal", listTotal}, {"ListTotalFollows", listTotalFollows},
		{"ListHeadsOnly", listHeadsOnly},
		{"ListBoundsBodies", listBoundsBodies},
		{"ListBoundsHeads", listBoundsHeads},
		{"ListSkipsExpired", listSkipsExpired},
		{"DueOrderAndPages", dueOrderAndPages},
		{"DueOnlyWhenOwed", dueOnlyWhenOwed},
		{"PurgeExpiredOnly", purgeExpiredOnly},
		{"ExpiredOrderAndPages", expiredOrderAndPages},
		{"ShardsDivide", shardsDivide},
		{"RemoveLeavesReplaced", removeLeavesReplaced},
		{"RemoveOnce", removeOnce},
		{"DeletedIsGone", deletedIsGone},
		{"DeletedKeepsItsID", deletedKeepsItsID},
		{"DeletedEndsWatches", deletedEndsWatches},
		{"HeldIsCounted", heldIsCounted},
		{"OpenItems", openItems},
		{"OpenOfOneBatch", openOfOneBatch},
		{"OpenLinesPages", openLinesPages},
		{"ItemsAreListedApart", itemsAreListedApart},
		{"ItemsTotalFollows", itemsTotalFollows},
		{"ItemsAreHeld", itemsAreHeld},
		{"ItemsAreDead", itemsAreDead},
		{"ItemsOfAnyOwner", itemsOfAnyOwner},
		{"DeadOwnerOnly", deadOwnerOnly},
		{"DeadPages", deadPages},
		{"DeadAfterUnknown", deadAfterUnknown},
		{"DeadLimit", deadLimit},
		{"DeadFollowsTheHooks", deadFollowsTheWebhooks},
		{"DeadSkipsExpired", deadSkipsExpired},
		{"DeadHeadsOnly", deadHeadsOnly},
	} {
		t.Run(law.name, func(t *testing.T) {
			c := &clock{t: epoch}
			law.run(t, open(t, c.now), c)
		})
	}
}

// purge deletes expired records as a sweep does, but keeps no steps in mind.
func purge(ctx context.Context, s Stored, before time.Time, limit int) (int, error) {
	list, err := s.Expired(ctx, task.Shard{}, before, task.Ref{}, limit)
	if err != nil {
		return 0, err
	}
	return s.Remove(ctx, list)
}

// epoch is the time at which every law begins.
var epoch = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

// A clock is the clock of the store. The law moves it.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

const someone = "tenant/someone"

// record returns a small record after the changes.
func record(id string, change ...func(*task.Record)) task.Record {
	at := epoch
	r := task.Record{
		Schema: task.Schema, Owner: someone, Lane: task.Turns, Turn: 1, Since: at, Asked: at,
		Requests: []task.Request{{ID: "m-" + id, Fingerprint: "p"}},
		Task: &a2a.Task{
			ID: a2a.TaskID(id), ContextID: "ctx",
			Status:  a2a.TaskStatus{State: a2a.TaskStateSubmitted, Timestamp: &at},
			History: []*a2a.Message{text("m-"+id, "hello")},
		},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func text(id, s string) *a2a.Message {
	return &a2a.Message{ID: id, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart(s)}}
}

// edited returns a changed copy of r, like a transition: the copy shares no memory that
// changes, and drops the stored form.
func edited(r task.Record, change func(*task.Record)) task.Record {
	var out task.Record
	from, to := reflect.ValueOf(r), reflect.ValueOf(&out).Elem()
	for _, f := range reflect.VisibleFields(from.Type()) {
		if f.IsExported() {
			to.FieldByIndex(f.Index).Set(from.FieldByIndex(f.Index))
		}
	}
	t := *r.Task
	out.Task = &t
	change(&out)
	return out
}

func attempt(n int) func(*task.Record) { return func(r *task.Record) { r.Attempt = n } }

func create(t *testing.T, s Stored, r task.Record) task.Record {
	t.Helper()
	got, err := s.Create(t.Context(), r)
	if err != nil {
		t.Fatalf("Create(%s): %v", r.ID(), err)
	}
	return got
}

func commit(t *testing.T, s Stored, r task.Record) task.Record {
	t.Helper()
	got, err := s.Commit(t.Context(), r)
	if err != nil {
		t.Fatalf("Commit(%s): %v", r.ID(), err)
	}
	return got
}

func load(t *testing.T, s Stored, id string) task.Record {
	t.Helper()
	got, err := s.Load(t.Context(), id)
	if err != nil {
		t.Fatalf("Load(%s): %v", id, err)
	}
	return got
}

// same compares the contents of records and ignores their stored forms.
func same(t *testing.T, what string, want, got task.Record) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(task.Record{}), asJSON[map[string]any](), asJSON[a2a.Data]()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// asJSON compares values of a type by their JSON: an object in a record may be text.
func asJSON[T any]() cmp.Option {
	return cmp.Transformer("asJSON", func(v T) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(text)
	})
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// race runs n calls concurrently and returns their errors.
func race(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var ready, wg sync.WaitGroup
	ready.Add(n)
	for i := range n {
		wg.Go(func() {
			ready.Done()
			ready.Wait()
			errs[i] = f(i)
		})
	}
	wg.Wait()
	return errs
}

// answered repeats a call until it succeeds or gets the verdict, as callers do. A store on a
// busy machine may give up a call that waits for others, which it has then not carried out.
func answered(t *testing.T, call func() error, verdict error) error {
	for end := time.Now().Add(2 * time.Minute); ; {
		err := call()
		if err == nil || errors.Is(err, verdict) || time.Now().After(end) || t.Context().Err() != nil {
			return err
		}
	}
}

// winner returns the one call that succeeded. All others must have failed with want.
func winner(t *testing.T, n int, want error, f func(i int) error) int {
	t.Helper()
	errs := race(n, func(i int) error { return answered(t, func() error { return f(i) }, want) })
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && won >= 0:
			t.Fatalf("calls %d and %d both succeeded", won, i)
		case err == nil:
			won = i
		case !errors.Is(err, want):
			t.Errorf("call %d: error %v, want %v", i, err, want)
		}
	}
	if won < 0 {
		t.Fatal("no call succeeded")
	}
	return won
}

func createOnce(t *testing.T, s Stored, _ *clock) {
	for round := range 10 {
		id := fmt.Sprintf("task-%d", round)
		won := winner(t, 16, task.ErrExists, func(i int) error {
			_, err := s.Create(t.Context(), record(id, attempt(i)))
			return err
		})
		if got := load(t, s, id); got.Attempt != won {
			t.Errorf("Load returns the record of call %d, but call %d succeeded", got.Attempt, won)
		}
		_, err := s.Create(t.Context(), record(id))
		wantError(t, "Create once more", err, task.ErrExists)
	}
}

func formerIDIsTaken(t *testing.T, s Stored, c *clock) {
	end := epoch.Add(time.Hour)
	for _, old := range []struct {
		name   string
		change func(*task.Record)
	}{
		{"running", func(*task.Record) {}},
		{"ended", func(r *task.Record) { r.Expires = end }},
	} {
		id, _ := task.Derive(someone, old.name)
		was := create(t, s, record(task.Former(id), old.change))
		_, err := s.Create(t.Context(), record(id))
		wantError(t, "Create of a record whose former id is "+old.name, err, task.ErrExists)
		same(t, "the record under the former id", was, load(t, s, task.Former(id)))
		_, err = s.Load(t.Context(), id)
		wantError(t, "Load after it", err, task.ErrNotFound)

		other, _ := task.Derive(someone+"s", old.name)
		create(t, s, record(other))
	}

	ended, _ := task.Derive(someone, "ended")
	running, _ := task.Derive(someone, "running")
	c.set(end)
	create(t, s, record(ended))
	_, err := s.Create(t.Context(), record(running))
	wantError(t, "Create after an hour", err, task.ErrExists)

	both, _ := task.Derive(someone, "both")
	create(t, s, record(both, func(r *task.Record) { r.Expires = end.Add(time.Hour) }))
	create(t, s, record(task.Former(both)))
	c.set(end.Add(2 * time.Hour))
	_, err = s.Create(t.Context(), record(both))
	wantError(t, "Create in the place of an expired record, whose former id is taken", err, task.ErrExists)
}

func expiredIsReplaced(t *testing.T, s Stored, c *clock) {
	end := epoch.Add(time.Hour)
	old := create(t, s, record("a", func(r *task.Record) { r.Expires = end }))
	c.set(end.Add(-time.Millisecond))
	_, err := s.Create(t.Context(), record("a"))
	wantError(t, "Create before the old one expires", err, task.ErrExists)
	load(t, s, "a")

	c.set(end)
	_, err = s.Load(t.Context(), "a")
	wantError(t, "Load of an expired record", err, task.ErrNotFound)
	young := create(t, s, record("a", attempt(7)))
	same(t, "Load of the new record", young, load(t, s, "a"))
	_, err = s.Commit(t.Context(), edited(old, attempt(8)))
	wantError(t, "Commit of the old record", err, task.ErrConflict)
	_, err = s.Create(t.Context(), record("a"))
	wantError(t, "Create of the new record again", err, task.ErrExists)
}

func loadMissing(t *testing.T, s Stored, _ *clock) {
	for _, id := range []string{"a", "", "a/b", strings.Repeat("x", 1000)} {
		_, err := s.Load(t.Context(), id)
		wantError(t, fmt.Sprintf("Load(%.10q)", id), err, task.ErrNotFound)
	}
}

func commitConflict(t *testing.T, s Stored, _ *clock) {
	last := create(t, s, record("a"))
	for range 10 {
		won := winner(t, 16, task.ErrConflict, func(i int) error {
			_, err := s.Commit(t.Context(), edited(last, attempt(i+1)))
			return err
		})
		got := load(t, s, "a")
		if got.Attempt != won+1 {
			t.Errorf("Load returns the record of call %d, but call %d succeeded", got.Attempt-1, won)
		}
		_, err := s.Commit(t.Context(), edited(last, attempt(99)))
		wantError(t, "Commit of an old version", err, task.ErrConflict)
		last = got
	}
}

func commitOfMissing(t *testing.T, s Stored, _ *clock) {
	other := create(t, s, record("a"))
	never := record("b")
	for _, never.Version = range []int64{0, 1, other.Version} {
		_, err := s.Commit(t.Context(), never)
		wantError(t, "Commit of a record never created", err, task.ErrConflict)
	}
	_, err := s.Load(t.Context(), "b")
	wantError(t, "Load of it", err, task.ErrNotFound)
}

func commitOfPurged(t *testing.T, s Stored, c *clock) {
	old := create(t, s, record("a", func(r *task.Record) { r.Expires = epoch }))
	c.set(epoch.Add(time.Hour))
	if n, err := purge(t.Context(), s, c.now(), 10); n != 1 || err != nil {
		t.Fatalf("Purge = %d, %v, want 1", n, err)
	}
	_, err := s.Commit(t.Context(), edited(old, attempt(1)))
	wantError(t, "Commit of a purged record", err, task.ErrConflict)
	create(t, s, record("a", attempt(2)))
	_, err = s.Commit(t.Context(), edited(old, attempt(3)))
	wantError(t, "Commit of a purged record after its id was used again", err, task.ErrConflict)
	if got := load(t, s, "a"); got.Attempt != 2 {
		t.Errorf("the new record was overwritten by attempt %d", got.Attempt)
	}
}

// readYourWrite also checks that concurrent reads never go back in time.
func readYourWrite(t *testing.T, s Stored, _ *clock) {
	last := create(t, s, record("a"))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup

	for range 4 {
		wg.Go(func() {
			for seen := 0; ctx.Err() == nil; {
				r, err := s.Load(ctx, "a")
				if ctx.Err() != nil {
					return
				}

				if err != nil || r.Attempt < seen {
					t.Errorf("Load = attempt %d, %v, after attempt %d was read", r.Attempt, err, seen)
					return
				}

				seen = r.Attempt
			}
		})
	}

	for i := 1; i <= 100; i++ {
		last = commit(t, s, edited(last, attempt(i)))
		same(t, "Load after Commit", last, load(t, s, "a"))
	}

	stop()
	wg.Wait()
}

func endedContextIsAnError(t *testing.T, s Stored, _ *clock) {
	r := create(t, s, record("a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Create(ctx, record("b"))
	wantError(t, "Create", err, context.Canceled)
	_, err = s.Commit(ctx, r)
	wantError(t, "Commit", err, context.Canceled)
	_, err = s.Load(ctx, "a")
	wantError(t, "Load", err, context.Canceled)
	_, err = s.List(ctx, task.Query{Owner: someone, Limit: 1})
	wantError(t, "List", err, context.Canceled)
	_, err = s.Due(ctx, task.Turns, task.Shard{}, epoch, task.Ref{}, 1)
	wantError(t, "Due", err, context.Canceled)
	_, err = s.Expired(ctx, task.Shard{}, epoch, task.Ref{}, 1)
	wantError(t, "Expired", err, context.Canceled)
	_, err = s.Replaced(ctx, task.Lapsed{Ref: task.Ref{At: epoch, ID: "a"}, Version: 1})
	wantError(t, "Replaced", err, context.Canceled)
	_, err = s.Remove(ctx, []task.Lapsed{{Ref: task.Ref{At: epoch, ID: "a"}, Version: 1}})
	wantError(t, "Remove", err, context.Canceled)
	_, err = s.Dead(ctx, task.DeadQuery{All: true, Limit: 1})
	wantError(t, "Dead", err, context.Canceled)
}
