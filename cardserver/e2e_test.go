package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/google/go-cmp/cmp"
)

func TestBlockingSendAnswers(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		c := start(t).client()
		task := mustSend(t, c, userText("m1", "hello there"))
		if task.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(task), "hello there") {
			t.Errorf("task %+v says %q", task.Status, text(task))
		}
		if !strings.Contains(text(task), "stand-in") {
			t.Errorf("the stand-in does not say that it is one: %q", text(task))
		}
		if u := task.Status.Timestamp; u == nil || u.Location() != time.UTC || u.Nanosecond()%1e6 != 0 {
			t.Errorf("timestamp %v, want whole milliseconds UTC", u)
		}

		soon, cancel := context.WithTimeout(t.Context(), 40*time.Second) // well under the longest wait
		defer cancel()
		again, err := c.SendMessage(soon, userText("m1", "hello there"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a2a.SendMessageResult(task), again); diff != "" {
			t.Errorf("the same message gave another answer (-want +got):\n%s", diff)
		}

		_, err = c.SendMessage(t.Context(), userText("m1", "something else"))
		if !errors.Is(err, a2a.ErrInvalidParams) || !strings.Contains(err.Error(), "messageId") {
			t.Errorf("the same id with another text: %v, want invalid params on messageId", err)
		}
	})
}

func TestImmediateSendReturnsBeforeTheAnswer(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		c := start(t, "ERRAND_MODEL=standin:delay=50ms").client()
		task := mustSend(t, c, immediately(userText("m1", "hello")))
		if terminal(task) {
			t.Errorf("the task is %s already", task.Status.State)
		}
		done := until(t, c, task.ID, "terminal", terminal)
		if done.Status.State != a2a.TaskStateCompleted {
			t.Errorf("task %+v", done.Status)
		}
	})
}

// events reads a stream to its end.
func events(t *testing.T, seq iter.Seq2[a2a.Event, error]) []a2a.Event {
	t.Helper()
	var all []a2a.Event
	for ev, err := range seq {
		if err != nil {
			t.Errorf("stream: %v", err)
			break
		}
		all = append(all, ev)
	}
	return all
}

func kinds(all []a2a.Event) []string {
	var out []string
	for _, ev := range all {
		switch e := ev.(type) {
		case *a2a.Task:
			out = append(out, "task")
		case *a2a.TaskStatusUpdateEvent:
			out = append(out, string(e.Status.State))
		case *a2a.TaskArtifactUpdateEvent:
			out = append(out, "artifact")
		}
	}
	return out
}

// said joins the events of a stream, as a client does.
func said(all []a2a.Event) string {
	parts := map[a2a.ArtifactID]string{}
	var order []a2a.ArtifactID

	add := func(a *a2a.Artifact, more bool) {
		if _, ok := parts[a.ID]; !ok {
			order = append(order, a.ID)
		}
		if !more {
			parts[a.ID] = ""
		}

		for _, p := range a.Parts {
			parts[a.ID] += p.Text()
		}
	}

	for _, ev := range all {
		switch e := ev.(type) {
		case *a2a.Task:
			for _, a := range e.Artifacts {
				add(a, false)
			}
		case *a2a.TaskArtifactUpdateEvent:
			add(e.Artifact, e.Append)
		}
	}

	var s strings.Builder
	for _, id := range order {
		s.WriteString(parts[id])
	}

	return s.String()
}

func TestStreamBeginsWithTheTaskAndEndsWithItsEnd(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		c := start(t).client()
		all := events(t, c.SendStreamingMessage(t.Context(), userText("m1", "hello")))
		got := kinds(all)
		if len(got) < 3 || got[0] != "task" || got[len(got)-1] != string(a2a.TaskStateCompleted) {
			t.Fatalf("stream of %v", got)
		}
		stored, err := c.GetTask(t.Context(), &a2a.GetTaskRequest{ID: all[0].TaskInfo().TaskID})
		if err != nil {
			t.Fatal(err)
		}
		if said(all) != text(stored) {
			t.Errorf("the stream said %q, the task says %q", said(all), text(stored))
		}
	})
}

