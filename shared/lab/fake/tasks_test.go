package fake_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"errand/shared/lab/fake"
)

func TestMain(m *testing.M) {
	fake.Main()
	m.Run()
}

const (
	parent = "projects/p/locations/l"
	turns  = parent + "/queues/turns"

	patience = 2 * time.Minute // for events that must come
)

// A world is a queue, the real client, and a target that keeps its requests.
type world struct {
	t      *testing.T
	tasks  *fake.Tasks
	client *cloudtasks.Client
	target *httptest.Server
	seen   chan *http.Request
	answer atomic.Value // func(http.ResponseWriter, *http.Request)
}

func newWorld(t *testing.T, q *cloudtaskspb.Queue) *world {
	w := &world{t: t, seen: make(chan *http.Request, 1000)}
	w.target = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.seen <- r
		if f, ok := w.answer.Load().(func(http.ResponseWriter, *http.Request)); ok {
			f(rw, r)
		}
	}))
	t.Cleanup(w.target.Close)
	q.Name = turns
	var addr string
	w.tasks, addr = fake.StartTasks(t, fake.TasksOptions{Queues: []*cloudtaskspb.Queue{q}})
	w.client = dial(t, addr)
	return w
}

func dial(t *testing.T, addr string) *cloudtasks.Client {
	t.Helper()
	c, err := cloudtasks.NewClient(t.Context(), option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (w *world) task(name string) *cloudtaskspb.Task {
	t := &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
		Url: w.target.URL + "/turns", Body: []byte("body"), Headers: map[string]string{"X-CloudTasks-TaskName": "forged", "X-Own": "kept"},
	}}}
	if name != "" {
		t.Name = turns + "/tasks/" + name
	}
	return t
}

func (w *world) create(t *cloudtaskspb.Task) *cloudtaskspb.Task {
	w.t.Helper()
	made, err := w.client.CreateTask(w.t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: turns, Task: t})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

func (w *world) next() *http.Request {
	w.t.Helper()
	select {
	case r := <-w.seen:
		return r
	case <-time.After(patience):
		w.t.Fatal("no delivery in time")
		panic("unreachable")
	}
}

// settled waits until the queue has n unfinished tasks.
func (w *world) settled(n int) {
	w.t.Helper()
	for end := time.Now().Add(patience); w.tasks.Owed(turns) != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%d tasks are unfinished, want %d", w.tasks.Owed(turns), n)
		}
	}
}

// always answers every request with a status.
func always(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestHeadersAreTheService(t *testing.T) {
	w := newWorld(t, &cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(time.Millisecond)}})
	var calls atomic.Int32
	w.answer.Store(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader([]int{503, 404, 204}[calls.Add(1)-1])
	})
	w.create(w.task("named"))
	for i, want := range []map[string]string{
		{"TaskRetryCount": "0", "TaskExecutionCount": "0", "TaskPreviousResponse": ""},
		{"TaskRetryCount": "1", "TaskExecutionCount": "0", "TaskPreviousResponse": "503"},
		{"TaskRetryCount": "2", "TaskExecutionCount": "1", "TaskPreviousResponse": "404"},
	} {
		h := w.next().Header
		want["QueueName"], want["TaskName"] = "turns", "named"
		for name, value := range want {
			if got := h.Get("X-CloudTasks-" + name); got != value {
				t.Errorf("try %d: %s is %q, want %q", i, name, got, value)
			}
		}
		if h.Get("X-Own") != "kept" || h.Get("User-Agent") != "Google-Cloud-Tasks" || h.Get("X-CloudTasks-TaskETA") == "" {
			t.Errorf("try %d has the headers %v", i, h)
		}
	}
	w.settled(0)
}

