package smoke

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// A courier adds the credentials to requests for the one host that they are for, and turns
// every answer that does not follow the protocol into an error: the SDK keeps only the
// status of such answers, and the cause is in the headers and the body.
type courier struct {
	next  http.RoundTripper
	host  string
	key   string
	token string

	keyHeader string // empty: Authorization
}

const (
	authorization = "Authorization"

	// frontHeader is the header that the IAM check of Cloud Run reads before Authorization.
	// Authorization then reaches the agent unchanged.
	// https://cloud.google.com/run/docs/authenticating/service-to-service
	frontHeader = "X-Serverless-Authorization"
)

func newCourier(c Config, base *url.URL) *courier {
	next := http.DefaultTransport
	if c.Client != nil && c.Client.Transport != nil {
		next = c.Client.Transport
	}
	return &courier{next: next, host: hostPort(base), key: c.Key, token: c.Token, keyHeader: "X-API-Key"}
}

// RoundTrip implements http.RoundTripper.
func (c *courier) RoundTrip(r *http.Request) (*http.Response, error) {
	if hostPort(r.URL) != c.host {
		return nil, fmt.Errorf("a request to %s was not sent: it is not the host that was named", r.URL.Host)
	}
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", "errand-smoke")
	if c.token != "" {
		r.Header.Set(frontHeader, "Bearer "+c.token)
	}
	switch {
	case c.key != "" && c.keyHeader != "":
		r.Header.Set(c.keyHeader, c.key)
	case c.key != "":
		r.Header.Set(authorization, "Bearer "+c.key)
	case c.token != "":
		r.Header.Set(authorization, "Bearer "+c.token)
	}
	resp, err := c.next.RoundTrip(r)
	if err != nil || ofProtocol(resp) {
		return resp, err
	}
	defer resp.Body.Close()
	return nil, newAnswer(resp)
}

// ofProtocol reports whether the SDK's client should read the answer.
func ofProtocol(r *http.Response) bool {
	switch {
	case r.StatusCode < 300:
		return true
	case r.StatusCode < 400 || r.StatusCode >= 500:
		return false
	}
	switch r.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusTooManyRequests:
		return false
	}
	return isJSON(r.Header)
}

func isJSON(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

// An answer is an answer that does not follow the protocol.
type answer struct {
	status    int
	challenge string // WWW-Authenticate
	location  string
	retry     string // Retry-After
	message   string // message of the error in the body, or the beginning of the body
	page      bool   // the body is a page for people, written by a proxy in front of the agent
}

func newAnswer(r *http.Response) *answer {
	h := r.Header
	a := &answer{
		status: r.StatusCode, challenge: strings.Join(h.Values("WWW-Authenticate"), ", "),
		location: h.Get("Location"), retry: h.Get("Retry-After"),
	}

	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return a // the status alone says most
	}

	var told struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}

	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case isJSON(h) && json.Unmarshal(body, &told) == nil:
		a.message = told.Error.Message
	case kind == "text/html":
		a.page = true
	case kind == "text/plain":
		a.message = string(body)
	}

	return a
}

func (a *answer) Error() string {
	text := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if a.message != "" {
		text += ": " + quote(a.message)
	}
	return text
}

// hostPort is the address that a URL connects to, in one spelling.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
