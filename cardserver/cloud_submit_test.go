package main_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"errand/functions/submit"
	"errand/shared/auth"
	"errand/shared/bus"
	"errand/shared/lab/emulator"
	"errand/shared/lab/fake"
	"errand/shared/task"
)

// A pipeline publishes lines and the name of a manifest, and never calls the agent. The lines
// become tasks and the manifest a batch, once each, of the principal to whom the subscription
// belongs. What cannot become a task is in the topic of refused messages with the reason.
func TestCloudTakesSubmissions(t *testing.T) {
	t.Parallel()
	project := emulator.Project(t)
	topic, refused := "projects/"+project+"/topics/errand-submit-nightly", "projects/"+project+"/topics/errand-refused"
	subscription := strings.Replace(topic, "/topics/", "/subscriptions/", 1)

	mine, hash := auth.NewKey()
	theirs, otherHash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	text := fmt.Sprintf(`limits: {requests: none, waiting: none}
principals:
  - {name: acme/nightly, keys: ['%s'], buckets: [gs://acme-in/]}
  - {name: other, keys: ['%s']}
submit: [{subscription: %s, principal: acme/nightly}]
`, hash, otherHash, subscription)
	if err := os.WriteFile(access, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	storage := fake.StartStorage(t, "errand-files")
	storage.Set("acme-in", "prompts.jsonl", []byte(`{"id": "a", "text": "first"}`+"\n"+`{"id": "b", "text": "second"}`+"\n"))
	p := newTopics(t, topic, refused)
	c := newCloud(t, cloudConfig{project: project, env: []string{
		"ERRAND_ACCESS=" + access, "ERRAND_OBJECTS=gs:@" + storage.Addr, "ERRAND_FILES=gs:errand-files@" + storage.Addr, "ERRAND_REFUSED=pubsub:" + refused + "@" + p.host,
	}})
	p.push(subscription, topic, fake.Signed(t, c.functions.url(), invoker, c.functions.url()+bus.PathSubmit, c.issuer.IDToken))

	for range 2 { // at least once
		p.publish(topic, `{"id": "row-1", "text": "Hello from a topic"}`, map[string]string{"owner": "other"})
		p.publish(topic, `{"batch": {"input": "gs://acme-in/prompts.jsonl", "name": "from-a-topic"}}`, nil)
	}
	p.publish(topic, `{"id": "row-2", "txt": "Hello"}`, map[string]string{"run": "7"})
	p.publish(topic, `{"batch": {"input": "gs://acme-out/prompts.jsonl"}}`, nil)

	client := keyed(t, c, mine)
	line, _ := task.Derive("acme/nightly", "line/row-1")
	done := awaitTask(t, client, a2a.TaskID(line), func(got *a2a.Task) bool { return got.Status.State.Terminal() })
	if done.Status.State != a2a.TaskStateCompleted || !strings.Contains(said([]a2a.Event{done}), "You said: Hello from a topic") {
		t.Errorf("the line became %s: %s", done.Status.State, said([]a2a.Event{done}))
	}
	whole := awaitTask(t, client, a2a.TaskID(task.BatchID("acme/nightly", "from-a-topic")), func(got *a2a.Task) bool { return got.Status.State.Terminal() })
	if whole.Status.State != a2a.TaskStateCompleted {
		t.Errorf("the batch became %s: %+v", whole.Status.State, whole.Status.Message)
	}

	reasons := map[string]string{}
	for len(reasons) < 2 {
		for _, m := range p.pull(refused) {
			reasons[m.Attributes[submit.Reason]] = m.Attributes[submit.Subscription] + " " + m.Attributes["run"] + " " + string(m.Data)
		}
	}
	for reason, want := range map[string]string{
		`txt: is unknown: did you mean "text"?`:                                subscription + ` 7 {"id": "row-2", "txt": "Hello"}`,
		"batch.input names no file or object that the principal may have read": subscription + `  {"batch": {"input": "gs://acme-out/prompts.jsonl"}}`,
	} {
		if reasons[reason] != want {
			t.Errorf("refused because of %q: %s, want %s; all: %v", reason, reasons[reason], want, reasons)
		}
	}

	all, err := client.ListTasks(t.Context(), &a2a.ListTasksRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range all.Tasks {
		if _, _, item := task.ItemOf(string(got.ID)); !item && got.ID != done.ID && got.ID != whole.ID {
			t.Errorf("the principal has another task, %s", got.ID)
		}
	}
	if all, err := keyed(t, c, theirs).ListTasks(t.Context(), &a2a.ListTasksRequest{}); err != nil || len(all.Tasks) != 0 {
		t.Errorf("another principal has %d tasks, %v", len(all.Tasks), err)
	}

	// Nobody but Pub/Sub is let in.
	res, err := http.Post(c.functions.url()+bus.PathSubmit, "application/json", strings.NewReader(`{"message": {"messageId": "1", "data": "e30="}, "subscription": "`+subscription+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _ = res.Body.Close(); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a push without a token is answered %d, want 401", res.StatusCode)
	}
}

// topics are topics of the emulator, each with a subscription to pull from.
type topics struct {
	t             *testing.T
	host          string
	topics        *pubsub.TopicAdminClient
	subscriptions *pubsub.SubscriptionAdminClient
}

func newTopics(t *testing.T, names ...string) *topics {
	t.Helper()
	p := &topics{t: t, host: emulator.PubSub(t)}
	o := []option.ClientOption{
		option.WithEndpoint(p.host), option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	var err error
	if p.topics, err = pubsub.NewTopicAdminClient(t.Context(), o...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.topics.Close() })
	if p.subscriptions, err = pubsub.NewSubscriptionAdminClient(t.Context(), o...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.subscriptions.Close() })

	for _, name := range names {
		if _, err := p.topics.CreateTopic(t.Context(), &pubsubpb.Topic{Name: name}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.subscriptions.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: pulling(name), Topic: name}); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func pulling(topic string) string {
	return strings.Replace(topic, "/topics/", "/subscriptions/pull-", 1)
}

// push makes a subscription that pushes to h until the test ends.
func (p *topics) push(subscription, topic string, h http.Handler) {
	p.t.Helper()
	target := httptest.NewServer(h)
	p.t.Cleanup(target.Close)
	s, err := p.subscriptions.CreateSubscription(p.t.Context(), &pubsubpb.Subscription{
		Name: subscription, Topic: topic, PushConfig: &pubsubpb.PushConfig{PushEndpoint: target.URL + bus.PathSubmit},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = p.subscriptions.DeleteSubscription(context.Background(), &pubsubpb.DeleteSubscriptionRequest{Subscription: s.Name})
	})
}

func (p *topics) publish(topic, data string, attributes map[string]string) {
	p.t.Helper()
	if _, err := p.topics.Publish(p.t.Context(), &pubsubpb.PublishRequest{Topic: topic, Messages: []*pubsubpb.PubsubMessage{{Data: []byte(data), Attributes: attributes}}}); err != nil {
		p.t.Fatal(err)
	}
}

// pull takes the messages that are in a topic.
func (p *topics) pull(topic string) (all []*pubsubpb.PubsubMessage) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	got, err := p.subscriptions.Pull(ctx, &pubsubpb.PullRequest{Subscription: pulling(topic), MaxMessages: 10})
	if err != nil {
		p.t.Fatal(err)
	}

	ack := &pubsubpb.AcknowledgeRequest{Subscription: pulling(topic)}
	for _, m := range got.ReceivedMessages {
		all, ack.AckIds = append(all, m.Message), append(ack.AckIds, m.AckId)
	}
	if len(all) > 0 {
		if err := p.subscriptions.Acknowledge(ctx, ack); err != nil {
			p.t.Fatal(err)
		}
	}
	return all
}