func TestNamesStayTaken(t *testing.T) {
	w := newWorld(t, &cloudtaskspb.Queue{})
	w.create(w.task("once"))
	w.next()
	w.settled(0)
	_, err := w.client.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: turns, Task: w.task("once")})
	if status.Code(err) != codes.AlreadyExists {
		t.Errorf("the second task with the name = %v, want ALREADY_EXISTS", err)
	}
	if a, b := w.create(w.task("")), w.create(w.task("")); a.Name == b.Name {
		t.Errorf("two tasks without a name both got the name %s", a.Name)
	}
}

func TestPauseListRunDeleteAndPurge(t *testing.T) {
	w := newWorld(t, &cloudtaskspb.Queue{})
	ctx := t.Context()
	q, err := w.client.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: turns})
	if err != nil || q.State != cloudtaskspb.Queue_PAUSED {
		t.Fatalf("PauseQueue = %v, %v", q, err)
	}

	for i := range 5 {
		w.create(w.task(fmt.Sprintf("task-%d", i)))
	}

	var names []string
	for it := w.client.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: turns, PageSize: 2}); ; {
		task, err := it.Next()
		if err == iterator.Done {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if task.GetHttpRequest().GetBody() != nil {
			t.Error("the basic view has the body")
		}

		names = append(names, strings.TrimPrefix(task.Name, turns+"/tasks/"))
	}

	if got := strings.Join(names, " "); got != "task-0 task-1 task-2 task-3 task-4" {
		t.Errorf("the list has %s", got)
	}

	full, err := w.client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: turns + "/tasks/task-0", ResponseView: cloudtaskspb.Task_FULL})
	if err != nil || string(full.GetHttpRequest().GetBody()) != "body" {
		t.Errorf("GetTask = %v, %v", full, err)
	}

	// RunTask delivers a task of a paused queue.
	if _, err := w.client.RunTask(ctx, &cloudtaskspb.RunTaskRequest{Name: turns + "/tasks/task-3"}); err != nil {
		t.Fatal(err)
	}
	if got := w.next().Header.Get("X-CloudTasks-TaskName"); got != "task-3" {
		t.Errorf("delivered %s, want the task of RunTask", got)
	}

	w.settled(4)
	if err := w.client.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: turns + "/tasks/task-0"}); err != nil {
		t.Fatal(err)
	}

	for _, gone := range []string{"task-0", "task-3", "never"} {
		if _, err := w.client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: turns + "/tasks/" + gone}); status.Code(err) != codes.NotFound {
			t.Errorf("GetTask(%s) = %v, want NOT_FOUND", gone, err)
		}
	}

	if _, err := w.client.PurgeQueue(ctx, &cloudtaskspb.PurgeQueueRequest{Name: turns}); err != nil {
		t.Fatal(err)
	}

	w.settled(0)
	w.create(w.task("last"))
	if _, err := w.client.ResumeQueue(ctx, &cloudtaskspb.ResumeQueueRequest{Name: turns}); err != nil {
		t.Fatal(err)
	}
	if got := w.next().Header.Get("X-CloudTasks-TaskName"); got != "last" {
		t.Errorf("delivered %s after the purge", got)
	}
}

func TestBackoffDoublesThenGrowsEvenly(t *testing.T) {
	w := newWorld(t, &cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{
		MinBackoff: durationpb.New(10 * time.Millisecond), MaxBackoff: durationpb.New(100 * time.Millisecond), MaxDoublings: 2, MaxAttempts: 7,
	}})
	came := make(chan time.Time, 10)
	w.answer.Store(func(rw http.ResponseWriter, _ *http.Request) {
		came <- time.Now() // before the answer, which starts the wait
		rw.WriteHeader(500)
	})
	w.create(w.task(""))
	last := <-came
	for i, least := range []time.Duration{10, 20, 40, 80, 100, 100} { // 40·2, then 40·3 but at most 100
		now := <-came
		if wait := now.Sub(last); wait < least*time.Millisecond {
			t.Errorf("try %d came %v after the one before, want at least %v", i+2, wait, least*time.Millisecond)
		}
		last = now
	}
	w.settled(0) // given up after seven
}

