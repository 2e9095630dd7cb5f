package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/lab/conformance"
	"errand/shared/lab/postgres"
)

// A receipt is one webhook call as its receiver saw it.
type receipt struct {
	note  int
	state string
	late  bool // the call had the whole task
	conn  int  // the connection that it came by
}

// A receiver keeps the calls to it, by path. It numbers connections in the order in which
// they were made, so that it knows from which life of a program a call came, however late
// it gets to read it.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	got   map[string][]receipt
	conns int
}

// connKey is the context key of a connection's number.
type connKey struct{}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{got: map[string][]receipt{}}

	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		conn := req.Context().Value(connKey{}).(int)
		if req.Method == http.MethodGet { // from between
			fmt.Fprint(w, conn)
			return
		}

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

		got := receipt{note: note, conn: conn}
		switch e := ev.Event.(type) {
		case *a2a.TaskStatusUpdateEvent:
			got.state = string(e.Status.State)
		case *a2a.Task:
			got.state, got.late = string(e.Status.State), true
		}

		r.mu.Lock()
		defer r.mu.Unlock()
		r.got[req.URL.Path] = append(r.got[req.URL.Path], got)
	}))

	r.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { // called for one connection at a time
		r.conns++
		return context.WithValue(ctx, connKey{}, r.conns)
	}
	r.Start()
	t.Cleanup(r.Close)
	return r
}

// between makes a connection while the sender is dead. Its number is above those of the
// connections that the sender made before, and below those that it makes later.
func (r *receiver) between(t *testing.T) int {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get(r.URL)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer res.Body.Close()

	var n int
	if _, err := fmt.Fscan(res.Body, &n); err != nil {
		t.Error(err)
	}
	return n
}

// duplicates are the connections by which a repeated call came first and came again; all
// counts all calls.
func (r *receiver) duplicates() (again [][2]int, all int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, got := range r.got {
		seen := map[int]int{}
		for _, one := range got {
			if before, ok := seen[one.note]; ok {
				again = append(again, [2]int{before, one.conn})
			}
			seen[one.note] = one.conn
			all++
		}
	}
	return again, all
}

func (r *receiver) allow() string { return "ERRAND_PUSH_ALLOW=" + strings.TrimPrefix(r.URL, "http://") }

// heard is how many webhooks have got something.
func (r *receiver) heard() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

func (r *receiver) receipts(path string) []receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]receipt(nil), r.got[path]...)
}

// TestKilledAtAnyMoment is the promise in short: every accepted message is answered, once,
// and its events are delivered in order, however often the process dies.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(*testing.T) []string{
		"SQLite":   func(*testing.T) []string { return nil },
		"Postgres": func(t *testing.T) []string { return alone(t, postgres.Database(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			messages, kills := conformance.Long(150, 500, 1000), conformance.Long(5, 20, 40)
			hooks := newReceiver(t)
			p := start(t, append(store(t), "ERRAND_MODEL=standin:delay=3ms", hooks.allow())...)
			l := newLoad(t, p, hooks, messages)
			disturbed := l.disturb(kills, func() {
				time.Sleep(time.Duration(20+rand.IntN(260)) * time.Millisecond) // the moment of the crash
				p.kill()
				p.start()
			})
			l.send(time.Duration(kills) * 150 * time.Millisecond)
			<-disturbed
			l.verdict(patience)
		})
	}
}

// A load is messages that are sent while something dies, and the expectation for them: a
// fifth is sent twice, a tenth is cancelled, a third has a webhook.
type load struct {
	t         *testing.T
	ctx       context.Context // of sending
	p         deployment
	hooks     *receiver
	each      int // webhooks of every message instead
	ids       []a2a.TaskID
	cancelled []error // of those that asked for it; nil: the answer was success
}

func newLoad(t *testing.T, p deployment, hooks *receiver, messages int) *load {
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	t.Cleanup(cancel)
	return &load{t: t, ctx: ctx, p: p, hooks: hooks, ids: make([]a2a.TaskID, messages), cancelled: make([]error, messages)}
}

// disturb does something again and again beside the sending. The channel is closed at its
// end.
func (l *load) disturb(times int, do func()) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for n := range times {
			if l.ctx.Err() != nil {
				l.t.Errorf("disturbed %d times, want %d", n, times)
				return
			}
			do()
		}
	}()
	return over
}

// send sends all messages and gets every answer. The sends are spread over some time, so
// that there is work at each disturbance.
func (l *load) send(over time.Duration) {
	sending := make(chan int)
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			c := l.p.client()
			for i := range sending {
				l.one(c, i)
			}
		})
	}
	for i := range l.ids {
		time.Sleep(over / time.Duration(len(l.ids)))
		sending <- i
	}
	close(sending)
	senders.Wait()
}

