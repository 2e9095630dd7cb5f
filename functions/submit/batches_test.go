package submit_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/functions/submit"
	"errand/shared/batch"
	"errand/shared/bus"
	"errand/shared/objects"
	"errand/shared/task"
	"errand/shared/uploads"
)

// upload stores a manifest of an owner.
func (b *bench) upload(owner, text string) string {
	b.Helper()
	f, err := b.uploads.Create(b.Context(), owner, uploads.Upload{Purpose: uploads.Batch}, strings.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	return f.ID
}

// spec reads the spec of an owner's batch of that name.
func (b *bench) spec(owner, name string) batch.Spec {
	b.Helper()
	s, err := batch.SpecOf(b.w.Load(task.BatchID(owner, name)))
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// The name of a manifest becomes a batch, as by any other door: a file of the principal, or an
// object that it may have read, as it is now. The same name again is the same batch.
func TestNameOfAManifestBecomesABatch(t *testing.T) {
	b := newBench(t, "")
	file := b.upload(nightly, `{"text": "a"}`+"\n")
	b.objects["gs://acme-in/2026/prompts.jsonl"] = objects.Object{URL: "gs://acme-in/2026/prompts.jsonl", Generation: 7, Size: 99}

	for range 2 {
		b.line(`{"batch": {"input": "` + file + `", "name": "of-a-file"}}`)
		b.line(`{"batch": {"input": "gs://acme-in/2026/prompts.jsonl", "name": "of-an-object", "deadline": "6h", "onBadLine": "skip", "budget": {"tokens": 1000}}}`)
		b.line(`{"batch": {"input": "` + file + `", "deadline": "` + published.Add(2*time.Hour).Format(time.RFC3339) + `"}}`)
	}
	if n := len(b.tasks(nightly)); n != 3 || len(b.tasks(other)) != 0 {
		t.Errorf("there are %d batches, and %d of another principal", n, len(b.tasks(other)))
	}

	jobs := 0
	for _, j := range b.w.Jobs.Take() {
		if j.Queue != task.Batches || !task.IsBatch(j.Task) {
			t.Errorf("there is the job %+v", j)
		}
		jobs++
	}
	if jobs < 3 {
		t.Errorf("there are %d jobs", jobs)
	}

	if got := b.spec(nightly, "of-a-file"); got.Input.File != file || got.OnBad != "" || got.Budget != nil {
		t.Errorf("the batch of a file is %+v", got)
	}
	got := b.spec(nightly, "of-an-object")
	if diff := cmp.Diff(batch.Input{Object: "gs://acme-in/2026/prompts.jsonl", Generation: 7, Size: 99}, got.Input); diff != "" {
		t.Errorf("the input (-want +got):\n%s", diff)
	}
	if !got.Deadline.Equal(published.Add(6*time.Hour)) || got.OnBad != batch.Skip || got.Budget == nil || got.Budget.Tokens != 1000 {
		t.Errorf("the batch of an object is %+v", got)
	}

	if log := b.log.String(); !strings.Contains(log, `operation="POST /batches" task=`+task.BatchID(nightly, "of-a-file")+" status=200") {
		t.Errorf("the audit log:\n%s", log)
	}
}

// A name that can never become a batch is refused with the reason. It does not tell whether a
// file or an object of somebody else exists.
func TestRefusedBatches(t *testing.T) {
	b := newBench(t, "")
	mine, theirs := b.upload(nightly, "{}\n"), b.upload(other, "{}\n")
	b.objects["gs://acme-out/a.jsonl"] = objects.Object{URL: "gs://acme-out/a.jsonl", Generation: 7, Size: 99}
	b.line(`{"batch": {"input": "` + mine + `", "name": "taken"}}`)
	b.line(`{"batch": {"input": "` + mine + `", "name": "deleted"}}`)
	if _, err := b.config.Desk.ChangeByID(t.Context(), task.BatchID(nightly, "deleted"), task.Record.Delete); err != nil {
		t.Fatal(err)
	}
	const nothing = "batch.input names no file or object that the principal may have read"

	for _, row := range []struct{ batch, field, want string }{
		{`{}`, "batch.input", "batch.input is required"},
		{`null`, "batch.input", "batch.input is required"},
		{`{"input": "` + theirs + `"}`, "batch.input", nothing},
		{`{"input": "` + strings.Repeat("0", len(theirs)) + `"}`, "batch.input", "batch.input"},
		{`{"input": "gs://acme-out/a.jsonl"}`, "batch.input", nothing},
		{`{"input": "gs://acme-out/none.jsonl"}`, "batch.input", nothing},
		{`{"input": "gs://acme-in/none.jsonl"}`, "batch.input", nothing},
		{`{"input": "gs://acme-in/../acme-out/a.jsonl"}`, "batch.input", "no segment of it may be"},
		{`{"input": "https://example.com/hunter2.jsonl"}`, "batch.input", "gs://BUCKET/NAME"},
		{`{"input": "` + mine + `", "name": "hunter2 hunter2"}`, "batch.name", "batch.name"},
		{`{"input": "` + mine + `", "name": "deleted"}`, "batch.name", "was deleted by its owner"},
		{`{"input": "` + b.upload(nightly, `{"text":"b"}`) + `", "name": "taken"}`, "batch.input", "batch.name: a batch of this name was submitted with another input"},
		{`{"input": "` + mine + `", "name": "taken", "onBadLine": "skip"}`, "batch.onBadLine", "with another onBadLine"},
		{`{"input": "` + mine + `", "onBadLine": "hunter2"}`, "batch.onBadLine", "refuse or skip"},
		{`{"input": "` + mine + `", "deadline": "tomorrow"}`, "batch.deadline", "such as 6h"},
		{`{"input": "` + mine + `", "deadline": "59m"}`, "batch.deadline", "is over"}, // since it was published
		{`{"input": "` + mine + `", "deadline": "1000h"}`, "batch.deadline", "7 days"},
		{`{"input": "` + mine + `", "budget": {"price": 1, "currency": "EUR"}}`, "batch.budget", "USD"},
		{`{"input": "` + mine + `", "budget": 7}`, "batch.budget", "another type"},
		{`{"input": 7}`, "batch.input", "another type"},
		{`{"input": "` + mine + `", "nmae": "hunter2"}`, "batch", `did you mean "name"?`},
		{`{"input": "` + mine + `", "hunter2": 1}`, "batch", "known are input, name"},
		{`{"input": "` + mine + `"}, "text": "hunter2"`, "", "batch stands beside another field"},
		{`{"input": "` + mine + `"}, "owner": "other/team"`, "", "batch stands beside another field"},
		{`{"input": "` + mine + `"}, "batch": {"input": "x"}`, "", "occurs twice"},
		{`{"input": "` + mine + `"`, "", "not one JSON object"},
		{`"` + mine + `"`, "batch", "another type"},
	} {
		if code := b.push(bus.Letter{Data: []byte(`{"batch": ` + row.batch + `}`)}); code != http.StatusNoContent {
			t.Errorf("%s is answered %d", row.batch, code)
		}
		got := b.refused.take()
		if len(got) != 1 {
			t.Errorf("%s: %d messages are refused", row.batch, len(got))
			continue
		}
		a := got[0].Attributes
		if !strings.Contains(a[submit.Reason], row.want) || a[submit.Field] != row.field || strings.Contains(fmt.Sprint(a), "hunter2") {
			t.Errorf("%s: the reason is %q, the field %q; want %q, %q", row.batch, a[submit.Reason], a[submit.Field], row.want, row.field)
		}
	}

	if n := len(b.tasks(nightly)); n != 1 {
		t.Errorf("there are %d batches, want 1", n)
	}
	if strings.Contains(b.log.String(), "hunter2") {
		t.Errorf("the log:\n%s", b.log)
	}
}

// A batch beyond the number that may be active waits for its turn.
func TestActiveBatchesMakeMessagesWait(t *testing.T) {
	b := newBench(t, "")
	file := b.upload(nightly, "{}\n")
	named := func(i int) bus.Letter {
		return bus.Letter{Data: fmt.Appendf(nil, `{"batch": {"input": "%s", "name": "n%d"}}`, file, i), ID: fmt.Sprint(i)}
	}
	for i := range batch.MaxActive {
		if code := b.push(named(i)); code != http.StatusNoContent {
			t.Errorf("batch %d is answered %d", i, code)
		}
	}

	w := b.deliver(named(batch.MaxActive))
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "60" {
		t.Errorf("one more is answered %d, Retry-After %s", w.Code, w.Header().Get("Retry-After"))
	}
	if code := b.push(named(0)); code != http.StatusNoContent {
		t.Errorf("one that was made is answered %d", code)
	}
	if _, err := b.config.Desk.ChangeByID(t.Context(), task.BatchID(nightly, "n0"), task.Record.Delete); err != nil {
		t.Fatal(err)
	}
	if code := b.push(named(batch.MaxActive)); code != http.StatusNoContent {
		t.Errorf("when one has ended, the next is answered %d", code)
	}
	if got := b.refused.take(); len(got) != 0 {
		t.Errorf("refused: %v", got)
	}
}
