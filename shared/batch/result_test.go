package batch_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/task"
)

var batchID = task.BatchID("acme/ann", "nightly")

// item is the stored record of line 7 after its turn has ended.
func item(t *testing.T, state a2a.TaskState, say string, arts ...*a2a.Artifact) task.Record {
	t.Helper()
	it, bad := form().Parse(batch.Errand, 7, []byte(`{"id":"a<b","text":"Hi"}`))
	if bad != nil {
		t.Fatal(bad)
	}
	r, err := task.Accept(moment(), task.Acceptance{ID: task.ItemID(batchID, 7), Context: batchID, Owner: "acme/ann", Lane: task.Bulk, Message: it.For(batchID)})
	if err != nil {
		t.Fatal(err)
	}
	r, _, _, err = r.Claim(moment(), task.Claim{Lease: task.Lease{Until: now.Add(time.Minute), Nonce: "n"}})
	if err != nil {
		t.Fatal(err)
	}

	var events []a2a.Event
	for _, a := range arts {
		events = append(events, &a2a.TaskArtifactUpdateEvent{TaskID: r.Task.ID, ContextID: batchID, Artifact: a, LastChunk: true})
	}
	out := task.Outcome{State: state, Spent: task.Spent{Prompt: 20, Output: 5, Thought: 3, Cached: 2, Replies: 2, Nanos: 1500, Currency: "USD"}}
	out.Metadata = map[string]any{"usage": map[string]any{"model": "gemini-y"}}
	if say != "" {
		out.Message = a2a.NewMessage(a2a.MessageRoleAgent, text(say))
	}
	r, _, err = r.Finish(moment(), task.Fence{Epoch: r.Epoch, Seq: r.Seq}, events, out)
	if err != nil {
		t.Fatal(err)
	}
	return stored(t, r)
}

