package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// page lists as soon as want records match, which may take a store 2 s.
func page(t *testing.T, s Stored, q task.Query, want int) task.Page {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if q.Limit == 0 {
		q.Limit = 100
	}

	for {
		all := q
		all.Count, all.Limit = true, 1
		p, err := s.List(ctx, all)
		if err == nil && p.Total == want {
			if p, err = s.List(ctx, q); err == nil {
				return p
			}
		}

		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			t.Fatalf("List(%+v) counts %d records, want %d", q, p.Total, want)
		}
		if err != nil {
			t.Fatalf("List(%+v): %v", q, err)
		}

		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// listed returns the ids of a list in which want records match.
func listed(t *testing.T, s Stored, q task.Query, want int) []string {
	t.Helper()
	return ids(page(t, s, q, want))
}

func ids(p task.Page) []string {
	out := []string{}
	for _, r := range p.Records {
		out = append(out, r.ID())
	}
	return out
}

// at sets the time of a record's status.
func at(ms int) func(*task.Record) {
	return func(r *task.Record) {
		stamp := epoch.Add(time.Duration(ms) * time.Millisecond)
		r.Task.Status.Timestamp = &stamp
	}
}

func listOwnerOnly(t *testing.T, s Stored, _ *clock) {
	for i, owner := range []string{"a", "b", "", "a/b"} {
		create(t, s, record(fmt.Sprintf("task-%d", i), func(r *task.Record) { r.Owner = owner }))
	}
	for i, owner := range []string{"a", "b", "", "a/b"} {
		want := []string{fmt.Sprintf("task-%d", i)}
		if d := cmp.Diff(want, listed(t, s, task.Query{Owner: owner}, 1)); d != "" {
			t.Errorf("List of owner %q (-want +got):\n%s", owner, d)
		}
	}
	if got := listed(t, s, task.Query{Owner: "nobody"}, 0); len(got) != 0 {
		t.Errorf("List of an owner without tasks = %v", got)
	}
}

func listFilters(t *testing.T, s Stored, _ *clock) {
	states := []a2a.TaskState{a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateCompleted}
	var all []task.Record
	for i := range 24 {
		all = append(all, create(t, s, record(fmt.Sprintf("task-%02d", i), at(i/2), func(r *task.Record) {
			r.Task.ContextID = []string{"c1", "c2"}[i%2]
			r.Task.Status.State = states[i%3]
			r.Owner = []string{someone, someone, someone, "other"}[i%4]
		})))
	}
	for _, owner := range []string{someone, "other"} {
		for _, ctx := range []string{"", "c1", "c2", "c3"} {
			for _, state := range append(states, "", a2a.TaskStateFailed) {
				for _, since := range []time.Time{{}, epoch, epoch.Add(6 * time.Millisecond),
					epoch.Add(6*time.Millisecond + 1), epoch.Add(time.Hour)} {
					q := task.Query{Owner: owner, Context: ctx, State: state, Since: since}
					want := matching(all, q)
					if d := cmp.Diff(want, listed(t, s, q, len(want))); d != "" {
						t.Errorf("List(%+v) (-want +got):\n%s", q, d)
					}
				}
			}
		}
	}
}

// matching returns the ids of the records that match a query, in order.
func matching(all []task.Record, q task.Query) []string {
	out := []string{}
	for _, r := range slices.Backward(all) { // made in order of status time and id
		if r.Owner == q.Owner && (q.Context == "" || r.Task.ContextID == q.Context) &&
			(q.State == "" || r.State() == q.State) && !r.Stamp().Before(q.Since) {
			out = append(out, r.ID())
		}
	}
	return out
}

// walk reads a list page by page.
func walk(t *testing.T, s Stored, q task.Query, between func(n int)) []string {
	t.Helper()
	out := []string{}
	for n := 0; ; n++ {
		p, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatalf("List(%+v): %v", q, err)
		}
		out = append(out, ids(p)...)
		if len(p.Records) > q.Limit {
			t.Fatalf("List with limit %d returned %d records", q.Limit, len(p.Records))
		}
		if !p.More {
			return out
		}
		if len(p.Records) == 0 {
			t.Fatal("an empty page announces more")
		}
		last := p.Records[len(p.Records)-1]
		q.After = task.Ref{At: last.Stamp(), ID: last.ID()}
		between(n)
	}
}

