package gemini

import (
	"regexp"
	"strings"

	"google.golang.org/genai"

	"errand/shared/model"
)

// reasons are those of google.rpc.ErrorInfo that say more than the status beside them.
// https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto
var reasons = map[string]model.Cause{
	"API_KEY_INVALID":                 model.BadKey, // a 400 of the Gemini API, also for a key that has expired
	"API_KEY_SERVICE_BLOCKED":         model.NoRights,
	"API_KEY_HTTP_REFERRER_BLOCKED":   model.NoRights,
	"API_KEY_IP_ADDRESS_BLOCKED":      model.NoRights,
	"API_KEY_ANDROID_APP_BLOCKED":     model.NoRights,
	"API_KEY_IOS_APP_BLOCKED":         model.NoRights,
	"ACCESS_TOKEN_EXPIRED":            model.BadKey,
	"ACCESS_TOKEN_TYPE_UNSUPPORTED":   model.BadKey,
	"ACCESS_TOKEN_SCOPE_INSUFFICIENT": model.NoRights,
	"CREDENTIALS_MISSING":             model.BadKey,
	"ACCOUNT_STATE_INVALID":           model.BadKey,
	"SERVICE_DISABLED":                model.NoRights,
	"SERVICE_NOT_VISIBLE":             model.NoRights,
	"BILLING_DISABLED":                model.NoBilling,
	"CONSUMER_SUSPENDED":              model.NoRights,
	"CONSUMER_INVALID":                model.NoRights,
	"USER_PROJECT_DENIED":             model.NoRights,
	"SECURITY_POLICY_VIOLATED":        model.NoRights,
	"ORG_RESTRICTION_VIOLATION":       model.NoRights,
	"LOCATION_POLICY_VIOLATED":        model.NoLocation,
	"LOCATION_ORG_POLICY_VIOLATED":    model.NoLocation,
	"MODEL_CAPACITY_EXHAUSTED":        model.Overloaded,
}

// statuses are those that need no closer look.
var statuses = map[string]model.Cause{
	"INVALID_ARGUMENT":  model.Refused,
	"OUT_OF_RANGE":      model.Refused,
	"UNAUTHENTICATED":   model.BadKey,
	"UNIMPLEMENTED":     model.NoModel,
	"UNAVAILABLE":       model.Overloaded,
	"DEADLINE_EXCEEDED": model.Overloaded,
	"ABORTED":           model.Overloaded,
	"CANCELLED":         model.Overloaded,
	"INTERNAL":          model.Broken,
	"UNKNOWN":           model.Broken,
	"DATA_LOSS":         model.Broken,
}

// The Gemini API tells some causes by its message alone.
var (
	// "User location is not supported for the API use.", with 400 FAILED_PRECONDITION.
	// https://github.com/google-gemini/gemini-cli/issues/24641
	ofLocation = regexp.MustCompile(`(?i)location is not supported|not available in your (country|region)`)

	// "Your prepayment credits are depleted", "exceeded its monthly spending cap" and a free
	// quota with "limit: 0", each with 429. The message of every other quota, "check your plan
	// and billing details", is not among them.
	// https://discuss.ai.google.dev/t/165579 https://github.com/continuedev/continue/issues/9570
	ofBilling = regexp.MustCompile(`(?i)prepayment credits|spend(ing)? cap|enable billing|billing (account|to be enabled|is (not enabled|disabled))|free_tier\w*, limit: 0\b`)

	// "You do not have permission to access the File x or it may not exist", 403 of the Gemini
	// API; "Permission denied while accessing input file", 403, and a missing object, 404, of
	// Vertex AI; "The File x is not in an ACTIVE state", 400 FAILED_PRECONDITION. They are
	// about a file that the message names.
	// https://github.com/googleapis/python-genai/issues/1218
	// https://github.com/googleapis/js-genai/issues/666
	// https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors
	ofFile = regexp.MustCompile(`[Tt]he File |(?i:input file|cloud storage|gs://|storage\.objects|file_?uri|fetch.* from the provided URL)`)
)

// cause tells an error of the service by its details, its message and its status. It is empty
// if only the HTTP status is left, as for the HTML of a gateway and for an empty body.
// https://ai.google.dev/gemini-api/docs/troubleshooting
// https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors
// https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
func cause(api genai.APIError) model.Cause {
	if known, ok := reasons[detail(api.Details, "reason")]; ok {
		return known
	}

	switch api.Status {
	case "FAILED_PRECONDITION", "PERMISSION_DENIED", "NOT_FOUND":
		return forbidden(api)
	case "RESOURCE_EXHAUSTED":
		return exhausted(api)
	}
	return statuses[api.Status]
}

// forbidden tells a file that the message names from a fault of the operator.
func forbidden(api genai.APIError) model.Cause {
	switch {
	case ofFile.MatchString(api.Message):
		return model.Refused
	case ofLocation.MatchString(api.Message):
		return model.NoLocation
	case ofBilling.MatchString(api.Message):
		return model.NoBilling
	case api.Status == "NOT_FOUND":
		return model.NoModel
	}
	return model.NoRights
}

// exhausted tells the quotas apart. A quota of a day has PerDay in its name, for example
// GenerateRequestsPerDayPerProjectPerModel-FreeTier in google.rpc.QuotaFailure, and
// its retryDelay is a few seconds all the same.
func exhausted(api genai.APIError) model.Cause {
	if ofBilling.MatchString(api.Message) {
		return model.NoBilling
	}
	for _, d := range api.Details {
		violations, _ := d["violations"].([]any)
		for _, v := range violations {
			fields, _ := v.(map[string]any)
			for _, name := range []string{"quotaId", "quotaMetric", "subject", "description"} {
				if text, _ := fields[name].(string); ofDay(text) {
					return model.DayQuota
				}
			}
		}
	}
	if ofDay(api.Message) {
		return model.DayQuota
	}
	return model.Quota
}

func ofDay(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "perday") || strings.Contains(text, "per day") || strings.Contains(text, "per_day")
}
