package wire

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/dialect"
)

// value decodes any JSON value, as encoding/json would into an any.
func (c *cursor) value() any {
	if c.d.StackDepth() > maxDepth {
		c.skip()
		c.refuseAt(c.name, "nests more than "+strconv.Itoa(maxDepth)+" levels deep")
		return nil
	}

	switch c.d.PeekKind() {
	case jsontext.KindBeginObject:
		m := map[string]any{}
		for name := range c.items() {
			m[name] = c.value()
		}
		return m

	case jsontext.KindBeginArray:
		a := []any{}
		for range c.items() {
			a = append(a, c.value())
		}
		return a

	case jsontext.KindString:
		return c.token().String()

	case jsontext.KindNumber:
		f, err := strconv.ParseFloat(string(c.raw()), 64)
		if err != nil {
			c.refuse("is a number out of range")
		}
		return f

	case jsontext.KindNull:
		c.skip()
		return nil
	}

	return c.bool()
}

func (c *cursor) metadata() map[string]any {
	if !c.is(jsontext.KindBeginObject, "must be an object") {
		return nil
	}
	m, _ := c.value().(map[string]any)
	if len(m) > maxMetadata {
		c.refuse("has more than " + strconv.Itoa(maxMetadata) + " keys")
	}
	return m
}

// literal is the text of the value here, which should be a number or a truth value. It is the
// text of a string where a string may stand for the value.
func (c *cursor) literal(quoted bool) string {
	if quoted && c.d.PeekKind() == jsontext.KindString {
		return c.token().String()
	}
	return string(c.raw())
}

// bool decodes a truth value; absent is false.
func (c *cursor) bool() bool {
	if c.null() {
		return false
	}
	text := c.literal(c.untyped)
	if text != "true" && text != "false" {
		c.refuse("must be true or false")
	}
	return text == "true"
}

// int decodes an integer between low and high; absent is 0.
func (c *cursor) int(low, high int) int {
	if n := c.optionalInt(low, high); n != nil {
		return *n
	}
	return 0
}

// optionalInt decodes an integer between low and high. 5, 5.0 and "5" are one, as in ProtoJSON.
func (c *cursor) optionalInt(low, high int) *int {
	if c.null() {
		return nil
	}
	n, ok := integer(c.literal(true))
	if !ok || n < low || n > high {
		c.refuse("must be an integer from " + strconv.Itoa(low) + " to " + strconv.Itoa(high))
		return nil
	}
	return &n
}

// integer reads a JSON number without a fraction. It may have a point or an exponent.
func integer(text string) (n int, ok bool) {
	if n, err := strconv.Atoi(text); err == nil && strconv.Itoa(n) == text {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !jsontext.Value(text).IsValid() || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return 0, false
	}
	return int(f), true
}

// history decodes a length of history. The proto of 0.3 cannot tell zero from absent, and zero
// is what its clients print who print defaults.
func (c *cursor) history() *int {
	n := c.optionalInt(0, historyLimit)
	if n != nil && *n == 0 && c.dialect == dialect.V03REST && !c.untyped {
		return nil
	}
	return n
}

// text decodes a string of at most limit bytes without control characters; ok is false if
// there is none.
func (c *cursor) text(limit int) (s string, ok bool) {
	s, ok = c.string()
	return c.plain(s, ok, limit)
}

// plain is text for a string that was read before.
func (c *cursor) plain(s string, ok bool, limit int) (string, bool) {
	switch {
	case len(s) > limit:
		c.refuse("is longer than " + strconv.Itoa(limit) + " bytes")
		return "", false
	case strings.ContainsFunc(s, unicode.IsControl):
		c.refuse("has a control character")
		return "", false
	}
	return s, ok
}

// label is a text whose absence means the same as an empty one.
func (c *cursor) label(limit int) string {
	s, _ := c.text(limit)
	return s
}

// id decodes an identifier of the client's choice. Empty means absent.
func (c *cursor) id() string {
	s := c.label(maxID)
	if s != "" && strings.TrimSpace(s) == "" {
		c.refuse("must not be blank")
	}
	return s
}

// taskID decodes the id of a task. The server made it, so the handler answers an id of
// another form with not found, and not with invalid. A blank one is no id.
func (c *cursor) taskID() a2a.TaskID {
	s, _ := c.string()
	if s != "" && strings.TrimSpace(s) == "" {
		c.refuse("must not be blank")
	}
	return a2a.TaskID(s)
}

// configID decodes an id for a webhook config, which becomes a segment of a path.
func (c *cursor) configID() string {
	s := c.id()
	if strings.ContainsAny(s, `/\?#%`) || s == "." || s == ".." {
		c.refuse("must not have / \\ ? # or % in it, nor be . or ..")
	}
	return s
}

// enum decodes the name of an enum's value, or its number in the proto, which readers of
// ProtoJSON accept as well: names has those of the numbers from 0. A number without a name
// is returned as the client wrote it, and is not the name of any value.
func (c *cursor) enum(names []string) (name string, ok bool) {
	if c.d.PeekKind() != jsontext.KindNumber && !c.untyped {
		return c.string()
	}
	text := c.literal(c.untyped)
	if n, ok := integer(text); ok && n >= 0 && n < len(names) {
		return names[n], true
	}
	return text, true
}

