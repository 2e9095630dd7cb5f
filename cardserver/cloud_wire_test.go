package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"errand/shared/lab/conformance"
	"errand/shared/lab/emulator"
	"errand/shared/queue"
)

// A wire lies before a service of any kind, and keeps the requests to it.
type wire struct {
	host string
	to   *grpc.ClientConn

	mu    sync.Mutex
	asked map[string][][]byte // by method
}

func newWire(t *testing.T, host string) *wire {
	t.Helper()
	conn, err := grpc.NewClient(host, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}), grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	if err != nil {
		t.Fatal(err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	w := &wire{host: l.Addr().String(), to: conn, asked: map[string][][]byte{}}
	s := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}), grpc.UnknownServiceHandler(w.pass), grpc.MaxRecvMsgSize(math.MaxInt32))
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := s.Serve(l); err != nil {
			t.Errorf("the wire: %v", err)
		}
	})

	t.Cleanup(func() {
		s.Stop()
		ended.Wait()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})

	return w
}

func (w *wire) pass(_ any, from grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(from)
	md, _ := metadata.FromIncomingContext(from.Context())
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(from.Context(), md))
	defer cancel()
	to, err := w.to.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}

	go func() {
		for {
			var m []byte
			if err := from.RecvMsg(&m); err != nil {
				_ = to.CloseSend() // the caller has sent all, or is gone
				return
			}

			w.mu.Lock()
			w.asked[method] = append(w.asked[method], m)
			w.mu.Unlock()
			if to.SendMsg(&m) != nil {
				return // the other direction returns the reason
			}
		}
	}()

	for {
		var m []byte
		err := to.RecvMsg(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = from.SendMsg(&m)
		}
		if err != nil {
			return err
		}
	}
}

// requests are the requests of a method since the beginning.
func requests[M any, P interface {
	*M
	proto.Message
}](t *testing.T, w *wire, method string) (all []P) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, raw := range w.asked[method] {
		m := P(new(M))
		if err := proto.Unmarshal(raw, m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// A bytesCodec leaves messages as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// TestCloudWritesNoMoreThanItMust counts the cost of a short task on the wire. It is the same with
// any number of shards, and the one that docs/scale.md names.
func TestCloudWritesNoMoreThanItMust(t *testing.T) {
	for _, shards := range conformance.Size([]int{4}, []int{1, 4}) {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) { writesNoMoreThanItMust(t, shards) })
	}
}

func writesNoMoreThanItMust(t *testing.T, shards int) {
	var store, bus, tasks *wire
	store, bus = newWire(t, emulator.Firestore(t)), newWire(t, emulator.PubSub(t))
	c := newCloud(t, cloudConfig{
		firestore: store.host, pubsub: bus.host, shards: shards,
		tasks: func(host string) string { tasks = newWire(t, host); return tasks.host },
	})

	// Commits, documents written, jobs added, events published, and the number of calls.
	count := func() (got [5]int) {
		for _, r := range requests[firestorepb.CommitRequest](t, store, "/google.firestore.v1.Firestore/Commit") {
			if strings.HasSuffix(r.Writes[0].GetUpdate().GetName(), "/sweep-files") { // of the hour's sweep of files
				continue
			}
			got[0]++
			got[1] += len(r.Writes)
		}

		for _, r := range requests[cloudtaskspb.CreateTaskRequest](t, tasks, "/google.cloud.tasks.v2.CloudTasks/CreateTask") {
			if !strings.HasSuffix(r.Task.GetHttpRequest().GetUrl(), queue.PathSweep) { // without those of the clock
				got[2]++
			}
		}

		for _, r := range requests[pubsubpb.PublishRequest](t, bus, "/google.pubsub.v1.Publisher/Publish") {
			got[3] += len(r.Messages)
			got[4]++
		}

		return got
	}

	client, sent := c.client(), 0

	send := func(n int, text string) (got [5]int) {
		before := count()
		for range n {
			sent++
			if task := mustSend(t, client, userText(fmt.Sprintf("m%d", sent), text)); !terminal(task) && task.Status.State != a2a.TaskStateInputRequired {
				t.Fatalf("the task is %s", task.Status.State)
			}
		}

		// The events are published after the task has ended.
		for end := time.Now().Add(patience); time.Now().Before(end) && count()[4] < sent; {
			time.Sleep(10 * time.Millisecond)
		}

		for i, n := range count() {
			got[i] = n - before[i]
		}
		return got
	}

	send(1, "hello") // the emulators are slow at first
	const n = 10
	documented := operationsOfATask(t)
	answer := [5]int{documented["documents written"], documented["documents written"], documented["jobs added"], documented["events published"], 1}
	names := "commits, documents written, jobs added, events published, in so many calls"

	// Accept, claim, end; the turn; the end.
	if got, want := send(n, "/ask Which one?"), [5]int{3 * n, 3 * n, n, n, n}; got != want {
		t.Errorf("%d questions took %v, want %v: %s", n, got, want, names)
	}

	// The artifact and the end, together. A text is committed on its way too if the machine is so
	// busy that its turn takes longer than an instant.
	want := [5]int{}
	for i := range want {
		want[i] = n * answer[i]
	}
	if got := send(n, "hello"); got[0] < want[0] || [3]int(got[2:]) != [3]int(want[2:]) {
		t.Errorf("%d answers took %v, want %v: %s", n, got, want, names)
	}

	// A stream that breaks on a busy machine is read again, so what most tasks take counts.
	read, listened := map[string]int{}, map[string]int{}
	for _, r := range requests[firestorepb.BatchGetDocumentsRequest](t, store, "/google.firestore.v1.Firestore/BatchGetDocuments") {
		for _, name := range r.Documents {
			read[name]++
		}
	}
	for _, r := range requests[firestorepb.ListenRequest](t, store, "/google.firestore.v1.Firestore/Listen") {
		for _, name := range r.GetAddTarget().GetDocuments().GetDocuments() {
			listened[name]++
		}
	}
	for what, of := range map[string]map[string]int{"documents read": read, "listeners": listened} {
		if n := usual(of); n < 1 || n > documented[what] {
			t.Errorf("a task has %d %s, want %d at most", n, what, documented[what])
		}
	}
}

// usual is the median of what the tasks of a database take, by the names of their documents.
func usual(of map[string]int) int {
	var all []int
	for name, n := range of {
		if strings.Contains(name, "/documents/tasks/") {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// operationsOfATask are those that docs/scale.md names.
func operationsOfATask(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile("../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z ]+)(?:, at most)? \| (\d+) \|`).FindAllStringSubmatch(string(text), -1) {
		if all[row[1]], err = strconv.Atoi(row[2]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