func TestAllStreamsOfATaskSayTheSame(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		p := start(t, "ERRAND_MODEL=standin:delay=1s")
		c := p.client()
		task := mustSend(t, c, immediately(userText("m1", "hello")))
		const readers = 3
		streams := make(chan []a2a.Event, readers)

		for range readers {
			go func() {
				streams <- events(t, p.client().SubscribeToTask(context.Background(), &a2a.SubscribeToTaskRequest{ID: task.ID}))
			}()
		}

		for range readers {
			all := <-streams
			if got := kinds(all); len(got) < 2 || got[0] != "task" || got[len(got)-1] != string(a2a.TaskStateCompleted) {
				t.Errorf("stream of %v", got)
			}
			if !strings.Contains(said(all), "hello") {
				t.Errorf("stream said %q", said(all))
			}
		}

		for _, err := range c.SubscribeToTask(t.Context(), &a2a.SubscribeToTaskRequest{ID: task.ID}) {
			if !errors.Is(err, a2a.ErrUnsupportedOperation) {
				t.Errorf("subscribing to an ended task: %v", err)
			}
		}
	})
}

func TestCutStreamIsTakenUpAgain(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		p := start(t, "ERRAND_MODEL=standin:delay=1s")
		c := p.client()
		var id a2a.TaskID
		for ev, err := range c.SendStreamingMessage(t.Context(), userText("m1", "hello")) {
			if err != nil {
				t.Fatal(err)
			}
			id = ev.TaskInfo().TaskID
			break // the client hangs up
		}
		p.kill()
		p.start()
		all := events(t, p.client().SubscribeToTask(t.Context(), &a2a.SubscribeToTaskRequest{ID: id}))
		stored := until(t, p.client(), id, "terminal", terminal)
		if said(all) != text(stored) {
			t.Errorf("the stream said %q, the task says %q", said(all), text(stored))
		}
	})
}

func TestAskAndAnswer(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		c := start(t).client()
		task := mustSend(t, c, userText("m1", "/ask Which colour?"))
		if task.Status.State != a2a.TaskStateInputRequired || task.Status.Message == nil || task.Status.Message.Parts[0].Text() != "Which colour?" {
			t.Fatalf("task %+v", task.Status)
		}

		answer := userText("m2", "blue, please")
		answer.Message.TaskID = task.ID
		done := mustSend(t, c, answer)
		if done.ID != task.ID || done.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(done), "blue") {
			t.Errorf("after the answer: %+v, %q", done.Status, text(done))
		}

		var roles []a2a.MessageRole
		for _, m := range done.History {
			roles = append(roles, m.Role)
		}

		if diff := cmp.Diff([]a2a.MessageRole{a2a.MessageRoleUser, a2a.MessageRoleAgent, a2a.MessageRoleUser}, roles); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}

		late := userText("m3", "one more thing")
		late.Message.TaskID = task.ID
		if _, err := c.SendMessage(t.Context(), late); !errors.Is(err, a2a.ErrUnsupportedOperation) {
			t.Errorf("a message to an ended task: %v", err)
		}

		lost := userText("m4", "hello?")
		lost.Message.TaskID = "nosuchtask"
		if _, err := c.SendMessage(t.Context(), lost); !errors.Is(err, a2a.ErrTaskNotFound) {
			t.Errorf("a message to an unknown task: %v", err)
		}
	})
}

func TestMessageToAWorkingTaskIsAnswered(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		c := start(t, "ERRAND_MODEL=standin:delay=1s").client()
		task := mustSend(t, c, immediately(userText("m1", "first")))
		more := immediately(userText("m2", "second"))
		more.Message.TaskID = task.ID
		mustSend(t, c, more)
		done := until(t, c, task.ID, "terminal", terminal)
		if len(done.History) != 2 || !strings.Contains(text(done), "first") || !strings.Contains(text(done), "second") {
			t.Errorf("history of %d, said %q", len(done.History), text(done))
		}
	})
}

func TestToolIsCalled(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		c := start(t).client()
		task := mustSend(t, c, userText("m1", `/tool clock {"zone":"UTC"}`))
		if task.Status.State != a2a.TaskStateCompleted || !strings.Contains(text(task), "UTC") {
			t.Errorf("task %+v says %q", task.Status, text(task))
		}
	})
}

