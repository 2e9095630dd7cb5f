package turn_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genai"

	"errand/shared/desk"
	"errand/shared/task"
	"errand/worker/tools"
	"errand/worker/turn"
)

// The test opens and migrates the file of a program with schema 2, which was killed with
// tasks in every state. All tasks go on: leases of the dead process end, the parked turn
// waits for its time, waiting messages are answered, and questions can be answered.
func TestTasksOfAnOlderFileGoOn(t *testing.T) {
	text, err := os.ReadFile("../../shared/adapters/sqlstore/testdata/schema2.sqlite")
	if err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(t.TempDir(), "errand.db")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}

	killed := time.Date(2026, time.November, 29, 13, 22, 30, 0, time.UTC)
	b := newBenchOn(t, path, killed, execute(func(_ context.Context, ec *a2asrv.ExecutorContext, yield func(a2a.Event, error) bool) {
		yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart("answer to "+ec.Message.Parts[0].Text())), nil)
		yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
	}))

	states := func() map[a2a.TaskState]int {
		all := map[a2a.TaskState]int{}
		for _, s := range []a2a.TaskState{
			a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateInputRequired, a2a.TaskStateAuthRequired,
			a2a.TaskStateCompleted, a2a.TaskStateCanceled, a2a.TaskStateFailed, a2a.TaskStateRejected,
		} {
			p, err := b.Store.List(t.Context(), task.Query{Owner: "anonymous", State: s, Limit: 100, Count: true})
			if err != nil || p.Total != len(p.Records) {
				t.Fatalf("List of %s: %d of %d records, %v", s, len(p.Records), p.Total, err)
			}
			all[s] = p.Total
		}

		maps.DeleteFunc(all, func(_ a2a.TaskState, n int) bool { return n == 0 })
		return all
	}

	want := map[a2a.TaskState]int{
		a2a.TaskStateSubmitted: 3, a2a.TaskStateWorking: 7, a2a.TaskStateInputRequired: 1, a2a.TaskStateAuthRequired: 1,
		a2a.TaskStateCompleted: 4, a2a.TaskStateCanceled: 1, a2a.TaskStateFailed: 1, a2a.TaskStateRejected: 1,
	}
	if diff := cmp.Diff(want, states()); diff != "" {
		t.Fatalf("tasks in the file, by state (-want +got):\n%s", diff)
	}

	due, err := b.Store.Due(t.Context(), task.Turns, task.Shard{}, killed.Add(2*time.Hour), task.Ref{}, 100)
	if err != nil || len(due) != 10 {
		t.Fatalf("Due = %v, %v, want 10 tasks", due, err)
	}

	for _, ref := range due {
		for retry := 0; !b.Load(ref.ID).Terminal() && retry < 5; retry++ {
			if wake := b.Load(ref.ID).Wake; wake.After(b.clock()) {
				b.advance(wake.Sub(b.clock()))
			}
			b.deliver(ref.ID, "job of "+ref.ID, retry)
		}

		r := b.Load(ref.ID)
		last := r.Task.History[len(r.Task.History)-1].Parts[0].Text()
		if said := texts(r.Task); r.State() != a2a.TaskStateCompleted || !slices.Contains(said, "answer to "+last) || len(r.Inbox) > 0 {
			t.Errorf("task %s is %s and says %q to %q", ref.ID, r.State(), said, last)
		}
	}

	for _, state := range []a2a.TaskState{a2a.TaskStateInputRequired, a2a.TaskStateAuthRequired} {
		p, err := b.Store.List(t.Context(), task.Query{Owner: "anonymous", State: state, Limit: 1})
		if err != nil || len(p.Records) != 1 {
			t.Fatalf("List of %s: %v, %v", state, p.Records, err)
		}

		id := p.Records[0].ID()
		if _, err := b.desk.Accept(t.Context(), desk.Message{Owner: "anonymous", Message: &a2a.Message{
			ID: "answer", TaskID: a2a.TaskID(id), Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{a2a.NewTextPart("here you are")},
		}}); err != nil {
			t.Fatal(err)
		}

		b.deliver(id, "answer", 0)
		if r := b.Load(id); r.State() != a2a.TaskStateCompleted || !strings.Contains(fmt.Sprint(texts(r.Task)), "answer to here you are") {
			t.Errorf("the task that was %s is %s: %q", state, r.State(), texts(r.Task))
		}
	}

	want = map[a2a.TaskState]int{a2a.TaskStateCompleted: 16, a2a.TaskStateCanceled: 1, a2a.TaskStateFailed: 1, a2a.TaskStateRejected: 1}
	if diff := cmp.Diff(want, states()); diff != "" {
		t.Errorf("tasks in the end, by state (-want +got):\n%s", diff)
	}
}

// Earlier programs can write the records whose turns had no steps, so that an installation can
// go back to one. A task keeps its schema over all the commits of its life.
func TestTaskWithoutStepsKeepsItsSchema(t *testing.T) {
	for _, calls := range [][]*genai.FunctionCall{nil, {{Name: "look"}}} {
		b := newBench(t, nil)
		look := tools.New("look", "Looks.", func(context.Context, struct{}) (string, error) { return "seen", nil })
		b.configure(shipped(t, []tools.Tool{look}, calls...), func(*turn.Config) {})
		id := b.send("m", "hello", "").ID()
		b.deliver(id, "j", 0)

		page, err := b.Store.List(t.Context(), task.Query{Owner: "me", Limit: 1}) // as stored, past the cache
		if err != nil || len(page.Records) != 1 {
			t.Fatal(page, err)
		}
		for _, r := range []task.Record{b.Load(id), page.Records[0]} {
			if want := 1 + len(calls); r.Schema != want || !r.Terminal() {
				t.Errorf("%d calls: %s with schema %d, want %d", len(calls), r.State(), r.Schema, want)
			}
		}
	}
}
