package gcp_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"errand/shared/adapters/gcp"
	"errand/shared/lab/conformance"
	"errand/shared/lab/fake"
	"errand/shared/queue"
	"errand/shared/serve"
)

const (
	prefix  = "projects/p/locations/europe-west1/queues/errand"
	invoker = "invoker@p.iam.gserviceaccount.com"
)

func queues() []*cloudtaskspb.Queue {
	return []*cloudtaskspb.Queue{{Name: prefix + "-turns"}, {Name: prefix + "-deliveries"}, {Name: prefix + "-sweeps"}}
}

func TestQueueLaws(t *testing.T) {
	t.Parallel()
	conformance.Queue(t, func(t *testing.T, h http.Handler) queue.Queue {
		target := httptest.NewServer(h)
		t.Cleanup(target.Close)
		_, addr := fake.StartTasks(t, fake.TasksOptions{Queues: queues()})
		return openQueue(t, gcp.QueueConfig{Worker: target.URL, Functions: target.URL, Endpoint: addr})
	})
}

func openQueue(t *testing.T, c gcp.QueueConfig) *gcp.Queue {
	t.Helper()
	c.Prefix, c.Invoker = prefix, invoker
	q, err := gcp.NewQueue(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	closes(t, q)
	return q
}

// intercepted returns the options of a client whose calls go only to f.
func intercepted(f func(ctx context.Context, req any) error) []option.ClientOption {
	return []option.ClientOption{option.WithGRPCDialOption(grpc.WithUnaryInterceptor(
		func(ctx context.Context, _ string, req, _ any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption) error {
			return f(ctx, req)
		}))}
}

const nowhere = "127.0.0.1:1"

func TestRequestsToCloudTasks(t *testing.T) {
	var got []*cloudtaskspb.CreateTaskRequest

	q := openQueue(t, gcp.QueueConfig{
		Worker: "https://worker.example.com/", Functions: "https://functions.example.com", Endpoint: nowhere,
		Options: intercepted(func(ctx context.Context, req any) error {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > 5*time.Second {
				t.Errorf("the call may take until %v", end)
			}
			got = append(got, req.(*cloudtaskspb.CreateTaskRequest))
			return nil
		}),
	})

	at := time.Date(2026, 8, 1, 12, 0, 0, 5000, time.UTC)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

	for _, job := range []queue.Job{
		{Queue: "turns", Path: queue.PathTurn, Task: "a"},
		{Queue: "deliveries", Path: queue.PathDeliver, Task: "a", At: at},
		{Queue: "turns", Path: queue.PathSweep, Sweep: at, Shard: 1, Of: 2},
	} {
		if err := q.Add(serve.WithTrace(t.Context(), trace), job); err != nil {
			t.Fatal(err)
		}
	}

	want := func(lane, base, path, body string, minutes time.Duration) *cloudtaskspb.CreateTaskRequest {
		return &cloudtaskspb.CreateTaskRequest{Parent: prefix + "-" + lane, Task: &cloudtaskspb.Task{
			MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
				Url: base + path, HttpMethod: cloudtaskspb.HttpMethod_POST, Body: []byte(body),
				Headers: map[string]string{"Content-Type": "application/json", "Traceparent": trace},
				AuthorizationHeader: &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{
					ServiceAccountEmail: invoker, Audience: base + path,
				}},
			}},
			DispatchDeadline: durationpb.New(minutes * time.Minute),
		}}
	}

	later := want("deliveries", "https://functions.example.com", "/deliveries", `{"id":"a"}`, 10)
	later.Task.ScheduleTime = timestamppb.New(at)

	if diff := cmp.Diff([]*cloudtaskspb.CreateTaskRequest{
		want("turns", "https://worker.example.com", "/turns", `{"id":"a"}`, 30),
		later,
		want("sweeps", "https://functions.example.com", "/sweep", `{"queue":"turns","sweep":"2026-08-01T12:00:00.000005Z","shard":1,"of":2}`, 10),
	}, got, protocmp.Transform()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// The token of a delivery is valid only for the endpoint of the delivery.
func TestDeliveryHasATokenOfTheInvoker(t *testing.T) {
	issuer := fake.NewIssuer(t)
	claims := make(chan map[string]any, 1)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		claims <- payload(t, r.Header.Get("Authorization"))
	}))
	t.Cleanup(target.Close)
	_, addr := fake.StartTasks(t, fake.TasksOptions{Queues: queues(), Token: issuer.IDToken})
	q := openQueue(t, gcp.QueueConfig{Worker: target.URL, Functions: "https://elsewhere.example.com", Endpoint: addr})
	if err := q.Add(t.Context(), queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"}); err != nil {
		t.Fatal(err)
	}
	got := <-claims
	for name, want := range map[string]any{"iss": issuer.URL, "aud": target.URL + queue.PathTurn, "email": invoker, "email_verified": true} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// A queue that has a target of its own calls nobody else, and nobody else gets the invoker's
