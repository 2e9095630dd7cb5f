package batch_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/kv"
	"errand/shared/task"
)

// The keys of an owner's list tell the entry again, are in the order of time, newest first,
// and are nobody else's.
func TestEntries(t *testing.T) {
	at := time.Date(2026, 11, 30, 6, 0, 0, 7e6, time.UTC)
	var keys []string
	for _, d := range []time.Duration{0, time.Millisecond, time.Hour, 200 * 365 * 24 * time.Hour} {
		e := batch.Spec{Name: "n", At: at.Add(d)}.Entry("alice")
		key := e.Key("alice")
		if got, ok := batch.EntryOf("alice", key); !ok || got != e {
			t.Errorf("%s: %+v, %v, want %+v", key, got, ok, e)
		}
		if _, ok := batch.EntryOf("bob", key); ok || !strings.HasPrefix(key, batch.ListFolder("alice")) || kv.CheckKey(key) != nil {
			t.Errorf("%s: is bob's %v, %v", key, ok, kv.CheckKey(key))
		}
		keys = append(keys, key)
	}
	slices.Reverse(keys)
	if !slices.IsSorted(keys) {
		t.Errorf("the newest is not the first: %q", keys)
	}

	key := keys[0]
	for _, bad := range []string{"", batch.ListFolder("alice"), key + "x", strings.Replace(key, "/at/", "/at/+", 1), batch.ActiveKey("alice"), strings.TrimSuffix(key, "-b")} {
		if e, ok := batch.EntryOf("alice", bad); ok {
			t.Errorf("%q is the entry %+v", bad, e)
		}
	}
	if kv.CheckKey(batch.ActiveKey("")) != nil || batch.ActiveKey("") == batch.ActiveKey("alice") {
		t.Error("the key of those that have not ended")
	}
}

// As many batches as may be are entered, each once. One is dropped when it has ended, or is
// missing for long.
func TestActive(t *testing.T) {
	now := time.Now()
	var a batch.Active
	ok := true
	for _, id := range []string{"a", "b", "a", "c", "d"} {
		if a, ok = a.Enter(id, now); !ok {
			t.Fatalf("%s is not entered", id)
		}
	}
	if len(a.Batches) != batch.MaxActive {
		t.Fatalf("entered are %+v", a.Batches)
	}
	if next, ok := a.Enter("e", now); ok || len(next.Batches) != batch.MaxActive {
		t.Errorf("a fifth one is entered: %+v", next)
	}

	later := now.Add(batch.Reserved - 1)
	a, ok = a.Enter("b", later)
	if !ok {
		t.Fatal("one that is entered was not entered again")
	}
	is := func(ids string) func(string) bool { return func(id string) bool { return strings.Contains(ids, id) } }
	for _, row := range []struct {
		now            time.Time
		ended, missing string
		want           string
	}{
		{later, "", "", "acdb"},
		{later, "c", "", "adb"},
		{later, "", "acdb", "acdb"},
		{later.Add(1), "", "ab", "cdb"},
		{later.Add(time.Hour), "d", "b", "ac"},
	} {
		got := ""
		for _, e := range a.Drop(row.now, is(row.ended), is(row.missing)).Batches {
			got += e.ID
		}
		if got != row.want {
			t.Errorf("ended %q, missing %q: left are %q, want %q", row.ended, row.missing, got, row.want)
		}
	}
	if batch.MakeWithin >= batch.Reserved {
		t.Error("a record may be made after its place was taken")
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "nightly-2026-11-29", "a.b-c_D", strings.Repeat("x", batch.MaxName)} {
		if err := batch.CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ", "a b", "a\n", "ä", "a~1", "~", ".a", "-a", "a/b", "a:b", strings.Repeat("x", batch.MaxName+1)} {
		if batch.CheckName(bad) == nil {
			t.Errorf("%q is a name", bad)
		}
	}
	for name, want := range map[string]string{"a": "a~1", "a~1": "a~2", "a~9": "a~10"} {
		if got := batch.RetryName(name); got != want {
			t.Errorf("the retry of %s is %s, want %s", name, got, want)
		}
	}
}

