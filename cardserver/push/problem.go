package push

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// A problem is an error as RFC 9457 wants it.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field,omitempty"` // what is wrong

	after time.Duration
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// invalid is a fault of the request in one of its fields.
func invalid(field, what string) error {
	return &problem{Status: http.StatusBadRequest, Detail: field + " " + what, Field: field}
}

func write(w http.ResponseWriter, p *problem) {
	p.Title = http.StatusText(p.Status)
	text, err := json.Marshal(p)
	if err != nil { // strings and numbers always encode
		panic(err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if p.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.after.Seconds()))))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(text, '\n')) // if it fails the client is gone
}