// token, whatever a program that may add to the queue asks for.
func TestQueueCallsItsTargetAlone(t *testing.T) {
	issuer := fake.NewIssuer(t)
	seen := make(chan *http.Request, 1)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r }))
	t.Cleanup(target.Close)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("elsewhere gets %s", r.URL) }))
	t.Cleanup(elsewhere.Close)

	host, port, err := net.SplitHostPort(strings.TrimPrefix(target.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseInt(port, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	audience := target.URL + queue.PathTurn
	_, addr := fake.StartTasks(t, fake.TasksOptions{Token: issuer.IDToken, Queues: []*cloudtaskspb.Queue{{
		Name: prefix + "-turns", HttpTarget: &cloudtaskspb.HttpTarget{
			UriOverride: &cloudtaskspb.UriOverride{
				Host: &host, Port: &number, PathOverride: &cloudtaskspb.PathOverride{Path: queue.PathTurn}, UriOverrideEnforceMode: cloudtaskspb.UriOverride_ALWAYS,
			},
			AuthorizationHeader: &cloudtaskspb.HttpTarget_OidcToken{OidcToken: &cloudtaskspb.OidcToken{ServiceAccountEmail: invoker, Audience: audience}},
		},
	}}})

	q := openQueue(t, gcp.QueueConfig{Worker: elsewhere.URL + "/other", Functions: elsewhere.URL, Endpoint: addr})
	if err := q.Add(t.Context(), queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"}); err != nil {
		t.Fatal(err)
	}
	r := <-seen
	if claims := payload(t, r.Header.Get("Authorization")); r.URL.Path != queue.PathTurn || claims["aud"] != audience {
		t.Errorf("the target was called at %s with a token for %v", r.URL.Path, claims["aud"])
	}
}

func payload(t *testing.T, authorization string) map[string]any {
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	parts := strings.Split(token, ".")
	if !ok || len(parts) != 3 {
		t.Errorf("no token: %q", authorization)
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		t.Errorf("claims of a token: %v", err)
	}
	return claims
}

func TestAddTriesAgainOnlyWhenTheServiceIsAwayOrBusy(t *testing.T) {
	for _, test := range []struct {
		code  codes.Code
		times int // how often the call fails
		want  int // calls
		ok    bool
	}{
		{codes.Unavailable, 2, 3, true},
		{codes.Unavailable, 9, 3, false},
		{codes.NotFound, 1, 1, false},
		{codes.PermissionDenied, 1, 1, false},
		{codes.ResourceExhausted, 2, 3, true},
		{codes.ResourceExhausted, 9, 3, false},
		{codes.InvalidArgument, 1, 1, false},
	} {
		calls := 0

		q := openQueue(t, gcp.QueueConfig{
			Worker: "https://w.example.com", Functions: "https://f.example.com", Endpoint: nowhere,
			Options: intercepted(func(context.Context, any) error {
				if calls++; calls <= test.times {
					return status.Error(test.code, "a fault of the test")
				}
				return nil
			}),
		})

		err := q.Add(t.Context(), queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"})
		if (err == nil) != test.ok || calls != test.want {
			t.Errorf("%v %d times: %d calls, %v", test.code, test.times, calls, err)
		}
	}
}

// Add ends in time even if the service does not answer, because a client may be waiting.
func TestAddEndsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and does not answer
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { l.Close() })
	q := openQueue(t, gcp.QueueConfig{Worker: "https://w.example.com", Functions: "https://f.example.com", Endpoint: l.Addr().String()})
	if err := q.Add(t.Context(), queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"}); err == nil {
		t.Error("Add = nil although the service does not answer")
	}

	within := 5 * time.Second
	start := time.Now()

	q = openQueue(t, gcp.QueueConfig{
		Worker: "https://w.example.com", Functions: "https://f.example.com", Endpoint: nowhere,
		Options: intercepted(func(ctx context.Context, _ any) error {
			if end, ok := ctx.Deadline(); !ok || end.After(time.Now().Add(within)) || end.Before(start.Add(within)) {
				t.Errorf("the deadline of a call is %v, want %v after the call of Add", end, within)
			}
			return nil
		}),
	})
	if err := q.Add(t.Context(), queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"}); err != nil {
		t.Error(err)
	}
}

func TestQueueConfigIsChecked(t *testing.T) {
	good := gcp.QueueConfig{
		Prefix: prefix, Worker: "https://w.example.com", Functions: "https://f.example.com/base", Invoker: invoker, Endpoint: nowhere,
	}

	if q, err := gcp.NewQueue(t.Context(), good); err != nil {
		t.Errorf("NewQueue = %v", err)
	} else if err := q.Close(); err != nil {
		t.Error(err)
	}

	for want, change := range map[string]func(*gcp.QueueConfig){
		"projects/PROJECT/locations/LOCATION/queues/PREFIX": func(c *gcp.QueueConfig) { c.Prefix = "projects/p/queues/errand" },
		"PREFIX, not":                          func(c *gcp.QueueConfig) { c.Prefix = prefix + strings.Repeat("x", 100) },
		"address of the worker":                func(c *gcp.QueueConfig) { c.Worker = "" },
		"address of the functions":             func(c *gcp.QueueConfig) { c.Functions = "functions.example.com" },
		"https://w":                            func(c *gcp.QueueConfig) { c.Worker = "https://w.example.com?x=1" },
		"worker must begin with https://":      func(c *gcp.QueueConfig) { c.Worker = "http://w.example.com" },
		"service account that calls":           func(c *gcp.QueueConfig) { c.Invoker = "invoker" },
		"HOST:PORT, for example":               func(c *gcp.QueueConfig) { c.Endpoint = "localhost" },
		"the functions must be a URL such as ": func(c *gcp.QueueConfig) { c.Functions = "https://user:secret@f.example.com" },
	} {
		c := good
		change(&c)
		if _, err := gcp.NewQueue(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewQueue(%+v) = %v, want an error with %q", c, err, want)
		}
	}
}

// One error names all faults of a configuration.
func TestErrorNamesAllFaultsOfAQueueConfig(t *testing.T) {
	_, err := gcp.NewQueue(t.Context(), gcp.QueueConfig{Endpoint: "x"})
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("NewQueue = %v, want five errors", err)
	}
}

func BenchmarkAdd(b *testing.B) {
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b.Cleanup(target.Close)
	_, addr := fake.StartTasks(b, fake.TasksOptions{Queues: queues()})
	q, err := gcp.NewQueue(b.Context(), gcp.QueueConfig{Prefix: prefix, Worker: target.URL, Functions: target.URL, Invoker: invoker, Endpoint: addr})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { q.Close() })
	for b.Loop() {
		if err := q.Add(b.Context(), queue.Job{Queue: "turns", Path: queue.PathTurn, Task: "a"}); err != nil {
			b.Fatal(err)
		}
	}
}