// The values of the proto's enums, by their numbers.
var (
	roleNames  = [...]string{"ROLE_UNSPECIFIED", string(a2a.MessageRoleUser), string(a2a.MessageRoleAgent)}
	stateNames = [...]string{
		a2a.TaskStateUnspecified.String(), string(a2a.TaskStateSubmitted), string(a2a.TaskStateWorking),
		string(a2a.TaskStateCompleted), string(a2a.TaskStateFailed), string(a2a.TaskStateCanceled),
		string(a2a.TaskStateInputRequired), string(a2a.TaskStateRejected), string(a2a.TaskStateAuthRequired),
	}
)

func (c *cursor) role() a2a.MessageRole {
	s, ok := c.enum(roleNames[:])
	if ok && s != string(a2a.MessageRoleUser) {
		c.refuse("must be " + string(a2a.MessageRoleUser))
	}
	return a2a.MessageRole(s)
}

// state decodes a state to filter by. The enum's zero means any state, as in the proto.
func (c *cursor) state() a2a.TaskState { return c.stateNamed(string(a2a.TaskStateCanceled)) }

// stateNamed decodes a state. canceled is the name of the canceled one.
func (c *cursor) stateNamed(canceled string) a2a.TaskState {
	names := stateNames
	names[slices.Index(names[:], string(a2a.TaskStateCanceled))] = canceled
	s, ok := c.enum(names[:])
	switch state := a2a.TaskState(s); state {
	case a2a.TaskState(canceled):
		return a2a.TaskStateCanceled
	case a2a.TaskStateSubmitted, a2a.TaskStateWorking, a2a.TaskStateCompleted, a2a.TaskStateFailed,
		a2a.TaskStateInputRequired, a2a.TaskStateRejected, a2a.TaskStateAuthRequired:
		return state
	}
	if ok && s != a2a.TaskStateUnspecified.String() {
		c.refuse("must be a state such as " + string(a2a.TaskStateWorking))
	}
	return a2a.TaskStateUnspecified
}

// timestamp decodes an RFC 3339 time with a zone, in a year of four digits.
func (c *cursor) timestamp() *time.Time {
	s, ok := c.string()
	if !ok {
		return nil
	}
	t, err := time.Parse(time.RFC3339, s)
	t = t.UTC()
	// Parse also accepts an hour of one digit and a comma for the point
	// (go.dev/issue/54580).
	if err != nil || s[13] != ':' || s[19] == ',' || t.Year() < 1 || t.Year() > 9999 {
		c.refuse("must be an RFC 3339 time with a zone, such as 2026-01-02T15:04:05Z")
		return nil
	}
	return &t
}

// base64 decodes bytes.
func (c *cursor) base64() []byte {
	if !c.is(jsontext.KindString, "must be a base64 string") {
		return nil
	}
	b, ok := dialect.Base64(c.token().String())
	if !ok {
		c.refuse("is not base64")
		return nil
	}
	return b
}

// link decodes the URL of a part. A data URL is the content itself, with its media type. The
// address of an object in a bucket is for the operation to judge.
func (c *cursor) link() (content a2a.PartContent, mediaType string) {
	s, ok := c.string()
	if !ok || !dialect.IsDataURL(s) {
		if s, ok = c.plain(s, ok, maxURL); ok && !isWeb(s) && !strings.HasPrefix(s, "gs://") {
			c.refuse("must be an absolute http or https URL, or gs://BUCKET/NAME")
		}
		return a2a.URL(s), ""
	}
	data, mediaType, err := dialect.DataURL(s)
	if err != nil {
		c.refuse(err.Error())
	}
	return a2a.Raw(data), mediaType
}

// url decodes an absolute http or https URL.
func (c *cursor) url() string {
	s, ok := c.text(maxURL)
	if ok && !isWeb(s) {
		c.refuse("must be an absolute http or https URL")
	}
	return s
}

func isWeb(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// extension decodes the URI of an extension.
func (c *cursor) extension() string {
	s, ok := c.text(maxURL)
	if u, err := url.Parse(s); ok && (err != nil || !u.IsAbs()) {
		c.refuse("must be an absolute URI")
	}
	return s
}

// mediaType decodes the media type of a part. The handler refuses the types that the agent
// does not read, and with them a word that is no type.
func (c *cursor) mediaType() string { return dialect.MediaType(c.label(maxMediaType)) }

// mode decodes a type that the client would accept. It is a wish, not a command: a word that
// is no media type matches nothing.
func (c *cursor) mode() string {
	s, _ := c.string()
	return dialect.MediaType(s)
}

// filename decodes the name of a file, or the last one of a path.
func (c *cursor) filename() string {
	s, ok := dialect.Filename(c.label(maxPathname))
	switch {
	case len(s) > maxFilename:
		c.refuse("is a name of more than " + strconv.Itoa(maxFilename) + " bytes")
	case !ok:
		c.refuse("has a character that changes the direction of text")
	}
	return s
}
