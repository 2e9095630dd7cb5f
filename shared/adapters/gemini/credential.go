package gemini

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"cloud.google.com/go/auth"

	"errand/shared/model"
	"errand/shared/secret"
)

// keyHeader carries the key of the Gemini API.
const keyHeader = "X-Goog-Api-Key"

// tokenFor bounds how long one request waits for an access token.
const tokenFor = 30 * time.Second

// A credential is the header that identifies the caller. Its value is read for every
// request, because keys are rotated and tokens expire. Its errors are *model.Error.
type credential struct {
	header, prefix string
	value          func(context.Context) (string, error)
}

// sendable matches the values that fit a header.
var sendable = regexp.MustCompile(`^[!-~]+$`)

// keyCredential is the key of the Gemini API. A missing key is reported as a refusal, for
// any reason: no request was sent, and after a refusal the task waits instead of failing.
func keyCredential(key func(context.Context) (secret.Value, error)) credential {
	return credential{header: keyHeader, value: func(ctx context.Context) (string, error) {
		v, err := key(ctx)
		switch {
		case err != nil:
			return "", denied("there is no API key: %v", err)
		case !sendable.MatchString(v.Text()):
			return "", denied("the API key is empty, or has a character that no key has, such as a space")
		}
		return v.Text(), nil
	}}
}

// tokenCredential is an access token of the credentials, which cache it until shortly
// before it expires. Answers of a token service are not passed on, because they may quote
// secrets.
func tokenCredential(from *auth.Credentials) credential {
	return credential{header: "Authorization", prefix: "Bearer ", value: func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, tokenFor)
		defer cancel()
		token, err := from.Token(ctx)
		answer, ok := errors.AsType[*auth.Error](err)
		switch {
		case ok && answer.Response != nil:
			code := answer.Response.StatusCode
			if code == http.StatusBadRequest || code == http.StatusUnauthorized || code == http.StatusForbidden {
				return "", denied("the credentials for Vertex AI are refused (%d); %s", code, login)
			}
			return "", &model.Error{Message: fmt.Sprintf("no access token: the token service answered %d", code)}
		case err != nil:
			return "", &model.Error{Message: clip("no access token: " + err.Error()), Err: err}
		case !sendable.MatchString(token.Value):
			return "", &model.Error{Message: "no access token: the answer of the token service has none"}
		}
		return token.Value, nil
	}}
}

// denied is a failure that only the operator can fix.
func denied(format string, args ...any) *model.Error {
	return &model.Error{Code: http.StatusUnauthorized, Status: "UNAUTHENTICATED", Message: clip(fmt.Sprintf(format, args...))}
}
