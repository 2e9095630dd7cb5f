package gemini

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/genai"

	"errand/shared/model"
)

const (
	maxWait    = 24 * time.Hour // the longest RetryAfter that is obeyed: the age limit of a turn
	maxMessage = 512            // bytes of the service's own message
	minSecret  = 6              // bytes of a secret that is blotted out
)

var errSilent = errors.New("the service sent nothing for too long")

// failure returns the error of a call: ctx's own error if the caller has ended it, otherwise
// an *model.Error, such as the credential's. Of genai's messages it passes on only those that
// the service wrote. The others quote the answer.
func failure(ctx context.Context, c *call, err error) error {
	switch {
	case errors.Is(context.Cause(ctx), errSilent):
		return &model.Error{Cause: model.Silent, Message: errSilent.Error(), Err: errSilent}
	case ctx.Err() != nil:
		return ctx.Err()
	}

	if ours, ok := errors.AsType[*model.Error](err); ok {
		return ours
	}
	if api, ok := inBody(err); ok {
		return c.answered(api)
	}

	sent, ok := errors.AsType[*url.Error](err)
	switch {
	case ok:
		err = sent.Err
	case c.status >= 300:
		return &model.Error{Code: c.status, Cause: unread(c.status), RetryAfter: c.retryAfter(nil), Message: "the answer could not be read"}
	case c.cut != nil:
		err = c.cut
	default:
		err = errMalformed
	}

	why := model.Cut
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errMalformed):
		why = model.Broken
	case ok && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET):
		why = model.Unreached
	}
	return &model.Error{Cause: why, Message: clip(err.Error()), Err: err}
}

// inBody finds the error that the service sent: as an object, which genai reads, or as a list
// of one, which some of Google's front ends send instead of a stream and genai passes on as
// text.
func inBody(err error) (genai.APIError, bool) {
	api, ok := errors.AsType[genai.APIError](err)
	text := api.Message
	if !ok {
		_, text, _ = strings.Cut(err.Error(), "invalid stream chunk: ")
	}

	var list []struct{ Error *genai.APIError }
	if strings.HasPrefix(text, "[") && json.Unmarshal([]byte(text), &list) == nil && len(list) > 0 && list[0].Error != nil {
		return *list[0].Error, true
	}
	return api, ok
}

// answered maps an error that the service sent. An HTTP status of 300 or more decides over
// the code in the body, because a gateway's body may have no code or a different one. A
// refused key is a 401, although the Gemini API answers 400.
func (c *call) answered(api genai.APIError) *model.Error {
	e := &model.Error{
		Code:       max(api.Code, 0),
		Status:     clip(c.blot(api.Status)),
		Cause:      cause(api),
		RetryAfter: c.retryAfter(api.Details),
		Message:    clip(c.blot(api.Message)),
	}
	if c.status >= 300 {
		e.Code = c.status
	}
	if strings.HasPrefix(api.Status, "400") { // the status line, in the place of a body that genai cannot read
		e.Cause = unread(e.Code)
	}
	if e.Cause == model.BadKey && e.Code == http.StatusBadRequest {
		e.Code = http.StatusUnauthorized
	}
	return e
}

// unread is the cause of an error whose body cannot be read, beyond its HTTP status; empty: the
// status says enough. A 400 in the words of a gateway does not say that the message is at fault:
// it may be about a header, or the key.
func unread(code int) model.Cause {
	if code == http.StatusBadRequest {
		return model.Broken
	}
	return ""
}

// blot removes the key or the token from a message of the service. A short one is a
// placeholder for a gateway that asks for none: it protects nothing, and would be blotted
// out of words. Keys of the Gemini API have 39 bytes.
func (c *call) blot(s string) string {
	if len(c.secret) < minSecret {
		return s
	}
	return strings.ReplaceAll(s, c.secret, "[key]")
}

// retryAfter reads the delay of google.rpc.RetryInfo, such as "37s", and otherwise the header
// of that name, which gateways send.
func (c *call) retryAfter(details []map[string]any) time.Duration {
	d, err := time.ParseDuration(detail(details, "retryDelay"))
	if err != nil {
		seconds, _ := strconv.Atoi(c.retry)
		d = time.Duration(min(max(seconds, 0), int(maxWait/time.Second))) * time.Second
	}
	return min(max(d, 0), maxWait)
}

// detail finds a field in an error's details. Only google.rpc.RetryInfo has a retryDelay,
// and only google.rpc.ErrorInfo has a reason.
func detail(details []map[string]any, field string) string {
	for _, d := range details {
		if s, ok := d[field].(string); ok {
			return s
		}
	}
	return ""
}

func clip(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
