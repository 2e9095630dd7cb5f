package sweep_test

import (
	"errors"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"errand/shared/adapters/gcp"
	"errand/shared/kv"
	"errand/shared/lab/conformance"
	"errand/shared/lab/emulator"
	"errand/shared/lab/world"
	"errand/shared/queue"
	"errand/shared/task"
)

// openFirestore opens the database of a restore drill.
func openFirestore(t *testing.T, host, project string, now func() time.Time) *gcp.Firestore {
	t.Helper()
	f, err := gcp.OpenFirestore(t.Context(), project, "errand", gcp.FirestoreOptions{Now: now, Options: []option.ClientOption{
		option.WithEndpoint(host), option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return f
}

// content is a record as stores keep it, without the version that each gives it.
func content(t *testing.T, db task.Store, id string) string {
	t.Helper()
	r, err := db.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(text.Head) + "\n" + string(text.Body)
}

// The drill of infra/README.md: the records of a moment are brought into an empty database, and
// the queues are empty too. The sweep puts back the jobs of all tasks that were under way. What
// happened after the moment is lost: a task accepted later is unknown, and one that ended later
// runs again.
func TestRestoreDrill(t *testing.T) {
	now := start.Add(10 * time.Minute)
	clock := func() time.Time { return now }
	conformance.NeedFull(t, "TestSweepEnqueuesDueRecords, on the database as it was")
	project, host := emulator.Project(t), emulator.Firestore(t)

	// Tasks under way, and an entry beside them. Then comes the moment, and more happens.
	old := openFirestore(t, host, project, clock)
	indebted(t, old, now)
	if _, err := old.KV().Put(t.Context(), kv.Entry{Key: "step/lost/1/1", Value: []byte("result"), Owner: "o", Expires: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{}
	for _, id := range []string{"lost", "fresh", "leased", "crashed", "done", "asking", "untold", "retry", "cancelled", "both"} {
		kept[id] = content(t, old, id)
	}
	moment := emulator.Export(t, host, project, "errand")
	finish(t, old, "lost", now, a2a.TaskStateCompleted)
	accept(t, old, "later", now)

	// Another database, without a trace of the first one.
	other := emulator.Start(t, emulator.KindFirestore)
	other.Import(t, project, "errand", moment)
	db := openFirestore(t, other.Host, project, clock)
	for id, want := range kept {
		if diff := cmp.Diff(want, content(t, db, id)); diff != "" {
			t.Errorf("%s is another one (-old +restored):\n%s", id, diff)
		}
	}
	if _, err := db.Load(t.Context(), "later"); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("what came after the moment is there: %v", err)
	}
	if e, err := db.KV().Get(t.Context(), "step/lost/1/1"); err != nil || string(e.Value) != "result" {
		t.Errorf("the entry is %q, %v", e.Value, err)
	}

	// All jobs are back after a sweep of each lane, and once.
	q := &world.Jobs{}
	s := newSweep(db, q, clock)
	for _, l := range queue.Lanes() {
		if code := run(s, l.Name, now); code/100 != 2 {
			t.Errorf("the sweep of %s answers %d", l.Name, code)
		}
	}
	want := []string{
		"deliveries cancelled/deliveries 0s", "deliveries untold/deliveries 0s",
		"turns both/turns 0s", "turns cancelled/turns 0s", "turns crashed/turns 0s", "turns lost/turns 0s",
	}
	if diff := cmp.Diff(want, list(q, now)); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}

	// The restored task ends as if nothing had been.
	finish(t, db, "lost", now, a2a.TaskStateCompleted)
	if r, err := db.Load(t.Context(), "lost"); err != nil || r.State() != a2a.TaskStateCompleted {
		t.Errorf("the task is %s, %v", r.State(), err)
	}
}
