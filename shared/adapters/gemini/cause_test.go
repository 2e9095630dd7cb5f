package gemini_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/model"
)

// quota is a 429 for one quota.
func quota(id, message string) string {
	return `{"error":{"code":429,"message":"` + message + `","status":"RESOURCE_EXHAUSTED","details":[
		{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/x","quotaId":"` + id + `","quotaValue":"250"}]},
		{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"26s"}]}}`
}

// failed is an error as the service writes it, with an ErrorInfo if there is a reason.
func failed(status, message, reason string) string {
	details := ""
	if reason != "" {
		details = `,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"` + reason + `","domain":"googleapis.com"}]`
	}
	return `{"error":{"message":"` + message + `","status":"` + status + `"` + details + `}}`
}

const (
	exceeded = "You exceeded your current quota, please check your plan and billing details."
	html     = "<!DOCTYPE html><html><title>Error</title><p>The server is away.</html>"
)

// The causes of the errors that the documents of Gemini and of Vertex AI list, and of others
// that were seen.
// https://ai.google.dev/gemini-api/docs/troubleshooting
// https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors
func TestCauses(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		for _, tt := range []struct {
			name   string
			status int
			body   string
			want   model.Cause
			kind   model.Kind
		}{
			{"wrong request", 400, failed("INVALID_ARGUMENT", "Unknown name", ""), model.Refused, model.OfMessage},
			{"too many tokens", 400, failed("INVALID_ARGUMENT", "The input token count exceeds the maximum", ""), model.Refused, model.OfMessage},
			{"out of range", 400, failed("OUT_OF_RANGE", "m", ""), model.Refused, model.OfMessage},
			{"too large", 413, html, model.Refused, model.OfMessage},
			{"a file of another project", 403, failed("PERMISSION_DENIED", "You do not have permission to access the File abc or it may not exist.", ""), model.Refused, model.OfMessage},
			{"a private object", 403, failed("PERMISSION_DENIED", "Permission denied while accessing input file.", ""), model.Refused, model.OfMessage},
			{"no such object", 404, failed("NOT_FOUND", "Requested file gs://b/o does not exist", ""), model.Refused, model.OfMessage},
			{"a file that is not ready", 400, failed("FAILED_PRECONDITION", "The File abc is not in an ACTIVE state and usage is not allowed.", ""), model.Refused, model.OfMessage},

			{"wrong key", 400, failed("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "API_KEY_INVALID"), model.BadKey, model.OfOperator},
			{"expired key", 400, failed("INVALID_ARGUMENT", "API key expired. Please renew the API key.", "API_KEY_INVALID"), model.BadKey, model.OfOperator},
			{"expired token", 401, failed("UNAUTHENTICATED", "m", "ACCESS_TOKEN_EXPIRED"), model.BadKey, model.OfOperator},
			{"leaked key", 403, failed("PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key.", ""), model.NoRights, model.OfOperator},
			{"suspended", 403, failed("PERMISSION_DENIED", "Consumer has been suspended.", "CONSUMER_SUSPENDED"), model.NoRights, model.OfOperator},
			{"API not enabled", 403, failed("PERMISSION_DENIED", "enable it by visiting https://x/storage", "SERVICE_DISABLED"), model.NoRights, model.OfOperator},
			{"no permission", 403, failed("PERMISSION_DENIED", "Permission 'aiplatform.endpoints.predict' denied on resource (or it may not exist).", ""), model.NoRights, model.OfOperator},
			{"a proxy forbids", 403, html, model.NoRights, model.OfOperator},
			{"billing disabled", 403, failed("PERMISSION_DENIED", "This API method requires billing to be enabled.", "BILLING_DISABLED"), model.NoBilling, model.OfOperator},
			{"no free tier here", 400, failed("FAILED_PRECONDITION", "Gemini API free tier is not available in your country. Please enable billing on your project", ""), model.NoLocation, model.OfOperator},
			{"location", 400, failed("FAILED_PRECONDITION", "User location is not supported for the API use.", ""), model.NoLocation, model.OfOperator},
			{"billing", 400, failed("FAILED_PRECONDITION", "Please enable billing on project 1", ""), model.NoBilling, model.OfOperator},
			{"a model by invitation", 400, failed("FAILED_PRECONDITION", "Project p is not allowed to use Publisher Model m", ""), model.NoRights, model.OfOperator},
			{"credits used up", 429, failed("RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please go to AI Studio", ""), model.NoBilling, model.OfOperator},
			{"spending cap", 429, failed("RESOURCE_EXHAUSTED", "Your billing account has exceeded its monthly spending cap.", ""), model.NoBilling, model.OfOperator},
			{"not in the free plan", 429, quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", exceeded+" Quota exceeded for metric: generate_content_free_tier_requests, limit: 0, model: m"), model.NoBilling, model.OfOperator},
			{"payment required", 402, html, model.NoBilling, model.OfOperator},
			{"no such model", 404, failed("NOT_FOUND", "models/m is not found for API version v1beta", ""), model.NoModel, model.OfOperator},
			{"no such path", 404, html, model.NoModel, model.OfOperator},

			{"quota of a minute", 429, quota("GenerateContentInputTokensPerModelPerMinute-FreeTier", exceeded), model.Quota, model.Busy},
			{"quota of a day", 429, quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", exceeded), model.DayQuota, model.Busy},
			{"quota of a day in words", 429, failed("RESOURCE_EXHAUSTED", "Quota exceeded for limit 'Requests per day'", ""), model.DayQuota, model.Busy},
			{"quota without details", 429, failed("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", ""), model.Quota, model.Busy},
			{"no capacity", 429, failed("RESOURCE_EXHAUSTED", "No capacity available", "MODEL_CAPACITY_EXHAUSTED"), model.Overloaded, model.Busy},
			{"a gateway's quota", 429, html, model.Quota, model.Busy},
			{"broken", 500, failed("INTERNAL", "m", ""), model.Broken, model.Busy},
			{"unknown", 500, failed("UNKNOWN", "m", ""), model.Broken, model.Busy},
			{"broken without a body", 500, "", model.Broken, model.Busy},
			{"overloaded", 503, failed("UNAVAILABLE", "The model is overloaded. Please try again later.", ""), model.Overloaded, model.Busy},
			{"overloaded, as a list", 503, "[" + failed("UNAVAILABLE", "m", "") + "]", model.Overloaded, model.Busy},
			{"location, as a list", 400, "[" + failed("FAILED_PRECONDITION", "User location is not supported for the API use.", "") + "\n]", model.NoLocation, model.OfOperator},
			{"too slow", 504, failed("DEADLINE_EXCEEDED", "m", ""), model.Overloaded, model.Busy},
			{"cancelled", 499, failed("CANCELLED", "m", ""), model.Overloaded, model.Busy},
			{"a gateway", 502, html, model.Overloaded, model.Busy},
			{"a gateway without a body", 503, "", model.Overloaded, model.Busy},
			{"a gateway's time-out", 408, html, model.Overloaded, model.Busy},
			{"the body knows better", 400, failed("UNAVAILABLE", "m", ""), model.Overloaded, model.Busy},

			{"in the stream", 200, "data: " + failed("UNAVAILABLE", "m", "") + "\n\n", model.Overloaded, model.Busy},
			{"in the stream, outside an event", 200, failed("INTERNAL", "m", "") + "\n\n", model.Broken, model.Busy},
			{"in the stream, as a list", 200, "[" + failed("RESOURCE_EXHAUSTED", "m", "") + "]\n\n", model.Quota, model.Busy},
			{"a page in the place of a stream", 200, html + "\n\n", model.Broken, model.Busy},
			{"a redirect", 307, "", model.Unreached, model.Busy},
		} {
			t.Run(tt.name, func(t *testing.T) {
				m := b.model(t, gemini.Config{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: tt.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(tt.body)), Request: r}, nil
				})}})
				_, err := collect(t.Context(), m, hello())
				var got *model.Error
				if !errors.As(err, &got) || got.Why() != tt.want || got.Kind() != tt.kind {
					t.Errorf("Generate ended with %v, want %q of kind %d", err, tt.want, tt.kind)
				}
			})
		}
	})
}

