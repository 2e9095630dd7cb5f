package gcp_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"github.com/google/go-cmp/cmp"

	"errand/shared/adapters/gcp"
	"errand/shared/lab/emulator"
	"errand/shared/task"
)

// beginnings are the fields that begin the indexes that grow at one end.
var beginnings = []string{"owner", "lane", "open", "whose", "bucket"}

// With several shards, no range of an index takes more than a fifth of the writes of one owner's
// tasks and one batch's items.
func TestWritesAreSpreadOverRanges(t *testing.T) {
	t.Parallel()
	const tasks = 120
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{Shards: 4})
	now, batch := time.Now(), task.BatchID("someone", "nightly")

	for i := range tasks {
		for _, id := range []string{hashed(fmt.Sprint(i)), task.ItemID(batch, i+1)} {
			r := accepted(t, id, now)
			if _, _, item := r.Item(); item {
				r = undelivered(t, r)
			}
			r = stored(t, f, r)

			next, _, err := r.Cancel(task.Defaults().At(now), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Commit(t.Context(), next); err != nil {
				t.Fatal(err)
			}
		}
	}

	ranges, all := map[string]map[string]int{}, map[string]int{}
	w.with(func() {
		for _, c := range w.commits {
			for field, v := range c.Writes[0].GetUpdate().GetFields() {
				if !slices.Contains(beginnings, field) {
					continue
				}
				if ranges[field] == nil {
					ranges[field] = map[string]int{}
				}
				ranges[field][v.String()]++
				all[field]++
			}
		}
	})

	for _, field := range beginnings {
		if all[field] < tasks {
			t.Errorf("%s was written %d times, too few for this test", field, all[field])
		}
		for value, n := range ranges[field] {
			if n > all[field]/5 {
				t.Errorf("the range of %s %s takes %d of %d writes, want a fifth at most", field, value, n, all[field])
			}
		}
	}
}

// With several shards no query reads the index of expires alone, which takes the writes of all
// tasks in one range and which the deployment takes away.
func TestNoRangeOfAllTasksIsRead(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{Shards: 2})
	for _, of := range []task.Shard{{}, {Index: 1, Of: 2}} {
		if _, err := f.Expired(t.Context(), of, time.Now(), task.Ref{}, 1); err != nil {
			t.Error(err)
		}
	}
	w.with(func() {
		for _, q := range w.queries {
			if index := indexOf(t, q.Where, q.OrderBy); index != "bucket ASCENDING, expires ASCENDING" {
				t.Errorf("a list of expired tasks reads the index (%s)", index)
			}
		}
	})
}

// With one shard, documents are as earlier versions wrote them, but for their bucket, which is
// in an index of expired tasks alone.
func TestOneShardHasPlainRanges(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	batch := task.BatchID("someone", "nightly")
	stored(t, f, undelivered(t, accepted(t, task.ItemID(batch, 1), time.Now())))
	stored(t, f, canceled(t, hashed("a"), time.Now()))

	var first, second map[string]*pb.Value
	w.with(func() {
		first, second = w.commits[0].Writes[0].GetUpdate().GetFields(), w.commits[1].Writes[0].GetUpdate().GetFields()
	})
	for field, want := range map[string]string{"owner": task.ItemLister("someone", batch), "lane": task.Turns, "open": batch, "whose": "someone"} {
		if got := first[field].GetStringValue(); got != want {
			t.Errorf("%s is %v, want %q", field, first[field], want)
		}
	}
	if first["bucket"] != nil || second["bucket"] == nil || second["expires"] == nil {
		t.Errorf("the bucket of an open task is %v, and of one that expires %v", first["bucket"], second["bucket"])
	}
}

