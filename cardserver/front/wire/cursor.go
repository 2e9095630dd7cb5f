package wire

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxFields     = 64      // keys of one object whose fields we know; A2A's largest has 8
	maxValues     = 100_000 // JSON values inside metadata and data of one request: 1 MiB can hold 500,000, in 30 times its size
	maxViolations = 8       // reported at once
)

// A violation names one field and what is wrong with it, never its value.
type violation struct{ field, description string }

// A cursor walks JSON text that scan has accepted. It never fails: a value that
// is not what was asked for is recorded as a violation and skipped. Whoever asks
// for a key or an element must consume exactly one value after it.
type cursor struct {
	b      []byte
	i      int
	name   []byte   // the key that key found
	steps  []step   // the containers around i
	keys   [][]byte // the keys seen in the open objects
	values int
	bad    []violation

	stepRoom [8]step // enough for most requests
	keyRoom  [16][]byte
}

// newCursor returns a cursor at the first value of b.
func newCursor(b []byte) *cursor {
	c := &cursor{b: b, i: space(b, 0)}
	c.steps, c.keys = c.stepRoom[:0], c.keyRoom[:0]
	return c
}

// A step is one container: where we are in it.
type step struct {
	name  []byte // object: the current key
	index int    // array: the current element; an object: -1
	keys  int    // object: where its keys begin in cursor.keys
}

// object enters the object here. A null is passed over: it means absent.
func (c *cursor) object() bool {
	return c.enter('{', "must be an object")
}

// array enters the array here. A null is passed over.
func (c *cursor) array() bool {
	return c.enter('[', "must be an array")
}

func (c *cursor) enter(open byte, otherwise string) bool {
	if c.null() {
		return false
	}
	if c.b[c.i] != open {
		c.refuse(otherwise)
		c.skip()
		return false
	}
	c.i++
	c.steps = append(c.steps, step{index: -1, keys: len(c.keys)})
	return true
}

// leave leaves the container here if it ends here, else moves to its next item.
func (c *cursor) leave(end byte) bool {
	c.i = space(c.b, c.i)
	if c.b[c.i] == ',' {
		c.i = space(c.b, c.i+1)
	}
	if c.b[c.i] != end {
		return false
	}
	c.i++
	top := len(c.steps) - 1
	c.keys = c.keys[:c.steps[top].keys]
	c.steps = c.steps[:top]
	return true
}

// key moves to the next field of an object whose fields we know. A key that
// comes twice is a violation: two readers of such a text disagree about it.
func (c *cursor) key() bool {
	if !c.anyKey() {
		return false
	}
	top := &c.steps[len(c.steps)-1]
	n := len(c.keys) - top.keys
	if n > maxFields {
		return true
	}
	if n == maxFields {
		top.name = nil
		c.refuse("has more than " + strconv.Itoa(maxFields) + " fields")
	}
	for _, k := range c.keys[top.keys:] {
		if bytes.Equal(k, c.name) {
			c.refuse("is given twice")
		}
	}
	c.keys = append(c.keys, c.name)
	return true
}

// anyKey moves to the next key of an object and leaves it in c.name.
func (c *cursor) anyKey() bool {
	if c.leave('}') {
		return false
	}
	raw, escaped := c.quoted()
	c.name = raw
	top := &c.steps[len(c.steps)-1]
	top.name = raw
	if escaped {
		name, ok := unescape(raw)
		if !ok {
			c.refuse("has half of a surrogate pair in its name")
		}
		c.name, top.name = name, name
	}
	c.i = space(c.b, c.i)
	c.i = space(c.b, c.i+1)
	return true
}

// element moves to the next element of an array of known things; a null among
// them is a violation.
func (c *cursor) element() bool {
	for c.anyElement() {
		if !c.null() {
			return true
		}
		c.refuse("must not be null")
	}
	return false
}

func (c *cursor) anyElement() bool {
	if c.leave(']') {
		return false
	}
	c.steps[len(c.steps)-1].index++
	return true
}

// null passes over a null.
func (c *cursor) null() bool {
	if c.b[c.i] != 'n' {
		return false
	}
	c.i += len("null")
	return true
}

// skip passes over any value.
func (c *cursor) skip() {
	c.i, _, _ = scan(c.b, c.i)
}

// raw passes over any value and returns its text, which aliases the input.
func (c *cursor) raw() []byte {
	start := c.i
	c.skip()
	return c.b[start:c.i]
}

// quoted passes over the string here and returns what lies between its quotes.
func (c *cursor) quoted() (raw []byte, escaped bool) {
	start := c.i + 1
	for i := start; ; i++ {
		switch c.b[i] {
		case '"':
			c.i = i + 1
			return c.b[start:i], escaped
		case '\\':
			escaped = true
			i++
		}
	}
}

// string returns the string here; ok is false when there is none.
func (c *cursor) string() (s string, ok bool) {
	b := c.bytes()
	return string(b), b != nil
}

// bytes returns the string here, which may alias the input; nil when there is none.
func (c *cursor) bytes() []byte {
	if c.null() {
		return nil
	}
	if c.b[c.i] != '"' {
		c.refuse("must be a string")
		c.skip()
		return nil
	}
	raw, escaped := c.quoted()
	if !escaped {
		return raw
	}
	b, ok := unescape(raw)
	if !ok {
		c.refuse("has half of a surrogate pair")
		return nil
	}
	return b
}

// unescape resolves the escapes of a scanned string. It refuses a surrogate
// without its other half, which is no character and cannot be written as UTF-8.
func unescape(raw []byte) ([]byte, bool) {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(raw, i+1)
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if i+2 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
					low, ok = hex4(raw, i+3)
				}
				r = utf16.DecodeRune(r, low)
				if !ok || r == utf8.RuneError {
					return nil, false
				}
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default: // a quote, a slash, a backslash
			out = append(out, raw[i])
		}
	}
	return out, true
}

// refuse records a violation by the value or field at the cursor.
func (c *cursor) refuse(description string) {
	c.refuseAt(c.path(""), description)
}

// missing records that a field of the object just left is required, unless
// something worse is known of it.
func (c *cursor) missing(name string) {
	field := c.path(name)
	for _, v := range c.bad {
		if strings.HasPrefix(v.field, field) {
			return
		}
	}
	c.refuseAt(field, "is required")
}

func (c *cursor) refuseAt(field, description string) {
	if len(c.bad) < maxViolations {
		c.bad = append(c.bad, violation{field, description})
	}
}

// path names the field at the cursor, or its child: message.parts[1].raw.
func (c *cursor) path(child string) string {
	const maxName = 64 // a key of somebody's metadata may be long
	var s strings.Builder
	for _, p := range c.steps {
		switch {
		case p.index >= 0:
			s.WriteString("[" + strconv.Itoa(p.index) + "]")
		case p.name != nil:
			if s.Len() > 0 {
				s.WriteByte('.')
			}
			s.WriteString(strings.ToValidUTF8(string(p.name[:min(len(p.name), maxName)]), ""))
		}
	}
	if child != "" {
		if s.Len() > 0 {
			s.WriteByte('.')
		}
		s.WriteString(child)
	}
	if s.Len() == 0 {
		return "params"
	}
	return s.String()
}
