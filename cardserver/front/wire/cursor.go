package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/dialect"
)

const (
	maxFields     = 64  // of one object whose fields we know. A2A's largest has 8
	maxViolations = 8   // reported at once
	maxPath       = 256 // bytes of a path in an error: keys of metadata may be long
)

// A violation names one field and its fault, never its value.
type violation struct{ field, description string }

// A cursor reads a JSON text value by value. A value of another kind than expected is
// skipped and recorded as a violation. The first error of the text itself is kept in err,
// and then all that was read is void.
type cursor struct {
	d       *jsontext.Decoder
	name    string // of the whole text
	untyped bool   // numbers and truth values are strings
	said    path   // fields that the path of the request has named
	dialect dialect.Dialect
	err     error
	bad     []violation
	names   map[string]string // the fields that the client calls otherwise than 1.0 does
}

func newCursor(text []byte) *cursor {
	return &cursor{name: "the body", d: jsontext.NewDecoder(bytes.NewBuffer(text))}
}

// newDenseCursor returns a cursor for a text with too many values, in which a name may
// repeat: it keeps no list of the names.
func newDenseCursor(text []byte) *cursor {
	return &cursor{name: "the body", d: jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))}
}

func (c *cursor) token() jsontext.Token {
	t, err := c.d.ReadToken()
	c.check(err)
	return t
}

// raw skips any value and returns its text, which is valid until the next read.
func (c *cursor) raw() jsontext.Value {
	v, err := c.d.ReadValue()
	c.check(err)
	return v
}

func (c *cursor) skip() { c.check(c.d.SkipValue()) }

func (c *cursor) check(err error) {
	if c.err == nil {
		c.err = err
	}
}

// end checks that only space is left.
func (c *cursor) end() {
	_, err := c.d.ReadToken()
	if err == nil {
		err = errors.New("more than one value")
	}
	if err != io.EOF {
		c.check(err)
	}
}

// null skips a null.
func (c *cursor) null() bool {
	if c.d.PeekKind() != jsontext.KindNull {
		return false
	}
	c.skip()
	return true
}

// is tells whether a value of this kind is here, and skips any other. A null is not a
// fault: it means absent.
func (c *cursor) is(kind jsontext.Kind, otherwise string) bool {
	if c.d.PeekKind() == kind {
		return true
	}
	if !c.null() {
		c.skip()
		c.refuse(otherwise)
	}
	return false
}

// object yields the names of the object here, whose fields we know, in the spelling of
// JSON. The proto's own spelling (message_id) is another name of the same field, as
// ProtoJSON has it. Beside the first spelling it does not count.
func (c *cursor) object() iter.Seq[string] {
	return func(yield func(string) bool) {
		if !c.is(jsontext.KindBeginObject, "must be an object") {
			return
		}
		n := 0
		var seen [16]string
		for name := range c.items() {
			if camel := lowerCamel(name); camel != name {
				if slices.Contains(seen[:], camel) {
					continue
				}
				name = camel
			}
			seen[n%len(seen)] = name // the largest object we know has 8 fields
			n++
			if !yield(name) {
				return
			}
		}
		if n > maxFields {
			c.refuse(fmt.Sprintf("has more than %d fields", maxFields))
		}
	}
}

// lowerCamel is the JSON name of a proto field.
func lowerCamel(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	var b strings.Builder
	for i, word := range strings.Split(name, "_") {
		if i > 0 && word != "" {
			word = strings.ToUpper(word[:1]) + word[1:]
		}
		b.WriteString(word)
	}
	return b.String()
}

// items yields the name of each member of the object here, or "" for each element
// of the array here. A value that the loop does not read is skipped.
func (c *cursor) items() iter.Seq[string] {
	return func(yield func(string) bool) {
		object := c.token().Kind() == jsontext.KindBeginObject
		for c.err == nil { // after an error the offset no longer moves
			switch c.d.PeekKind() {
			case jsontext.KindEndObject, jsontext.KindEndArray, jsontext.KindInvalid:
				c.token()
				return
			}
			name := ""
			if object {
				name = c.token().String()
			}
			start := c.d.InputOffset()
			if !yield(name) {
				return
			}
			if c.d.InputOffset() == start {
				c.skip()
			}
		}
	}
}

// string returns the string here; ok is false when there is none.
func (c *cursor) string() (s string, ok bool) {
	if !c.is(jsontext.KindString, "must be a string") {
		return "", false
	}
	return c.token().String(), true
}

// refuse records a violation by the value read last.
func (c *cursor) refuse(description string) {
	if len(c.bad) < maxViolations { // a path can be long, and so can the list
		c.refuseAt(c.path(""), description)
	}
}

// missing records that the object read last lacks a field, unless a worse fault of either
// is known.
func (c *cursor) missing(name string) {
	field := c.path(name)
	for _, v := range c.bad {
		if strings.HasPrefix(v.field, field) || strings.HasPrefix(field, v.field+".") || v.field == c.name {
			return
		}
	}
	c.refuseAt(field, "is required")
}

func (c *cursor) refuseAt(field, description string) {
	v := violation{field, description}
	if len(c.bad) < maxViolations && !slices.Contains(c.bad, v) {
		c.bad = append(c.bad, v)
	}
}

// wrote notes the name that the client gives to the value here, which 1.0 calls field.
func (c *cursor) wrote(field string) { c.called(field, c.path("")) }

// called notes the name that the client gives to a field, if 1.0 calls it otherwise. So the
// errors of the handler, which knows the names of 1.0 alone, name what the client wrote.
func (c *cursor) called(field, name string) {
	if name == field {
		delete(c.names, field)
		return
	}
	if c.names == nil {
		c.names = map[string]string{}
	}
	c.names[field] = name
}

// path names the value read last, or a field of it: message.parts[1].raw.
func (c *cursor) path(field string) string {
	var s strings.Builder
	level := 0
	for name := range c.d.StackPointer().Tokens() {
		level++
		if kind, _ := c.d.StackIndex(level); kind == jsontext.KindBeginArray {
			s.WriteString("[" + name + "]")
		} else {
			s.WriteString("." + name)
		}
	}
	if field != "" {
		s.WriteString("." + field)
	}
	if s.Len() == 0 {
		return c.name
	}
	return clip(strings.TrimPrefix(s.String(), "."), maxPath)
}
