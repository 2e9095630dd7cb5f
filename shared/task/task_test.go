package task_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"

	"errand/shared/task"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

func at(d time.Duration) task.Moment { return task.Defaults().At(start.Add(d)) }

func accepted(t *testing.T, text string) task.Record {
	t.Helper()
	msg := a2a.NewMessage(a2a.MessageRoleUser, a2a.NewTextPart(text))
	r, err := task.Accept(at(0), task.Acceptance{ID: "t1", Context: "c1", Owner: "me", Lane: task.Turns, Message: msg, Request: task.Request{ID: msg.ID, Fingerprint: "p1"}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func claimed(t *testing.T, r task.Record, m task.Moment, nonce string) task.Record {
	t.Helper()
	n, v, changed, err := r.Claim(m, task.Claim{Lease: task.Lease{Until: m.Now.Add(time.Minute), Nonce: nonce}})
	if err != nil || v != task.Claimed || !changed {
		t.Fatalf("Claim = %v, %v, %v, want claimed", v, changed, err)
	}
	return n
}

func turnOf(r task.Record) task.Fence { return task.Fence{Epoch: r.Epoch, Seq: r.Seq} }

func artifact(id string, more bool, text string) a2a.Event {
	return &a2a.TaskArtifactUpdateEvent{
		Append: more, Artifact: &a2a.Artifact{ID: a2a.ArtifactID(id), Parts: a2a.ContentParts{a2a.NewTextPart(text)}},
	}
}

func texts(r task.Record) map[string]string {
	out := map[string]string{}
	for _, a := range r.Task.Artifacts {
		for _, p := range a.Parts {
			out[string(a.ID)] += p.Text()
		}
	}
	return out
}

func TestShortTaskFromAcceptToCompleted(t *testing.T) {
	r := accepted(t, "hello")
	if r.State() != a2a.TaskStateSubmitted || r.Due.At != start.Add(time.Minute) || r.Due.Lane != task.Turns {
		t.Fatalf("accepted: %s, due %v", r.State(), r.Due)
	}

	r = claimed(t, r, at(time.Second), "n1")
	if r.State() != a2a.TaskStateWorking || r.Epoch != 1 || r.Attempt != 1 || r.Seq != 1 {
		t.Fatalf("claimed: %s, epoch %d, attempt %d, seq %d", r.State(), r.Epoch, r.Attempt, r.Seq)
	}

	done, changed, err := r.Finish(at(2*time.Second), turnOf(r), []a2a.Event{artifact("a", false, "he"), artifact("a", true, "llo")},
		task.Outcome{State: a2a.TaskStateCompleted})
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	if got := texts(done); got["a"] != "hello" {
		t.Errorf("artifacts %v", got)
	}
	if len(done.Notifications) != 2 || done.Notifications[0].Artifact != "a" || done.Notifications[1].State != a2a.TaskStateCompleted {
		t.Errorf("notes %+v", done.Notifications)
	}

	if !done.Due.At.IsZero() || done.Lease != (task.Lease{}) || done.Expires.IsZero() {
		t.Errorf("after the end: due %v, lease %v, expires %v", done.Due, done.Lease, done.Expires)
	}
	if again, changed, err := done.Finish(at(3*time.Second), turnOf(r), nil, task.Outcome{State: a2a.TaskStateCompleted}); changed || err != nil || again.Seq != done.Seq {
		t.Errorf("Finish did not recognise its own effect: %v, %v", changed, err)
	}

	events, ok := done.Events(0)
	if !ok || len(events) != 4 {
		t.Fatalf("Events(0) = %d, %v, want 4", len(events), ok)
	}

	chunk := events[2].(*a2a.TaskArtifactUpdateEvent)
	if !chunk.Append || chunk.Artifact.Parts[0].Text() != "llo" {
		t.Errorf("third event %+v", chunk)
	}
}

func TestRecordSurvivesItsStoredForm(t *testing.T) {
	r := accepted(t, `<b>&"\u2028`)
	r.Task.History[0].Parts = append(r.Task.History[0].Parts,
		a2a.NewDataPart(nil), a2a.NewDataPart([]any{}), a2a.NewRawPart(nil), a2a.NewFileURLPart("https://x.test/a", "text/plain"))
	r, _, err := r.SetWebhook(at(0), task.Webhook{ID: "h", URL: "https://x.test/hook", Sealed: "t"})
	if err != nil {
		t.Fatal(err)
	}

	enc, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}

	got, err := task.Decode(enc.Head, enc.Body, 7)
	if err != nil {
		t.Fatal(err)
	}

	again, err := got.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(enc.Body), string(again.Body)); diff != "" {
		t.Errorf("body after decoding and encoding (-want +got):\n%s", diff)
	}
	if got.Version != 7 || got.Task.History[0].Parts[3].Raw() == nil {
		t.Errorf("version %d, raw %v", got.Version, got.Task.History[0].Parts[3].Raw())
	}
}

func TestUnknownFieldsSurviveAndNewerSchemaIsNotWritten(t *testing.T) {
	enc, err := accepted(t, "x").Encode()
	if err != nil {
		t.Fatal(err)
	}

	text := string(enc.Head)
	r, err := task.Decode([]byte(text[:len(text)-1]+`,"later":{"a":1}}`), enc.Body, 1)
	if err != nil {
		t.Fatal(err)
	}

	r = claimed(t, r, at(time.Second), "n")
	enc, err = r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if s := string(enc.Head); !strings.HasSuffix(s, `,"later":{"a":1}}`) {
		t.Errorf("the unknown field is gone: %s", s)
	}

	newer, err := task.Decode([]byte(fmt.Sprintf(`{"schema":%d,`, task.Schema+1)+text[len(`{"schema":1,`):]), enc.Body, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := newer.Claim(at(time.Second), task.Claim{Lease: task.Lease{Nonce: "n"}}); err == nil {
		t.Error("a newer record was changed")
	}
}

func TestReplacedArtifactStaysForSlowStreams(t *testing.T) {
	r := claimed(t, accepted(t, "x"), at(time.Second), "n1")
	r, _, err := r.Progress(at(2*time.Second), turnOf(r), []a2a.Event{artifact("a", false, "first"), artifact("b", false, "stray")})
	if err != nil {
		t.Fatal(err)
	}

	r = claimed(t, r, at(2*time.Minute), "n2")
	r, _, err = r.Finish(at(3*time.Minute), turnOf(r), []a2a.Event{artifact("a", false, "second")}, task.Outcome{State: a2a.TaskStateCompleted})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "second"}, texts(r)); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}

	events, ok := r.Events(1)
	if !ok {
		t.Fatal("events are gone")
	}

	var said []string
	for _, ev := range events {
		if e, ok := ev.(*a2a.TaskArtifactUpdateEvent); ok {
			said = append(said, e.Artifact.Parts[0].Text())
		}
	}

	if diff := cmp.Diff([]string{"first", "stray", "second"}, said); diff != "" {
		t.Errorf("texts in the stream (-want +got):\n%s", diff)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r := accepted(t, "x")
	m := r.Task.History[0]
	m.Metadata = map[string]any{"k": []any{map[string]any{"deep": "old"}}}
	m.Parts = append(m.Parts, a2a.NewRawPart([]byte("old")), a2a.NewDataPart(map[string]any{"k": "old"}))
	c := task.Clone(r.Task)
	if diff := cmp.Diff(r.Task, c); diff != "" {
		t.Fatalf("the clone differs (-want +got):\n%s", diff)
	}
	c.History[0].Metadata["k"].([]any)[0].(map[string]any)["deep"] = "new"
	c.History[0].Parts[1].Raw()[0] = 'X'
	c.History[0].Parts[2].Data().(map[string]any)["k"] = "new"
	c.History[0].Parts[0].Content = a2a.Text("new")
	*c.Status.Timestamp = start.Add(time.Hour)
	now, err := task.Record{Task: r.Task}.Encode() // encoded anew, not the form kept from before
	if err != nil {
		t.Fatal(err)
	}
	if s := string(now.Head) + string(now.Body); strings.Contains(s, "new") || strings.Contains(s, "WG9sZA") || !strings.Contains(s, `"old"`) {
		t.Errorf("a change of the clone reached the record: %s", s)
	}
}