// listOrderAndPages: many records share a status time, so that pages end among them.
func listOrderAndPages(t *testing.T, s Stored, _ *clock) {
	var all []task.Record
	for i := range 30 {
		all = append(all, create(t, s, record(fmt.Sprintf("task-%02d", i), at(i/7))))
	}
	want := matching(all, task.Query{Owner: someone})
	listed(t, s, task.Query{Owner: someone}, len(want))
	for _, limit := range []int{1, 2, 7, 29, 30, 31, 100} {
		for _, ctx := range []string{"", "ctx"} {
			got := walk(t, s, task.Query{Owner: someone, Context: ctx, Limit: limit}, func(int) {})
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("pages of %d (-want +got):\n%s", limit, d)
			}
		}
	}
}

// listWhileWriting: the pages show each untouched record exactly once while others change.
func listWhileWriting(t *testing.T, s Stored, _ *clock) {
	var still, moving []task.Record
	for i := range 20 {
		still = append(still, create(t, s, record(fmt.Sprintf("still-%02d", i), at(i))))
		moving = append(moving, create(t, s, record(fmt.Sprintf("moving-%02d", i), at(i))))
	}
	listed(t, s, task.Query{Owner: someone}, 40)
	got := walk(t, s, task.Query{Owner: someone, Limit: 3}, func(n int) {
		if n < len(moving) {
			commit(t, s, edited(moving[n], at(1000+n)))
		}
		create(t, s, record(fmt.Sprintf("new-%02d", n), at(n)))
	})
	seen := map[string]int{}
	for _, id := range got {
		seen[id]++
	}
	for _, r := range still {
		if seen[r.ID()] != 1 {
			t.Errorf("%s was listed %d times, want once", r.ID(), seen[r.ID()])
		}
	}
}

func listTotal(t *testing.T, s Stored, _ *clock) {
	for i := range 25 {
		create(t, s, record(fmt.Sprintf("task-%02d", i), at(i), func(r *task.Record) {
			r.Task.ContextID = []string{"c1", "c2"}[i%2]
		}))
	}
	for _, q := range []struct {
		query task.Query
		want  int
	}{
		{task.Query{}, 25},
		{task.Query{Context: "c1"}, 13},
		{task.Query{Since: epoch.Add(20 * time.Millisecond)}, 5},
		{task.Query{After: task.Ref{At: epoch.Add(3 * time.Millisecond), ID: "task-03"}}, 25},
	} {
		q.query.Owner, q.query.Limit = someone, 2
		if got := page(t, s, q.query, q.want).Total; got != 0 {
			t.Errorf("List(%+v) counts %d although Count is not set", q.query, got)
		}
		q.query.Count = true
		if got := page(t, s, q.query, q.want).Total; got != q.want {
			t.Errorf("List(%+v).Total = %d, want %d", q.query, got, q.want)
		}
	}
}

// listTotalFollows: totals are exact after any changes and for any query.
func listTotalFollows(t *testing.T, s Stored, c *clock) {
	states := []a2a.TaskState{a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateInputRequired, a2a.TaskStateCompleted, a2a.TaskStateFailed}
	contexts := []string{"c1", "c2", "c3"}
	random := rand.New(rand.NewPCG(1, 2))
	there := map[string]task.Record{}

	for step := range 60 {
		id := fmt.Sprintf("task-%02d", random.IntN(20))
		state := states[random.IntN(len(states))]
		change := func(r *task.Record) {
			r.Task.Status.State, r.Expires = state, time.Time{}
			if state.Terminal() {
				r.Expires = c.now().Add(time.Hour)
			}
		}

		old, ok := there[id]
		switch {
		case step%20 == 19: // some expire, and are purged later, or created again
			c.set(c.now().Add(time.Hour))
		case step%20 == 5:
			if _, err := purge(t.Context(), s, c.now(), 100); err != nil {
				t.Fatal(err)
			}
		case ok && !expiredAt(old, c.now()):
			there[id] = commit(t, s, edited(old, change))
		default:
			there[id] = create(t, s, record(id, at(step), change, func(r *task.Record) { r.Task.ContextID = contexts[random.IntN(3)] }))
		}

		q := task.Query{Owner: someone, Limit: 1, Count: true}
		if random.IntN(2) == 0 {
			q.Context = contexts[random.IntN(3)]
		}
		if random.IntN(2) == 0 {
			q.State = states[random.IntN(len(states))]
		}

		want := 0
		for _, r := range there {
			if !expiredAt(r, c.now()) && (q.Context == "" || q.Context == r.Task.ContextID) && (q.State == "" || q.State == r.State()) {
				want++
			}
		}

		page(t, s, q, want)
	}
}