// The number of shards may be raised and lowered while there are records. Whatever it is, no
// list, count, sweep or purge misses a record that was written with another one.
func TestShardsMayChange(t *testing.T) {
	t.Parallel()
	host, project := emulator.Firestore(t), emulator.Project(t)
	now, batch := time.Now(), task.BatchID("someone", "nightly")
	old := now.AddDate(0, 0, -40)
	var open, dead, ended, items []string

	for step, shards := range []int{1, 4, 8, 1} {
		f := openIn(t, host, project, gcp.FirestoreOptions{Shards: shards})
		for i := range 3 {
			id := hashed(fmt.Sprint(step, "-", i))
			stored(t, f, accepted(t, id, now))
			stored(t, f, undelivered(t, accepted(t, id+"d", now)))
			stored(t, f, canceled(t, id+"e", old))
			line := 3*step + i + 1
			stored(t, f, undelivered(t, accepted(t, task.ItemID(batch, line), now)))
			open, dead, ended = append(open, id), append(dead, id+"d", task.ItemID(batch, line)), append(ended, id+"e")
			items = append(items, task.ItemID(batch, line))
		}
		all := foundBy(t, f, batch, now)

		for _, c := range []struct {
			what string
			want []string
		}{
			{"List", slices.Concat(open, minus(dead, items))},
			{"List of the batch", items},
			{"Due", slices.Concat(open, dead, ended)}, // a task that has ended owes the publication of that
			{"Due of all shards", slices.Concat(open, dead, ended)},
			{"Expired", ended},
			{"Expired of all shards", ended},
			{"Dead", dead},
			{"Dead of all owners", dead},
		} {
			slices.Sort(c.want)
			if d := cmp.Diff(c.want, all[c.what]); d != "" {
				t.Errorf("with %d shards, %s (-want +got):\n%s", shards, c.what, d)
			}
		}

		if h, err := f.Held(t.Context(), "someone", 1000); err != nil || h.Waiting != len(open)+len(dead)-len(items) {
			t.Errorf("with %d shards %d tasks wait, %v; want %d", shards, h.Waiting, err, len(open)+len(dead)-len(items))
		}
		if o, err := f.Open(t.Context(), batch, 1000); err != nil || o != (task.Open{N: len(items), Lowest: 1}) {
			t.Errorf("with %d shards, Open = %+v, %v, want %d", shards, o, err, len(items))
		}
		if lines, err := f.OpenLines(t.Context(), batch, 0, 1000); err != nil || len(lines) != len(items) || !slices.IsSorted(lines) {
			t.Errorf("with %d shards, OpenLines = %v, %v", shards, lines, err)
		}
	}
}

// minus returns the ids of a list that are not in another one.
func minus(list, others []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(id string) bool { return slices.Contains(others, id) })
}

// foundBy lists the ids of the records that each query finds.
func foundBy(t *testing.T, f *gcp.Firestore, batch string, now time.Time) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	note := func(what string, err error, ids ...string) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		found[what] = append(found[what], ids...)
		slices.Sort(found[what])
	}

	for what, context := range map[string]string{"List": "", "List of the batch": batch} {
		p, err := f.List(t.Context(), task.Query{Owner: "someone", Context: context, Limit: 100, Count: true})
		note(what, err, idsOf(p.Records)...)
		if p.Total != len(p.Records) {
			t.Errorf("%s counts %d records and has %d", what, p.Total, len(p.Records))
		}
	}
	for what, q := range map[string]task.DeadQuery{"Dead": {Owner: "someone", Limit: 100}, "Dead of all owners": {All: true, Limit: 100}} {
		p, err := f.Dead(t.Context(), q)
		note(what, err, idsOf(p.Records)...)
	}

	for suffix, shards := range map[string]int{"": 1, " of all shards": 4} {
		for i := range shards {
			of := task.Shard{Index: i, Of: shards}
			for _, lane := range []string{task.Turns, task.Deliveries} {
				refs, err := f.Due(t.Context(), lane, of, now.Add(time.Hour), task.Ref{}, 1000)
				for _, ref := range refs {
					note("Due"+suffix, err, ref.ID)
				}
			}
			list, err := f.Expired(t.Context(), of, now, task.Ref{}, 1000)
			for _, l := range list {
				note("Expired"+suffix, err, l.ID)
			}
		}
	}
	return found
}

func idsOf(records []task.Record) (ids []string) {
	for _, r := range records {
		ids = append(ids, r.ID())
	}
	return ids
}

// An owner whose name looks like a range of another one sees nothing of that one, whatever was
// stored with how many shards.
func TestNoOwnerIsARangeOfAnother(t *testing.T) {
	t.Parallel()
	host, project := emulator.Firestore(t), emulator.Project(t)
	id := hashed("a")
	likeness := fmt.Sprintf("someone/%d", task.Bucket(id))
	stored(t, openIn(t, host, project, gcp.FirestoreOptions{Shards: 2}), accepted(t, id, time.Now()))

	for _, shards := range []int{1, 2} {
		f := openIn(t, host, project, gcp.FirestoreOptions{Shards: shards})
		r := accepted(t, hashed(fmt.Sprint("b", shards)), time.Now())
		r.Owner = likeness
		stored(t, f, r)
		for owner, want := range map[string]int{"someone": 1, likeness: shards} {
			p, err := f.List(t.Context(), task.Query{Owner: owner, Limit: 10, Count: true})
			if err != nil || len(p.Records) != want || p.Total != want {
				t.Errorf("%q has %d records, counted %d, %v; want %d", owner, len(p.Records), p.Total, err, want)
			}
		}
	}
}
