package gcp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"errand/shared/adapters/gcp"
	"errand/shared/bus"
	"errand/shared/lab/conformance"
	"errand/shared/lab/emulator"
)

func TestBusLaws(t *testing.T) {
	t.Parallel()
	host := emulator.PubSub(t)
	conformance.Bus(t, func(t *testing.T, h http.Handler) bus.Publisher {
		target := httptest.NewServer(h)
		t.Cleanup(target.Close)
		project := "projects/" + emulator.Project(t)
		p := openPublisher(t, gcp.PublisherConfig{Topic: project + "/topics/events", Endpoint: host})
		subscribe(t, host, project, target.URL+bus.PathEvents)
		return p
	})
}

func openPublisher(t testing.TB, c gcp.PublisherConfig) *gcp.Publisher {
	t.Helper()
	p, err := gcp.NewPublisher(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	closes(t, p)
	return p
}

// subscribe creates the topic and a push subscription. At the end of the test it deletes the
// subscription, because the emulator would go on pushing.
func subscribe(t testing.TB, host, project, url string) {
	t.Helper()
	ctx := t.Context()
	o := []option.ClientOption{
		option.WithEndpoint(host), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}

	topics, err := pubsub.NewTopicAdminClient(ctx, o...)
	if err != nil {
		t.Fatal(err)
	}
	defer topics.Close()
	topic, err := topics.CreateTopic(ctx, &pubsubpb.Topic{Name: project + "/topics/events"})
	if err != nil {
		t.Fatal(err)
	}

	subscriptions, err := pubsub.NewSubscriptionAdminClient(ctx, o...)
	if err != nil {
		t.Fatal(err)
	}

	s, err := subscriptions.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: project + "/subscriptions/notify", Topic: topic.Name, PushConfig: &pubsubpb.PushConfig{PushEndpoint: url},
	})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		defer subscriptions.Close()
		if err := subscriptions.DeleteSubscription(context.Background(), &pubsubpb.DeleteSubscriptionRequest{Subscription: s.Name}); err != nil && status.Code(err) != codes.NotFound {
			t.Errorf("deleting the subscription: %v", err)
		}
	})
}

func events(n int) []bus.Event {
	out := make([]bus.Event, n)
	for i := range out {
		out[i] = bus.Event{Task: "a", Notification: i + 1, Kind: bus.KindState, State: "TASK_STATE_COMPLETED", Time: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	}
	return out
}

// topic returns the options of a client whose calls go to answer instead of a server.
func topic(answer func(req *pubsubpb.PublishRequest) (ids int, err error)) []option.ClientOption {
	return []option.ClientOption{option.WithGRPCDialOption(grpc.WithUnaryInterceptor(
		func(ctx context.Context, _ string, req, reply any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption) error {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > 10*time.Second {
				return fmt.Errorf("the deadline of a call is %v, want 10 s for all calls of a Publish", end)
			}
			ids, err := answer(req.(*pubsubpb.PublishRequest))
			for i := range ids {
				reply.(*pubsubpb.PublishResponse).MessageIds = append(reply.(*pubsubpb.PublishResponse).MessageIds, fmt.Sprint(i))
			}
			return err
		}))}
}

const topicName = "projects/p/topics/events"

func TestMessageIsACloudEventWithoutDataAndKey(t *testing.T) {
	var got []*pubsubpb.PubsubMessage
	p := openPublisher(t, gcp.PublisherConfig{Topic: topicName, Endpoint: nowhere, Options: topic(func(req *pubsubpb.PublishRequest) (int, error) {
		if req.Topic != topicName {
			t.Errorf("topic %s", req.Topic)
		}
		got = append(got, req.Messages...)
		return len(req.Messages), nil
	})})
	if err := p.Publish(t.Context(), events(2)...); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d messages, want 2", len(got))
	}
	for i, m := range got {
		if diff := cmp.Diff(events(2)[i].Attributes(), m.Attributes); diff != "" {
			t.Errorf("attributes of message %d (-want +got):\n%s", i, diff)
		}
		if len(m.Data) > 0 || m.OrderingKey != "" {
			t.Errorf("message %d has data or an ordering key", i)
		}
	}
}

