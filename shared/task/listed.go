package task

import (
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// listed are the fields of a head that a list needs.
type listed struct {
	Schema   int          `json:"schema"`
	ID       a2a.TaskID   `json:"id"`
	Context  string       `json:"context"`
	Status   storedStatus `json:"status"`
	Metadata Object       `json:"metadata"`
	Owner    string       `json:"owner"`
	Expires  *time.Time   `json:"expires"`
}

// asStored are the options to read text that encoding/json wrote: they accept any text that
// was stored once.
var asStored = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// DecodeListed reads only the fields of a stored head that a list needs: id, context,
// status, metadata, owner, schema and expiry. It takes a quarter of the time of [Decode].
func DecodeListed(head []byte, version int64) (Record, error) {
	var l listed
	if err := json.Unmarshal(head, &l, asStored); err != nil {
		return Record{}, unreadable("head", err)
	}
	status, err := loadStatus(l.Status)
	if err != nil {
		return Record{}, unreadable("status", err)
	}

	return Record{
		Schema: l.Schema, Owner: l.Owner, Version: version, Expires: timeOrZero(l.Expires),
		Task: &a2a.Task{ID: l.ID, ContextID: l.Context, Status: status, Metadata: l.Metadata},
	}, nil
}