// errorsOfGemini are the rows of the service's own table of errors, and whose fault they are. A
// gateway's page and an empty body tell the HTTP status alone.
// https://ai.google.dev/gemini-api/docs/troubleshooting
var errorsOfGemini = []struct {
	code            int
	status, message string
	told, untold    model.Kind // by a body that can be read, and by the HTTP status alone
}{
	{400, "INVALID_ARGUMENT", "Request contains an invalid argument.", model.OfMessage, model.Busy},
	{400, "FAILED_PRECONDITION", "User location is not supported for the API use.", model.OfOperator, model.Busy},
	{400, "FAILED_PRECONDITION", "Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio.", model.OfOperator, model.Busy},
	{403, "PERMISSION_DENIED", "Your API key doesn't have the required permissions.", model.OfOperator, model.OfOperator},
	{404, "NOT_FOUND", "The requested resource wasn't found.", model.OfOperator, model.OfOperator},
	{429, "RESOURCE_EXHAUSTED", "You've exceeded the rate limit.", model.Busy, model.Busy},
	{500, "INTERNAL", "An unexpected error occurred on Google's side.", model.Busy, model.Busy},
	{503, "UNAVAILABLE", "The service may be temporarily overloaded or down.", model.Busy, model.Busy},
	{504, "DEADLINE_EXCEEDED", "The service is unable to finish processing within the deadline.", model.Busy, model.Busy},
}