// Publish returns nil only after all events are confirmed, because the job is acknowledged
// then.
func TestPublishedIsWhatWasConfirmed(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(call, messages int) (int, error)
		calls  int
		ok     bool
	}{
		"all":             {func(_, n int) (int, error) { return n, nil }, 3, true},
		"one is missing":  {func(_, n int) (int, error) { return n - 1, nil }, 1, false},
		"the second call": {func(call, n int) (int, error) { return n * (2 - call), nil }, 2, false},
		"refused":         {func(int, int) (int, error) { return 0, status.Error(codes.NotFound, "no topic") }, 1, false},
		"away once": {func(call, n int) (int, error) {
			if call == 1 {
				return 0, status.Error(codes.Unavailable, "away")
			}
			return n, nil
		}, 4, true},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			p := openPublisher(t, gcp.PublisherConfig{Topic: topicName, Endpoint: nowhere, Options: topic(func(req *pubsubpb.PublishRequest) (int, error) {
				calls++
				if len(req.Messages) > 1000 {
					t.Errorf("%d messages in one call", len(req.Messages))
				}
				return test.answer(calls, len(req.Messages))
			})})
			if err := p.Publish(t.Context(), events(2100)...); (err == nil) != test.ok || calls != test.calls {
				t.Errorf("%d calls, Publish = %v", calls, err)
			}
		})
	}
}

func TestPublishEndsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := openPublisher(t, gcp.PublisherConfig{Topic: topicName, Endpoint: l.Addr().String()})
	if err := p.Publish(t.Context(), events(1)...); err == nil {
		t.Error("Publish = nil although the service does not answer")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Publish(ctx, events(1)...); err == nil || !(errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled) {
		t.Errorf("Publish of a caller that has left = %v", err)
	}
}

func TestPublisherConfigIsChecked(t *testing.T) {
	for _, topic := range []string{"", "events", "projects/p/topics/", "projects/p/topics/7up", "projects/p/topics/a/b", "projects//topics/events"} {
		_, err := gcp.NewPublisher(t.Context(), gcp.PublisherConfig{Topic: topic, Endpoint: nowhere})
		if err == nil || !strings.Contains(err.Error(), "projects/PROJECT/topics/TOPIC") {
			t.Errorf("NewPublisher(%q) = %v", topic, err)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	host := emulator.PubSub(b)
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b.Cleanup(target.Close)
	project := "projects/" + emulator.Project(b)
	subscribe(b, host, project, target.URL+bus.PathEvents)
	p := openPublisher(b, gcp.PublisherConfig{Topic: project + "/topics/events", Endpoint: host})
	for b.Loop() {
		if err := p.Publish(b.Context(), events(1)...); err != nil {
			b.Fatal(err)
		}
	}
}

// A letter is published with its data and attributes, in a call of its own. An error, or an
// answer without a confirmation, says that it is not there.
func TestLetterIsPublished(t *testing.T) {
	letter := bus.Letter{Data: []byte("data"), Attributes: map[string]string{"errand-reason": "text: is required"}, ID: "7", Subscription: "projects/p/subscriptions/s"}
	for _, c := range []struct {
		ids  int
		err  error
		want string // in the error; empty: none
	}{
		{1, nil, ""},
		{0, nil, "0 of 1"},
		{0, status.Error(codes.PermissionDenied, "no"), "roles/pubsub.publisher"},
		{0, status.Error(codes.NotFound, "no"), "does the topic exist"},
	} {
		var got []*pubsubpb.PubsubMessage
		p := openPublisher(t, gcp.PublisherConfig{Topic: topicName, Endpoint: nowhere, Options: topic(func(req *pubsubpb.PublishRequest) (int, error) {
			got = req.Messages
			return c.ids, c.err
		})})
		err := p.Send(t.Context(), letter)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("Send = %v, want %q", err, c.want)
		}
		if len(got) != 1 || string(got[0].Data) != "data" || !cmp.Equal(got[0].Attributes, letter.Attributes) || got[0].MessageId != "" {
			t.Errorf("published %v", got)
		}
	}
}