// When the answer of a commit that parks a turn before one of its last claims is lost, the
// same claim gets the same verdict again, so that its job is added.
func TestClaimKnowsItsOwnPark(t *testing.T) {
	r := accepted(t, "x")
	for i := range 2 {
		r = claimed(t, r, at(time.Duration(i+1)*time.Hour), fmt.Sprint("n", i))
	}
	m := at(3 * time.Hour)
	claim := task.Claim{Lease: task.Lease{Until: m.Now.Add(time.Minute), Nonce: "n3"}}
	r, v, changed, err := r.Claim(m, claim)
	if err != nil || v != task.Parked || !changed {
		t.Fatalf("Claim = %v, %v, %v, want parked", v, changed, err)
	}
	if _, v, changed, err := r.Claim(m, claim); err != nil || v != task.Parked || changed {
		t.Errorf("again: %v, %v, %v, want parked and nothing to write", v, changed, err)
	}
	if _, v, _, err := r.Claim(at(3*time.Hour+time.Second), claim); err != nil || v != task.Idle {
		t.Errorf("later: %v, %v, want idle", v, err)
	}
}

// An unknown field is kept beside the known ones, of which none is taken for unknown.
func TestKnownFieldsAreWrittenOnce(t *testing.T) {
	r := accepted(t, "x")
	r.Task.Metadata, r.Made, r.Webhooks, r.Notifications = map[string]any{"k": 1.0}, []task.Made{{ID: "a"}}, []task.Webhook{{ID: "h"}}, []task.Notification{{Seq: 1}}
	r.Gens, r.Seq, r.Published, r.Epoch, r.Attempt = 1, 1, 1, 1, 1
	r.Lease, r.Wake, r.Expires, r.Due = task.Lease{Nonce: "n"}, start, start, task.Due{At: start, Lane: task.Turns}
	enc, err := bare(r).Encode()
	if err != nil {
		t.Fatal(err)
	}

	want := strings.TrimSuffix(string(enc.Head), "}") + `,"later":{"a":1}}`
	r, err = task.Decode([]byte(want), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	if enc, err = r.Encode(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(enc.Head)); diff != "" {
		t.Errorf("head (-want +got):\n%s", diff)
	}
}
