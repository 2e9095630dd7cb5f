package gcp_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"errand/shared/adapters/gcp"
	"errand/shared/bus"
	"errand/shared/lab/emulator"
	"errand/shared/lab/fake"
	"errand/shared/queue"
	"errand/shared/task"
)

func TestMain(m *testing.M) {
	fake.Main()
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // parallel tests wait for deadlines, not for processors
		panic(err)
	}
	m.Run()
}

// closes closes a client at the end of the test.
func closes(t testing.TB, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// A router forwards bytes between clients and a server. After lose, its connections stay open
// and forward nothing, like those of a router that has forgotten them.
type router struct {
	net.Listener
	mu   sync.Mutex
	ends []net.Conn
	lost chan struct{}
}

func newRouter(t *testing.T, server string) *router {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	r := &router{Listener: l, lost: make(chan struct{})}
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, c := range r.ends {
			c.Close()
		}
	})

	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}

			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}

			r.mu.Lock()
			r.ends = append(r.ends, in, out)
			lost := r.lost
			r.mu.Unlock()
			go pass(out, in, lost)
			go pass(in, out, lost)
		}
	}()

	return r
}

// pass forwards bytes until the connection is lost. After that it drops them.
func pass(to io.Writer, from io.Reader, lost chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-lost:
		default:
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// lose loses the current connections. New ones work.
func (r *router) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.lost)
	r.lost = make(chan struct{})
}

func TestAddFindsOutThatItsConnectionIsLost(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(target.Close)
	_, addr := fake.StartTasks(t, fake.TasksOptions{Queues: queues()})
	r := newRouter(t, addr)
	q := openQueue(t, gcp.QueueConfig{Worker: target.URL, Functions: target.URL, Endpoint: r.Addr().String()})
	job := queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"}
	if err := q.Add(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10500 * time.Millisecond) // the process stands still
	r.lose()
	start := time.Now()
	if err := q.Add(t.Context(), job); err != nil {
		t.Errorf("Add on a lost connection = %v after %v", err, time.Since(start))
	}
}

// This test does not use the emulator, because a client of the emulator ignores the options
// for connections.
func TestFirestoreFindsOutThatItsConnectionIsLost(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	srv := grpc.NewServer()
	pb.RegisterFirestoreServer(srv, empty{})
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	r := newRouter(t, l.Addr().String())
	f, err := gcp.OpenFirestore(t.Context(), "p", "d", gcp.FirestoreOptions{Options: []option.ClientOption{
		option.WithEndpoint(r.Addr().String()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = f.Close() })
	load := func() error { _, err := f.Load(t.Context(), "a"); return err }
	if err := load(); !errors.Is(err, task.ErrNotFound) {
		t.Fatal(err)
	}

	time.Sleep(10500 * time.Millisecond) // the process stands still
	r.lose()
	start := time.Now()
	if err := load(); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("Load on a lost connection = %v after %v", err, time.Since(start))
	}
}

// empty is a database without documents.
type empty struct {
	pb.UnimplementedFirestoreServer
}

func (empty) BatchGetDocuments(req *pb.BatchGetDocumentsRequest, s pb.Firestore_BatchGetDocumentsServer) error {
	for _, name := range req.GetDocuments() {
		if err := s.Send(&pb.BatchGetDocumentsResponse{
			Result: &pb.BatchGetDocumentsResponse_Missing{Missing: name}, ReadTime: timestamppb.Now(),
		}); err != nil {
			return err
		}
	}
	return nil
}

// After a kill both services have lost their state. Calls fail meanwhile, and succeed as soon
// as the services are back.
func TestServicesComeBack(t *testing.T) {
	t.Parallel()
	t.Run("Queue", func(t *testing.T) {
		t.Parallel()
		p := fake.StartTasksProcess(t, "", queues()...)
		q := openQueue(t, gcp.QueueConfig{Worker: "http://127.0.0.1:1", Functions: "http://127.0.0.1:1", Endpoint: p.Addr})
		job := queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"}
		comesBack(t, func() error { return q.Add(t.Context(), job) }, p.Kill, func() { p.Restart(t) })
	})

	t.Run("Topic", func(t *testing.T) {
		t.Parallel()
		p := emulator.Start(t, emulator.KindPubSub)
		b := openPublisher(t, gcp.PublisherConfig{Topic: "projects/p/topics/events", Endpoint: p.Host})
		subscribe(t, p.Host, "projects/p", "http://127.0.0.1:1"+bus.PathEvents)
		publish := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // Publish would retry for ten seconds
			defer cancel()
			return b.Publish(ctx, events(1)...)
		}

		comesBack(t, publish, p.Kill, func() {
			p.Restart(t)
			if err := publish(); err == nil {
				t.Error("Publish = nil on a topic that no longer exists")
			}
			subscribe(t, p.Host, "projects/p", "http://127.0.0.1:1"+bus.PathEvents)
		})
	})
}

func comesBack(t *testing.T, use func() error, kill, restart func()) {
	t.Helper()
	if err := use(); err != nil {
		t.Fatal(err)
	}
	kill()
	if err := use(); err == nil {
		t.Error("the call succeeds without the service")
	}
	restart()
	for end := time.Now().Add(patience); ; {
		err := use()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after the restart the call still fails: %v", err)
		}
	}
}
