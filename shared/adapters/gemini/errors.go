package gemini

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/genai"

	"errand/shared/model"
)

const (
	maxWait    = 24 * time.Hour // the longest RetryAfter that is obeyed: the age limit of a turn
	maxMessage = 512            // bytes of the service's own message
	minSecret  = 6              // bytes of a secret that is blotted out
)

// failure returns the error of a call: ctx's own error if ctx has ended, otherwise an
// *model.Error, such as the credential's. Of genai's messages it passes on only those that
// the service wrote. The others quote the answer.
func failure(ctx context.Context, c *call, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if ours, ok := errors.AsType[*model.Error](err); ok {
		return ours
	}
	if api, ok := errors.AsType[genai.APIError](err); ok {
		return answered(c, api)
	}
	unreached, ok := errors.AsType[*url.Error](err)
	switch {
	case ok:
		err = unreached.Err
	case c.status >= 300:
		return &model.Error{Code: c.status, Message: "the answer could not be read"}
	case c.cut != nil:
		err = c.cut
	default:
		err = errMalformed
	}
	return &model.Error{Message: clip(err.Error()), Err: err}
}

// answered maps an error that the service sent. An HTTP status of 300 or more decides over
// the code in the body, because a gateway's body may have no code or a different one.
func answered(c *call, api genai.APIError) *model.Error {
	code := api.Code
	if c.status >= 300 {
		code = c.status
	}
	// The service answers 400 INVALID_ARGUMENT to a wrong key, which would blame the
	// sender: https://ai.google.dev/gemini-api/docs/troubleshooting
	if code == http.StatusBadRequest && detail(api, "reason") == "API_KEY_INVALID" {
		code = http.StatusUnauthorized
	}
	return &model.Error{
		Code:       max(code, 0),
		Status:     clip(c.blot(api.Status)),
		RetryAfter: retryAfter(api),
		Message:    clip(c.blot(api.Message)),
	}
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

// retryAfter reads the delay of google.rpc.RetryInfo, such as "37s".
func retryAfter(api genai.APIError) time.Duration {
	d, err := time.ParseDuration(detail(api, "retryDelay"))
	if err != nil || d < 0 {
		return 0
	}
	return min(d, maxWait)
}

// detail finds a field in an error's details. Only google.rpc.RetryInfo has a retryDelay,
// and only google.rpc.ErrorInfo has a reason.
func detail(api genai.APIError, field string) string {
	for _, d := range api.Details {
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
