package steps_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/kv"
	"errand/shared/lab/world"
	"errand/shared/steps"
	"errand/shared/task"
)

// Every id of a task names its steps, of this version and of earlier ones. An id that no key
// can have has no steps, and none of another task.
func TestUnder(t *testing.T) {
	id, _ := task.Derive("someone", "m1")
	for id, want := range map[string]string{
		id:                           "step/" + id + "/",
		task.Former(id):              "step/" + task.Former(id) + "/",
		"t-1":                        "step/t-1/",
		"":                           "",
		"a/b":                        "",
		"a/":                         "",
		"T1":                         "",
		"ein schönes":                "",
		"~":                          "",
		strings.Repeat("a", 600):     "",
		"step":                       "step/step/",
		"..":                         "step/../",
		strings.Repeat("a", 512-5-2): "step/" + strings.Repeat("a", 512-5-2) + "/",
	} {
		if got := steps.Under(id); got != want {
			t.Errorf("Under(%.40q) = %.60q, want %.60q", id, got, want)
		}
	}
}

// The steps that a record names are under its task, whatever its life.
func TestRecordsNameWhatIsDeleted(t *testing.T) {
	id, _ := task.Derive("someone", "m1")
	for _, life := range []string{"", "abc"} {
		r := task.Record{Task: &a2a.Task{ID: a2a.TaskID(id)}, Life: life}
		if p := r.StepPrefix(); !strings.HasPrefix(p, steps.Under(id)) || len(p) == len(steps.Under(id)) {
			t.Errorf("a record with the life %q has its steps under %s, not under %s", life, p, steps.Under(id))
		}
		if p := r.MemoPrefix(); !strings.HasPrefix(p, r.StepPrefix()) || p <= r.StepKey(999999) {
			t.Errorf("a record with the life %q has its memos under %s, not after its steps", life, p)
		}
	}
}

// A copy has all entries of a task but those of steps after the last one, of which a broken run has
// left a reply. What is there already stays, so a copy may be made twice.
func TestCopy(t *testing.T) {
	store := world.New(t, world.Config{}).Store.KV()
	put := func(key, value string) {
		t.Helper()
		if _, err := store.Put(t.Context(), kv.Entry{Key: key, Owner: "me", Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"000001": "1", "000002": "two", "000002.e7": "large", "t000001/n.x": "x", "x/t000002/n.x": "memo"}
	for i := range 250 {
		want[fmt.Sprintf("t000002/n.%d", i)] = "y"
	}
	for name, value := range want {
		put("step/a/1/"+name, value)
	}

	put("step/a/1/000003.e1", "never opened")
	put("step/a/1/t000003/n.x", "of a later turn")
	put("step/a/1/x/t000003/n.x", "of a later turn")
	put("step/a/1/y/shop-key/t000001", "a credential, for that task alone")
	put("step/a/2/000001", "of another life")
	put("step/b/1/000002", "two and more")
	want["000002"] = "two and more"

	for range 2 {
		if err := steps.Copy(t.Context(), store, "step/a/1/", "step/b/1/", 2, 2); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}

	for after := ""; ; {
		list, err := store.List(t.Context(), "step/b/", after, kv.LimitCount)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			got[strings.TrimPrefix(e.Key, "step/b/1/")] = string(e.Value)
			if after = e.Key; e.Owner != "me" {
				t.Errorf("%s is of %q", e.Key, e.Owner)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("copied (-want +got):\n%s", diff)
	}
}

// A task whose id fits into no key has no steps, and the store is not asked for any.
func TestDeleteOfAForeignID(t *testing.T) {
	for _, id := range []string{"", "a/b", "T1"} {
		if err := steps.Delete(t.Context(), nil, id, nil); err != nil {
			t.Errorf("Delete(%q): %v", id, err)
		}
	}
}