func TestCancelBeforeDuringAndAfter(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		p := start(t, "ERRAND_MODEL=standin:delay=10m")
		c := p.client()
		task := mustSend(t, c, immediately(userText("m1", "hello")))
		until(t, c, task.ID, "working", func(task *a2a.Task) bool { return task.Status.State == a2a.TaskStateWorking })
		subscribed, stream := make(chan struct{}), make(chan []a2a.Event, 1)

		go func() {
			var once sync.Once
			told := func(yield func(a2a.Event, error) bool) {
				for ev, err := range p.client().SubscribeToTask(context.Background(), &a2a.SubscribeToTaskRequest{ID: task.ID}) {
					once.Do(func() { close(subscribed) })
					if !yield(ev, err) {
						return
					}
				}
			}

			stream <- events(t, told)
		}()

		<-subscribed
		blocked := make(chan *a2a.Task, 1)
		go func() { blocked <- mustSend(t, p.client(), userText("m1", "hello")) }()

		during, err := c.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: task.ID})
		if err != nil || during.Status.State != a2a.TaskStateCanceled {
			t.Fatalf("CancelTask = %+v, %v", during, err)
		}
		if got := <-blocked; got.Status.State != a2a.TaskStateCanceled {
			t.Errorf("the blocked send was answered %s", got.Status.State)
		}
		if got := kinds(<-stream); len(got) == 0 || got[len(got)-1] != string(a2a.TaskStateCanceled) {
			t.Errorf("stream of %v", got)
		}

		_, err = c.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: task.ID})
		if !errors.Is(err, a2a.ErrTaskNotCancelable) {
			t.Errorf("cancelling again: %v", err)
		}
		if _, err := c.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: "nosuchtask"}); !errors.Is(err, a2a.ErrTaskNotFound) {
			t.Errorf("cancelling nothing: %v", err)
		}

		// The model call in flight has ended, so its slot is free: fill all of them.
		var last a2a.TaskID
		for i := range 40 {
			last = mustSend(t, c, immediately(userText(fmt.Sprintf("more-%d", i), "hello"))).ID
		}

		if _, err := c.CancelTask(t.Context(), &a2a.CancelTaskRequest{ID: last}); err != nil { // before its turn
			t.Errorf("cancelling a waiting task: %v", err)
		}
	})
}

func TestListFiltersAndPages(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		c := start(t).client()
		for i := range 7 {
			r := userText(fmt.Sprintf("m%d", i), "hello")
			r.Message.ContextID = []string{"red", "blue"}[i%2]
			mustSend(t, c, r)
		}

		mustSend(t, c, userText("q", "/ask What?"))

		walk := func(req a2a.ListTasksRequest) (ids []a2a.TaskID) {
			for {
				page, err := c.ListTasks(t.Context(), &req)
				if err != nil {
					t.Fatal(err)
				}

				for _, task := range page.Tasks {
					ids = append(ids, task.ID)
					if task.Artifacts != nil && !req.IncludeArtifacts {
						t.Error("artifacts were not asked for")
					}
				}

				if page.NextPageToken == "" {
					if page.TotalSize != len(ids) {
						t.Errorf("totalSize %d, listed %d", page.TotalSize, len(ids))
					}
					return ids
				}

				req.PageToken = page.NextPageToken
			}
		}

		for _, test := range []struct {
			name string
			req  a2a.ListTasksRequest
			want int
		}{
			{"all", a2a.ListTasksRequest{PageSize: 3}, 8},
			{"context", a2a.ListTasksRequest{ContextID: "red", PageSize: 3}, 4},
			{"state", a2a.ListTasksRequest{Status: a2a.TaskStateInputRequired}, 1},
			{"context and state", a2a.ListTasksRequest{ContextID: "blue", Status: a2a.TaskStateCompleted, PageSize: 2}, 3},
			{"nothing", a2a.ListTasksRequest{ContextID: "green"}, 0},
		} {
			ids := walk(test.req)
			seen := map[a2a.TaskID]bool{}
			for _, id := range ids {
				seen[id] = true
			}

			if len(ids) != test.want || len(seen) != test.want {
				t.Errorf("%s: listed %d, %d of them different; want %d", test.name, len(ids), len(seen), test.want)
			}
		}

		page, err := c.ListTasks(t.Context(), &a2a.ListTasksRequest{PageSize: 8, IncludeArtifacts: true})
		if err != nil {
			t.Fatal(err)
		}

		for i, task := range page.Tasks[1:] {
			if page.Tasks[i].Status.Timestamp.Before(*task.Status.Timestamp) {
				t.Error("not newest first")
			}
		}

		after := page.Tasks[3].Status.Timestamp
		since, err := c.ListTasks(t.Context(), &a2a.ListTasksRequest{StatusTimestampAfter: after})
		if err != nil || len(since.Tasks) != 4 {
			t.Errorf("since the fourth newest: %d tasks, %v; want 4, the time included", len(since.Tasks), err)
		}

		first, err := c.ListTasks(t.Context(), &a2a.ListTasksRequest{PageSize: 2})
		if err != nil {
			t.Fatal(err)
		}

		_, err = c.ListTasks(t.Context(), &a2a.ListTasksRequest{PageSize: 2, ContextID: "red", PageToken: first.NextPageToken})
		if !errors.Is(err, a2a.ErrInvalidParams) {
			t.Errorf("a token of another list: %v", err)
		}
	})
}

