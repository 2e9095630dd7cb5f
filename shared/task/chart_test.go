package task_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

// moves applies each transition that can change a state to r, and returns the arrows of a
// chart: "FROM --> TO: Method".
func moves(t *testing.T, r task.Record) map[string]task.Record {
	t.Helper()
	arrows := map[string]task.Record{}
	move := func(method string, next task.Record, changed bool, err error) {
		if err == nil && changed && next.State() != r.State() {
			arrows[short(r.State())+" --> "+short(next.State())+": "+method] = next
		}
	}

	msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart("more"))
	next, changed, err := r.FollowUp(at(time.Hour), msg, task.Request{ID: msg.ID, Fingerprint: "p2"})
	move("FollowUp", next, changed, err)

	next, changed, err = r.Cancel(at(time.Hour), a2a.NewMessage(a2a.MessageRoleAgent), nil)
	move("Cancel", next, changed, err)

	next, changed, err = r.Suspend(at(time.Hour), a2a.NewMessage(a2a.MessageRoleAgent))
	move("Suspend", next, changed, err)

	next, changed, err = r.Delete(at(time.Hour))
	move("Delete", next, changed, err)

	for _, later := range []time.Duration{time.Hour, task.Defaults().Age, 2 * task.Defaults().Answer} {
		m := at(later)
		next, _, changed, err = r.Claim(m, task.Claim{Lease: task.Lease{Until: m.Now.Add(time.Minute), Nonce: later.String()}})
		move("Claim", next, changed, err)
	}

	for _, end := range states {
		if end.Terminal() || task.Interrupted(end) { // an executor ends a turn with these
			next, changed, err = r.Finish(at(time.Minute), turnOf(r), nil, task.Outcome{State: end})
			move("Finish", next, changed, err)
		}
	}

	next, changed, err = r.Park(at(time.Minute), turnOf(r), nil, task.Parking{Wake: at(time.Hour).Now})
	move("Park", next, changed, err)
	next, _, changed, err = r.Hold(at(time.Minute), parked(at(time.Minute), "waiting"), 0)
	move("Hold", next, changed, err)
	next, changed, err = r.Progress(at(time.Minute), turnOf(r), []a2a.Event{artifact("a", false, "text")})
	move("Progress", next, changed, err)
	next, lanes, err := r.Swept(at(time.Hour), at(time.Hour).Now)
	move("Swept", next, len(lanes) > 0, err)
	next, err = r.LeaseLost(at(time.Minute), task.Crew{Turns: 1})
	move("LeaseLost", next, true, err)
	next, changed, err = r.GiveBack(at(time.Minute), turnOf(r), task.Spent{})
	move("GiveBack", next, changed, err)

	return arrows
}

var states = []a2a.TaskState{
	a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateCompleted, a2a.TaskStateFailed, a2a.TaskStateCanceled,
	a2a.TaskStateRejected, a2a.TaskStateInputRequired, a2a.TaskStateAuthRequired,
}

func short(s a2a.TaskState) string { return strings.TrimPrefix(string(s), "TASK_STATE_") }

// The chart of docs/design.md has the arrows that the transitions make, and no others.
func TestChartOfStates(t *testing.T) {
	made := map[string]bool{"[*] --> SUBMITTED: Accept": true}
	known := map[a2a.TaskState]bool{}

	for next := []task.Record{accepted(t, "hello")}; len(next) > 0; next = next[1:] {
		r := next[0]
		if known[r.State()] {
			continue
		}

		known[r.State()] = true
		for arrow, n := range moves(t, r) {
			made[arrow] = true
			next = append(next, n)
		}
	}

	text, err := os.ReadFile("../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}

	_, chart, _ := strings.Cut(string(text), "```mermaid\n")
	chart, _, _ = strings.Cut(chart, "```")
	drawn := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ {4}(\S.* --> .*)$`).FindAllStringSubmatch(chart, -1) {
		drawn[m[1]] = true
	}

	if diff := cmp.Diff(drawn, made); diff != "" {
		t.Errorf("transitions (-chart of docs/design.md +code):\n%s", diff)
	}
}
