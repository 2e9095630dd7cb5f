package conformance

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// This file holds the laws of task.DeadLetters.

// dead gives a record two webhooks: one that works, and one whose schedule is used up.
func dead(r *task.Record) {
	r.Webhooks = []task.Webhook{
		{ID: "works", Gen: 1, URL: "https://example.com/1", State: task.WebhookActive, Next: epoch},
		{ID: "dead", Gen: 2, URL: "https://example.com/2", State: task.WebhookDead, Attempt: 9, Next: epoch},
	}
	r.Gens = 2
}

// letters lists the dead webhooks as soon as the list is want, which may take a store 2 s.
func letters(t *testing.T, s Stored, q task.DeadQuery, want []string) []task.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if q.Limit == 0 {
		q.Limit = 100
	}
	for {
		p, err := s.Dead(t.Context(), q)
		if err != nil {
			t.Fatalf("Dead(%+v): %v", q, err)
		}
		d := cmp.Diff(want, ids(p))
		if d == "" {
			return p.Records
		}
		select {
		case <-ctx.Done():
			t.Fatalf("Dead(%+v) (-want +got):\n%s", q, d)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// everyone queries the dead webhooks of all owners, ofSomeone those of the usual owner in
// these laws.
var (
	everyone  = task.DeadQuery{All: true}
	ofSomeone = task.DeadQuery{Owner: someone}
)

func deadOwnerOnly(t *testing.T, s Stored, _ *clock) {
	owners := []string{"a", "b", "", "a/b"}
	for i, owner := range owners {
		of := func(r *task.Record) { r.Owner = owner }
		create(t, s, record(fmt.Sprintf("dead-%d", i), of, dead, at(i)))
		create(t, s, record(fmt.Sprintf("none-%d", i), of, at(i)))
		create(t, s, record(fmt.Sprintf("works-%d", i), of, dead, at(i), func(r *task.Record) { r.Webhooks = r.Webhooks[:1] }))
	}
	for i, owner := range owners {
		letters(t, s, task.DeadQuery{Owner: owner}, []string{fmt.Sprintf("dead-%d", i)})
	}
	letters(t, s, task.DeadQuery{Owner: "nobody"}, []string{})
	all := []string{"dead-3", "dead-2", "dead-1", "dead-0"}
	letters(t, s, everyone, all)
	letters(t, s, task.DeadQuery{All: true, Owner: "a"}, all)
}

// deadPages: many records share a status time, so that pages end among them. Between them are
// records whose webhooks work, or that have expired.
func deadPages(t *testing.T, s Stored, c *clock) {
	want := map[string][]string{}
	for i := range 60 {
		owner := []string{someone, "other"}[i/3%2]
		r := record(fmt.Sprintf("task-%02d", i), at(i/14), dead, func(r *task.Record) { r.Owner = owner })

		switch i % 3 {
		case 0:
			id := r.ID()
			want[owner] = append([]string{id}, want[owner]...)
			want["all"] = append([]string{id}, want["all"]...)
		case 1:
			r.Expires = epoch.Add(time.Hour)
		case 2:
			r.Webhooks = nil
		}

		create(t, s, r)
	}

	c.set(epoch.Add(time.Hour))
	for owner, want := range want {
		q := task.DeadQuery{Owner: owner, All: owner == "all"}
		letters(t, s, q, want)

		for _, q.Limit = range []int{1, 2, 7, len(want) - 1, len(want), 100} {
			if d := cmp.Diff(want, walkDead(t, s, q, len(want))); d != "" {
				t.Errorf("Dead of %s in pages of %d (-want +got):\n%s", owner, q.Limit, d)
			}
		}
	}
}

// walkDead reads a list of at most most records page by page. It ends with the page that
// exceeds this number, because a list that repeats itself might not end.
func walkDead(t *testing.T, s Stored, q task.DeadQuery, most int) []string {
	t.Helper()
	out := []string{}
	for {
		p, err := s.Dead(t.Context(), q)
		if err != nil {
			t.Fatalf("Dead(%+v): %v", q, err)
		}
		out = append(out, ids(p)...)
		switch n := len(p.Records); {
		case n > q.Limit:
			t.Fatalf("Dead(%+v) returned %d records", q, n)
		case !p.More, len(out) > most:
			return out
		case n < q.Limit:
			t.Fatalf("Dead(%+v) returned %d records and announced more", q, n)
		}
		last := p.Records[len(p.Records)-1]
		q.After = task.Ref{At: last.Stamp(), ID: last.ID()}
	}
}

// deadAfterUnknown: the list goes on after any place, with or without a record there. An id
// that no record can have is not an error.
func deadAfterUnknown(t *testing.T, s Stored, _ *clock) {
	for _, id := range []string{"a", "c", "e"} {
		create(t, s, record(id, dead, at(5)))
	}

	create(t, s, record("old", dead, at(1)))
	for _, q := range []task.DeadQuery{ofSomeone, everyone} {
		for _, place := range []struct {
			ms   int
			id   string
			want []string
		}{
			{6, "a", []string{"e", "c", "a", "old"}},
			{5, "f", []string{"e", "c", "a", "old"}},
			{5, "d", []string{"c", "a", "old"}},
			{5, "0", []string{"old"}},
			{3, "x", []string{"old"}},
			{1, "a", []string{}},
			{0, "x", []string{}},
		} {
			q.After = task.Ref{At: epoch.Add(time.Duration(place.ms) * time.Millisecond), ID: place.id}
			letters(t, s, q, place.want)
		}

		for _, id := range []string{"", "a/b", "..", "__x__", "\xff"} {
			q.After.ID, q.Limit = id, 1
			if _, err := s.Dead(t.Context(), q); err != nil {
				t.Errorf("Dead(%+v): %v", q, err)
			}
		}
	}
}

func deadLimit(t *testing.T, s Stored, _ *clock) {
	want := []string{}
	for i := range 101 {
		r := create(t, s, record(fmt.Sprintf("task-%03d", i), at(i), dead))
		want = append([]string{r.ID()}, want...)
	}
	for _, q := range []task.DeadQuery{ofSomeone, everyone} {
		for _, q.Limit = range []int{1, 99, 100} {
			letters(t, s, q, want[:q.Limit])
			if p, err := s.Dead(t.Context(), q); err != nil || !p.More {
				t.Errorf("Dead(%+v) of 101 = more: %t, %v", q, p.More, err)
			}
		}
		q.Limit, q.After = 100, task.Ref{At: epoch.Add(100 * time.Millisecond), ID: "task-100"}
		letters(t, s, q, want[1:])
		if p, err := s.Dead(t.Context(), q); err != nil || p.More {
			t.Errorf("Dead(%+v) of the last 100 = more: %t, %v", q, p.More, err)
		}
	}
}

// deadFollowsTheWebhooks: the list shows the current state. The steps are the transitions that
// make and end a dead webhook.
func deadFollowsTheWebhooks(t *testing.T, s Stored, _ *clock) {
	m := task.Defaults().At(epoch)
	r := create(t, s, record("a"))
	both := func(want ...string) {
		t.Helper()
		want = append([]string{}, want...)
		letters(t, s, ofSomeone, want)
		letters(t, s, everyone, want)
	}

	set := func(id string) {
		t.Helper()
		next, _, err := r.SetWebhook(m, task.Webhook{ID: id, URL: "https://example.com/" + id})
		if err != nil {
			t.Fatal(err)
		}
		r = commit(t, s, next)
	}

	kill := func(id string, gone bool) {
		t.Helper()
		h, _ := r.Webhook(id)
		next, changed, err := r.Delivered(m, []task.Delivery{{Webhook: h, Fail: true, Gone: gone}})
		if err != nil || !changed {
			t.Fatalf("Delivered to %s: changed %t, %v", id, changed, err)
		}

		r = commit(t, s, next)
	}

	drop := func(id string) {
		t.Helper()
		next, changed, err := r.DropWebhook(m, id)
		if err != nil || !changed {
			t.Fatalf("DropHook(%s): changed %t, %v", id, changed, err)
		}
		r = commit(t, s, next)
	}

	both()
	set("x")
	both()
	kill("x", false)
	both("a")
	set("x") // revived by its client
	both()
	kill("x", true)
	both("a")

	set("y")
	both("a")
	drop("y")
	both("a")
	r = commit(t, s, edited(r, attempt(1))) // a write that does not concern webhooks
	both("a")
	drop("x")
	both()

	// A new notification revives a webhook that died because its receiver was unreachable.
	set("x")
	kill("x", false)
	both("a")
	next, changed, err := r.Cancel(m, text("bye", "canceled"), nil)
	if err != nil || !changed {
		t.Fatalf("Cancel: changed %t, %v", changed, err)
	}

	r = commit(t, s, next)
	both()
	kill("x", false)
	both("a")
}

// deadSkipsExpired: the list omits expired records, and new records with their ids.
func deadSkipsExpired(t *testing.T, s Stored, c *clock) {
	end := epoch.Add(time.Hour)
	expires := func(r *task.Record) { r.Expires = end }
	create(t, s, record("a", dead, expires))
	create(t, s, record("b", dead, at(1)))
	create(t, s, record("c", dead, expires, at(2)))
	c.set(end.Add(-time.Millisecond))
	for _, q := range []task.DeadQuery{ofSomeone, everyone} {
		letters(t, s, q, []string{"c", "b", "a"})
	}
	c.set(end)
	for _, q := range []task.DeadQuery{ofSomeone, everyone} {
		letters(t, s, q, []string{"b"})
	}
	create(t, s, record("a", at(3)))
	create(t, s, record("c", at(4), dead))
	for _, q := range []task.DeadQuery{ofSomeone, everyone} {
		letters(t, s, q, []string{"c", "b"})
	}
}

func deadHeadsOnly(t *testing.T, s Stored, _ *clock) {
	want := create(t, s, edited(full("a"), func(r *task.Record) { r.Expires = time.Time{} }))
	want = edited(want, func(r *task.Record) {
		r.Task.History, r.Task.Artifacts, r.Inbox, r.Log = nil, nil, nil, nil
	})
	for _, q := range []task.DeadQuery{ofSomeone, everyone} {
		same(t, "Dead", want, letters(t, s, q, []string{"a"})[0])
	}
}
