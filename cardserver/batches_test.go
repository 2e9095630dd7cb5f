package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A batchView is a batch as the API shows it.
type batchView struct {
	ID, Name, State, Message string
	Complete                 bool
	Lines                    *int
	Bad, Begun               int
	Completed, Failed        int
	Estimate                 *struct{ Input int64 }
}

// ask makes a request to a deployment.
func ask(t *testing.T, method, url, kind, body string) (status int, header http.Header, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(all)
}

// batch makes a request that is answered with a batch.
func batch(t *testing.T, want int, method, url, kind, body string) (v batchView) {
	t.Helper()
	status, _, text := ask(t, method, url, kind, body)
	if err := json.Unmarshal([]byte(text), &v); err != nil || status != want {
		t.Fatalf("%s %s: %d %s, want %d", method, url, status, text, want)
	}
	return v
}

// batchUntil looks at a batch until it is as wanted. It is patient while lines end.
func batchUntil(t *testing.T, url, what string, is func(batchView) bool) batchView {
	t.Helper()
	ended := -1
	for end := time.Now().Add(patience); ; {
		v := batch(t, http.StatusOK, "GET", url, "", "")
		if is(v) {
			return v
		}
		if n := v.Completed + v.Failed; n > ended {
			ended, end = n, time.Now().Add(patience)
		}
		if time.Now().After(end) {
			t.Fatalf("the batch is not %s: %+v", what, v)
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
}

func complete(v batchView) bool { return v.Complete }

// numbers are the numbers of the lines that a file of a batch is about. Each has one line.
func numbers(t *testing.T, url string) (lines []int, text string) {
	t.Helper()
	status, header, text := ask(t, "GET", url, "", "")
	if status != http.StatusOK || header.Get("Errand-Complete") != "true" {
		t.Errorf("%s: %d %v", url, status, header)
	}
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		var v struct{ Line int }
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v in %s", url, err, s.Text())
		}
		lines = append(lines, v.Line)
	}
	return lines, text
}

// A manifest is answered line by line, in order, with the bad line apart. Sent again it is the
// same batch. Its items are tasks in its context, and the list of its owner has the batch alone.
func TestBatchOverHTTP(t *testing.T) {
	t.Parallel()
	p := start(t)
	const lines = 1200
	var manifest strings.Builder
	for n := 1; n <= lines; n++ {
		if n == 7 {
			manifest.WriteString(`{"txt":"a bad line"}` + "\n")
			continue
		}
		fmt.Fprintf(&manifest, `{"id":"id-%d","text":"question %d"}`+"\n", n, n)
	}

	url := p.url() + "/batches?name=nightly&onBadLine=skip"
	id := batch(t, http.StatusAccepted, "POST", url, "application/jsonl", manifest.String()).ID
	at := p.url() + "/batches/" + id
	v := batchUntil(t, at, "complete", complete)
	if v.State != "completed" || *v.Lines != lines || v.Bad != 1 || v.Completed != lines-1 || v.Failed != 1 {
		t.Errorf("the batch is %+v", v)
	}
	if v.Estimate == nil || v.Estimate.Input < (lines-1)*int64(len("question 1")/4) {
		t.Errorf("its estimate is %+v", v.Estimate)
	}

	want := 1
	answered, text := numbers(t, at+"/results")
	for _, n := range answered {
		if want == 7 {
			want++
		}
		if n != want {
			t.Fatalf("line %d comes where line %d should", n, want)
		}
		want++
	}
	if len(answered) != lines-1 || !strings.Contains(text, "question 1200") || !strings.Contains(text, "id-1200") {
		t.Errorf("%d lines have an answer", len(answered))
	}
	if bad, _ := numbers(t, at+"/errors"); len(bad) != 1 || bad[0] != 7 {
		t.Errorf("these have errors: %d", bad)
	}

	if again := batch(t, http.StatusOK, "POST", url, "application/jsonl", manifest.String()); again.ID != id || !again.Complete {
		t.Errorf("sent again it is %+v", again)
	}
	if _, again := numbers(t, at+"/results"); again != text {
		t.Error("the results have changed")
	}

	c := p.client()
	items, err := c.ListTasks(t.Context(), &a2a.ListTasksRequest{ContextID: id, PageSize: 5})
	if err != nil || items.TotalSize != lines-1 {
		t.Errorf("its context has %+v, %v", items, err)
	}
	own, err := c.ListTasks(t.Context(), &a2a.ListTasksRequest{})
	if err != nil || own.TotalSize != 1 || string(own.Tasks[0].ID) != id {
		t.Errorf("the list of its owner has %+v, %v", own, err)
	}
	if _, _, list := ask(t, "GET", p.url()+"/batches", "", ""); !strings.Contains(list, id) {
		t.Errorf("the list of batches is %s", list)
	}
}

