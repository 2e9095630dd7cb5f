// Package smoke tries a running agent from outside, as a client does: its card, then
// sending, polling, streaming and cancelling over every binding of A2A 1.0 that the card
// declares, then running a task again, and webhooks. It prints a line for every check and, after a failure, the
// problem and the remedy.
//
// It sends a few short messages, which the agent answers at its usual cost, and cancels the
// tasks that it leaves behind. It knows the protocol and nothing of Errand, so it is of use
// with other agents too: checks specific to Errand are reported but do not fail. It is no
// load test and no conformance test.
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

// Config says which agent to try, and with which credentials.
type Config struct {
	// URL is the agent's address, without the path of its card. Required.
	URL string
	// Card is the address that the card leads to, if it is not URL: a new version that is
	// tried before it gets the requests of clients has an address of its own. Empty: URL.
	Card string
	// CardKeys is a file with the key set by which the card must be signed. Empty: it need not be
	// signed.
	CardKeys string
	// Key is an API key, and Token an ID token. Either may be empty. With both, the token
	// is for the proxy in front of the agent (the IAM check of Cloud Run). They are sent
	// only to the host of URL, and never printed.
	Key, Token string
	// Message is the text to send; empty: a text that every model can answer shortly.
	Message string
	// Timeout is the time that a task may take to end; zero: a minute.
	Timeout time.Duration
	// Webhook is an address at which the agent reaches Listen, an address of this
	// machine. Without it webhooks are registered and not delivered.
	Webhook, Listen string
	// Client sends the requests; nil: a client of this package.
	Client *http.Client
	// Out gets the lines. Required.
	Out io.Writer
}

// DefaultListen is the address that waits for webhooks. The example in the README allows
// it.
const DefaultListen = "127.0.0.1:9099"

const (
	defaultTimeout = time.Minute
	defaultMessage = "This is a test of whether you can be reached. Answer with the one word: yes."

	// callTimeout bounds a request that waits for no task. An instance that must be started
	// first takes seconds.
	callTimeout = 30 * time.Second
)

// Run tries the agent. The error says how many checks failed. The lines say which, and why.
func Run(ctx context.Context, c Config) error {
	base, err := address(c.URL)
	if err != nil {
		return err
	}
	served := base
	if c.Card != "" {
		if served, err = address(c.Card); err != nil {
			return err
		}
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

	r := &run{Config: c, base: base, served: served, courier: newCourier(c, base)}
	r.report = &report{out: c.Out, now: time.Now, secrets: []string{c.Key, c.Token}, explain: r.explain}
	r.client = &http.Client{
		Transport: r.courier,
		// Credentials are only for the host that was named, so redirects are not followed.
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
	base    *url.URL // where the agent is tried
	served  *url.URL // where the card leads to
	courier *courier
	client  *http.Client
	card    *a2a.AgentCard
	report  *report

	stuck bool // a task did not end, so no later check waits for another one
}

func (r *run) all(ctx context.Context) {
	if !r.checkCard(ctx) {
		r.report.skip("the rest", "there is no usable card")
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
			r.report.skip("binding", name+" is not tried: the version is not known here")
		default:
			if b := r.tryBinding(ctx, i, name); first == nil {
				first = b
			}
		}
	}
	if first != nil {
		r.report.check(ctx, "again", first.name, callTimeout, first.again)
		r.tryWebhooks(ctx, first)
	}
}

func major(i *a2a.AgentInterface) string {
	m, _, _ := strings.Cut(string(i.ProtocolVersion), ".")
	return m
}

// address reads the address that the user typed: the agent's, or that of its card.
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