// record is the record of a batch with these later messages.
func record(t *testing.T, s batch.Spec, later ...map[string]any) task.Record {
	t.Helper()
	data, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	m := task.Defaults().At(time.Now())
	id := task.BatchID("alice", s.Name)
	r, err := task.Accept(m, task.Acceptance{
		ID: id, Context: id, Owner: "alice", Lane: task.Batches, Request: task.Request{ID: "0", Fingerprint: "p"},
		Message: &a2a.Message{ID: "0", Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewDataPart(data)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range later {
		key := string(rune('1' + i))
		r, _, err = r.FollowUp(m, &a2a.Message{ID: key, Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewDataPart(data)}}, task.Request{ID: key, Fingerprint: "p"})
		if err != nil {
			t.Fatal(err)
		}
	}

	enc, err := r.ForStore()
	if err != nil {
		t.Fatal(err)
	}
	if r, err = task.Decode(enc.Head, enc.Body, 1); err != nil { // data is text in a record that was read
		t.Fatal(err)
	}
	return r
}

// A spec comes out of its record as it went in. The newest message that names a budget sets it.
func TestSpecOfARecord(t *testing.T) {
	s := batch.Spec{
		Name: "n", At: time.Date(2026, 11, 30, 6, 0, 0, 0, time.UTC), Deadline: time.Date(2026, 12, 1, 6, 0, 0, 0, time.UTC),
		Input:  batch.Input{Object: "gs://in/a", Generation: 1732942800123457, Size: batch.MaxManifest},
		Budget: &batch.Budget{Price: 2.5, Currency: "USD"}, OnBad: batch.Skip, Retry: "other", Metadata: map[string]string{"a": "b"},
	}
	got, err := batch.SpecOf(record(t, s))
	if err != nil || got.Input != s.Input || !got.At.Equal(s.At) || !got.Deadline.Equal(s.Deadline) || !got.Budget.Equal(s.Budget) || got.Differs(s) != "" {
		t.Errorf("%+v, %v, want %+v", got, err, s)
	}

	wish := func(b *batch.Budget) map[string]any {
		data, err := batch.Wish{Budget: b}.Data()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, row := range []struct {
		later []map[string]any
		want  batch.Budget
	}{
		{nil, *s.Budget},
		{[]map[string]any{wish(nil)}, *s.Budget},
		{[]map[string]any{wish(&batch.Budget{Tokens: 1}), wish(nil)}, batch.Budget{Tokens: 1}},
		{[]map[string]any{wish(&batch.Budget{Tokens: 1}), wish(&batch.Budget{Tokens: 2})}, batch.Budget{Tokens: 2}},
	} {
		if got := batch.BudgetOf(record(t, s, row.later...)); !got.Equal(&row.want) {
			t.Errorf("after %v the budget is %+v, want %+v", row.later, got, row.want)
		}
	}

	if _, err := batch.SpecOf(task.Record{Task: &a2a.Task{}}); err == nil {
		t.Error("a record without messages has a spec")
	}
}

func TestWishes(t *testing.T) {
	for _, row := range []struct {
		data any
		ok   bool
	}{
		{map[string]any{"batch": map[string]any{}}, true},
		{map[string]any{"batch": map[string]any{"budget": map[string]any{"tokens": 5.0}}}, true},
		{map[string]any{"batch": map[string]any{"name": "n"}}, false},
		{map[string]any{"batch": map[string]any{}, "more": 1.0}, false},
		{map[string]any{"batch": map[string]any{"budget": map[string]any{"euros": 5.0}}}, false},
		{map[string]any{"Batch": map[string]any{}}, false},
		{map[string]any{"batch": map[string]any{"budget": map[string]any{"Tokens": 5.0}}}, false},
		{json.RawMessage(`{"batch": {}, "batch": {"budget": {"tokens": 5}}}`), false},
		{map[string]any{"batch": nil}, false},
		{map[string]any{}, false},
		{"batch", false},
	} {
		if _, ok := batch.WishIn(a2a.NewDataPart(row.data)); ok != row.ok {
			t.Errorf("%v is a wish: %v", row.data, ok)
		}
	}
	if _, ok := batch.WishIn(a2a.NewTextPart(`{"batch":{}}`)); ok {
		t.Error("a text is a wish")
	}
}

func TestBudgets(t *testing.T) {
	for text, want := range map[string]batch.Budget{
		"1000000": {Tokens: 1000000}, "2.50USD": {Price: 2.5, Currency: "USD"}, "3 EUR": {Price: 3, Currency: "EUR"},
	} {
		if got, err := batch.ParseBudget(text); err != nil || *got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "0", "-5", "1.5", "USD", "5 usd", "5US", "5USDT", "-1USD", "NaNUSD", "InfUSD", "x"} {
		if got, err := batch.ParseBudget(bad); err == nil {
			t.Errorf("%q is the budget %+v", bad, got)
		}
	}
}
