package gcp_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"testing"

	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"errand/shared/lab/emulator"
)

// A wire stands between a client and the emulator. It limits streams, as Google's front ends
// do and the emulator does not, records requests, and can lose answers.
type wire struct {
	pb.UnimplementedFirestoreServer
	to   pb.FirestoreClient
	host string

	mu       sync.Mutex
	commits  []*pb.CommitRequest
	queries  []*pb.StructuredQuery
	listens  int            // current listeners
	on       map[string]int // the same, by connection
	most     int            // listeners of one connection at the same time, at most
	total    int            // listeners so far
	reads    int            // documents read by their names
	deaf     bool           // listeners receive no more changes
	cut      chan struct{}
	lose     int                     // how many answers of commits will be lost
	loaded   int                     // bytes of answers to reads
	breaks   int                     // how many reads will break when their answer begins
	onCommit func(*pb.CommitRequest) // called before each commit is forwarded
	onBodies func()                  // called before documents are read by their names
	onQuery  func()                  // called before each query is forwarded
}

const streams = 100 // on one connection to Google's front ends

func newWire(t testing.TB) *wire {
	t.Helper()
	conn, err := grpc.NewClient(emulator.Firestore(t), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	if err != nil {
		t.Fatal(err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	w := &wire{to: pb.NewFirestoreClient(conn), host: l.Addr().String(), cut: make(chan struct{}), on: map[string]int{}}
	srv := grpc.NewServer(grpc.MaxConcurrentStreams(streams), grpc.MaxRecvMsgSize(math.MaxInt32))
	pb.RegisterFirestoreServer(srv, w)
	done := make(chan struct{})

	go func() {
		defer close(done)
		if err := srv.Serve(l); err != nil {
			t.Errorf("the wire: %v", err)
		}
	}()

	t.Cleanup(func() {
		srv.Stop()
		<-done
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})

	return w
}

// with calls f with the lock on the wire's state.
func (w *wire) with(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// written returns how many documents were written, in how many requests.
func (w *wire) written() (documents, requests int) {
	w.with(func() {
		for _, c := range w.commits {
			documents += len(c.Writes)
		}
		requests = len(w.commits)
	})
	return documents, requests
}

// listening returns the numbers of listeners: current, at most on one connection, and so far.
func (w *wire) listening() (now, most, total int) {
	w.with(func() { now, most, total = w.listens, w.most, w.total })
	return now, most, total
}

// cutListeners breaks the streams of all listeners.
func (w *wire) cutListeners() {
	w.with(func() {
		close(w.cut)
		w.cut = make(chan struct{})
	})
}

// onward forwards the client's metadata, because the emulator checks the caller.
func onward(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	return metadata.NewOutgoingContext(ctx, md)
}

func (w *wire) Commit(ctx context.Context, req *pb.CommitRequest) (*pb.CommitResponse, error) {
	var hook func(*pb.CommitRequest)
	w.with(func() { hook = w.onCommit })
	if hook != nil {
		hook(req)
	}
	res, err := w.to.Commit(onward(ctx), req)
	lost := false
	w.with(func() {
		w.commits = append(w.commits, req)
		if lost = w.lose > 0; lost {
			w.lose--
		}
	})
	if lost {
		return nil, status.Error(codes.Unavailable, "the answer was lost")
	}
	return res, err
}

func (w *wire) BatchGetDocuments(req *pb.BatchGetDocumentsRequest, to pb.Firestore_BatchGetDocumentsServer) error {
	var hook func()
	w.with(func() { hook = w.onBodies })
	if hook != nil {
		hook()
	}
	w.with(func() { w.reads += len(req.Documents) })
	from, err := w.to.BatchGetDocuments(onward(to.Context()), req)
	if err != nil {
		return err
	}
	return relay(from.Recv, broken(w, to.Send))
}

func (w *wire) RunQuery(req *pb.RunQueryRequest, to pb.Firestore_RunQueryServer) error {
	var hook func()
	w.with(func() {
		w.queries = append(w.queries, req.GetStructuredQuery())
		hook = w.onQuery
	})
	if hook != nil {
		hook()
	}
	from, err := w.to.RunQuery(onward(to.Context()), req)
	if err != nil {
		return err
	}
	return relay(from.Recv, broken(w, to.Send))
}

func (w *wire) RunAggregationQuery(req *pb.RunAggregationQueryRequest, to pb.Firestore_RunAggregationQueryServer) error {
	w.with(func() { w.queries = append(w.queries, req.GetStructuredAggregationQuery().GetStructuredQuery()) })
	from, err := w.to.RunAggregationQuery(onward(to.Context()), req)
	if err != nil {
		return err
	}
	return relay(from.Recv, broken(w, to.Send))
}

func (w *wire) Listen(to pb.Firestore_ListenServer) error {
	var cut chan struct{}
	from := ""
	if p, ok := peer.FromContext(to.Context()); ok {
		from = p.Addr.String()
	}
	w.with(func() {
		cut = w.cut
		w.listens++
		w.total++
		w.on[from]++
		w.most = max(w.most, w.on[from])
	})

	defer w.with(func() { w.listens--; w.on[from]-- })
	ctx, cancel := context.WithCancel(onward(to.Context()))
	defer cancel()
	firestore, err := w.to.Listen(ctx)
	if err != nil {
		return err
	}

	ended := make(chan error, 2)
	go func() { ended <- relay(to.Recv, firestore.Send) }()

	go func() {
		ended <- relay(firestore.Recv, func(m *pb.ListenResponse) error {
			deaf := false
			if w.with(func() { deaf = w.deaf }); deaf {
				return nil
			}
			return to.Send(m)
		})
	}()

	select {
	case err := <-ended:
		return err
	case <-cut:
		return status.Error(codes.Unavailable, "the connection broke")
	}
}

// broken forwards answers, or breaks at the first one if the wire is set to.
func broken[T any](w *wire, send func(*T) error) func(*T) error {
	return func(m *T) error {
		now := false
		w.with(func() {
			if pm, ok := any(m).(proto.Message); ok {
				w.loaded += proto.Size(pm)
			}
			if now = w.breaks > 0; now {
				w.breaks--
			}
		})
		if now {
			return status.Error(codes.Unavailable, "the connection broke")
		}
		return send(m)
	}
}

func relay[T any](recv func() (*T, error), send func(*T) error) error {
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := send(m); err != nil {
			return err
		}
	}
}
