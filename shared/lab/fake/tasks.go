package fake

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// TasksOptions of a Tasks. The zero value has no queues and sends no tokens.
type TasksOptions struct {
	// Queues exist from the beginning. Their unset fields have the defaults of the service.
	// CreateQueue adds more.
	Queues []*cloudtaskspb.Queue

	// Token issues the ID token for a task that needs one. Without Token no task has one.
	Token func(email, audience string) (string, error)

	Log *slog.Logger // for failed deliveries; default: no log
}

// Tasks is Cloud Tasks in memory. It delivers by real HTTP requests, and loses its tasks when
// it is closed. It differs from the service in three ways: times are exact, a queue starts
// at full speed, and an answer of 429 or 503 slows down only its own task.
type Tasks struct {
	cloudtaskspb.UnimplementedCloudTasksServer
	o      TasksOptions
	client *http.Client
	ctx    context.Context // for all deliveries
	end    context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	queues map[string]*taskQueue
}

// NewTasks returns a Tasks that delivers until Close.
func NewTasks(o TasksOptions) *Tasks {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Tasks{
		o: o, queues: map[string]*taskQueue{},
		client: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	for _, q := range o.Queues {
		s.add(q)
	}
	return s
}

// StartTasks serves a Tasks until the test ends, and returns its address.
func StartTasks(t testing.TB, o TasksOptions) (*Tasks, string) {
	t.Helper()
	s := NewTasks(o)
	addr := serve(t, s.register)
	t.Cleanup(s.Close)
	return s, addr
}

// ServeTasks serves a Tasks on l, until l fails.
func ServeTasks(l net.Listener, o TasksOptions) error {
	s := NewTasks(o)
	defer s.Close()
	g := grpc.NewServer()
	s.register(g)
	return g.Serve(l)
}

func (s *Tasks) register(g *grpc.Server) { cloudtaskspb.RegisterCloudTasksServer(g, s) }

// Close cancels all deliveries and drops all tasks.
func (s *Tasks) Close() {
	s.end()
	s.all.Wait()
	s.client.CloseIdleConnections()
}

// add makes a queue and starts its dispatching.
func (s *Tasks) add(q *cloudtaskspb.Queue) *taskQueue {
	tq := newTaskQueue(s, q)
	s.queues[q.GetName()] = tq
	s.all.Go(tq.run)
	return tq
}

func (s *Tasks) queue(name string) (*taskQueue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queues[name]; q != nil {
		return q, nil
	}
	return nil, status.Errorf(codes.NotFound, "Queue does not exist: %s", name)
}

// locked finds a task by its name. The caller unlocks the queue.
func (s *Tasks) locked(name string) (*taskQueue, *task, error) {
	parent, id, ok := strings.Cut(name, "/tasks/")
	if !ok {
		return nil, nil, status.Errorf(codes.InvalidArgument, "not a task's name: %q", name)
	}
	q, err := s.queue(parent)
	if err != nil {
		return nil, nil, err
	}
	q.mu.Lock()
	t, err := q.find(id)
	if err != nil {
		q.mu.Unlock()
		return nil, nil, err
	}
	return q, t, nil
}

// CreateQueue implements cloudtaskspb.CloudTasksServer.
func (s *Tasks) CreateQueue(_ context.Context, req *cloudtaskspb.CreateQueueRequest) (*cloudtaskspb.Queue, error) {
	name := req.GetQueue().GetName()
	if parent, id, ok := strings.Cut(name, "/queues/"); !ok || parent != req.GetParent() || !queueID.MatchString(id) {
		return nil, status.Errorf(codes.InvalidArgument, "not a queue's name in %q: %q", req.GetParent(), name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queues[name] != nil {
		return nil, status.Errorf(codes.AlreadyExists, "Queue already exists: %s", name)
	}
	return s.add(req.GetQueue()).info(), nil
}

// GetQueue implements cloudtaskspb.CloudTasksServer.
func (s *Tasks) GetQueue(_ context.Context, req *cloudtaskspb.GetQueueRequest) (*cloudtaskspb.Queue, error) {
	q, err := s.queue(req.GetName())
	if err != nil {
		return nil, err
	}
	return q.info(), nil
}

// PauseQueue implements cloudtaskspb.CloudTasksServer.
func (s *Tasks) PauseQueue(_ context.Context, req *cloudtaskspb.PauseQueueRequest) (*cloudtaskspb.Queue, error) {
	return s.setState(req.GetName(), cloudtaskspb.Queue_PAUSED)
}

// ResumeQueue implements cloudtaskspb.CloudTasksServer.
func (s *Tasks) ResumeQueue(_ context.Context, req *cloudtaskspb.ResumeQueueRequest) (*cloudtaskspb.Queue, error) {
	return s.setState(req.GetName(), cloudtaskspb.Queue_RUNNING)
}

func (s *Tasks) setState(name string, state cloudtaskspb.Queue_State) (*cloudtaskspb.Queue, error) {
	q, err := s.queue(name)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	q.pb.State = state
	q.mu.Unlock()
	q.look()
	return q.info(), nil
}

// PurgeQueue implements cloudtaskspb.CloudTasksServer. Running deliveries go on, but are not
// retried.
func (s *Tasks) PurgeQueue(_ context.Context, req *cloudtaskspb.PurgeQueueRequest) (*cloudtaskspb.Queue, error) {
	q, err := s.queue(req.GetName())
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	clear(q.tasks)
	q.pb.PurgeTime = timestamppb.Now()
	q.mu.Unlock()
	return q.info(), nil
}

// CreateTask implements cloudtaskspb.CloudTasksServer.
func (s *Tasks) CreateTask(ctx context.Context, req *cloudtaskspb.CreateTaskRequest) (*cloudtaskspb.Task, error) {
	q, err := s.queue(req.GetParent())
	if err != nil {
		return nil, err
	}
	if err := check(ctx, req); err != nil {
		return nil, err
	}
	t := proto.Clone(req.GetTask()).(*cloudtaskspb.Task)
	if t.Name == "" {
		t.Name = req.GetParent() + "/tasks/" + rand.Text()
	}
	now := time.Now()
	t.CreateTime = timestamppb.New(now.Truncate(time.Second))
	if at := t.GetScheduleTime(); at == nil || at.AsTime().Before(now) {
		t.ScheduleTime = timestamppb.New(now)
	}
	if err := q.put(t); err != nil {
		return nil, err
	}
	return view(t, req.GetResponseView()), nil
}

// GetTask implements cloudtaskspb.CloudTasksServer.
func (s *Tasks) GetTask(_ context.Context, req *cloudtaskspb.GetTaskRequest) (*cloudtaskspb.Task, error) {
	q, t, err := s.locked(req.GetName())
	if err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	return view(t.pb, req.GetResponseView()), nil
}

// DeleteTask implements cloudtaskspb.CloudTasksServer.
func (s *Tasks) DeleteTask(_ context.Context, req *cloudtaskspb.DeleteTaskRequest) (*emptypb.Empty, error) {
	q, t, err := s.locked(req.GetName())
	if err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	delete(q.tasks, t.id)
	return &emptypb.Empty{}, nil
}

// RunTask implements cloudtaskspb.CloudTasksServer. It delivers the task at once, even before
// its time, beyond the queue's limits, and from a paused queue.
func (s *Tasks) RunTask(_ context.Context, req *cloudtaskspb.RunTaskRequest) (*cloudtaskspb.Task, error) {
	q, t, err := s.locked(req.GetName())
	if err != nil {
		return nil, err
	}
	defer q.mu.Unlock()
	if !t.running {
		t.pb.ScheduleTime = timestamppb.Now()
		q.start(t)
	}
	return view(t.pb, req.GetResponseView()), nil
}

// ListTasks implements cloudtaskspb.CloudTasksServer, ordered by name.
func (s *Tasks) ListTasks(_ context.Context, req *cloudtaskspb.ListTasksRequest) (*cloudtaskspb.ListTasksResponse, error) {
	q, err := s.queue(req.GetParent())
	if err != nil {
		return nil, err
	}

	size := int(req.GetPageSize())
	if size <= 0 || size > 1000 {
		size = 1000
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	var ids []string

	for id := range q.tasks {
		if id > req.GetPageToken() {
			ids = append(ids, id)
		}
	}

	slices.Sort(ids)
	resp := &cloudtaskspb.ListTasksResponse{}
	for _, id := range ids[:min(size, len(ids))] {
		resp.Tasks = append(resp.Tasks, view(q.tasks[id].pb, req.GetResponseView()))
	}

	if len(ids) > size {
		resp.NextPageToken = ids[size-1]
	}

	return resp, nil
}

// view returns a copy of t. The basic view has no body.
func view(t *cloudtaskspb.Task, v cloudtaskspb.Task_View) *cloudtaskspb.Task {
	out := proto.Clone(t).(*cloudtaskspb.Task)
	out.View = cloudtaskspb.Task_FULL
	if v != cloudtaskspb.Task_FULL {
		out.View = cloudtaskspb.Task_BASIC
		out.GetHttpRequest().Body = nil
	}
	return out
}

// Owed returns the number of unfinished tasks of a queue, including running ones.
func (s *Tasks) Owed(queue string) int {
	q, err := s.queue(queue)
	if err != nil {
		panic(fmt.Sprint("counting the tasks of a queue: ", err))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tasks)
}
