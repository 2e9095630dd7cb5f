package waterfall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"errand/cardserver/trace"
)

const (
	requestFor = 30 * time.Second // an instance that must be started first takes seconds
	maxAnswer  = 16 << 20
)

// A client asks for pages of one trace.
type client struct {
	http       *http.Client
	url        *url.URL
	key, token string
}

var taskID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,256}$`)

func newClient(c Config) (*client, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("the agent's address must be complete, such as https://agent.example.com or http://127.0.0.1:8080")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the agent's address must have no user, query or fragment; credentials are given by -key and -token")
	case !taskID.MatchString(c.Task):
		return nil, errors.New("the task must be named by its id, as the agent's answers do")
	}
	return &client{
		// Credentials are only for the host that was named, so redirects are not followed.
		http: &http.Client{Timeout: requestFor, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		url:  u.JoinPath("tasks", c.Task, "trace"), key: c.Key, token: c.Token,
	}, nil
}

// A busy is an error that may be over soon.
type busy struct {
	err   error
	after time.Duration // the agent asks to wait so long
}

func (b *busy) Error() string { return b.err.Error() }

// page asks for a page. The error is a busy, if another try is worth it.
func (c *client) page(ctx context.Context, after string) (t trace.Trace, err error) {
	u := *c.url
	if after != "" {
		u.RawQuery = url.Values{"after": {after}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return t, err
	}
	c.identify(req)

	resp, err := c.http.Do(req)
	if err != nil {
		return t, &busy{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return t, &busy{err: fmt.Errorf("the answer broke off: %w", err)}
	}

	if resp.StatusCode != http.StatusOK {
		return t, refused(resp, text)
	}
	if err := json.Unmarshal(text, &t); err != nil || t.Task == "" {
		return t, errors.New("the answer is no trace: is this the address of an agent that has them?")
	}
	return t, nil
}

// identify adds the credentials. The IAM check of Cloud Run reads X-Serverless-Authorization
// before Authorization.
// https://cloud.google.com/run/docs/authenticating/service-to-service
func (c *client) identify(r *http.Request) {
	r.Header.Set("User-Agent", "errand-trace")
	if c.key != "" {
		r.Header.Set("X-API-Key", c.key)
	}
	if c.token != "" {
		r.Header.Set("X-Serverless-Authorization", "Bearer "+c.token)
		if c.key == "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
	}
}

// refused is the error of an answer, with the reason that the agent gives.
func refused(resp *http.Response, text []byte) error {
	var p struct {
		Detail string `json:"detail"`
	}
	say := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if json.Unmarshal(text, &p) == nil && p.Detail != "" {
		say += ": " + plain(p.Detail)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		say += "; give an API key with -key @FILE, or an ID token with -token @FILE"
	case http.StatusNotFound:
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
			say += ": the agent at this address has no traces"
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &busy{err: errors.New(say), after: time.Duration(min(max(seconds, 0), 3600)) * time.Second}
	}
	return errors.New(say)
}
