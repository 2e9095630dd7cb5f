package wire

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/errordetails"

	"errand/shared/auth"
)

const (
	badRequestType = "type.googleapis.com/google.rpc.BadRequest"
	retryInfoType  = "type.googleapis.com/google.rpc.RetryInfo"
)

// A class holds the names that one kind of error has in the bindings.
type class struct {
	is     error
	code   int    // JSON-RPC
	status int    // HTTP
	grpc   string // name of the gRPC status, which the HTTP+JSON binding shows
	reason string // of google.rpc.ErrorInfo
}

// classes is the table of section 5.4 of the specification (1.0.1). An error is compared
// with the rows in this order.
var classes = [...]class{
	{a2a.ErrTaskNotFound, -32001, http.StatusNotFound, "NOT_FOUND", "TASK_NOT_FOUND"},
	{a2a.ErrTaskNotCancelable, -32002, http.StatusBadRequest, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE"},
	{a2a.ErrPushNotificationNotSupported, -32003, http.StatusBadRequest, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED"},
	{a2a.ErrUnsupportedOperation, -32004, http.StatusBadRequest, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION"},
	{a2a.ErrUnsupportedContentType, -32005, http.StatusBadRequest, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED"},
	{a2a.ErrInvalidAgentResponse, -32006, http.StatusInternalServerError, "INTERNAL", "INVALID_AGENT_RESPONSE"},
	{a2a.ErrExtendedCardNotConfigured, -32007, http.StatusBadRequest, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED"},
	{a2a.ErrExtensionSupportRequired, -32008, http.StatusBadRequest, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED"},
	{a2a.ErrVersionNotSupported, -32009, http.StatusBadRequest, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED"},
	{a2a.ErrUnauthenticated, -31401, http.StatusUnauthorized, "UNAUTHENTICATED", "UNAUTHENTICATED"},
	{a2a.ErrUnauthorized, -31403, http.StatusForbidden, "PERMISSION_DENIED", "UNAUTHORIZED"},
	{a2a.ErrParseError, -32700, http.StatusBadRequest, "INVALID_ARGUMENT", "PARSE_ERROR"},
	{a2a.ErrInvalidRequest, -32600, http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_REQUEST"},
	{a2a.ErrMethodNotFound, -32601, http.StatusNotFound, "UNIMPLEMENTED", "METHOD_NOT_FOUND"},
	{a2a.ErrInvalidParams, -32602, http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_PARAMS"},
	{errLimited, -32603, http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"}, // 5.4 has none
	internal,
}

var errLimited = errors.New("too many requests")

var internal = class{a2a.ErrInternalError, -32603, http.StatusInternalServerError, "INTERNAL", "INTERNAL_ERROR"}

// Invalid is an invalid-params error about one field, named by its path in the request
// (message.parts[1].raw). The description must not repeat the value.
func Invalid(field, description string) error {
	return invalid([]violation{{field, description}})
}

func invalid(all []violation) error {
	message := all[0].field + " " + all[0].description
	if n := len(all) - 1; n > 0 {
		message += " (and " + strconv.Itoa(n) + " more)"
	}
	fields := make([]map[string]string, len(all))
	for i, v := range all {
		fields[i] = map[string]string{"field": v.field, "description": v.description}
	}
	return a2a.NewError(a2a.ErrInvalidParams, message).
		WithTypedDetails(errordetails.NewTyped(badRequestType, map[string]any{"fieldViolations": fields}))
}

// Unavailable is a temporary error. The client is told to try again after the delay, and
// the cause goes to the log only.
func Unavailable(after time.Duration, cause error) error {
	return Later(after, cause, "temporarily unavailable, try again")
}

// Later is Unavailable with a message for the client that names a remedy.
func Later(after time.Duration, cause error, message string) error {
	return &unavailable{after: after, cause: cause, message: message}
}

type unavailable struct {
	after   time.Duration
	cause   error
	message string // for the client
}

func (u *unavailable) Error() string { return "temporarily unavailable: " + u.cause.Error() }
func (u *unavailable) Unwrap() error { return u.cause }

// RefuseCaller answers a request whose caller is refused, in the form of the HTTP+JSON binding.
func RefuseCaller(w http.ResponseWriter, r *http.Request, err error) {
	c := &call{options: &Options{}, w: w, r: r, form: restForm{}}
	*c.options = c.options.withDefaults()
	c.fail(err)
}

// A refusal is an error of HTTP itself, with its own status.
type refusal struct {
	is        error // the class of A2A errors that it belongs to
	status    int
	message   string
	challenge string        // WWW-Authenticate
	after     time.Duration // Retry-After
}

func (r *refusal) Error() string { return r.message }

// refused gives an error about the caller the form of the bindings.
func refused(no *auth.Refusal) error {
	if no.Status == http.StatusServiceUnavailable {
		return Later(no.After, no, no.Message)
	}
	is := no.Unwrap()
	if is == nil {
		is = errLimited
	}
	return &refusal{is, no.Status, no.Message, no.Challenge(), no.After}
}

// A problem is an error as the client sees it, in every binding.
type problem struct {
	class
	message string
	details []*errordetails.Typed
	retry   int  // seconds; 0: no Retry-After
	plain   bool // the HTTP status stands even where JSON-RPC would answer 200
	unknown bool // no class fits: a fault of ours, and the client gets no word of it

	challenge string // WWW-Authenticate
}

// describe finds the words for err. It passes on only the message of an a2a.Error or of the
// sentinel below it, because the text of any other error may hold internals.
func describe(err error) problem {
	if no, ok := errors.AsType[*auth.Refusal](err); ok {
		if _, done := errors.AsType[*unavailable](err); !done {
			err = refused(no)
		}
	}

	if r, ok := errors.AsType[*refusal](err); ok {
		p := problem{class: classOf(r.is), message: r.message, plain: true, challenge: r.challenge, retry: int(math.Ceil(r.after.Seconds()))}
		p.status = r.status
		p.details = []*errordetails.Typed{p.info(nil)}
		return p
	}

	if u, ok := errors.AsType[*unavailable](err); ok {
		p := problem{class: class{a2a.ErrInternalError, -32603, http.StatusServiceUnavailable, "UNAVAILABLE", "UNAVAILABLE"}, plain: true}
		p.message = u.message
		p.retry = max(1, int(math.Ceil(u.after.Seconds())))
		p.details = []*errordetails.Typed{p.info(nil),
			errordetails.NewTyped(retryInfoType, map[string]any{"retryDelay": strconv.Itoa(p.retry) + "s"})}
		return p
	}

	k := classOf(err)
	p := problem{class: k, message: k.is.Error(), unknown: !errors.Is(err, k.is)}
	known, ok := errors.AsType[*a2a.Error](err)
	if !ok || !errors.Is(known, p.is) {
		p.details = []*errordetails.Typed{p.info(nil)}
		return p
	}

	p.message = known.Error()
	var meta any

	for _, d := range known.TypedDetails {
		if d.TypeURL == errordetails.ErrorInfoType {
			meta = d.Value["metadata"]
		} else if d.Value != nil {
			p.details = append(p.details, d)
		}
	}

	if len(known.Details) > 0 {
		p.details = append(p.details, errordetails.NewFromStruct(known.Details))
	}

	p.details = append([]*errordetails.Typed{p.info(meta)}, p.details...)
	return p
}

// classOf returns the class of err; internal if it has none.
func classOf(err error) class {
	for _, k := range classes {
		if errors.Is(err, k.is) {
			return k
		}
	}
	return internal
}

// info is the ErrorInfo that every error carries, in every binding.
func (p *problem) info(metadata any) *errordetails.Typed {
	info := errordetails.NewErrorInfo(p.reason, a2a.ProtocolDomain, nil)
	if metadata != nil {
		info.Value["metadata"] = metadata
	}
	return info
}

// rename calls the fields in p as the client does. names has those that 1.0 calls otherwise.
func (p *problem) rename(names map[string]string) {
	if len(names) == 0 {
		return
	}

	end := strings.IndexAny(p.message, " :")
	if end >= 0 {
		p.message = rename(names, p.message[:end]) + p.message[end:]
	}

	for i, d := range p.details {
		faults, ok := d.Value["fieldViolations"].([]map[string]string)
		if !ok {
			continue
		}
		told := make([]map[string]string, len(faults))
		for i, f := range faults {
			told[i] = map[string]string{"field": rename(names, f["field"]), "description": f["description"]}
		}
		p.details[i] = errordetails.NewTyped(d.TypeURL, map[string]any{"fieldViolations": told})
	}
}

// rename gives a field, or the nearest one around it, its name in names.
func rename(names map[string]string, field string) string {
	for end := len(field); end > 0; end = strings.LastIndexAny(field[:end], ".[") {
		if name, ok := names[field[:end]]; ok {
			return name + field[end:]
		}
	}
	return field
}

// hide turns p into an internal error that the log has under its id.
func (p *problem) hide(request string) {
	p.message = "internal error, request " + request
	p.details = []*errordetails.Typed{p.info(map[string]string{"requestId": request})}
}

// Refuse answers a request that the HTTP handler around the bindings refuses, in the form
// of the HTTP+JSON binding. The error is of the kind is.
func Refuse(w http.ResponseWriter, r *http.Request, is error, status int, message string) {
	c := &call{options: &Options{}, w: w, r: r, form: restForm{}}
	*c.options = c.options.withDefaults()
	c.fail(&refusal{is: is, status: status, message: message})
}
