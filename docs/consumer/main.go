// Command consumer is an example of a pipeline behind Pub/Sub: it pulls the events of tasks
// from a subscription, reads each completed task from the agent and prints a line about it.
// docs/events.md lists the promises about events.
//
// It is written as a user of Errand would write it, with Google's client and no code of
// Errand. It does not store its progress, so after a restart it may print a task again. A
// pipeline that must not do so writes the event's id into its own database, in the
// transaction that does the work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"cloud.google.com/go/pubsub/v2"
)

// Exit codes tell misuse from failure.
const (
	succeeded = 0
	failed    = 1
	misused   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

var subscriptionName = regexp.MustCompile(`^projects/([^/]+)/subscriptions/[^/]+$`)

func command(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("consumer", flag.ContinueOnError)
	flags.SetOutput(errs)
	subscription := flags.String("subscription", "", "`projects/P/subscriptions/S` to pull from")
	address := flags.String("agent", "http://127.0.0.1:8080", "`URL` of the agent")
	key := flags.String("key", "", "API `key`, or @FILE with it, of the principal whose tasks are read")

	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		return misused
	}

	project := subscriptionName.FindStringSubmatch(*subscription)
	base, err := url.Parse(*address)

	switch {
	case flags.NArg() > 0:
		err = errors.New("there are no arguments beside flags; -h lists them")
	case project == nil:
		err = fmt.Errorf("-subscription must be projects/PROJECT/subscriptions/NAME, not %q", *subscription)
	case err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http":
		err = errors.New("-agent must be the agent's address, such as https://agent.example.com")
	default:
		*key, err = readKey(*key)
	}

	if err != nil {
		fmt.Fprintln(errs, err)
		return misused
	}

	c := &consumer{agent: newAgent(base, *key), seen: newSeen(remembered), out: out, log: log.New(errs, "", log.LstdFlags)}
	if err := c.run(ctx, project[1], *subscription); err != nil {
		fmt.Fprintln(errs, err)
		return failed
	}

	return succeeded
}

// readKey reads the key from a file, so that no list of processes shows it. Its errors do
// not repeat the key.
func readKey(value string) (string, error) {
	path, ok := strings.CutPrefix(value, "@")
	if !ok {
		return value, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("-key: %w", err)
	}
	if value = strings.TrimSpace(string(data)); value == "" {
		return "", fmt.Errorf("-key: %s is empty; it must hold the API key", path)
	}
	return value, nil
}

const (
	// remembered is the number of events that are recognised. It must cover the events that
	// may come between two copies of one event, and costs about 100 bytes for each.
	remembered = 10_000

	// atOnce is how many tasks are read at the same time. The rest of the backlog stays
	// with Pub/Sub, for other instances.
	atOnce = 16

	// callTimeout bounds reading a task. Until then the library extends the event's
	// deadline.
	callTimeout = 30 * time.Second
)

type consumer struct {
	agent *agent
	seen  *seen
	out   io.Writer
	log   *log.Logger
}

// run consumes until ctx ends, which is no error: events that are being processed then are
// interrupted and go back to Pub/Sub.
func (c *consumer) run(ctx context.Context, project, subscription string) error {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return fmt.Errorf("making the Pub/Sub client: %w", err)
	}
	defer client.Close()
	s := client.Subscriber(subscription)
	s.ReceiveSettings.MaxOutstandingMessages = atOnce
	c.log.Printf("waiting for events of %s", subscription)
	err = s.Receive(ctx, func(ctx context.Context, m *pubsub.Message) {
		// Only an event that is done is acknowledged. Every other one is delivered again.
		if err := c.handle(ctx, m.Attributes); err != nil {
			c.log.Printf("will retry: %v", err)
			m.Nack()
			return
		}
		m.Ack()
	})
	if err != nil {
		return fmt.Errorf("pulling from %s: %w", subscription, err)
	}
	c.log.Print("stopped")
	return nil
}

// handle returns nil when the event is done for good.
func (c *consumer) handle(ctx context.Context, attributes map[string]string) error {
	e, err := parse(attributes)
	if err != nil {
		c.log.Printf("skipped: %v", err) // another delivery would be no event either
		return nil
	}
	if e.State != completed {
		return nil
	}
	switch first, err := c.seen.begin(e.ID); {
	case err != nil:
		return err
	case !first:
		c.log.Printf("duplicate: %s", e.ID)
		return nil
	}
	err = c.complete(ctx, e)
	c.seen.end(e.ID, err == nil)
	return err
}

// complete does the work of the pipeline: in this example, a line on the output.
func (c *consumer) complete(ctx context.Context, e event) error {
	t, err := c.agent.task(ctx, e.Task)
	if errors.Is(err, errNoTask) {
		c.log.Printf("skipped: %s: %v", e.ID, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.ID, err)
	}
	if t.Status.State != e.State { // this does not happen: completed is a final state
		return fmt.Errorf("%s: the task is %s", e.ID, t.Status.State)
	}
	if _, err := fmt.Fprintf(c.out, "%s completed %s: %.200q\n", t.ID, t.Status.Timestamp.Format(time.RFC3339), t.text()); err != nil {
		return fmt.Errorf("%s: printing: %w", e.ID, err)
	}
	return nil
}
