package conformance

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// StoreWithUnreadable runs the laws about records that cannot be read. spoil replaces the
// stored head of a record by a text, as no method of a store does. open is as for [Store].
func StoreWithUnreadable(t *testing.T, open func(t *testing.T, now func() time.Time) (s Stored, spoil func(id string, head []byte))) {
	for what, head := range map[string]string{
		"Cut":     `{"schema":1,"id":`,
		"Foreign": `{"schema":1,"id":"other","context":"c","status":{"state":"TASK_STATE_SUBMITTED"}}`,
		"Typed":   `{"schema":1,"id":7}`,
		"Null":    `null`,
	} {
		t.Run(what, func(t *testing.T) {
			c := &clock{t: epoch}
			s, spoil := open(t, c.now)
			unreadableIsSkipped(t, s, c, func(id string) { spoil(id, []byte(head)) })
		})
	}
}

// unreadableIsSkipped stores 260 records, of which every fourth, and a whole page in a row,
// cannot be read.
func unreadableIsSkipped(t *testing.T, s Stored, c *clock, spoil func(id string)) {
	const all = 260
	var good []string
	bad := map[string]bool{}

	for i := range all {
		at := epoch.Add(time.Duration(i) * time.Second)
		r := create(t, s, record(fmt.Sprintf("t%03d", i), func(r *task.Record) {
			r.Task.Status.Timestamp = &at
			r.Due = task.Due{At: at, Lane: task.Turns}
			r.Expires = epoch.Add(time.Hour)
			r.Webhooks = []task.Webhook{{ID: "h", Gen: 1, URL: "https://example.com", State: task.WebhookDead}}
		}))
		if i%4 == 1 || i >= 100 && i < 220 {
			spoil(r.ID())
			bad[r.ID()] = true
			continue
		}
		good = append([]string{r.ID()}, good...) // newest first
	}

	for id := range bad {
		_, err := s.Load(t.Context(), id)
		wantError(t, "Load of "+id, err, task.ErrUnreadable)
	}

	lists := map[string]func(after task.Ref, limit int) (task.Page, error){
		"List": func(after task.Ref, limit int) (task.Page, error) {
			return s.List(t.Context(), task.Query{Owner: someone, After: after, Limit: limit})
		},
		"List with bodies": func(after task.Ref, limit int) (task.Page, error) {
			return s.List(t.Context(), task.Query{Owner: someone, After: after, Limit: limit, Bodies: true})
		},
		"List of a context": func(after task.Ref, limit int) (task.Page, error) {
			return s.List(t.Context(), task.Query{Owner: someone, Context: "ctx", After: after, Limit: limit})
		},
		"Dead": func(after task.Ref, limit int) (task.Page, error) {
			return s.Dead(t.Context(), task.DeadQuery{Owner: someone, After: after, Limit: limit})
		},
		"Dead of all": func(after task.Ref, limit int) (task.Page, error) {
			return s.Dead(t.Context(), task.DeadQuery{All: true, After: after, Limit: limit})
		},
	}
	for name, list := range lists {
		for _, limit := range []int{7, 100} {
			got, skipped := pagesOf(t, name, limit, list)
			if d := cmp.Diff(good, got); d != "" {
				t.Errorf("%s by %d (-want +got):\n%s", name, limit, d)
			}
			if skipped != len(bad) {
				t.Errorf("%s by %d leaves %d records out, want %d", name, limit, skipped, len(bad))
			}
		}
	}

	if refs, err := s.Due(t.Context(), task.Turns, task.Shard{}, epoch.Add(time.Hour), task.Ref{}, 1000); err != nil || len(refs) != all {
		t.Errorf("Due = %d records, %v, want all %d", len(refs), err, all)
	}
	c.set(epoch.Add(2 * time.Hour))
	if n, err := purge(t.Context(), s, c.now(), 1000); err != nil || n != all {
		t.Errorf("Purge = %d records, %v, want all %d", n, err, all)
	}
}

// pagesOf reads a list to its end and returns its ids and the number of skipped records. A
// page that is not the last one has a record, from which the next one begins.
func pagesOf(t *testing.T, name string, limit int, list func(task.Ref, int) (task.Page, error)) (ids []string, skipped int) {
	t.Helper()
	var after task.Ref
	for {
		p, err := list(after, limit)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		skipped += p.Unreadable
		for _, r := range p.Records {
			ids = append(ids, r.ID())
			after = task.Ref{At: r.Stamp(), ID: r.ID()}
		}

		switch {
		case !p.More:
			return ids, skipped
		case len(p.Records) == 0:
			t.Fatalf("%s: an empty page says that there are more", name)
		}
	}
}
