package gcp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/gcp"
	"errand/shared/kv"
	"errand/shared/task"
)

type indexFile struct {
	Indexes []struct {
		CollectionGroup, QueryScope string
		Fields                      []indexField
	}
	FieldOverrides []struct {
		CollectionGroup, FieldPath string
		TTL                        bool
		Indexes                    []struct{ Order, QueryScope string }
	}
}

type indexField struct{ FieldPath, Order string }

func readIndexes(t *testing.T) indexFile {
	t.Helper()
	var f indexFile
	dec := json.NewDecoder(bytes.NewReader(gcp.FirestoreIndexes))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		t.Fatalf("firestore.indexes.json: %v", err)
	}
	return f
}

// composite returns the fields of each composite index as text.
func (f indexFile) composite(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, i := range f.Indexes {
		if i.CollectionGroup != "tasks" || i.QueryScope != "COLLECTION" {
			t.Errorf("an index has the collection %s and the scope %s, want tasks and COLLECTION", i.CollectionGroup, i.QueryScope)
		}
		var fields []string
		for _, part := range i.Fields {
			fields = append(fields, part.FieldPath+" "+part.Order)
		}
		all = append(all, strings.Join(fields, ", "))
	}
	return all
}

// single returns the indexes of single fields of a collection as text, the fields with an
// override, and the field of the policy of deletion.
func (f indexFile) single(t *testing.T, collection string) (all, overridden []string, ttl string) {
	t.Helper()
	for _, o := range f.FieldOverrides {
		switch o.CollectionGroup {
		case collection:
		case "tasks", "kv":
			continue
		default:
			t.Errorf("an override has the unknown collection %s", o.CollectionGroup)
		}
		overridden = append(overridden, o.FieldPath)
		for _, i := range o.Indexes {
			all = append(all, o.FieldPath+" "+i.Order)
		}
		if o.TTL {
			ttl += o.FieldPath
		}
	}
	return all, overridden, ttl
}

// needed returns the indexes that a query reads: one, or one for each filter of an OR.
// https://firebase.google.com/docs/firestore/query-data/queries#or_queries
func needed(t *testing.T, q *pb.StructuredQuery) (all []string) {
	t.Helper()
	c := q.Where.GetCompositeFilter()
	if c.GetOp() != pb.StructuredQuery_CompositeFilter_OR {
		return []string{indexOf(t, q.Where, q.OrderBy)}
	}
	for _, f := range c.Filters {
		all = append(all, indexOf(t, f, q.OrderBy))
	}
	return all
}

// indexOf returns the index for a filter and an order: the fields with an equality, in the order
// that the file uses, and then the fields of the order. Other kinds of filters and orders fail
// the test.
// https://firebase.google.com/docs/firestore/query-data/index-overview
func indexOf(t *testing.T, where *pb.StructuredQuery_Filter, order []*pb.StructuredQuery_Order) string {
	t.Helper()
	equal, ranged := map[string]bool{}, map[string]bool{}
	filters := []*pb.StructuredQuery_Filter{where}

	if c := where.GetCompositeFilter(); c != nil {
		if c.Op != pb.StructuredQuery_CompositeFilter_AND {
			t.Fatalf("a filter has the unknown kind %v", c.Op)
		}
		filters = c.Filters
	}

	for _, f := range filters {
		field := f.GetFieldFilter()
		switch name := field.GetField().GetFieldPath(); field.GetOp() {
		case pb.StructuredQuery_FieldFilter_EQUAL, pb.StructuredQuery_FieldFilter_IN:
			equal[name] = true
		case pb.StructuredQuery_FieldFilter_LESS_THAN, pb.StructuredQuery_FieldFilter_LESS_THAN_OR_EQUAL,
			pb.StructuredQuery_FieldFilter_GREATER_THAN_OR_EQUAL:
			ranged[name] = true
		default:
			t.Fatalf("a filter has the unknown kind %v", field.GetOp())
		}
	}

	var index []string
	for _, name := range []string{"owner", "context", "state", "lane", "dead", "whose", "open", "bucket"} {
		if equal[name] {
			index = append(index, name+" ASCENDING")
			delete(equal, name)
		}
	}

	if len(equal) > 0 {
		t.Fatalf("a query has an equality on the unknown fields %v", slices.Collect(maps.Keys(equal)))
	}

	last := ""
	for _, o := range order {
		name := o.Field.FieldPath
		if name == "__name__" {
			// The id ends every index, in the direction of the field before it.
			if o.Direction.String() != last {
				t.Errorf("a query orders by id %v after a field that is %s", o.Direction, last)
			}
			continue
		}

		last = o.Direction.String()
		index = append(index, name+" "+last)
		delete(ranged, name)
	}

	if len(ranged) > 0 {
		t.Errorf("a query compares %v and does not order by it, so the database chooses the index", slices.Collect(maps.Keys(ranged)))
	}

	return strings.Join(index, ", ")
}

