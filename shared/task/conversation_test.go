package task_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// What a model was not shown is a mark of the next commit: once for a turn, as long as it stays
// the same, and cut to the size of a note.
func TestLeftOutIsAMarkOfTheNextCommit(t *testing.T) {
	r := task.Record{Turn: 1, Epoch: 3, Task: &a2a.Task{ID: "t"}}
	now := task.Moment{}
	if got := r.LeftOut(now, ""); len(got.Marks) != 0 {
		t.Errorf("nothing is left out: %+v", got.Marks)
	}

	long := strings.Repeat("\u00e9", 200)
	r = r.LeftOut(now, "2 tasks").LeftOut(now, "2 tasks").LeftOut(now, long).LeftOut(now, long)
	if len(r.Marks) != 2 || r.Marks[0].Why != "2 tasks" || r.Marks[0].Run != 3 || len(r.Marks[1].Why) > 256 || !utf8.ValidString(r.Marks[1].Why) {
		t.Errorf("the marks: %+v", r.Marks)
	}
	r.Turn = 2
	if got := r.LeftOut(now, long); len(got.Marks) != 3 {
		t.Errorf("the next turn: %+v", got.Marks)
	}
}

func TestAlone(t *testing.T) {
	for _, tt := range []struct {
		meta   map[string]any
		alone  bool
		faulty bool
	}{
		{nil, false, false}, {map[string]any{"other": "none"}, false, false},
		{map[string]any{task.ConversationKey: "none"}, true, false},
		{map[string]any{task.ConversationKey: "all"}, false, true}, {map[string]any{task.ConversationKey: []any{"none"}}, false, true},
		{map[string]any{task.ConversationKey: nil}, false, true},
	} {
		alone, fault := task.Alone(&a2a.Message{Metadata: tt.meta})
		if alone != tt.alone || (fault != "") != tt.faulty {
			t.Errorf("%v: %t, %q", tt.meta, alone, fault)
		}
	}
}