// answering is the model in front of a service whose every answer is this one.
func answering(t *testing.T, b backend, code int, contentType, body string) *gemini.Model {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return b.model(t, gemini.Config{BaseURL: srv.URL})
}

// TestClientsRow04: status and details say whose fault an error is, as an object and as a list.
// Where the body tells nothing, a message is not blamed for its HTTP status.
func TestClientsRow04(t *testing.T) {
	onBoth(t, func(t *testing.T, b backend) {
		for _, row := range errorsOfGemini {
			body := failed(row.status, row.message, "")
			for _, form := range []struct {
				name, mediaType, body string
				want                  model.Kind
			}{
				{"object", "application/json", body, row.told},
				{"list", "application/json", "[" + body + "\n]", row.told},
				{"page", "text/html", html, row.untold},
				{"JSON of a gateway", "application/json", `{"message":"no"}`, row.untold},
				{"empty", "text/plain", "", row.untold},
			} {
				t.Run(fmt.Sprintf("%d %.20s/%s", row.code, row.message, form.name), func(t *testing.T) {
					_, err := collect(t.Context(), answering(t, b, row.code, form.mediaType, form.body), hello())
					var got *model.Error
					if !errors.As(err, &got) || got.Kind() != form.want || got.Code != row.code {
						t.Errorf("Generate ended with %v of kind %d (%s), want kind %d", err, got.Kind(), got.Why(), form.want)
					}
				})
			}
		}
	})
}