// TestIndexesAreThoseOfTheQueries records all queries and writes of the store.
func TestIndexesAreThoseOfTheQueries(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	f := open(t, w.host, gcp.FirestoreOptions{})
	now, batch := time.Now(), task.BatchID("someone", "nightly")
	stored(t, f, canceled(t, hashed("a"), now.AddDate(0, 0, -40)))
	r := stored(t, f, accepted(t, hashed("b"), now))
	if next, _, err := asked(r, now.Add(time.Second)); err != nil {
		t.Fatal(err)
	} else if _, err := f.Commit(t.Context(), next); err != nil {
		t.Fatal(err)
	}

	for _, ctx := range []string{"", "c", batch} {
		for _, state := range []a2a.TaskState{"", a2a.TaskStateWorking} {
			for _, since := range []time.Time{{}, now} {
				for _, from := range []task.Ref{{}, {At: now, ID: "x"}} {
					for _, bodies := range []bool{false, true} {
						q := task.Query{Owner: "someone", Context: ctx, State: state, Since: since, After: from, Limit: 2, Bodies: bodies, Count: true}
						if _, err := f.List(t.Context(), q); err != nil {
							t.Errorf("List(%+v): %v", q, err)
						}
					}
				}
			}
		}
	}

	for _, from := range []task.Ref{{}, {At: now, ID: "x"}} {
		if _, err := f.Due(t.Context(), task.Turns, task.Shard{}, now, from, 2); err != nil {
			t.Errorf("Due: %v", err)
		}
	}

	for _, of := range []task.Shard{{}, {Index: 3, Of: 4}} {
		if _, err := f.Expired(t.Context(), of, now.AddDate(-1, 0, 0), task.Ref{}, 2); err != nil {
			t.Errorf("Expired: %v", err)
		}
	}

	stored(t, f, undelivered(t, accepted(t, hashed("d"), now)))
	stored(t, f, undelivered(t, accepted(t, task.ItemID(batch, 2), now)))
	for _, all := range []bool{false, true} {
		for _, from := range []task.Ref{{}, {At: now, ID: "x"}} {
			q := task.DeadQuery{Owner: "someone", All: all, After: from, Limit: 2}
			if _, err := f.Dead(t.Context(), q); err != nil {
				t.Errorf("Dead(%+v): %v", q, err)
			}
		}
	}

	stored(t, f, accepted(t, task.ItemID(batch, 1), now))
	if o, err := f.Open(t.Context(), batch, 2); err != nil || o.N != 2 || o.Lowest != 1 {
		t.Errorf("Open = %+v, %v", o, err)
	}
	if lines, err := f.OpenLines(t.Context(), batch, 0, 2); err != nil || len(lines) != 2 {
		t.Errorf("OpenLines = %v, %v", lines, err)
	}

	if n, err := f.Purge(t.Context(), now, 2); n != 1 || err != nil {
		t.Errorf("Purge = %d, %v, want 1", n, err)
	}

	file := readIndexes(t)
	composite := file.composite(t)
	single, overridden, ttl := file.single(t, "tasks")
	read := map[string]bool{}
	w.with(func() {
		for _, q := range w.queries {
			for _, index := range needed(t, q) {
				read[index] = true
			}
		}
	})

	have := slices.Concat(composite, single)
	for index := range read {
		if !slices.Contains(have, index) {
			t.Errorf("a query needs the index (%s), which is not in the file", index)
		}
	}

	for _, index := range have {
		if !read[index] {
			t.Errorf("no query reads the index (%s)", index)
		}
	}

	for _, index := range composite {
		// A list for all owners is acceptable only if few tasks are in it.
		rare := strings.HasPrefix(index, "dead ASCENDING, ")
		owned := strings.HasPrefix(index, "owner ASCENDING, ") || strings.HasPrefix(index, "whose ASCENDING, ")
		if strings.Contains(index, "stamp") && !rare && !owned {
			t.Errorf("the index (%s) of a list does not begin with the owner", index)
		}
	}

	if ttl != "gone" { // expires would take the record before the sweep has deleted its steps
		t.Errorf("the database deletes by %q, want gone", ttl)
	}

	w.storedAre(t, "tasks", overridden)
}

