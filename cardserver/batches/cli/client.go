package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	silentFor = 2 * time.Minute // an exchange in which no byte moves for so long is broken off
	maxAnswer = 16 << 20        // bytes of an answer that is no file
	smallBody = 64 << 10        // bytes that are sent without a question

	waitFirst = time.Second // between two tries, doubled each time
	waitLast  = 30 * time.Second
	waitMost  = 5 * time.Minute // that the agent may ask for

	firstTries = 6  // before the agent has answered once: half a minute
	laterTries = 50 // in a row, later: some 25 minutes
)

// A client talks to one agent. It tries again whatever may succeed later.
type client struct {
	http       *http.Client
	base       *url.URL
	key, token string
	after      func(time.Duration) <-chan time.Time
	trouble    func(text string, wait time.Duration) // told before each wait

	answered bool // the agent has answered once
}

func newClient(c Config, trouble func(string, time.Duration)) (*client, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("the agent's address must be complete, such as https://agent.example.com or http://127.0.0.1:8080")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the agent's address must have no user, query or fragment; credentials are given by -key and -token")
	}
	return &client{
		// Credentials are only for the host that was named, so redirects are not followed.
		http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base: u, key: c.Key, token: c.Token, after: c.After, trouble: trouble,
	}, nil
}

// A request is one that may be sent several times.
type request struct {
	method string
	url    string
	header func(http.Header) // called before each try; nil: there is nothing to add
	body   *content          // nil: there is none

	// foreign: the URL is a signed one of another host, which gets no credentials.
	foreign bool
}

// A content is a body that can be read again.
type content struct {
	open      func() (io.ReadCloser, error)
	size      int64
	mediaType string // empty: the header tells it
}

// at is the URL of a path below the agent's address. An action is the end of the last
// element, such as :pause.
func (c *client) at(query url.Values, elements ...string) string {
	u := c.base.JoinPath(elements...)
	u.RawQuery = query.Encode()
	return u.String()
}

// A busy is an error that may be over soon.
type busy struct {
	err   error
	after time.Duration // the agent asks to wait so long
}

func (b *busy) Error() string { return b.err.Error() }
func (b *busy) Unwrap() error { return b.err }

// A refusal is an answer that will not change.
type refusal struct {
	status  int // 0: it is ours
	say     string
	foreign bool // it is the storage's
}

func (r *refusal) Error() string { return r.say }

// Ends of a request without an answer.
var (
	errUnreachable = errors.New("the agent cannot be reached") // after all tries
	errInterrupted = errors.New("interrupted")                 // the context has ended
)

// do sends a request until it is answered, and has use read the answer. If use returns a busy,
// the request is sent again. Any other error of use ends it.
func (c *client) do(ctx context.Context, r request, use func(*http.Response) error) error {
	for try := 1; ; try++ {
		err := c.once(ctx, r, use)
		b, again := errors.AsType[*busy](err)
		if !again {
			return err
		}
		if ctx.Err() != nil {
			return errInterrupted
		}

		most := firstTries
		if c.answered {
			most = laterTries
		}
		if try >= most {
			return fmt.Errorf("%w: %w", errUnreachable, b.err)
		}

		wait := min(waitFirst<<min(try-1, 10), waitLast)
		wait = max(wait, min(b.after, waitMost))
		c.trouble(b.Error(), wait)

		select {
		case <-c.after(wait):
		case <-ctx.Done():
			return errInterrupted
		}
	}
}

// errSilent ends an exchange in which nothing moves.
var errSilent = fmt.Errorf("nothing was sent or received for %v", silentFor)

// once sends a request once.
func (c *client) once(ctx context.Context, r request, use func(*http.Response) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := time.AfterFunc(silentFor, func() { cancel(errSilent) })
	defer alive.Stop()

	req, err := c.prepare(ctx, r, alive)
	if err != nil {
		return err
	}
	if req.Body != nil {
		defer req.Body.Close()
	}

	resp, err := c.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return &busy{err: err}
	}
	defer resp.Body.Close()
	resp.Body = io.NopCloser(moving{resp.Body, alive})
	c.answered = c.answered || !r.foreign

	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		return c.refused(resp, r.foreign)
	}
	return use(resp)
}

// prepare makes the request of one try.
func (c *client) prepare(ctx context.Context, r request, alive *time.Timer) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, nil)
	if err != nil {
		return nil, err
	}

	if r.body != nil {
		body, err := r.body.open()
		if err != nil {
			return nil, err
		}
		req.Body, req.ContentLength = struct {
			io.Reader
			io.Closer
		}{moving{body, alive}, body}, r.body.size
		if r.body.mediaType != "" {
			req.Header.Set("Content-Type", r.body.mediaType)
		}
	}

	if !r.foreign {
		req.Header.Set("User-Agent", "errand-batch")
		c.identify(req)
	}
	if !r.foreign && req.ContentLength > smallBody {
		req.Header.Set("Expect", "100-continue") // a refusal comes before the bytes are sent
	}
	if r.header != nil {
		r.header(req.Header)
	}
	return req, nil
}

// A moving reader shows that an exchange is alive.
type moving struct {
	io.Reader
	alive *time.Timer
}

// Read implements io.Reader.
func (m moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.alive.Reset(silentFor)
	return n, err
}

// ask sends a request and decodes the answer.
func (c *client) ask(ctx context.Context, r request, into any) error {
	return c.do(ctx, r, func(resp *http.Response) error {
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return &busy{err: fmt.Errorf("the answer broke off: %w", err)}
		}
		if json.Unmarshal(text, into) != nil {
			return errors.New("the answer is none of an agent that has batches: is this its address?")
		}
		return nil
	})
}

// identify adds the credentials. The IAM check of Cloud Run reads X-Serverless-Authorization
// before Authorization.
// https://cloud.google.com/run/docs/authenticating/service-to-service
func (c *client) identify(r *http.Request) {
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
func (c *client) refused(resp *http.Response, foreign bool) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // without its reason it is an error all the same
	var p struct {
		Detail string `json:"detail"`
	}
	say := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if foreign {
		say = "the storage answers " + say
	} else if json.Unmarshal(text, &p) == nil && p.Detail != "" {
		say += ": " + plain(p.Detail)
	}

	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	passes := err == nil && resp.StatusCode == http.StatusConflict
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusInsufficientStorage:
		passes = true
	}
	if passes {
		return &busy{err: errors.New(say), after: time.Duration(min(max(seconds, 0), 3600)) * time.Second}
	}

	switch resp.StatusCode {
	case http.StatusUnauthorized:
		say += "; give an API key with -key @FILE, or an ID token with -token @FILE"
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
			say += ": the agent at this address has no batches"
		}
	}
	return &refusal{resp.StatusCode, say, foreign}
}

// plain is a text in one line without characters that control a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) && r != ' ' {
			return ' '
		}
		return r
	}, text)
}
