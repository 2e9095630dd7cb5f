// Package smoke tries a running agent from outside, as a client does: its card, then
// sending, polling, streaming and cancelling over every binding of A2A 1.0 that the card
// declares, then webhooks. It prints a line for every check and, where one fails, what
// is wrong and how to mend it.
//
// It sends a few short messages, which the agent answers at its usual cost, and cancels
// what it leaves behind. It knows no part of Errand but the protocol and is of use with
// other agents too: what only Errand promises is noted and fails nothing. It is no load
// test and no conformance test.
package smoke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Config says which agent to try, and as whom.
type Config struct {
	// URL is the agent's address, without the path of its card. Required.
	URL string
	// Key is an API key, and Token an ID token; either may be empty. With both the token
	// is for what stands in front of the agent (the IAM check of Cloud Run). They are
	// sent to the host of URL only, and printed nowhere.
	Key, Token string
	// Message is the text to send; empty: one that every model can answer shortly.
	Message string
	// Timeout is how long a task may take to end; zero: a minute.
	Timeout time.Duration
	// Webhook is an address at which the agent reaches Listen, an address of this
	// machine. Without it webhooks are registered and not delivered.
	Webhook, Listen string
	// Client sends the requests; nil: one of its own.
	Client *http.Client
	// Out gets the lines. Required.
	Out io.Writer
}

// DefaultListen is where webhooks are waited for: what the example in the README allows.
const DefaultListen = "127.0.0.1:9099"

const (
	defaultTimeout = time.Minute
	defaultMessage = "This is a test of whether you can be reached. Answer with the one word: yes."

	// callTimeout bounds a request that waits for no task: an instance that has to be
	// started first takes seconds.
	callTimeout = 30 * time.Second
)

// Run tries the agent. The error says how many checks failed; what failed, and why, is
// in the lines.
func Run(ctx context.Context, c Config) error {
	base, err := address(c.URL)
	if err != nil {
		return err
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Message == "" {
		c.Message = defaultMessage
	}

	if c.Listen == "" {
		c.Listen = DefaultListen
	}

	r := &run{Config: c, base: base, courier: newCourier(c, base)}
	r.report = &report{out: c.Out, now: time.Now, secrets: []string{c.Key, c.Token}, explain: r.explain}
	r.client = &http.Client{
		Transport: r.courier,
		// Credentials are for the host that was named, so a redirect is an answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}

	r.all(ctx)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not finished: %w", err)
	}

	return r.report.verdict()
}

type run struct {
	Config
	base    *url.URL
	courier *courier
	client  *http.Client
	card    *a2a.AgentCard
	report  *report

	stuck bool // a task did not end: nothing waits for another
}

func (r *run) all(ctx context.Context) {
	if !r.checkCard(ctx) {
		r.report.skip("the rest", "there is no card to go by")
		return
	}
	var first *binding
	for _, i := range r.card.SupportedInterfaces {
		name := list([]string{string(i.ProtocolBinding)}, "") + " " + string(i.ProtocolVersion)
		switch {
		case i.ProtocolBinding != a2a.TransportProtocolJSONRPC && i.ProtocolBinding != a2a.TransportProtocolHTTPJSON:
			r.report.skip("binding", name+" is not tried: it is neither JSON-RPC nor HTTP+JSON")
		case major(i) == "0":
			r.report.check(ctx, "unknown", name, callTimeout, func(ctx context.Context) (string, error) { return r.oldUnknown(ctx, i) })
		case major(i) != "1":
			r.report.skip("binding", name+" is not tried: it is no version that is known here")
		default:
			if b := r.tryBinding(ctx, i, name); first == nil {
				first = b
			}
		}
	}
	if first != nil {
		r.tryWebhooks(ctx, first)
	}
}

func major(i *a2a.AgentInterface) string {
	m, _, _ := strings.Cut(string(i.ProtocolVersion), ".")
	return m
}

// address reads what somebody typed: the agent's address, or that of its card.
func address(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(raw, cardPath))
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("the agent's address must be complete, such as https://agent.example.com or http://127.0.0.1:8080")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the agent's address must have no user, query or fragment; credentials are given by -key and -token")
	}
	return u, nil
}
