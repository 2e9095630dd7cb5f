package task_test

import (
	"fmt"
	"strings"
	"testing"

	"errand/shared/task"
)

// The ids of an owner's tasks begin alike, and differently from those of any other owner.
func TestForeignIDs(t *testing.T) {
	mine, context := task.Derive("me", "m")
	again, _ := task.Derive("me", "n")
	theirs, _ := task.Derive("you", "m")
	if mine[:8] != again[:8] || mine[:8] == theirs[:8] || mine[8:] == again[8:] || len(context) != 26 {
		t.Errorf("ids are %s and %s, and of another owner %s, context %s", mine, again, theirs, context)
	}

	for id, foreign := range map[string]bool{
		mine: false, theirs: true, mine[:8] + strings.Repeat("a", 26): false, "1aaaaaaa" + mine[8:]: true,
		mine[8:]: false, theirs[8:]: false, // an earlier version's, which only the record tells apart
		"": false, "t1": false, strings.ToUpper(theirs): false, "a" + theirs[1:]: false, theirs + "a": false, theirs[:33]: false, theirs[:33] + "-": false,
	} {
		if got := task.Foreign("me", id); got != foreign {
			t.Errorf("Foreign(%q) = %v, want %v", id, got, foreign)
		}
	}
}

// The former id of a task's id is its end, and has none itself. All ids of this version sort
// before all former ones.
func TestFormerIDs(t *testing.T) {
	for i := range 1000 {
		id, _ := task.Derive("me", fmt.Sprint(i))
		former := task.Former(id)
		if former != id[8:] || task.Former(former) != "" || id >= task.FormerFrom || former < task.FormerFrom {
			t.Fatalf("the former id of %s is %q", id, former)
		}
	}
	for _, id := range []string{"", "t1", strings.Repeat("a", 34), "1" + strings.Repeat("A", 33)} {
		if got := task.Former(id); got != "" {
			t.Errorf("the former id of %q is %q", id, got)
		}
	}
}
