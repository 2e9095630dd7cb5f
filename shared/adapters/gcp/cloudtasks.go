package gcp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strings"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"errand/shared/loopback"
	"errand/shared/queue"
	"errand/shared/serve"
)

// QueueConfig names the queues and the services that receive their jobs. All fields except
// Shards, Endpoint and Options are required.
type QueueConfig struct {
	Prefix    string // projects/P/locations/L/queues/PREFIX: the queues are PREFIX-QUEUE, for each queue of each lane and the one of sweeps
	Worker    string // base URL of the service that runs turns
	Functions string // base URL of the service that delivers and sweeps
	Invoker   string // e-mail of the service account whose ID token every delivery carries

	Shards   int    // queues of each lane; 0: one
	Endpoint string // HOST:PORT; empty: the usual one
	Options  []option.ClientOption
}

// A Queue is a queue.Queue on Cloud Tasks.
//
// Its tasks have no names. Names would make every call slower, and the record recognises a
// job that is delivered twice. The audience of a delivery's token is the URL of the
// delivery with its path, so that a stolen token is of no use at any other endpoint.
type Queue struct {
	client *cloudtasks.Client
	cfg    QueueConfig
}

var _ queue.Queue = (*Queue)(nil)

const (
	// addFor limits Add, because a client may be waiting. The service refuses calls with a
	// deadline of more than 30 s.
	// https://github.com/googleapis/google-cloud-go/issues/1577
	addFor = 5 * time.Second

	// addTries is how often Add calls a service that is unavailable for a moment, or whose
	// quota is used up. A job that is added twice by this does no harm.
	// https://cloud.google.com/service-usage/docs/troubleshooting
	addTries = 3

	addPause = 50 * time.Millisecond // before the second try; twice that before the third
)

// A queue's id has at most 100 characters, of which "-deliveries-7" takes thirteen.
var queuePrefix = regexp.MustCompile(`^projects/[A-Za-z0-9.:-]+/locations/[a-z0-9-]+/queues/[A-Za-z0-9-]{1,87}$`)

// NewQueue returns a Queue. It does not call the service.
func NewQueue(ctx context.Context, c QueueConfig) (*Queue, error) {
	c.Worker, c.Functions = strings.TrimSuffix(c.Worker, "/"), strings.TrimSuffix(c.Functions, "/")
	client, err := dial(ctx, "Cloud Tasks", cloudtasks.NewClient, c.check(), c.Endpoint, c.Options)
	if err != nil {
		return nil, err
	}
	return &Queue{client, c}, nil
}

func (c QueueConfig) check() error {
	var bad []error
	if !queuePrefix.MatchString(c.Prefix) {
		bad = append(bad, fmt.Errorf("the queues must be projects/PROJECT/locations/LOCATION/queues/PREFIX, not %q", c.Prefix))
	}
	for _, service := range []struct{ name, base string }{{"worker", c.Worker}, {"functions", c.Functions}} {
		u, err := url.Parse(service.base)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Scheme != "https" && u.Scheme != "http"):
			bad = append(bad, fmt.Errorf("the address of the %s must be a URL such as https://%[1]s.example.com, not %q", service.name, service.base))
		case u.Scheme == "http" && !loopback.Is(u.Host):
			bad = append(bad, fmt.Errorf("the address of the %s must begin with https://, so that the token of a delivery cannot be read on its way", service.name))
		}
	}
	if !strings.Contains(c.Invoker, "@") {
		bad = append(bad, errors.New("the invoker must be the e-mail of the service account that calls worker and functions"))
	}
	return errors.Join(bad...)
}

// Add implements queue.Queue. It takes at most five seconds.
func (q *Queue) Add(ctx context.Context, job queue.Job) error {
	req, err := q.request(ctx, job)
	if err != nil {
		return fmt.Errorf("adding a job: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, addFor)
	defer cancel()
	for try := 1; ; try++ {
		_, err := q.client.CreateTask(ctx, req)
		if err == nil {
			return nil
		}
		again := status.Code(err) == codes.Unavailable || status.Code(err) == codes.ResourceExhausted
		if !again || try == addTries {
			return fmt.Errorf("adding a job to %s: %w%s", req.Parent, err, queueRemedy(err))
		}
		pause := addPause << (try - 1)
		select {
		case <-ctx.Done():
			return fmt.Errorf("adding a job to %s: %w", req.Parent, err)
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// queueRemedy names the remedy for an error that needs one.
func queueRemedy(err error) string {
	switch status.Code(err) {
	case codes.NotFound:
		return "; does the queue exist, with this project, location and prefix?"
	case codes.PermissionDenied:
		return "; this program's service account needs roles/cloudtasks.enqueuer on the queue and roles/iam.serviceAccountUser on the invoker"
	}
	return ""
}

func (q *Queue) request(ctx context.Context, job queue.Job) (*cloudtaskspb.CreateTaskRequest, error) {
	lane, known := queue.LaneOf(job.Queue)
	base := q.cfg.Functions
	if job.Path == lane.Path && lane.Service == queue.Worker {
		base = q.cfg.Worker
	}

	switch {
	case !known:
		return nil, fmt.Errorf("no queue %q", job.Queue)
	case job.Path == "":
		return nil, errors.New("no path")
	case (job.Task == "") == job.Sweep.IsZero():
		return nil, errors.New("either a task or a sweep")
	}

	headers := map[string]string{"Content-Type": "application/json"}
	if trace := serve.Trace(ctx); trace != "" {
		headers[serve.HeaderTrace] = trace
	}

	address, deadline, name := base+job.Path, lane.Deadline, lane.QueueOf(job.Task, q.cfg.Shards)
	if job.Path != lane.Path {
		deadline, name = queue.ShortDeadline, queue.Sweeps
	}

	t := &cloudtaskspb.Task{
		MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
			Url:        address,
			HttpMethod: cloudtaskspb.HttpMethod_POST,
			Headers:    headers,
			Body:       job.Body(),
			AuthorizationHeader: &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{
				ServiceAccountEmail: q.cfg.Invoker,
				Audience:            address,
			}},
		}},
		DispatchDeadline: durationpb.New(deadline),
	}

	if !job.At.IsZero() {
		t.ScheduleTime = timestamppb.New(job.At)
	}

	return &cloudtaskspb.CreateTaskRequest{Parent: q.cfg.Prefix + "-" + name, Task: t}, nil
}

// Close ends the connection.
func (q *Queue) Close() error { return q.client.Close() }