// A line that has not begun is a task: it can be read, canceled and deleted. A batch is paused,
// resumed, canceled and deleted as the task that it is.
func TestBatchAsTasks(t *testing.T) {
	t.Parallel()
	p := start(t, "ERRAND_MODEL=standin:delay=1h")
	const lines = 100
	var manifest strings.Builder
	for n := 1; n <= lines; n++ {
		fmt.Fprintf(&manifest, `{"text":"question %d"}`+"\n", n)
	}
	id := batch(t, http.StatusAccepted, "POST", p.url()+"/batches", "application/jsonl", manifest.String()).ID
	at, c := p.url()+"/batches/"+id, p.client()
	get := func(id string) (*a2a.Task, error) {
		return c.GetTask(t.Context(), &a2a.GetTaskRequest{ID: a2a.TaskID(id)})
	}

	batchUntil(t, at, "begun", func(v batchView) bool { return v.Lines != nil && v.Begun > 0 })
	last, deleted := task.ItemID(id, lines), task.ItemID(id, lines-1)
	if got, err := get(last); err != nil || got.Status.State != a2a.TaskStateSubmitted || got.ContextID != id {
		t.Errorf("a line that has not begun: %+v, %v", got, err)
	}
	if _, err := get(task.ItemID(id, lines+1)); !errors.Is(err, a2a.ErrTaskNotFound) {
		t.Errorf("a line that is not there: %v", err)
	}
	if got, err := c.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: a2a.TaskID(last)}); err != nil || got.Status.State != a2a.TaskStateCanceled {
		t.Errorf("canceled: %+v, %v", got, err)
	}
	if status, _, text := ask(t, "DELETE", p.url()+"/tasks/"+deleted, "", ""); status != http.StatusNoContent {
		t.Errorf("deleted: %d %s", status, text)
	}
	if _, err := get(deleted); !errors.Is(err, a2a.ErrTaskNotFound) {
		t.Errorf("after the deletion: %v", err)
	}

	if v := batch(t, http.StatusOK, "POST", at+":pause", "", ""); v.State != "paused" {
		t.Errorf("paused it is %+v", v)
	}
	goOn := &a2a.Message{ID: "go-on", Role: a2a.MessageRoleUser, TaskID: a2a.TaskID(id), Parts: a2a.ContentParts{a2a.NewDataPart(map[string]any{"batch": map[string]any{}})}}
	if _, err := c.SendMessage(t.Context(), immediately(&a2a.SendMessageRequest{Message: goOn})); err != nil {
		t.Errorf("resumed by a message: %v", err)
	}
	batchUntil(t, at, "running again", func(v batchView) bool { return v.State == "running" })

	if got, err := c.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: a2a.TaskID(id)}); err != nil || got.Status.State != a2a.TaskStateCanceled {
		t.Errorf("the batch is canceled: %+v, %v", got, err)
	}
	if v := batchUntil(t, at, "complete", complete); v.State != "canceled" || v.Failed != lines || v.Completed != 0 {
		t.Errorf("the batch is %+v", v)
	}
	if failed, _ := numbers(t, at+"/errors"); len(failed) != lines || failed[0] != 1 || failed[lines-1] != lines {
		t.Errorf("these have errors: %d", failed)
	}
	for _, n := range []int{1, 50} {
		if got, err := get(task.ItemID(id, n)); err != nil || got.Status.State != a2a.TaskStateCanceled {
			t.Errorf("line %d after the end: %+v, %v", n, got, err)
		}
	}

	if status, _, text := ask(t, "DELETE", p.url()+"/tasks/"+id, "", ""); status != http.StatusNoContent {
		t.Errorf("the batch is deleted: %d %s", status, text)
	}
	for _, of := range []string{"", "/results"} {
		if status, _, text := ask(t, "GET", at+of, "", ""); status != http.StatusNotFound {
			t.Errorf("%s after the deletion: %d %s", of, status, text)
		}
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // its job deletes the lines
		_, err := get(task.ItemID(id, 50))
		if errors.Is(err, a2a.ErrTaskNotFound) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a line after the deletion: %v", err)
		}
	}
}
