package batchdesk_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/task"
	"errand/shared/uploads"
)

// again submits what must be accepted, with a new upload of the same bytes.
func (b *bench) again(name string) (batchdesk.Batch, bool) {
	b.Helper()
	got, made, err := b.Again(b.Context(), alice, batchdesk.Submission{Name: name, Input: b.upload(alice, "lines")})
	if err != nil {
		b.Fatal(err)
	}
	return got, made
}

// A batch that runs or has completed is found. One that was stopped goes on as the batch that
// repeats it, however often that happens, and it does so although its own file is deleted.
func TestAgain(t *testing.T) {
	b := newBench(t)
	first, made := b.again("n")
	if !made || first.Spec.Name != "n" {
		t.Errorf("made %v, %+v", made, first.Spec)
	}
	if again, made := b.again("n"); made || again.ID() != first.ID() {
		t.Errorf("while it runs: made %v, %s", made, again.Spec.Name)
	}
	b.w.EndBatch(first.ID(), a2a.TaskStateCompleted, batch.State{Lines: 2, Counts: batch.Counts{Completed: 1, Failed: 1}})
	if again, made := b.again("n"); made || again.ID() != first.ID() {
		t.Errorf("when it has completed: made %v, %s", made, again.Spec.Name)
	}

	stopped, _ := b.again("s")
	b.w.EndBatch(stopped.ID(), a2a.TaskStateCanceled, batch.State{}) // before its lines were known
	if err := b.uploads.Delete(t.Context(), alice, stopped.Spec.Input.File); err != nil {
		t.Fatal(err)
	}
	second, made := b.again("s")
	if !made || second.Spec.Name != "s~1" || second.Spec.Retry != stopped.ID() || second.Spec.Input.File == stopped.Spec.Input.File {
		t.Errorf("after a cancellation: made %v, %+v", made, second.Spec)
	}
	if again, made := b.again("s"); made || again.ID() != second.ID() {
		t.Errorf("the same again: made %v, %s", made, again.Spec.Name)
	}

	b.pass(batch.Deadline)
	b.put(batch.ResultsFile(second.ID()), "one\n")
	b.w.EndBatch(second.ID(), a2a.TaskStateFailed, batch.State{Lines: 2, Counts: batch.Counts{Completed: 1, Failed: 1}})
	third, made := b.again("s")
	if !made || third.Spec.Name != "s~2" || third.Spec.Retry != second.ID() || third.Spec.Deadline.Sub(third.Spec.At).Round(time.Second) != batch.Deadline {
		t.Errorf("after the deadline: made %v, %+v", made, third.Spec)
	}
	b.w.EndBatch(third.ID(), a2a.TaskStateCompleted, batch.State{Lines: 2, Counts: batch.Counts{Completed: 2}})
	if again, made := b.again("s"); made || again.ID() != third.ID() {
		t.Errorf("at last: made %v, %s", made, again.Spec.Name)
	}
}

// A batch that failed for another reason than its time, or was stopped when every line had its
// answer, is found as it is.
func TestAgainWithNothingToDo(t *testing.T) {
	b := newBench(t)
	for i, end := range []struct {
		state a2a.TaskState
		batch.State
	}{
		{a2a.TaskStateRejected, batch.State{Lines: 2, Bad: 1}},
		{a2a.TaskStateFailed, batch.State{Lines: 2, Counts: batch.Counts{Failed: 2}}},
		{a2a.TaskStateCanceled, batch.State{Lines: 2, Counts: batch.Counts{Completed: 2}}},
	} {
		name := fmt.Sprint("n", i)
		first, _ := b.again(name)
		b.w.EndBatch(first.ID(), end.state, end.State)
		if again, made := b.again(name); made || again.ID() != first.ID() {
			t.Errorf("%s: made %v, %s", end.state, made, again.Spec.Name)
		}
	}
}

