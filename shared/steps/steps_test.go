package steps_test

import (
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

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

// A task whose id fits into no key has no steps, and the store is not asked for any.
func TestDeleteOfAForeignID(t *testing.T) {
	for _, id := range []string{"", "a/b", "T1"} {
		if err := steps.Delete(t.Context(), nil, id, nil); err != nil {
			t.Errorf("Delete(%q): %v", id, err)
		}
	}
}