// The number of attempts does not end a task before its time is over.
func TestRetriesEndWhenAttemptsAndTimeAreUsedUp(t *testing.T) {
	w := newWorld(t, &cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{
		MinBackoff: durationpb.New(10 * time.Millisecond), MaxBackoff: durationpb.New(10 * time.Millisecond),
		MaxAttempts: 2, MaxRetryDuration: durationpb.New(500 * time.Millisecond),
	}})
	w.answer.Store(always(500))
	start := time.Now()
	w.create(w.task(""))
	w.settled(0)
	if took := time.Since(start); took < 500*time.Millisecond || len(w.seen) < 3 {
		t.Errorf("given up after %v and %d tries", took, len(w.seen))
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	w := newWorld(t, &cloudtaskspb.Queue{RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(time.Millisecond)}})
	w.answer.Store(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "3600")
		rw.WriteHeader(http.StatusTooManyRequests)
	})
	made := w.create(w.task(""))
	w.next()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got, err := w.client.GetTask(t.Context(), &cloudtaskspb.GetTaskRequest{Name: made.Name})
		if err != nil {
			t.Fatal(err)
		}
		if time.Until(got.ScheduleTime.AsTime()) > 59*time.Minute {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the next try is at %v", got.ScheduleTime.AsTime())
		}
	}
}

func TestLimits(t *testing.T) {
	t.Run("Concurrency", func(t *testing.T) {
		w := newWorld(t, &cloudtaskspb.Queue{RateLimits: &cloudtaskspb.RateLimits{MaxConcurrentDispatches: 3}})
		release := make(chan struct{})
		var now atomic.Int32

		w.answer.Store(func(http.ResponseWriter, *http.Request) {
			if n := now.Add(1); n > 3 {
				t.Errorf("%d run at the same time, want at most 3", n)
			}
			<-release
			now.Add(-1)
		})

		for range 20 {
			w.create(w.task(""))
		}

		for range 3 {
			w.next()
		}

		close(release)
		w.settled(0)
	})

	t.Run("Rate", func(t *testing.T) {
		w := newWorld(t, &cloudtaskspb.Queue{RateLimits: &cloudtaskspb.RateLimits{MaxDispatchesPerSecond: 50, MaxBurstSize: 5}})
		start := time.Now()
		for range 25 {
			w.create(w.task(""))
		}

		w.settled(0)
		if took := time.Since(start); took < 380*time.Millisecond {
			t.Errorf("25 tasks took %v, want 5 at once and 20 in 400 ms", took)
		}
	})
}

func TestInvalidRequestsAreRefused(t *testing.T) {
	w := newWorld(t, &cloudtaskspb.Queue{})
	http := func(t *cloudtaskspb.Task) *cloudtaskspb.HttpRequest { return t.GetHttpRequest() }
	for name, change := range map[string]func(*cloudtaskspb.Task){
		"no request":     func(t *cloudtaskspb.Task) { t.MessageType = nil },
		"no URL":         func(t *cloudtaskspb.Task) { http(t).Url = "worker/turns" },
		"long URL":       func(t *cloudtaskspb.Task) { http(t).Url += "?" + strings.Repeat("x", 3000) },
		"size":           func(t *cloudtaskspb.Task) { http(t).Body = make([]byte, 100_001) },
		"headers":        func(t *cloudtaskspb.Task) { http(t).Headers["X-Long"] = strings.Repeat("x", 80_000) },
		"body of a GET":  func(t *cloudtaskspb.Task) { http(t).HttpMethod = cloudtaskspb.HttpMethod_GET },
		"other queue":    func(t *cloudtaskspb.Task) { t.Name = parent + "/queues/other/tasks/a" },
		"name":           func(t *cloudtaskspb.Task) { t.Name = turns + "/tasks/a b" },
		"too far ahead":  func(t *cloudtaskspb.Task) { t.ScheduleTime = timestamppb.New(time.Now().AddDate(0, 0, 31)) },
		"short deadline": func(t *cloudtaskspb.Task) { t.DispatchDeadline = durationpb.New(time.Second) },
		"long deadline":  func(t *cloudtaskspb.Task) { t.DispatchDeadline = durationpb.New(time.Hour) },
		"no e-mail": func(t *cloudtaskspb.Task) {
			http(t).AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{}}
		},
	} {
		task := w.task("")
		change(task)
		if _, err := w.client.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: turns, Task: task}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want INVALID_ARGUMENT", name, err)
		}
	}

	long, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := w.client.CreateTask(long, &cloudtaskspb.CreateTaskRequest{Parent: turns, Task: w.task("")}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a call with a deadline of a minute: %v, want INVALID_ARGUMENT", err)
	}
	if _, err := w.client.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: parent + "/queues/none", Task: w.task("")}); status.Code(err) != codes.NotFound {
		t.Errorf("a missing queue: %v, want NOT_FOUND", err)
	}
}