func (l *load) one(c operations, i int) {
	req := immediately(userText(fmt.Sprintf("m%d", i), fmt.Sprintf("message %d", i)))
	paths := l.paths(i)
	if len(paths) > 0 {
		req.Config.PushConfig = &a2a.PushConfig{URL: l.hooks.URL + paths[0]}
	}

	times := 1
	if i%5 == 0 {
		times = 2
	}

	for range times {
		id := persist(l.ctx, l.t, func() (a2a.TaskID, error) {
			res, err := c.SendMessage(l.ctx, req)
			if err != nil {
				return "", err
			}
			return res.(*a2a.Task).ID, nil
		})
		if l.ids[i] != "" && l.ids[i] != id {
			l.t.Errorf("message %d made the tasks %s and %s", i, l.ids[i], id)
		}

		l.ids[i] = id
	}

	for _, path := range paths[min(1, len(paths)):] {
		persist(l.ctx, l.t, func() (*a2a.PushConfig, error) {
			return c.CreateTaskPushConfig(l.ctx, &a2a.PushConfig{TaskID: l.ids[i], URL: l.hooks.URL + path})
		})
	}

	if i%10 == 7 {
		l.cancelled[i] = persist(l.ctx, l.t, func() (error, error) {
			_, err := c.CancelTask(l.ctx, &a2a.CancelTaskRequest{ID: l.ids[i]})
			if err == nil || strings.Contains(err.Error(), "already ended") {
				return err, nil
			}
			return nil, err
		})
	}
}

// paths are those of a message's webhooks.
func (l *load) paths(i int) (paths []string) {
	n := l.each
	if n == 0 && i%3 == 0 {
		n = 1
	}
	for k := range n {
		paths = append(paths, fmt.Sprintf("/hook/%d/%d", i, k))
	}
	return paths
}

// hear waits until every webhook has got something. A busy machine takes its time for
// thousands of them: hear gives up if no other webhook gets anything for so long.
func (l *load) hear(within time.Duration) {
	all := 0
	for i := range l.ids {
		all += len(l.paths(i))
	}
	for n, last := -1, time.Now(); n < all && time.Since(last) < within; time.Sleep(100 * time.Millisecond) {
		if now := l.hooks.heard(); now > n {
			n, last = now, time.Now()
		}
	}
}

// verdict checks that every message has its one task, that each task ends in time and as
// its client heard, and that its webhook gets all events in order.
func (l *load) verdict(within time.Duration) {
	l.hear(within)
	t, c, began := l.t, l.p.client(), time.Now()
	states := map[a2a.TaskState]int{}

	for i, id := range l.ids {
		left := within - time.Since(began)
		task := untilWithin(t, left, c, id, "terminal", terminal)
		states[task.Status.State]++
		if task.Status.State == a2a.TaskStateCompleted && !strings.Contains(text(task), fmt.Sprintf("message %d", i)) {
			t.Errorf("task %s answers something else: %q", id, text(task))
		}
		if task.Status.State == a2a.TaskStateFailed {
			t.Errorf("task %s failed: %v", id, task.Status.Message)
		}
		if i%10 == 7 && l.cancelled[i] == nil && task.Status.State != a2a.TaskStateCanceled {
			t.Errorf("task %s: cancel succeeded and the task is %s", id, task.Status.State)
		}

		for _, path := range l.paths(i) {
			checkReceiptsWithin(t, within-time.Since(began), l.hooks, path, task)
		}
	}

	drained := time.Since(began)
	list, err := c.ListTasks(t.Context(), &a2a.ListTasksRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	if list.TotalSize != len(l.ids) {
		t.Errorf("there are %d tasks, want %d", list.TotalSize, len(l.ids))
	}
	if conformance.Full() && (states[a2a.TaskStateCompleted] == 0 || states[a2a.TaskStateCanceled] == 0) {
		t.Errorf("states %v: the test did not reach both outcomes", states)
	}

	t.Logf("%d messages: %v, %v after the last disturbance", len(l.ids), states, drained.Round(10*time.Millisecond))
}

// persist repeats op until it succeeds, as a client does that has lost its server.
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

// checkReceipts waits for the last notification and checks that the first receipts are in order and
// complete.
func checkReceipts(t *testing.T, hooks *receiver, path string, task *a2a.Task) {
	t.Helper()
	checkReceiptsWithin(t, patience, hooks, path, task)
}

func checkReceiptsWithin(t *testing.T, within time.Duration, hooks *receiver, path string, task *a2a.Task) {
	t.Helper()
	end := time.After(within)

	for {
		got := hooks.receipts(path)
		next, last := 1, ""
		if len(got) > 0 && got[0].late {
			next = got[0].note // registered after the end of the task: it gets only the end
		}

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
