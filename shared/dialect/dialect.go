// Package dialect writes the a2a types in the forms of the protocol's versions: 1.0, and
// the two forms of 0.3.
//
// It reads no requests: those of strangers are read strictly, in cardserver/front/wire and in
// shared/batch, which ask it what single words of theirs mean. It frames nothing either:
// JSON-RPC, server-sent events and webhooks put their frames around these values.
//
// Values are written by json/v2 under the options of encoding/json. json.Marshal itself
// would marshal every part once for each level of nesting, and it cannot write times in UTC
// and milliseconds (5.6.1) without changing shared values. The SDK's conversion to 0.3
// copies every value into a second set of types and marshals that, which costs more than
// the rest of a request.
package dialect

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// A Dialect is the form of the a2a types in one version of the protocol.
type Dialect uint8

// The dialects.
const (
	V1      Dialect = iota // 1.0, in both bindings and in webhooks
	V03                    // 0.3 in JSON-RPC and in webhooks: a kind in every object, states in lower case
	V03REST                // 0.3 in HTTP+JSON: the JSON form of its proto
)

// These are the versions of the protocol by their names in A2A-Version and on the agent
// card.
const (
	Version1  = "1.0"
	Version03 = "0.3"
)

// Version is the version of the protocol that d belongs to.
func (d Dialect) Version() string {
	if d == V1 {
		return Version1
	}
	return Version03
}

// ErrNothing says that there was no value to write, which is a fault of the handler.
var ErrNothing = errors.New("dialect: there is no value to write")

// Append appends v to b. v is one of the a2a types, or a type of the caller's own with a2a
// types in it.
func (d Dialect) Append(b []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v, forms[d])
	if err != nil {
		return b, fmt.Errorf("encoding a %T: %w", v, err)
	}
	return append(b, text...), nil
}

var forms = [...]json.Options{
	V1:      form(json.MarshalToFunc(writeEvent), json.MarshalToFunc(writePart)),
	V03:     form(marshalers03...),
	V03REST: form(marshalers03REST...),
}

// form is the options of encoding/json, for which the a2a types are made, except for the
// marshalers and for escapes that only HTML needs.
func form(own ...*json.Marshalers) json.Options {
	own = append(own, json.MarshalToFunc(writeTime), json.MarshalToFunc(writeParts), json.MarshalToFunc(writeText))
	return json.JoinOptions(jsonv1.DefaultOptionsV1(), json.FormatNilSliceAsNull(false),
		jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false), jsontext.PreserveRawStrings(false), json.WithMarshalers(json.JoinMarshalers(own...)))
}

// writeTime writes a time in the form of 5.6.1: UTC, milliseconds.
func writeTime(e *jsontext.Encoder, t time.Time) error {
	return e.WriteToken(jsontext.String(t.UTC().Format("2006-01-02T15:04:05.000Z")))
}

// writeText writes data or metadata that is still JSON text, as its decoded value would be
// written.
func writeText(e *jsontext.Encoder, text stdjson.RawMessage) error {
	return e.WriteValue(jsontext.Value(text))
}