func TestWebhookIsToldInOrder(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		hooks := newReceiver(t)
		p := start(t, hooks.allow())
		c := p.client()
		req := userText("m1", "/ask Which?")
		req.Config = &a2a.SendMessageConfig{PushConfig: &a2a.PushConfig{URL: hooks.URL + "/inline", Token: "tok"}}
		task := mustSend(t, c, req)
		answer := userText("m2", "that one")
		answer.Message.TaskID = task.ID
		done := mustSend(t, c, answer)

		checkReceipts(t, hooks, "/inline", done)

		late, err := c.CreateTaskPushConfig(t.Context(), &a2a.PushConfig{TaskID: task.ID, ID: "late", URL: hooks.URL + "/late"})
		if err != nil || late.ID != "late" {
			t.Fatalf("CreateTaskPushConfig = %+v, %v", late, err)
		}

		n := len(hooks.receipts("/inline"))
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		end := time.After(patience)

		for len(hooks.receipts("/late")) == 0 {
			select {
			case <-tick.C:
			case <-end:
				t.Fatal("the late webhook was told nothing")
			}
		}

		if got := hooks.receipts("/late")[0]; got.state != string(a2a.TaskStateCompleted) {
			t.Errorf("the late webhook got %+v", got)
		}
		if len(hooks.receipts("/inline")) != n {
			t.Error("the other webhook was told again")
		}

		all, err := c.ListTaskPushConfigs(t.Context(), &a2a.ListTaskPushConfigRequest{TaskID: task.ID})
		if err != nil || len(all) != 2 {
			t.Fatalf("ListTaskPushConfigs = %+v, %v", all, err)
		}

		for _, cfg := range all {
			if cfg.Token != "" {
				t.Error("a token is shown")
			}
		}

		if err := c.DeleteTaskPushConfig(t.Context(), &a2a.DeleteTaskPushConfigRequest{TaskID: task.ID, ID: "late"}); err != nil {
			t.Error(err)
		}
		if err := c.DeleteTaskPushConfig(t.Context(), &a2a.DeleteTaskPushConfigRequest{TaskID: task.ID, ID: "late"}); err != nil {
			t.Errorf("deleting twice: %v", err)
		}

		_, err = c.GetTaskPushConfig(t.Context(), &a2a.GetTaskPushConfigRequest{TaskID: task.ID, ID: "late"})
		if !errors.Is(err, a2a.ErrTaskNotFound) {
			t.Errorf("reading a deleted config: %v", err)
		}

		for _, url := range []string{"http://127.0.0.1:1/x", "https://10.0.0.1/x", "https://metadata.google.internal/", "ftp://x.test/", "https://u:p@x.test/"} {
			_, err := c.CreateTaskPushConfig(t.Context(), &a2a.PushConfig{TaskID: task.ID, URL: url})
			if !errors.Is(err, a2a.ErrInvalidParams) || !strings.Contains(err.Error(), "url") {
				t.Errorf("%s: %v, want invalid params that name url", url, err)
			}
		}
	})
}

func TestStopParksAndGoesOn(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		p := start(t, "ERRAND_MODEL=standin:delay=2s")
		c := p.client()
		task := mustSend(t, c, immediately(userText("m1", "hello")))
		until(t, c, task.ID, "working", func(task *a2a.Task) bool { return task.Status.State == a2a.TaskStateWorking })
		p.stop()
		if !strings.Contains(p.logged(), "parked") {
			t.Error("the running turn was not parked")
		}
		p.start()
		done := until(t, p.client(), task.ID, "terminal", terminal)
		if done.Status.State != a2a.TaskStateCompleted {
			t.Errorf("after the restart: %+v", done.Status)
		}
	})
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t)
	other := &process{t: t, program: "cardserver", dir: p.dir, port: freePort(t)}
	if out := refusal(t, other); !strings.Contains(out, "errand.db") {
		t.Errorf("the second process says %q", out)
	}
}

