package fake

import (
	"context"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Limits of the service, from the comments in its protocol unless a line has another source.
const (
	maxTask     = 100_000
	maxURL      = 2083
	maxHeaders  = 80_000
	maxAhead    = 30 * 24 * time.Hour
	minDeadline = 15 * time.Second
	maxDeadline = 30 * time.Minute
	maxCall     = 30 * time.Second // https://github.com/googleapis/google-cloud-go/issues/1577
)

var (
	queueID = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)
	taskID  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,500}$`)
)

// check refuses the same requests as the service.
func check(ctx context.Context, req *cloudtaskspb.CreateTaskRequest) error {
	refuse := func(format string, args ...any) error { return status.Errorf(codes.InvalidArgument, format, args...) }
	if end, ok := ctx.Deadline(); ok && time.Until(end) > maxCall {
		return refuse("The request deadline is %v. The deadline cannot be more than 30s in the future.", end)
	}

	t := req.GetTask()
	h := t.GetHttpRequest()
	if h == nil {
		return refuse("Task.http_request is required")
	}
	if size := proto.Size(t); size > maxTask {
		return refuse("Task size too large: %d bytes", size)
	}
	if id, ok := strings.CutPrefix(t.GetName(), req.GetParent()+"/tasks/"); t.GetName() != "" && (!ok || !taskID.MatchString(id)) {
		return refuse("not a task's name in %q: %q", req.GetParent(), t.GetName())
	}

	u, err := url.Parse(h.GetUrl())
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || len(h.GetUrl()) > maxURL {
		return refuse("HttpRequest.url must be an http or https URL of at most %d characters", maxURL)
	}

	var headers int
	for name, value := range h.GetHeaders() {
		headers += len(name) + len(value)
	}

	if headers >= maxHeaders {
		return refuse("HttpRequest.headers have %d bytes, more than 80 KB", headers)
	}

	switch h.GetHttpMethod() {
	case cloudtaskspb.HttpMethod_HTTP_METHOD_UNSPECIFIED, cloudtaskspb.HttpMethod_POST, cloudtaskspb.HttpMethod_PUT, cloudtaskspb.HttpMethod_PATCH:
	default:
		if len(h.GetBody()) > 0 {
			return refuse("HttpRequest.body is not allowed with %v", h.GetHttpMethod())
		}
	}

	if o := h.GetOidcToken(); o != nil && !strings.Contains(o.GetServiceAccountEmail(), "@") {
		return refuse("OidcToken.service_account_email is not an e-mail: %q", o.GetServiceAccountEmail())
	}
	if at := t.GetScheduleTime(); at != nil && time.Until(at.AsTime()) > maxAhead {
		return refuse("Task.schedule_time cannot be more than 30 days in the future")
	}
	if d := t.GetDispatchDeadline(); d != nil && (d.AsDuration() < minDeadline || d.AsDuration() > maxDeadline) {
		return refuse("Task.dispatch_deadline must be between 15 s and 30 min")
	}

	return nil
}