// stored is the record as a store returns it.
func stored(t *testing.T, r task.Record) task.Record {
	t.Helper()
	enc, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err = task.Decode(enc.Head, enc.Body, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func answer(parts ...*a2a.Part) *a2a.Artifact {
	return &a2a.Artifact{ID: "t1-answer", Name: "answer", Parts: parts}
}

func TestResultLineTellsHowAnItemEnded(t *testing.T) {
	id := task.ItemID(batchID, 7)
	const usage = `"usage":{"cached":2,"currency":"USD","model":"gemini-y","output":5,"price":0.0000015,"prompt":20,"steps":2,"thought":3}`
	const tokens = `"usage":{"prompt_tokens":20,"completion_tokens":8,"total_tokens":28,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":3}}`
	file := `[{"artifactId":"t1-answer","name":"answer","parts":[{"text":"See","mediaType":"text/plain"},{"raw":"YWJj","mediaType":"image/png"}]}]`
	named := `[{"artifactId":"t1-answer","name":"answer","parts":[{"text":"x","filename":"x.txt"}]}]`
	data := `[{"artifactId":"t1-answer","name":"answer","parts":[{"data":{"a":[1,2]}}]}]`
	body := func(content, more string) string {
		return `{"id":"batch_req_` + id + `","custom_id":"a<b","response":{"status_code":200,"request_id":"` + id + `","body":{"id":"chatcmpl-` + id +
			`","object":"chat.completion","created":1795953600,"model":"gemini-y","choices":[{"index":0,"message":{"role":"assistant","content":` + content +
			`,"refusal":null},"logprobs":null,"finish_reason":"stop"}],` + tokens + more + `}},"error":null}`
	}
	fault := func(code, say string) string {
		return `{"id":"batch_req_` + id + `","custom_id":"a<b","response":null,"error":{"code":"` + code + `","message":"` + say + `"}}`
	}
	mine := func(state, more string) string {
		return `{"id":"a<b","line":7,"task":"` + id + `","state":"TASK_STATE_` + state + `",` + more + `}`
	}

	for _, row := range []struct {
		name         string
		record       task.Record
		failed       bool
		ours, theirs string
	}{
		{"text", item(t, a2a.TaskStateCompleted, "", answer(text("One\nTwo"))), false,
			mine("COMPLETED", `"text":"One\nTwo",`+usage), body(`"One\nTwo"`, "")},
		{"two artifacts", item(t, a2a.TaskStateCompleted, "", answer(text("One")), &a2a.Artifact{ID: "x", Parts: a2a.ContentParts{text("Two")}}), false,
			mine("COMPLETED", `"text":"One\n\nTwo",`+usage), body(`"One\n\nTwo"`, "")},
		{"status message", item(t, a2a.TaskStateCompleted, "Done."), false,
			mine("COMPLETED", `"text":"Done.",`+usage), body(`"Done."`, "")},
		{"nothing", item(t, a2a.TaskStateCompleted, ""), false,
			mine("COMPLETED", `"text":"",`+usage), body(`null`, "")},
		{"file", item(t, a2a.TaskStateCompleted, "", answer(text("See"), &a2a.Part{Content: a2a.Raw("abc"), MediaType: "image/png"})), false,
			mine("COMPLETED", `"text":"See","artifacts":`+file+`,`+usage), body(`"See"`, `,"artifacts":`+file)},
		{"data", item(t, a2a.TaskStateCompleted, "", answer(&a2a.Part{Content: a2a.Data{Value: map[string]any{"a": []any{1.0, 2.0}}}})), false,
			mine("COMPLETED", `"text":"{\"a\":[1,2]}","artifacts":`+data+`,`+usage), body(`"{\"a\":[1,2]}"`, `,"artifacts":`+data)},
		{"a file of text", item(t, a2a.TaskStateCompleted, "", answer(&a2a.Part{Content: a2a.Text("x"), Filename: "x.txt"})), false,
			mine("COMPLETED", `"text":"x","artifacts":`+named+`,`+usage), body(`"x"`, `,"artifacts":`+named)},
		{"failed", item(t, a2a.TaskStateFailed, "Too long.", answer(text("Begin"))), true,
			mine("FAILED", `"text":"Begin","error":{"code":"failed","message":"Too long."},`+usage), fault("failed", "Too long.")},
		{"rejected", item(t, a2a.TaskStateRejected, "Refused."), true,
			mine("REJECTED", `"error":{"code":"rejected","message":"Refused."},`+usage), fault("rejected", "Refused.")},
		{"a question", item(t, a2a.TaskStateInputRequired, "Which one?"), true,
			mine("INPUT_REQUIRED", `"error":{"code":"not_ended","message":"Which one?"},`+usage), fault("not_ended", "Which one?")},
	} {
		for d, want := range map[batch.Dialect]string{batch.Errand: row.ours, batch.OpenAI: row.theirs} {
			line, failed := batch.ResultLine(d, "a<b", row.record, "gemini-x")
			if string(line) != want+"\n" || failed != row.failed {
				t.Errorf("%s, %s: failed %v\ngot  %swant %s", row.name, d, failed, line, want)
			}
			if again, _ := batch.ResultLine(d, "a<b", stored(t, row.record), "gemini-x"); string(again) != string(line) {
				t.Errorf("%s, %s: another time it is %s", row.name, d, again)
			}
			if n, err := batch.LineOfResult(d, line); n != 7 || err != nil {
				t.Errorf("%s, %s: line %d, %v", row.name, d, n, err)
			}
		}
	}
}

// A canceled item, a deleted one and one that never ran are errors.
func TestLinesWithoutAnAnswerAreErrors(t *testing.T) {
	open, err := task.Accept(moment(), task.Acceptance{ID: task.ItemID(batchID, 7), Context: batchID, Owner: "acme/ann", Lane: task.Bulk, Message: a2a.NewMessage(a2a.MessageRoleUser, text("x"))})
	if err != nil {
		t.Fatal(err)
	}
	canceled, _, err := open.Cancel(moment(), a2a.NewMessage(a2a.MessageRoleAgent, text("Canceled by Ann.")), nil)
	if err != nil {
		t.Fatal(err)
	}
	deleted, _, err := open.Delete(moment())
	if err != nil {
		t.Fatal(err)
	}

	for _, row := range []struct {
		record   task.Record
		code, in string
	}{{open, "not_ended", "has not ended"}, {canceled, "canceled", "Canceled by Ann."}, {deleted, "deleted", "was deleted"}} {
		for _, d := range []batch.Dialect{batch.Errand, batch.OpenAI} {
			line, failed := batch.ResultLine(d, "a", row.record, "m")
			check(t, d, line, row.code, row.in)
			if !failed {
				t.Errorf("%s: it is a result", row.code)
			}
		}
	}

	bad := batch.Bad{Line: 7, Code: batch.CodeJSON, Reason: "the line is blank"}
	for _, f := range []batch.Fault{batch.Expired, batch.Stopped, batch.Aborted, batch.Deleted, batch.Lost, bad.Fault()} {
		for _, d := range []batch.Dialect{batch.Errand, batch.OpenAI} {
			check(t, d, batch.ErrorLine(d, batchID, 7, "", f), f.Code, f.Message)
		}
	}
	want := `{"line":7,"error":{"code":"invalid_json_line","message":"the line is blank"}}` + "\n"
	if got := batch.ErrorLine(batch.Errand, batchID, 7, "", bad.Fault()); string(got) != want {
		t.Errorf("got %s", got)
	}
}

func check(t *testing.T, d batch.Dialect, line []byte, code, in string) {
	t.Helper()
	var v struct {
		Response any
		Error    batch.Fault
	}
	if err := json.Unmarshal(line, &v); err != nil || v.Response != nil || v.Error.Code != code || !strings.Contains(v.Error.Message, in) {
		t.Errorf("%s: %s, %v", d, line, err)
	}
	if strings.Count(string(line), "\n") != 1 {
		t.Errorf("%s: %q is not one line", d, line)
	}
	if n, err := batch.LineOfResult(d, line); n != 7 || err != nil {
		t.Errorf("%s: line %d, %v", d, n, err)
	}
}

func TestUnrunTellsWhyABatchEnded(t *testing.T) {
	spec := batch.Spec{Deadline: now}
	for _, row := range []struct {
		state a2a.TaskState
		at    time.Time
		want  batch.Fault
	}{
		{a2a.TaskStateCanceled, now.Add(time.Hour), batch.Stopped},
		{a2a.TaskStateFailed, now, batch.Expired},
		{a2a.TaskStateFailed, now.Add(-time.Second), batch.Aborted},
	} {
		r := task.Record{Task: &a2a.Task{Status: a2a.TaskStatus{State: row.state, Timestamp: &row.at}}}
		if got := batch.Unrun(r, spec); got != row.want {
			t.Errorf("%s at %s: %+v", row.state, row.at, got)
		}
	}
}

func TestLineOfResultRefusesOtherLines(t *testing.T) {
	for _, line := range []string{"", "x", `{"id":"a"}`, `{"id":7}`, `{"id":"batch_req_x"}`, `{"line":-1}`} {
		for _, d := range []batch.Dialect{batch.Errand, batch.OpenAI} {
			if n, err := batch.LineOfResult(d, []byte(line)); err == nil {
				t.Errorf("%s: %q is line %d", d, line, n)
			}
		}
	}
}
