package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"errand/cardserver/api"
	"errand/cardserver/fault"
	"errand/shared/batchdesk"
	"errand/shared/desk"
	"errand/shared/task"
	"errand/shared/uploads"
)

// An errorView is an error as OpenAI's clients read it.
type errorView struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// Types of errors.
const (
	typeInvalid = "invalid_request_error"
	typeLimit   = "rate_limit_error"
	typeServer  = "server_error"
)

// Codes of errors. They are OpenAI's words.
const (
	codeKey     = "invalid_api_key"
	codeLimit   = "rate_limit_exceeded"
	codeUnknown = "unknown_parameter"
	codeMissing = "missing_required_parameter"
	codeValue   = "invalid_value"
)

// params are the names that fields of our own have here. A whole body has none.
var params = map[string]string{"input": inputField, "name": metadataField, "body": ""}

// Errors of this interface alone.
var (
	errNoBatch = &api.Problem{Status: http.StatusNotFound, Detail: "there is no such batch"}
	errNoFile  = &api.Problem{Status: http.StatusNotFound, Detail: uploads.ErrNotFound.Error()}
)

// describe turns an error into one for the caller; nil: the fault is ours. What an error says of
// a batch in our own words is said in OpenAI's.
func describe(err error) error {
	f, field := errors.AsType[*batchdesk.FieldError](err)
	_, other := errors.AsType[*desk.Mismatch](err)
	use, used := errors.AsType[*batchdesk.InUseError](err)
	const anew = "give this one other metadata, such as the time"
	switch {
	case field && f.Field == "input":
		return invalid(inputField, codeValue, f.Fault)
	case field && f.Field == "name":
		return conflict(metadataField, "the batch of these lines and metadata was stopped too often: "+anew)
	case errors.Is(err, task.ErrDeleted), other:
		return conflict(metadataField, "the batch of these lines and metadata was deleted, or its name taken: "+anew)
	case errors.Is(err, batchdesk.ErrDropped):
		return conflict(metadataField, "the batch of these lines and metadata was stopped, and its output file deleted, so it cannot go on: "+anew)
	case errors.Is(err, batchdesk.ErrStopping):
		return &api.Problem{Status: http.StatusConflict, Detail: "the batch of these lines and metadata is being stopped just now: try again", After: time.Second}
	case used:
		return conflict("file_id", use.Error())
	case errors.Is(err, uploads.ErrNotFound):
		return errNoFile
	case errors.Is(err, uploads.ErrName):
		return invalid(fileField, codeValue, "has a name that cannot be kept: "+uploads.ErrName.Error())
	}
	return fault.Of(err)
}

// conflict is an error that stays.
func conflict(param, message string) error {
	return &api.Problem{Status: http.StatusConflict, Field: param, Detail: message}
}

// invalid is a fault of the request in one of its fields.
func invalid(param, code, what string) error {
	return &api.Problem{Status: http.StatusBadRequest, Field: param, Code: code, Detail: param + " " + what}
}

// unknown is the fault of a request that has a field which is none of its form.
func unknown(param string, known ...string) error {
	if len(param) > maxNamed {
		param = strings.ToValidUTF8(param[:maxNamed], "") + "..."
	}
	slices.Sort(known)
	return &api.Problem{
		Status: http.StatusBadRequest, Field: param, Code: codeUnknown,
		Detail: fmt.Sprintf("unknown parameter %q: known are %s", param, strings.Join(known, ", ")),
	}
}

// maxNamed is how many bytes of a name of the client's are repeated to it.
const maxNamed = 64

// retryHeader tells OpenAI's clients whether to send a request again. Without it they do so after
// 408, 409, 429 and 5xx.
const retryHeader = "X-Should-Retry"

// write answers with a problem in OpenAI's form.
func write(w http.ResponseWriter, p *api.Problem) {
	v := errorView{Message: p.Detail, Type: typeInvalid}
	param := p.Field
	if own, ok := params[param]; ok {
		param = own
	}
	if param != "" {
		v.Param = &param
	}

	code := p.Code
	switch {
	case p.Status >= http.StatusInternalServerError:
		v.Type = typeServer
	case p.Status == http.StatusTooManyRequests:
		v.Type, code = typeLimit, codeLimit
	case p.Status == http.StatusUnauthorized:
		code = codeKey
	case p.Status == http.StatusConflict && p.After == 0:
		w.Header().Set(retryHeader, "false")
	}
	if code != "" {
		v.Code = &code
	}

	text, err := json.Marshal(map[string]errorView{"error": v})
	if err != nil { // strings always encode
		panic(err)
	}
	p.Answer(w, "application/json", append(text, '\n'))
}
