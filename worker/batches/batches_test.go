package batches_test

import (
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/lab/conformance"
	"errand/worker/batches"
)

// A batch of many lines comes to its end: each line has one answer, and they are in order. The
// same batch again starts nothing.
func TestBatchAnswersEachLineInOrder(t *testing.T) {
	n := conformance.Long(2000, 10_000, 100_000)
	b := newBench(t, func(c *batches.Config) { c.Look, c.Save = 100*time.Millisecond, 5*time.Second })
	began := b.Now()
	s := b.spec("all", manifest(n))
	id := b.submit(s)
	r := b.settled(id)
	took := b.Now().Sub(began)
	t.Logf("%d items in %v, %.0f a second", n, took, float64(n)/took.Seconds())

	b.wantEnd(r, a2a.TaskStateCompleted)
	b.wantLines(id, n)
	if got := b.started.Load(); got != int64(n) {
		t.Errorf("%d items were run, want %d", got, n)
	}

	if again, made, err := b.desk.Batch(t.Context(), owner, s); err != nil || made || again.ID() != id {
		t.Errorf("the batch again is %v, made: %v, %v", again.ID(), made, err)
	}
	if got := b.started.Load(); got != int64(n) {
		t.Errorf("the batch again ran %d items", got-int64(n))
	}
	st := b.state(id)
	if !st.Whole || st.Fed != n || st.Counts.Completed != n || st.Counts.Items != n || st.Open != 0 {
		t.Errorf("the progress is %+v", st)
	}
	for _, name := range []string{batch.ResultsSegment(id, 0), batch.ErrorsSegment(id, 0)} {
		if _, _, err := b.files.Get(t.Context(), name); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}
