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

// The id of an item tells its batch and its line, and that of a batch its owner. No other text
// is taken for one.
func TestItemIDs(t *testing.T) {
	mine, theirs := task.BatchID("me", "nightly"), task.BatchID("you", "nightly")
	if mine == theirs || task.BatchID("me", "nightly") != mine || task.BatchID("me", "daily") == mine {
		t.Errorf("the ids of batches are %s and %s", mine, theirs)
	}
	for _, line := range []int{1, 9, 1_000_000} {
		id := task.ItemID(mine, line)
		if b, n, ok := task.ItemOf(id); b != mine || n != line || !ok || !task.IsID(id) || id >= task.FormerFrom {
			t.Errorf("ItemOf(%s) = %s, %d, %v", id, b, n, ok)
		}
		if task.Foreign("me", id) || !task.Foreign("you", id) {
			t.Errorf("whose is %s?", id)
		}
	}

	one, _ := task.Derive("me", "nightly")
	item := task.ItemID(mine, 12)
	for _, id := range []string{
		"", one, one + "-c", mine, mine + "-1", item + "0", item[:len(item)-1], "1" + item[2:] + "1", strings.Replace(item, "-12", "-012", 1),
		strings.Replace(item, "-12", "-+12", 1), task.ItemID(mine, 0), task.ItemID(mine, -1), task.ItemID(one, 1),
	} {
		if b, n, ok := task.ItemOf(id); ok {
			t.Errorf("ItemOf(%q) = %s, %d", id, b, n)
		}
	}

	if !task.IsBatch(mine) || !task.IsID(mine) || task.Foreign("me", mine) || !task.Foreign("you", mine) || task.IsBatch(one) || task.IsBatch(item) {
		t.Error("batches are not told from other tasks")
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