// What is in the way of going on is said, and nothing is made.
func TestAgainThatCannotGoOn(t *testing.T) {
	b := newBench(t)
	try := func(name string) error {
		t.Helper()
		_, made, err := b.Again(t.Context(), alice, batchdesk.Submission{Name: name, Input: b.upload(alice, "lines")})
		if made {
			t.Error("a batch was made")
		}
		return err
	}

	first, _ := b.again("n")
	if _, err := b.Cancel(t.Context(), alice, first.ID()); err != nil {
		t.Fatal(err)
	}
	b.is("before it is complete", try("n"), batchdesk.ErrStopping)
	b.w.SetBatch(first.ID(), batch.State{Lines: 2, Counts: batch.Counts{Completed: 1}})
	b.w.Settle(first.ID())
	b.is("without the answers so far", try("n"), batchdesk.ErrDropped)

	gone, _ := b.again("gone")
	if _, err := b.w.Desk(b.w.Store).Change(t.Context(), b.w.Load(gone.ID()), func(r task.Record, now task.Moment) (task.Record, bool, error) { return r.Delete(now) }); err != nil {
		t.Fatal(err)
	}
	b.is("after a deletion", try("gone"), task.ErrDeleted)

	for range 33 {
		next, _ := b.again("often")
		b.w.EndBatch(next.ID(), a2a.TaskStateCanceled, batch.State{})
	}
	if f, ok := errors.AsType[*batchdesk.FieldError](try("often")); !ok || f.Field != "name" {
		t.Errorf("too often: %v", f)
	}
}

// The owner of a batch may delete its results and its errors, when they are whole. Then they are
// not mistaken for none.
func TestDeletedOutput(t *testing.T) {
	b := newBench(t)
	id := b.named(alice, "n").ID()
	output := func() (*batchdesk.Output, error) {
		t.Helper()
		found, err := b.Find(t.Context(), alice, id)
		if err != nil {
			t.Fatal(err)
		}
		return b.Results(t.Context(), found)
	}

	o, err := output()
	if err != nil {
		t.Fatal(err)
	}
	b.is("before the end", o.Delete(t.Context()), batchdesk.ErrRunning)

	b.put(batch.ResultsFile(id), "one\n")
	b.put(batch.ErrorsFile(id), "bad\n")
	b.w.EndBatch(id, a2a.TaskStateCompleted, batch.State{Lines: 2, Counts: batch.Counts{Completed: 1, Failed: 1}})
	if o, err = output(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := o.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err = output()
	b.is("afterwards", err, batchdesk.ErrDropped)

	found, err := b.Find(t.Context(), alice, id)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if o, err := b.Errors(t.Context(), found); err != nil || o.Copy(t.Context(), &out) != nil || out.String() != "bad\n" {
		t.Errorf("the errors are %q, %v", out.String(), err)
	}
}

// The faults are those of the first lines of the errors, in both dialects.
func TestLineFaults(t *testing.T) {
	b := newBench(t)
	for _, d := range []batch.Dialect{batch.OpenAI, batch.Errand, ""} {
		id := b.named(alice, "n"+string(d)).ID()
		text := ""
		want := []batchdesk.LineFault{{Line: 2, Fault: batch.Fault{Code: "a", Message: "first"}}, {Line: 5, Fault: batch.Fault{Code: "b", Message: "second"}}}
		for _, f := range append(want, batchdesk.LineFault{Line: 7}) {
			text += string(batch.ErrorLine(d, id, f.Line, "x", f.Fault))
		}
		b.put(batch.ErrorsFile(id), text)
		b.w.EndBatch(id, a2a.TaskStateRejected, batch.State{Dialect: d, Lines: 9, Bad: 3})
		found, err := b.Find(t.Context(), alice, id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Faults(t.Context(), found, 2)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", d, err, diff)
		}
		if all, err := b.Faults(t.Context(), found, 100); err != nil || len(all) != 3 {
			t.Errorf("%q: %+v, %v", d, all, err)
		}
	}
}

// The manifest of a batch is not deleted until that is complete.
func TestDeleteFile(t *testing.T) {
	b := newBench(t)
	file := b.upload(alice, "lines")
	inUse := func(what, batch string) {
		t.Helper()
		err := b.DeleteFile(t.Context(), alice, file)
		if use, ok := errors.AsType[*batchdesk.InUseError](err); !ok || use.Batch != batch {
			t.Errorf("%s: %v", what, err)
		}
	}

	b.named(alice, "other")
	got, _ := b.submit(alice, batchdesk.Submission{Name: "n", Input: file})
	inUse("while it runs", got.ID())
	b.is("of another owner", b.DeleteFile(t.Context(), bob, file), uploads.ErrNotFound)
	if _, err := b.Cancel(t.Context(), alice, got.ID()); err != nil {
		t.Fatal(err)
	}
	inUse("when its files are made", got.ID())
	b.w.Settle(got.ID())
	b.is("when it is complete", b.DeleteFile(t.Context(), alice, file), nil)
	b.is("again", b.DeleteFile(t.Context(), alice, file), uploads.ErrNotFound)
}
