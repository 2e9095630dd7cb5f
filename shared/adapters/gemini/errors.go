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
	maxWait    = 24 * time.Hour // longest wait believed: the age limit of a turn
	maxMessage = 512            // bytes of the service's own words
)

// failure says what went wrong in a call: ctx's own error if it has ended, an
// *model.Error otherwise, such as that of the credential. genai's texts are passed on only where the service
// wrote them; the others quote the answer.
func failure(ctx context.Context, c *call, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ours *model.Error
	if errors.As(err, &ours) {
		return ours
	}
	var api genai.APIError
	if errors.As(err, &api) {
		return answered(c, api)
	}
	var unreached *url.Error
	switch {
	case errors.As(err, &unreached):
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

// answered maps an error that the service sent. The HTTP status counts, if the
// error came with one: a gateway's body may lack the code or name another.
func answered(c *call, api genai.APIError) *model.Error {
	code := api.Code
	if c.status >= 300 {
		code = c.status
	}
	// A wrong key comes as 400 INVALID_ARGUMENT, which would read as the
	// sender's fault: https://ai.google.dev/gemini-api/docs/troubleshooting
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

// blot takes the key or the token out of words of the service.
func (c *call) blot(s string) string {
	if c.secret == "" {
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

// detail finds a field of an error's details; only google.rpc.RetryInfo has a
// retryDelay, and only google.rpc.ErrorInfo a reason.
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
