package fake

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/protobuf/proto"
)

// A try is the request of one attempt.
type try struct {
	request  *cloudtaskspb.HttpRequest
	header   http.Header
	deadline time.Duration
}

// An answer is the outcome of an attempt. Without an answer of the handler the status is 0.
type answer struct {
	status     int
	retryAfter time.Duration
	err        error
}

// newTry makes the request as the service does: the task's headers, except those that
// only the service may set.
// https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler
func newTry(q *taskQueue, t *task) try {
	r := overridden(t.pb.GetHttpRequest(), q.pb.GetHttpTarget())
	h := http.Header{}
	for name, value := range r.GetHeaders() {
		if n := strings.ToLower(name); !strings.HasPrefix(n, "x-cloudtasks-") && !strings.HasPrefix(n, "x-google-") && !strings.HasPrefix(n, "x-appengine-") {
			h.Set(name, value)
		}
	}
	name := q.pb.GetName()
	h.Set("User-Agent", "Google-Cloud-Tasks")
	h.Set("X-CloudTasks-QueueName", name[strings.LastIndexByte(name, '/')+1:])
	h.Set("X-CloudTasks-TaskName", t.id)
	h.Set("X-CloudTasks-TaskRetryCount", strconv.Itoa(t.failed))
	h.Set("X-CloudTasks-TaskExecutionCount", strconv.Itoa(t.answered))
	h.Set("X-CloudTasks-TaskETA", strconv.FormatFloat(float64(t.pb.GetScheduleTime().AsTime().UnixMicro())/1e6, 'f', 6, 64))
	if t.last != 0 {
		h.Set("X-CloudTasks-TaskPreviousResponse", strconv.Itoa(t.last))
	}
	d := 10 * time.Minute
	if own := t.pb.GetDispatchDeadline(); own != nil {
		d = own.AsDuration()
	}
	return try{r, h, d}
}

// overridden is a task's request as its queue changes it, whatever address and token the task
// names. What the queue leaves open stays the task's.
// https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#HttpTarget
func overridden(r *cloudtaskspb.HttpRequest, by *cloudtaskspb.HttpTarget) *cloudtaskspb.HttpRequest {
	to, err := url.Parse(r.GetUrl())
	if by == nil || err != nil {
		return r
	}
	own := proto.Clone(r).(*cloudtaskspb.HttpRequest)

	if o := by.GetUriOverride(); o != nil && o.GetUriOverrideEnforceMode() != cloudtaskspb.UriOverride_IF_NOT_EXISTS {
		if o.Scheme != nil {
			to.Scheme = strings.ToLower(o.GetScheme().String())
		}
		host, port := to.Hostname(), to.Port()
		if o.Host != nil {
			host = o.GetHost()
		}
		if o.Port != nil {
			port = strconv.FormatInt(o.GetPort(), 10)
		}
		if to.Host = host; port != "" {
			to.Host = net.JoinHostPort(host, port)
		}
		if o.PathOverride != nil {
			to.Path = o.GetPathOverride().GetPath()
		}
		own.Url = to.String()
	}

	if o := by.GetOidcToken(); o != nil {
		own.AuthorizationHeader = &cloudtaskspb.HttpRequest_OidcToken{OidcToken: o}
	}
	return own
}

// deliver makes the attempt. After the deadline it ignores the handler's answer.
func (s *Tasks) deliver(t try) answer {
	ctx, cancel := context.WithTimeout(s.ctx, t.deadline)
	defer cancel()
	method := http.MethodPost
	if m := t.request.GetHttpMethod(); m != cloudtaskspb.HttpMethod_HTTP_METHOD_UNSPECIFIED {
		method = m.String()
	}

	req, err := http.NewRequestWithContext(ctx, method, t.request.GetUrl(), bytes.NewReader(t.request.GetBody()))
	if err != nil {
		return answer{err: err}
	}

	req.Header = t.header
	if o := t.request.GetOidcToken(); o != nil && s.o.Token != nil {
		audience := o.GetAudience()
		if audience == "" {
			audience = t.request.GetUrl()
		}

		token, err := s.o.Token(o.GetServiceAccountEmail(), audience)
		if err != nil {
			return answer{err: err}
		}

		req.Header.Set("Authorization", "Bearer "+token)
	}

	resp, err := s.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // so that the connection can be used again
	wait, _ := strconv.Atoi(resp.Header.Get("Retry-After"))      // 0 for a date or a missing header

	return answer{status: resp.StatusCode, retryAfter: time.Duration(wait) * time.Second}
}