func expiredAt(r task.Record, now time.Time) bool {
	return !r.Expires.IsZero() && r.Expires.UnixMilli() <= now.UnixMilli()
}

func listHeadsOnly(t *testing.T, s Stored, _ *clock) {
	want := create(t, s, edited(full("a"), func(r *task.Record) { r.Expires = time.Time{} }))
	q := task.Query{Owner: someone, Bodies: true}
	same(t, "List with bodies", want, page(t, s, q, 1).Records[0])
	q.Bodies = false
	want = task.Record{
		Schema: want.Schema, Owner: want.Owner, Version: want.Version, Expires: want.Expires,
		Task: &a2a.Task{ID: want.Task.ID, ContextID: want.Task.ContextID, Status: want.Task.Status, Metadata: want.Task.Metadata},
	}
	same(t, "List without bodies", want, page(t, s, q, 1).Records[0])
}

// listBoundsBodies: pages of large records are short and miss no record. This does not concern
// lists without bodies.
func listBoundsBodies(t *testing.T, s Stored, _ *clock) {
	const each = 900 << 10
	var all []task.Record
	for i := range 10 {
		all = append(all, create(t, s, edited(sized(t, fmt.Sprint("task-", i), each), at(i))))
	}
	q := task.Query{Owner: someone, Limit: 100, Bodies: true}
	want := matching(all, q)
	if p := page(t, s, q, len(want)); len(p.Records) != task.PageBytes/each || !p.More {
		t.Errorf("a page has %d records of %d bytes, and more: %v; want at most %d bytes", len(p.Records), each, p.More, task.PageBytes)
	}
	if d := cmp.Diff(want, walk(t, s, q, func(int) {})); d != "" {
		t.Errorf("all pages (-want +got):\n%s", d)
	}
	q.Bodies = false
	if p := page(t, s, q, len(want)); len(p.Records) != len(want) {
		t.Errorf("a page without bodies has %d records, want %d", len(p.Records), len(want))
	}
}

// listBoundsHeads: a page of heavy heads is short too, of a list and of dead webhooks, and no
// record is missed.
func listBoundsHeads(t *testing.T, s Stored, _ *clock) {
	const each = 800 << 10
	heavy := func(r *task.Record) { r.Task.Metadata = map[string]any{"x": strings.Repeat("x", each)} }
	var all []task.Record
	for i := range 8 {
		all = append(all, create(t, s, record(fmt.Sprint("task-", i), at(i), dead, heavy)))
	}

	q := task.Query{Owner: someone, Limit: 100}
	want := matching(all, q)
	most := task.PageBytes / each
	if p := page(t, s, q, len(want)); len(p.Records) != most || !p.More {
		t.Errorf("a page has %d records with heads of %d bytes, and more: %v; want %d", len(p.Records), each, p.More, most)
	}
	if d := cmp.Diff(want, walk(t, s, q, func(int) {})); d != "" {
		t.Errorf("all pages (-want +got):\n%s", d)
	}

	letters(t, s, task.DeadQuery{Owner: someone}, want[:most])
	p, err := s.Dead(t.Context(), task.DeadQuery{Owner: someone, Limit: 100})
	if err != nil || len(p.Records) != most || !p.More {
		t.Errorf("a page has %d records with dead webhooks, and more: %v, %v; want %d", len(p.Records), p.More, err, most)
	}
}

func listSkipsExpired(t *testing.T, s Stored, c *clock) {
	for i := range 4 {
		create(t, s, record(fmt.Sprintf("task-%d", i), func(r *task.Record) {
			if i%2 == 0 {
				r.Expires = epoch.Add(time.Hour)
			}
		}))
	}
	listed(t, s, task.Query{Owner: someone}, 4)
	c.set(epoch.Add(time.Hour))
	for _, q := range []task.Query{{Owner: someone}, {Owner: someone, Context: "ctx"}} {
		if d := cmp.Diff([]string{"task-3", "task-1"}, listed(t, s, q, 2)); d != "" {
			t.Errorf("List(%+v) (-want +got):\n%s", q, d)
		}
	}
}

