package push

import (
	"encoding/json"
	"net/http"
	"time"

	"errand/shared/serve"
)

// A problem is an error in the form of RFC 9457.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"` // the parameter or field at fault

	after     time.Duration // Retry-After
	challenge string        // WWW-Authenticate
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// invalid is a fault of the request in one of its fields.
func invalid(field, what string) error {
	return &problem{Status: http.StatusBadRequest, Detail: field + " " + what, Field: field}
}

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter) {
	p.Title = http.StatusText(p.Status)
	text, err := json.Marshal(p)
	if err != nil { // strings and numbers always encode
		panic(err)
	}
	serve.Answer{
		Status: p.Status, Type: "application/problem+json", Body: append(text, '\n'),
		RetryAfter: p.after, Challenge: p.challenge, Timeout: writeFor,
	}.Write(w)
}
