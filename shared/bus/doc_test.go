package bus_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/bus"
	"errand/shared/task"
)

// table returns the cells of the table in docs/events.md with the given first heading.
func table(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}

	_, after, found := strings.Cut(string(text), "\n| "+heading+" |")
	if !found {
		t.Fatalf("docs/events.md has no table of %s", heading)
	}

	for line := range strings.Lines(after) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| ") {
			if len(rows) > 0 && !strings.HasPrefix(line, "|") {
				break
			}
			continue // the rest of the heading, and the line below it
		}

		for i := range cells {
			cells[i] = strings.Trim(cells[i], "| ")
		}

		rows = append(rows, cells)
	}

	if len(rows) < 2 {
		t.Fatalf("the table of %s in docs/events.md has %d rows", heading, len(rows))
	}

	return rows
}

// code is the text between backquotes, if the cell holds nothing else.
func code(t *testing.T, cell string) string {
	t.Helper()
	m := regexp.MustCompile("^`([^`]+)`$").FindStringSubmatch(cell)
	if m == nil {
		t.Fatalf("docs/events.md: the cell %q is not one word of code", cell)
	}
	return m[1]
}

// documented returns the events of the document's examples.
func documented() (state, artifact bus.Event) {
	state = bus.Event{
		Task: "1n4ympjgsr5u6zv5ps6mlf6guaqw2wsmdq", Context: "billing-2026-08", Notification: 2, Kind: bus.KindState, State: "TASK_STATE_COMPLETED",
		Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Time: time.Date(2026, 8, 1, 12, 0, 0, 250e6, time.UTC),
	}
	artifact = state
	artifact.Kind, artifact.State, artifact.Artifact = bus.KindArtifact, "", "answer"
	return state, artifact
}

// The table of attributes has the written names, no more and no fewer. The examples are
// real, and attributes that are never absent are in every event.
func TestDocumentedAttributes(t *testing.T) {
	state, artifact := documented()
	written := artifact.Attributes()
	maps.Copy(written, state.Attributes())

	odd := artifact // values that no topic takes, and no trace
	odd.Context, odd.Artifact, odd.Trace = strings.Repeat("x", 1025), "half \xc3", ""
	var events []map[string]string
	for _, e := range []bus.Event{state, artifact, odd} {
		events = append(events, e.Attributes())
	}

	for _, row := range table(t, "attribute") {
		if len(row) != 4 {
			t.Errorf("%d cells, want attribute, meaning, example, absent: %q", len(row), row)
			continue
		}

		name, example := code(t, row[0]), code(t, row[2])
		if written[name] != example {
			t.Errorf("%s: the example is %q, but %q is written", name, example, written[name])
		}

		delete(written, name)
		missing := slices.ContainsFunc(events, func(e map[string]string) bool { _, ok := e[name]; return !ok })
		if never := row[3] == "never"; never == missing {
			t.Errorf("%s: the table says absent: %q, but missing in an event = %t", name, row[3], missing)
		}
	}

	for name := range written {
		t.Errorf("%s is written, but not in docs/events.md", name)
	}
}

func TestDocumentedTypes(t *testing.T) {
	state, artifact := documented()
	want := []string{state.Attributes()["ce-type"], artifact.Attributes()["ce-type"]}
	var got []string
	for _, row := range table(t, "`ce-type`") {
		got = append(got, code(t, row[0]))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types in docs/events.md (-want +got):\n%s", diff)
	}
}

// The states with events are those that end a task or make it wait. The states that a
// task does not leave are documented as final.
func TestDocumentedStates(t *testing.T) {
	want := map[string]bool{}
	for _, s := range []a2a.TaskState{
		a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateCompleted, a2a.TaskStateFailed, a2a.TaskStateCanceled,
		a2a.TaskStateRejected, a2a.TaskStateInputRequired, a2a.TaskStateAuthRequired,
	} {
		if s.Terminal() || task.Interrupted(s) {
			want[string(s)] = s.Terminal()
		}
	}
	got := map[string]bool{}
	for _, row := range table(t, "`state`") {
		got[code(t, row[0])] = strings.Contains(row[1], "final")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("states in docs/events.md, with true for final ones (-want +got):\n%s", diff)
	}
}
