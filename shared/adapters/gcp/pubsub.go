package gcp

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"errand/shared/bus"
	"errand/shared/serve"
)

// PublisherConfig names a topic. Topic is required.
type PublisherConfig struct {
	Topic string // projects/P/topics/T

	Endpoint string // HOST:PORT; empty: the usual one, or PUBSUB_EMULATOR_HOST, which the client reads
	Options  []option.ClientOption
}

// A Publisher is a bus.Publisher and a bus.Letters on a topic of Pub/Sub. The messages of
// events are CloudEvents in binary mode, without data.
//
// It calls the service directly and not with the library's batching publisher. That one
// waits for more messages and works in the background, where a process on Cloud Run has no
// processor, and it would not save a call, because the events of a turn are one call. There
// are no ordering keys either: the notification's number is the order.
type Publisher struct {
	client *pubsub.TopicAdminClient
	topic  string
}

var (
	_ bus.Publisher = (*Publisher)(nil)
	_ bus.Letters   = (*Publisher)(nil)
)

const (
	// publishFor limits Publish, because the acknowledgement of a job waits for it. The
	// library retries within this time.
	publishFor = 10 * time.Second

	// maxMessages limits the messages of one call.
	// https://cloud.google.com/pubsub/quotas#resource_limits
	maxMessages = 1000
)

var topicName = regexp.MustCompile(`^projects/[A-Za-z0-9.:-]+/topics/[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)

// NewPublisher returns a Publisher. It does not call the service.
func NewPublisher(ctx context.Context, c PublisherConfig) (*Publisher, error) {
	var bad error
	if !topicName.MatchString(c.Topic) {
		bad = fmt.Errorf("the topic must be projects/PROJECT/topics/TOPIC, not %q", c.Topic)
	}
	client, err := dial(ctx, "Pub/Sub", pubsub.NewTopicAdminClient, bad, c.Endpoint, c.Options)
	if err != nil {
		return nil, err
	}
	return &Publisher{client, c.Topic}, nil
}

// Publish implements bus.Publisher. It returns nil only after the service has confirmed every
// event. It takes at most ten seconds.
func (p *Publisher) Publish(ctx context.Context, events ...bus.Event) error {
	trace := serve.Trace(ctx)
	ctx, cancel := context.WithTimeout(ctx, publishFor)
	defer cancel()
	for some := range slices.Chunk(events, maxMessages) {
		req := &pubsubpb.PublishRequest{Topic: p.topic}
		for _, e := range some {
			if e.Trace == "" {
				e.Trace = trace
			}
			req.Messages = append(req.Messages, &pubsubpb.PubsubMessage{Attributes: e.Attributes()})
		}
		resp, err := p.client.Publish(ctx, req)
		if err != nil {
			return fmt.Errorf("publishing %d events to %s: %w%s", len(events), p.topic, err, topicRemedy(err))
		}
		if got := len(resp.GetMessageIds()); got != len(some) {
			return fmt.Errorf("publishing to %s: %d of %d events were confirmed", p.topic, got, len(some))
		}
	}
	return nil
}

// Send implements bus.Letters. It takes at most ten seconds.
func (p *Publisher) Send(ctx context.Context, l bus.Letter) error {
	ctx, cancel := context.WithTimeout(ctx, publishFor)
	defer cancel()
	resp, err := p.client.Publish(ctx, &pubsubpb.PublishRequest{Topic: p.topic, Messages: []*pubsubpb.PubsubMessage{{Data: l.Data, Attributes: l.Attributes}}})
	if err != nil {
		return fmt.Errorf("publishing a message to %s: %w%s", p.topic, err, topicRemedy(err))
	}
	if got := len(resp.GetMessageIds()); got != 1 {
		return fmt.Errorf("publishing to %s: %d of 1 message were confirmed", p.topic, got)
	}
	return nil
}

func topicRemedy(err error) string {
	switch status.Code(err) {
	case codes.NotFound:
		return "; does the topic exist in this project?"
	case codes.PermissionDenied:
		return "; this program's service account needs roles/pubsub.publisher on the topic"
	}
	return ""
}

// Close ends the connection.
func (p *Publisher) Close() error { return p.client.Close() }