// TestClientsRow05: details are read in both forms: the reason of a refused key, and the time to
// wait.
func TestClientsRow05(t *testing.T) {
	const wait = `{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.5s"}]}}`
	key := failed("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "API_KEY_INVALID")
	onBoth(t, func(t *testing.T, b backend) {
		for _, tt := range []struct {
			name string
			code int
			body string
			want model.Error
		}{
			{"key", 400, key, model.Error{Code: 401, Cause: model.BadKey}},
			{"key in a list", 400, "[" + key + "]", model.Error{Code: 401, Cause: model.BadKey}},
			{"wait", 429, wait, model.Error{Code: 429, Cause: model.Quota, RetryAfter: 1500 * time.Millisecond}},
			{"wait in a list", 429, "[" + wait + "]", model.Error{Code: 429, Cause: model.Quota, RetryAfter: 1500 * time.Millisecond}},
			{"in a list that is cut", 400, "[" + key, model.Error{Code: 400, Cause: model.Broken}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				_, err := collect(t.Context(), answering(t, b, tt.code, "application/json", tt.body), hello())
				var got *model.Error
				if !errors.As(err, &got) || got.Code != tt.want.Code || got.Cause != tt.want.Cause || got.RetryAfter != tt.want.RetryAfter {
					t.Errorf("Generate ended with %+v, want %+v", got, tt.want)
				}
			})
		}
	})
}

// A request that got no answer, and one whose answer broke off.
func TestCausesWithoutStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want model.Cause
	}{
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, model.Unreached},
		{&net.DNSError{Err: "no such host"}, model.Unreached},
		{io.EOF, model.Cut},
		{io.ErrUnexpectedEOF, model.Cut},
	} {
		m := withKey.model(t, gemini.Config{HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, tt.err })}})
		_, err := collect(t.Context(), m, hello())
		var got *model.Error
		if !errors.As(err, &got) || got.Why() != tt.want {
			t.Errorf("Generate after %v ended with %v, want %q", tt.err, err, tt.want)
		}
	}
}

func TestRetryAfterHeader(t *testing.T) {
	for value, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "soon": 0, "-1": 0, "999999999999": 24 * time.Hour} {
		m := withKey.model(t, gemini.Config{HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {value}}, Body: io.NopCloser(strings.NewReader(html)), Request: r}, nil
		})}})
		_, err := collect(t.Context(), m, hello())
		var got *model.Error
		if !errors.As(err, &got) || got.RetryAfter != want {
			t.Errorf("Retry-After: %s: Generate ended with %v, want a wait of %v", value, err, want)
		}
	}
}

// A stream in which nothing comes is ended, and one in which chunks come slowly is not. The
// caller may take any time between two chunks.
func TestSilence(t *testing.T) {
	begun := standin.Reply{Chunks: standin.Text("a", "b").Chunks[:1], Hang: true}
	for _, tt := range []struct {
		name   string
		silent time.Duration // before the first byte
		reply  standin.Reply
		after  time.Duration
		chunks int
		want   model.Cause // empty: the answer is whole
	}{
		{"never an answer", time.Hour, standin.Text("a"), 10 * time.Minute, 0, model.Silent},
		{"only a header", 0, standin.Reply{Hang: true}, 10 * time.Minute, 0, model.Silent},
		{"after a chunk", 0, begun, 2*time.Minute + time.Hour, 1, model.Silent},
		{"a slow thinker", 4 * time.Minute, standin.Text("a"), 4*time.Minute + 2*time.Hour, 2, ""},
		{"a slow thinker that says so", 0, standin.Text("a").After(25 * time.Minute), 25*time.Minute + 2*time.Hour, 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := withKey.asking(t, standin.New(func(ctx context.Context, _ standin.Request) standin.Reply {
					select {
					case <-ctx.Done():
					case <-time.After(tt.silent):
					}
					return tt.reply
				}))

				start, n := time.Now(), 0
				var failed *model.Error
				for _, err := range m.Generate(t.Context(), hello()) {
					if err != nil && !errors.As(err, &failed) {
						t.Fatal(err)
					}
					if err == nil {
						n++
						time.Sleep(time.Hour)
					}
				}

				got := model.Cause("")
				if failed != nil {
					got = failed.Why()
				}
				if took := time.Since(start); got != tt.want || n != tt.chunks || took != tt.after {
					t.Errorf("Generate ended after %v and %d chunks with %q, want %v, %d, %q", took, n, got, tt.after, tt.chunks, tt.want)
				}
			})
		})
	}
}