func TestQueuesAreMade(t *testing.T) {
	w := newWorld(t, &cloudtaskspb.Queue{})
	req := &cloudtaskspb.CreateQueueRequest{Parent: parent, Queue: &cloudtaskspb.Queue{Name: parent + "/queues/new"}}
	made, err := w.client.CreateQueue(t.Context(), req)
	if err != nil || made.RetryConfig.MaxAttempts != 100 || made.RateLimits.MaxDispatchesPerSecond != 500 {
		t.Fatalf("CreateQueue = %v, %v; want the service's defaults", made, err)
	}
	if _, err := w.client.CreateQueue(t.Context(), req); status.Code(err) != codes.AlreadyExists {
		t.Errorf("the second = %v, want ALREADY_EXISTS", err)
	}
	if _, err := w.client.GetQueue(t.Context(), &cloudtaskspb.GetQueueRequest{Name: req.Queue.Name}); err != nil {
		t.Error(err)
	}
}

// After a kill the process has its queues and no tasks.
func TestProcessIsKilledAndForgets(t *testing.T) {
	issuer := fake.NewIssuer(t)
	seen := make(chan string, 10)
	tokens := make(chan string, 10)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		tokens <- r.Header.Get("Authorization")
		seen <- string(body)
	}))

	t.Cleanup(target.Close)
	p := fake.StartTasksProcess(t, issuer.URL, &cloudtaskspb.Queue{Name: turns})
	client := dial(t, p.Addr)

	add := func(body string, at time.Time) {
		t.Helper()
		for end := time.Now().Add(patience); ; {
			_, err := client.CreateTask(t.Context(), &cloudtaskspb.CreateTaskRequest{Parent: turns, Task: &cloudtaskspb.Task{
				ScheduleTime: timestamppb.New(at),
				MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
					Url: target.URL, Body: []byte(body),
					AuthorizationHeader: &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{
						ServiceAccountEmail: "invoker@p.iam.gserviceaccount.com", Audience: target.URL,
					}},
				}},
			}})
			if err == nil {
				return
			}

			if status.Code(err) != codes.Unavailable || time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}

	add("first", time.Time{})
	if got := <-seen; got != "first" {
		t.Errorf("delivered %q", got)
	}
	if got := claims(t, issuer, <-tokens); got["aud"] != target.URL || got["email"] != "invoker@p.iam.gserviceaccount.com" {
		t.Errorf("claims %v", got)
	}

	for range 3 {
		add("later", time.Now().Add(time.Hour))
		p.Kill()
		p.Restart(t)
		add("again", time.Time{})
		if got := <-seen; got != "again" {
			t.Errorf("delivered %q", got)
		}

		it := client.ListTasks(t.Context(), &cloudtaskspb.ListTasksRequest{Parent: turns})
		for {
			task, err := it.Next()
			if err == iterator.Done {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if time.Until(task.ScheduleTime.AsTime()) > 0 {
				t.Errorf("%s survived the kill", task.Name)
			}
		}
	}
}
