package main_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"errand/shared/auth"
)

// The example of a consumer gets the events of its own principal's tasks from the three
// programs, and ignores events that it may not read (docs/events.md).
func TestCloudTellsAPipeline(t *testing.T) {
	t.Parallel()
	mine, hash := auth.NewKey()
	other, otherHash := auth.NewKey()
	dir := t.TempDir()
	access, keyFile := filepath.Join(dir, "access.yaml"), filepath.Join(dir, "ci.key")
	for file, text := range map[string]string{
		access:  fmt.Sprintf("limits: {requests: none, waiting: none}\nprincipals:\n  - {name: pipeline, keys: ['%s']}\n  - {name: other, keys: ['%s']}\n", hash, otherHash),
		keyFile: mine + "\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	c := startCloud(t, "ERRAND_ACCESS="+access)
	subscription := strings.Replace(c.topic, "/topics/", "/subscriptions/", 1) + "-pipeline"
	subscriptions, err := pubsub.NewSubscriptionAdminClient(t.Context(), option.WithEndpoint(c.config.pubsub), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	defer subscriptions.Close()

	if _, err := subscriptions.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: subscription, Topic: c.topic}); err != nil {
		t.Fatal(err)
	}

	theirs := mustSend(t, keyed(t, c, other), userText("theirs", "Hello from another"))
	ours := mustSend(t, keyed(t, c, mine), userText("ours", "Hello pipeline"))

	consumer := filepath.Join(dir, "consumer")
	if out, err := exec.Command("go", "build", "-o", consumer, "../docs/consumer").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	cmd := exec.Command(consumer, "-subscription", subscription, "-agent", c.url(), "-key", "@"+keyFile)
	cmd.Env = append(os.Environ(), "PUBSUB_EMULATOR_HOST="+c.config.pubsub)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}

	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
	lines, logged := bufio.NewScanner(out), bufio.NewScanner(log)
	if !lines.Scan() {
		t.Fatal("the consumer printed nothing")
	}

	if got := lines.Text(); !strings.HasPrefix(got, string(ours.ID)+" completed ") || !strings.Contains(got, "You said: Hello pipeline") {
		t.Errorf("printed %q, want the answer of %s", got, ours.ID)
	}

	passed := "skipped: " + string(theirs.ID)
	for !strings.Contains(logged.Text(), passed) {
		if !logged.Scan() {
			t.Fatalf("the consumer ended and did not say %q", passed)
		}
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	for lines.Scan() {
		t.Errorf("printed %q as well", lines.Text())
	}

	if err := cmd.Wait(); err != nil {
		t.Errorf("the consumer ended with %v", err)
	}
}

// keyed is a client with a key.
func keyed(t *testing.T, d deployment, key string) *a2aclient.Client {
	t.Helper()
	c, err := a2aclient.NewFromEndpoints(t.Context(), []*a2a.AgentInterface{
		a2a.NewAgentInterface(d.url()+"/", a2a.TransportProtocolJSONRPC),
	}, a2aclient.WithJSONRPCTransport(&http.Client{Transport: bearer(key)}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A bearer sends a key with every request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}
