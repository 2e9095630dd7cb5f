package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"errand/shared/auth"
	"errand/shared/serve"
)

// WriteFor is the time for a client to take an answer, as in A2A.
const WriteFor = 30 * time.Second

// A Problem is an error in the form of RFC 9457.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"` // the parameter or field at fault

	Code      string        `json:"-"` // a word for programs, in forms other than RFC 9457
	After     time.Duration `json:"-"` // Retry-After; 0: none
	Challenge string        `json:"-"` // WWW-Authenticate; empty: none
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// Invalid is a fault of the request in one of its fields.
func Invalid(field, what string) error {
	return &Problem{Status: http.StatusBadRequest, Detail: field + " " + what, Field: field}
}

// write answers with the problem, which may be that of many requests at once: it is not changed.
func (p *Problem) write(w http.ResponseWriter) {
	told := *p
	told.Title = http.StatusText(p.Status)
	text, err := json.Marshal(told)
	if err != nil { // strings and numbers always encode
		panic(err)
	}
	p.Answer(w, "application/problem+json", append(text, '\n'))
}

// Answer answers with the problem in another form.
func (p *Problem) Answer(w http.ResponseWriter, mediaType string, body []byte) {
	serve.Answer{Status: p.Status, Type: mediaType, Body: body, RetryAfter: p.After, Challenge: p.Challenge, Timeout: WriteFor}.Write(w)
}

// problemOf is the problem that an error of any API is; nil for others.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if no, ok := errors.AsType[*auth.Refusal](err); ok {
		return &Problem{Status: no.Status, Detail: no.Message, After: no.After, Challenge: no.Challenge()}
	}
	return nil
}
