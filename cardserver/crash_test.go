package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// A receipt is one webhook call as its receiver saw it.
type receipt struct {
	note  int
	state string
}

// A receiver keeps what it was sent, by path.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	got map[string][]receipt
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{got: map[string][]receipt{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the sender was killed while sending
		}
		id := req.Header.Get("webhook-id")
		note, err := strconv.Atoi(id[strings.LastIndexAny(id, "-/")+1:])
		if err != nil {
			t.Errorf("webhook-id %q", id)
		}
		var ev a2a.StreamResponse
		if err := json.Unmarshal(body, &ev); err != nil {
			t.Errorf("webhook body: %v", err)
			return
		}
		got := receipt{note: note}
		switch e := ev.Event.(type) {
		case *a2a.TaskStatusUpdateEvent:
			got.state = string(e.Status.State)
		case *a2a.Task:
			got.state = string(e.Status.State)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got[req.URL.Path] = append(r.got[req.URL.Path], got)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) allow() string { return "ERRAND_PUSH_ALLOW=" + strings.TrimPrefix(r.URL, "http://") }

func (r *receiver) receipts(path string) []receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]receipt(nil), r.got[path]...)
}

// TestKilledAtAnyMoment is the promise in short: whatever was accepted is answered,
// once, and told in order, however often the process dies.
func TestKilledAtAnyMoment(t *testing.T) {
	messages, kills := 1000, 40
	if testing.Short() {
		messages, kills = 150, 8
	}
	hooks := newReceiver(t)
	p := start(t, "ERRAND_MODEL=standin:delay=3ms", hooks.allow())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	ids := make([]a2a.TaskID, messages)
	cancelled := make([]error, messages) // of those that asked for it; nil: the answer was success
	sending := make(chan int)
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			c := p.client()
			for i := range sending {
				req := immediately(userText(fmt.Sprintf("m%d", i), fmt.Sprintf("message %d", i)))
				if i%3 == 0 {
					req.Config.PushConfig = &a2a.PushConfig{URL: fmt.Sprintf("%s/hook/%d", hooks.URL, i)}
				}
				times := 1
				if i%5 == 0 {
					times = 2
				}
				for range times {
					id := persist(ctx, t, func() (a2a.TaskID, error) {
						res, err := c.SendMessage(ctx, req)
						if err != nil {
							return "", err
						}
						return res.(*a2a.Task).ID, nil
					})
					if ids[i] != "" && ids[i] != id {
						t.Errorf("message %d made the tasks %s and %s", i, ids[i], id)
					}
					ids[i] = id
				}
				if i%10 == 7 {
					cancelled[i] = persist(ctx, t, func() (error, error) {
						_, err := c.CancelTask(ctx, &a2a.CancelTaskRequest{ID: ids[i]})
						if err == nil || strings.Contains(err.Error(), "already ended") {
							return err, nil
						}
						return nil, err
					})
				}
			}
		})
	}
	killed := make(chan int)
	go func() {
		n := 0
		defer func() { killed <- n }()
		for n < kills && ctx.Err() == nil {
			time.Sleep(time.Duration(20+rand.IntN(260)) * time.Millisecond) // the moment of the crash
			p.kill()
			n++
			p.start()
		}
	}()
	for i := range messages {
		// The sends are spread over the kills, so that there is work at each.
		time.Sleep(time.Duration(kills) * 150 * time.Millisecond / time.Duration(messages))
		sending <- i
	}
	close(sending)
	senders.Wait()
	if n := <-killed; n < kills {
		t.Fatalf("killed %d times, want %d", n, kills)
	}

	c := p.client()
	states := map[a2a.TaskState]int{}
	for i, id := range ids {
		task := until(t, c, id, "terminal", terminal)
		states[task.Status.State]++
		if task.Status.State == a2a.TaskStateCompleted && !strings.Contains(text(task), fmt.Sprintf("message %d", i)) {
			t.Errorf("task %s answers something else: %q", id, text(task))
		}
		if task.Status.State == a2a.TaskStateFailed {
			t.Errorf("task %s failed: %v", id, task.Status.Message)
		}
		if i%10 == 7 && cancelled[i] == nil && task.Status.State != a2a.TaskStateCanceled {
			t.Errorf("task %s: cancel succeeded and the task is %s", id, task.Status.State)
		}
		if i%3 == 0 {
			checkReceipts(t, hooks, fmt.Sprintf("/hook/%d", i), task)
		}
	}
	list, err := c.ListTasks(ctx, &a2a.ListTasksRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	if list.TotalSize != messages {
		t.Errorf("there are %d tasks, want %d", list.TotalSize, messages)
	}
	if states[a2a.TaskStateCompleted] == 0 || states[a2a.TaskStateCanceled] == 0 {
		t.Errorf("states %v: the test did not reach both outcomes", states)
	}
	t.Logf("%d messages, %d kills: %v", messages, kills, states)
}

// persist repeats op until it succeeds, as a client that lost its server does.
func persist[T any](ctx context.Context, t *testing.T, op func() (T, error)) T {
	for {
		v, err := op()
		if err == nil {
			return v
		}
		select {
		case <-ctx.Done():
			t.Errorf("gave up: %v", err)
			return v
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// checkReceipts waits for the last note and sees that each first receipt was in
// order and none is missing.
func checkReceipts(t *testing.T, hooks *receiver, path string, task *a2a.Task) {
	t.Helper()
	end := time.After(30 * time.Second)
	for {
		got := hooks.receipts(path)
		next, last := 1, ""
		for _, r := range got {
			switch {
			case r.note == next:
				next, last = next+1, r.state
			case r.note > next:
				t.Errorf("%s: note %d came before note %d", path, r.note, next)
				return
			}
		}
		if last == string(task.Status.State) {
			return
		}
		select {
		case <-end:
			t.Errorf("%s: got %v, the task is %s", path, got, task.Status.State)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