// Entries are found only by their keys, and deleted by their expiry without an index.
func TestEntriesHaveNoIndex(t *testing.T) {
	w := newWire(t)
	s := open(t, w.host, gcp.FirestoreOptions{}).KV()
	put(t, s, put(t, s, kv.Entry{Key: "use/a", Owner: "someone", Value: []byte("x"), Expires: time.Now().Add(time.Hour)}))

	for _, prefix := range []string{"", "use/"} {
		for _, after := range []string{"", "use/0"} {
			if list, err := s.List(t.Context(), prefix, after, 2); err != nil || len(list) != 1 {
				t.Errorf("List = %d entries, %v", len(list), err)
			}
		}
	}

	if err := s.Delete(t.Context(), "use/a", 1); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("Delete of another version: %v", err)
	}

	w.with(func() {
		if len(w.queries) < 6 {
			t.Errorf("only %d queries were seen, too few for this test", len(w.queries))
		}

		for _, q := range w.queries {
			if len(q.OrderBy) != 1 || q.OrderBy[0].Field.FieldPath != "__name__" || q.OrderBy[0].Direction != pb.StructuredQuery_ASCENDING || q.Where != nil {
				t.Errorf("a query needs an index beside the ids: %v", q)
			}
		}
	})

	single, overridden, ttl := readIndexes(t).single(t, "kv")
	if len(single) > 0 || ttl != "expires" {
		t.Errorf("entries have the indexes %v and are deleted by %q, want no index, and expires", single, ttl)
	}

	w.storedAre(t, "kv", overridden)
}

// storedAre checks that the stored fields of a collection are the same as those with an
// override.
func (w *wire) storedAre(t *testing.T, collection string, overridden []string) {
	t.Helper()
	fields := map[string]bool{}

	w.with(func() {
		for _, c := range w.commits {
			for _, write := range c.Writes {
				if !strings.Contains(write.GetUpdate().GetName(), "/documents/"+collection+"/") {
					continue
				}

				for name, v := range write.GetUpdate().GetFields() {
					fields[name] = true
					if _, ok := v.ValueType.(*pb.Value_TimestampValue); (name == "expires" || name == "gone") && !ok {
						t.Errorf("%s is stored as %T; a policy of deletion needs a timestamp", name, v.ValueType)
					}
				}
			}
		}
	})

	for name := range fields {
		if !slices.Contains(overridden, name) {
			t.Errorf("field %s is stored and has automatic indexes; name the indexes it needs in fieldOverrides", name)
		}
	}

	for _, name := range overridden {
		if !fields[name] {
			t.Errorf("field %s has an override and is never stored", name)
		}
	}
}
