package secret

import "strings"

// A Value is the content of a secret. It prints, logs and encodes as [secret]; only Reveal
// and Text show it. Its zero value is empty.
type Value struct {
	data *string // a pointer: package fmt prints fields of unexported ones as they are
}

const hidden = "[secret]"

// NewValue returns the Value with this content, or ErrTooLarge. An empty content is
// ErrNotFound: it is a variable or a file that an operator forgot to fill.
func NewValue(content []byte) (Value, error) {
	switch {
	case len(content) > MaxSize:
		return Value{}, ErrTooLarge
	case len(content) == 0:
		return Value{}, ErrNotFound
	}
	s := string(content)
	return Value{&s}, nil
}

// Reveal is the content, as it is kept.
func (v Value) Reveal() string {
	if v.data == nil {
		return ""
	}
	return *v.data
}

// Text is the content without space around it: files and the output of commands end in a
// newline that does not belong to the key.
func (v Value) Text() string { return strings.TrimSpace(v.Reveal()) }

// String says [secret].
func (Value) String() string { return hidden }

// GoString says [secret].
func (Value) GoString() string { return hidden }

// MarshalText says [secret], in JSON and in logs too.
func (Value) MarshalText() ([]byte, error) { return []byte(hidden), nil }
