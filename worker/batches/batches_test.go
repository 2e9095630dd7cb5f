package batches_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/lab/conformance"
)

// A batch of many lines comes to its end: each line has one answer, and they are in order.
func TestBatchAnswersEachLineInOrder(t *testing.T) {
	n := conformance.Size(2000, 100_000)
	b := newBench(t, nil)
	began := b.Now()
	id := b.submit(b.spec("all", manifest(n)))
	r := b.settled(id)
	t.Log(b.Now().Sub(began), float64(n)/b.Now().Sub(began).Seconds(), "items/s")
	if r.State() != a2a.TaskStateCompleted {
		t.Fatalf("the batch is %v: %v", r.State(), r.Task.Status.Message)
	}
	lines := strings.Split(strings.TrimSuffix(b.read(batch.ResultsFile(id)), "\n"), "\n")
	if len(lines) != n {
		t.Fatalf("%d answers for %d lines", len(lines), n)
	}
	for i, l := range lines {
		if !strings.Contains(l, fmt.Sprintf(`"line-%06d"`, i+1)) {
			t.Fatalf("answer %d is %s", i+1, l)
		}
	}
	if text := b.read(batch.ErrorsFile(id)); text != "" {
		t.Errorf("errors: %.200s", text)
	}
	t.Log(r.Task.Status.Message.Parts[0].Text(), b.started.Load())
}