// owing gives the record pending work, so that Due lists it.
func owing(ms int, lane string) func(*task.Record) {
	return func(r *task.Record) {
		r.Due = task.Due{At: epoch.Add(time.Duration(ms) * time.Millisecond), Lane: lane}
	}
}

func due(t *testing.T, s Stored, lane string, before time.Time, after task.Ref, limit int) []task.Ref {
	t.Helper()
	refs, err := s.Due(t.Context(), lane, task.Shard{}, before, after, limit)
	if err != nil {
		t.Fatalf("Due(%s): %v", lane, err)
	}
	return refs
}

func dueOrderAndPages(t *testing.T, s Stored, _ *clock) {
	want := map[string][]task.Ref{}
	var wg sync.WaitGroup

	for i := range 40 {
		lane := []string{task.Turns, task.Deliveries}[i%2]
		id := fmt.Sprintf("task-%02d", i)
		wg.Go(func() { create(t, s, record(id, owing(i/6, lane))) }) // several have the same time
		want[lane] = append(want[lane], task.Ref{At: epoch.Add(time.Duration(i/6) * time.Millisecond), ID: id})
	}

	wg.Wait()
	for lane, all := range want {
		for _, limit := range []int{1, 3, 20, 100} {
			got := []task.Ref{}
			for after := (task.Ref{}); ; after = got[len(got)-1] {
				refs := due(t, s, lane, epoch.Add(time.Hour), after, limit)
				if got = append(got, refs...); len(refs) < limit {
					break
				}
			}

			if d := cmp.Diff(all, got); d != "" {
				t.Errorf("Due(%s) in pages of %d (-want +got):\n%s", lane, limit, d)
			}
		}
	}

	edge := epoch.Add(3 * time.Millisecond)
	for _, ref := range due(t, s, task.Turns, edge, task.Ref{}, 100) {
		if ref.At.After(edge) {
			t.Errorf("Due before %v returns %s of %v", edge, ref.ID, ref.At)
		}
	}

	if got := len(due(t, s, task.Turns, edge, task.Ref{}, 100)); got != 12 {
		t.Errorf("Due before 3 ms returns %d records, want 12, because that time is included", got)
	}
}

func dueOnlyWhenOwed(t *testing.T, s Stored, _ *clock) {
	far := epoch.AddDate(1000, 0, 0)
	last := create(t, s, record("a"))
	create(t, s, record("b"))
	for i, step := range []struct {
		due  task.Due
		lane string
		want int
	}{
		{task.Due{}, task.Turns, 0},
		{task.Due{At: epoch, Lane: task.Turns}, task.Turns, 1},
		{task.Due{At: epoch, Lane: task.Deliveries}, task.Turns, 0},
		{task.Due{At: epoch, Lane: task.Deliveries}, task.Deliveries, 1},
		{task.Due{}, task.Deliveries, 0},
	} {
		last = commit(t, s, edited(last, func(r *task.Record) { r.Due = step.due }))
		if got := due(t, s, step.lane, far, task.Ref{}, 10); len(got) != step.want {
			t.Errorf("step %d: Due = %v, want %d", i, got, step.want)
		}
	}
}

func purgeExpiredOnly(t *testing.T, s Stored, c *clock) {
	expires := func(d time.Duration) func(*task.Record) {
		return func(r *task.Record) { r.Expires = epoch.Add(d) }
	}
	create(t, s, record("kept-1"))
	create(t, s, record("kept-2", expires(2*time.Hour)))
	for i := range 150 {
		create(t, s, record(fmt.Sprintf("old-%d", i), expires(time.Duration(i)*time.Second), owing(0, task.Turns)))
	}
	c.set(epoch.Add(time.Hour))
	for _, want := range []struct{ limit, n int }{{0, 0}, {1, 1}, {120, 120}, {500, 29}, {500, 0}} {
		n, err := purge(t.Context(), s, c.now(), want.limit)
		if err != nil || n != want.n {
			t.Fatalf("Purge of at most %d = %d, %v, want %d", want.limit, n, err, want.n)
		}
	}
	if d := cmp.Diff([]string{"kept-2", "kept-1"}, listed(t, s, task.Query{Owner: someone}, 2)); d != "" {
		t.Errorf("records after Purge (-want +got):\n%s", d)
	}
	if refs := due(t, s, task.Turns, c.now(), task.Ref{}, 10); len(refs) != 0 {
		t.Errorf("Due after Purge = %v, want none", refs)
	}
}