func TestWrongEnvironmentIsRefusedWithTheRemedy(t *testing.T) {
	for env, want := range map[string]string{
		"ERRAND_STROE=x":                 "ERRAND_STORE",
		"PORT=http":                      "PORT=8080",
		"ERRAND_LISTEN=here":             "0.0.0.0:8080",
		"ERRAND_URL=agent":               "https://",
		"ERRAND_STORE=mongo:x":           "sqlite:",
		"ERRAND_STORE=sqlite::memory:":   "FILE",
		"ERRAND_LISTEN=192.0.2.1:8080":   "an address of this machine",
		"ERRAND_QUEUE=rabbit":            "local",
		"ERRAND_BUS=kafka:":              "local",
		"ERRAND_MODEL=gpt:":              "gemini:",
		"ERRAND_MODEL=gemini:x":          "GEMINI_API_KEY",
		"ERRAND_MODEL=standin:delay=abc": "delay",
		"ERRAND_PUSH_ALLOW=home":         "ERRAND_PUSH_ALLOW",
		"ERRAND_AGENT=/no/such.yaml":     "/no/such.yaml",
	} {
		p := &process{t: t, program: "cardserver", dir: t.TempDir(), port: freePort(t), env: []string{env}}
		if out := refusal(t, p); !strings.Contains(out, want) {
			t.Errorf("%s: the program says %q, want something about %s", env, out, want)
		}
	}
}

func TestListeningBeyondTheMachineIsPointedOut(t *testing.T) {
	open := &process{t: t, program: "cardserver", dir: t.TempDir(), port: freePort(t), env: []string{"ERRAND_LISTEN=0.0.0.0:0"}}
	if out := refusal(t, open); !strings.Contains(out, "ERRAND_ACCESS=anonymous") {
		t.Errorf("without being told that it is meant it says %q", out)
	}
	p := start(t, "ERRAND_LISTEN=0.0.0.0:0", "ERRAND_ACCESS=anonymous")
	for _, want := range []string{"Whoever reaches this address", "ERRAND_URL"} {
		if !strings.Contains(p.logged(), want) {
			t.Errorf("the start does not mention %q", want)
		}
	}
}

func TestOnlyThisMachineIsAnswered(t *testing.T) {
	p := start(t)
	for host, want := range map[string]int{
		"localhost:8080": 200, "127.0.0.1": 200, "[::1]:99": 200, "evil.example": 421, "127.0.0.1.evil.example": 421,
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", p.url()+"/.well-known/agent-card.json", nil)
		if err != nil {
			t.Fatal(err)
		}

		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}

		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("Host %s: %d, want %d", host, res.StatusCode, want)
		}
	}

	page, err := http.Get(p.url() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	body, err := io.ReadAll(page.Body)
	if err != nil || !strings.Contains(string(body), "curl") || !strings.Contains(string(body), p.url()) {
		t.Errorf("the page does not say how to send: %v", err)
	}

	card, err := http.Get(p.url() + "/.well-known/agent-card.json")
	if err != nil {
		t.Fatal(err)
	}
	defer card.Body.Close()
	var got a2a.AgentCard
	if err := json.NewDecoder(card.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.SupportedInterfaces[0].URL != p.url() {
		t.Errorf("the card says %s, the agent is at %s", got.SupportedInterfaces[0].URL, p.url())
	}
}

// A webhook that hangs does not hold up a deployment. The delivery is cut off, counts as no
// attempt, and comes again after the restart.
func TestHangingReceiverDoesNotDelayTheStop(t *testing.T) {
	on(t, func(t *testing.T, start starter) {
		reached, release := make(chan struct{}, 10), make(chan struct{})
		slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			reached <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}))

		t.Cleanup(slow.Close)
		p := start(t, "ERRAND_PUSH_ALLOW="+strings.TrimPrefix(slow.URL, "http://"))
		req := userText("m1", "hello")
		req.Config = &a2a.SendMessageConfig{PushConfig: &a2a.PushConfig{URL: slow.URL + "/"}}
		mustSend(t, p.client(), req)
		<-reached
		p.stop()

		if strings.Contains(p.logged(), "class=timeout") {
			t.Error("the stop has waited until the attempt was given up")
		}

		close(release)
		p.start()

		select {
		case <-reached:
		case <-time.After(patience):
			t.Error("the webhook was not told after the restart")
		}
	})
}
