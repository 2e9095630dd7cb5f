package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/dialect"
	"errand/shared/strict"
)

// A parser reads one line, value by value, and stops at the first fault. From then on it reads
// nothing, and all that it has read is void.
type parser struct {
	d       *jsontext.Decoder
	form    Form
	dialect Dialect
	number  int
	raw     []byte
	id      string // of the line, as soon as it is known
	bad     *Bad
	origins []string // the fields that the parts of the message came from; nil: message.parts
}

var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

func newParser(f Form, d Dialect, n int, raw []byte) *parser {
	p := &parser{d: decoders.Get().(*jsontext.Decoder), form: f, dialect: d, number: n, raw: raw}
	p.d.Reset(bytes.NewBuffer(raw))
	return p
}

func (p *parser) free() {
	p.d.Reset(bytes.NewBuffer(nil))
	decoders.Put(p.d)
}

// fail notes a fault of a field, of which only the first one counts.
func (p *parser) fail(code, field, reason string) {
	if p.bad != nil {
		return
	}
	if field != "" {
		reason = field + ": " + reason
	}
	p.bad = &Bad{Line: p.number, ID: p.id, Code: code, Field: field, Reason: reason}
}

// refuse notes a fault of the value that was read last, or of the name.
func (p *parser) refuse(reason string) {
	field := p.path()
	if field == "" {
		reason = "the line " + reason
	}
	p.fail(CodeLine, field, reason)
}

// syntax notes that the text is not JSON as it must be. It quotes nothing of the text.
func (p *parser) syntax(err error) {
	if err == nil || p.bad != nil {
		return
	}
	s, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case !utf8.Valid(p.raw):
		p.fail(CodeJSON, "", "the line is not UTF-8: save the file as UTF-8")
	case errors.Is(err, jsontext.ErrDuplicateName) && ok:
		p.fail(CodeJSON, clean(strings.TrimPrefix(string(s.JSONPointer), "/")), "occurs twice: remove one")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		p.fail(CodeJSON, "", `the line ends within a JSON value: write the whole object on one line, a newline in a text as \n`)
	case ok:
		p.fail(CodeJSON, "", fmt.Sprintf("the line is not JSON from byte %d on: write one JSON object on each line", s.ByteOffset+1))
	default:
		p.fail(CodeJSON, "", "the line is not JSON: write one JSON object on each line")
	}
}

// end checks that nothing follows the object.
func (p *parser) end() {
	if p.bad != nil {
		return
	}
	switch _, err := p.d.ReadToken(); {
	case err == nil:
		p.fail(CodeJSON, "", "the line has more than one JSON value: write each object on a line of its own")
	case err != io.EOF:
		p.syntax(err)
	}
}

func (p *parser) token() jsontext.Token {
	t, err := p.d.ReadToken()
	p.syntax(err)
	return t
}

// null skips a null.
func (p *parser) null() bool {
	if p.d.PeekKind() != jsontext.KindNull {
		return false
	}
	p.token()
	return true
}

// is reports whether a value of this kind is here, and refuses any other.
func (p *parser) is(kind jsontext.Kind, otherwise string) bool {
	if p.bad != nil {
		return false
	}
	switch p.d.PeekKind() {
	case kind:
		return true
	case jsontext.KindInvalid:
		p.token()
	default:
		p.syntax(p.d.SkipValue())
		p.refuse(otherwise)
	}
	return false
}

// fields yields the names of the object here whose values are not null. The loop reads each
// value.
func (p *parser) fields() iter.Seq[string] {
	return func(yield func(string) bool) {
		if !p.is(jsontext.KindBeginObject, "must be an object") {
			return
		}
		for name := range p.members() {
			if !p.null() && !yield(name) {
				return
			}
		}
	}
}

// members yields the name of each member of the object here, or "" for each element of the
// array here, up to the first fault.
func (p *parser) members() iter.Seq[string] {
	return func(yield func(string) bool) {
		object := p.token().Kind() == jsontext.KindBeginObject
		for p.bad == nil {
			switch p.d.PeekKind() {
			case jsontext.KindEndObject, jsontext.KindEndArray, jsontext.KindInvalid:
				p.token()
				return
			}
			name := ""
			if object {
				name = p.token().String()
			}
			if p.bad != nil || !yield(name) {
				return
			}
		}
	}
}

// elements yields the index of each element of the array here, of which there are at most
// limit.
func (p *parser) elements(limit int) iter.Seq[int] {
	return func(yield func(int) bool) {
		if !p.is(jsontext.KindBeginArray, "must be a list") {
			return
		}
		i := 0
		for range p.members() {
			if i == limit {
				p.syntax(p.d.SkipValue())
				p.refuse(fmt.Sprintf("is beyond the limit: at most %d elements", limit))
				return
			}
			if !yield(i) {
				return
			}
			i++
		}
	}
}

// unknown refuses a field whose name was read last.
func (p *parser) unknown(name string, known ...string) {
	p.syntax(p.d.SkipValue())
	p.refuse("is unknown: " + nearest(name, known))
}

func nearest(name string, known []string) string {
	const slips = 2
	if best, distance := strict.Nearest(clean(name), known, strings.ToLower); distance <= slips {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "remove it; known here: " + strings.Join(known, ", ")
}

// text reads a string.
func (p *parser) text() string {
	if !p.is(jsontext.KindString, "must be a text, in quotes") {
		return ""
	}
	return p.token().String()
}

// label reads a string of 1 to limit bytes without control characters.
func (p *parser) label(limit int) string {
	s := p.text()
	p.plain(s, limit)
	return s
}

// plain refuses a text that is no label.
func (p *parser) plain(s string, limit int) {
	switch {
	case p.bad != nil:
	case strings.TrimSpace(s) == "":
		p.refuse("must not be blank")
	case len(s) > limit:
		p.refuse(fmt.Sprintf("has more than %d bytes: shorten it", limit))
	case strings.ContainsFunc(s, unicode.IsControl):
		p.refuse("has a control character: remove it")
	}
}

// truth reads a truth value.
func (p *parser) truth() bool {
	if k := p.d.PeekKind(); k != jsontext.KindTrue && k != jsontext.KindFalse {
		p.is(jsontext.KindTrue, "must be true or false")
		return false
	}
	return p.token().Bool()
}

// numeric reads a number between low and high.
func (p *parser) numeric(low, high float64) float64 {
	if !p.is(jsontext.KindNumber, "must be a number") {
		return 0
	}
	v := p.value()
	f, _ := v.(float64)
	if p.bad == nil && (f < low || f > high) {
		p.refuse(fmt.Sprintf("must be from %v to %v", low, high))
	}
	return f
}

// value decodes any JSON value, as encoding/json would into an any.
func (p *parser) value() any {
	if p.bad != nil {
		return nil
	}
	if p.d.StackDepth() > maxDepth {
		p.fail(CodeLine, "", "the line nests more than "+strconv.Itoa(maxDepth)+" levels deep")
		return nil
	}

	switch p.d.PeekKind() {
	case jsontext.KindBeginObject:
		m := map[string]any{}
		for name := range p.members() {
			m[name] = p.value()
		}
		return m

	case jsontext.KindBeginArray:
		a := []any{}
		for range p.members() {
			a = append(a, p.value())
		}
		return a

	case jsontext.KindString:
		return p.token().String()

	case jsontext.KindNumber:
		v, err := p.d.ReadValue()
		p.syntax(err)
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			p.refuse("is a number out of range")
		}
		return f

	case jsontext.KindNull:
		p.token()
		return nil

	case jsontext.KindInvalid:
		p.token()
		return nil
	}
	return p.truth()
}

// object decodes an object with the limits of metadata.
func (p *parser) object() map[string]any {
	if !p.is(jsontext.KindBeginObject, "must be an object") {
		return nil
	}
	m, _ := p.value().(map[string]any)
	if p.bad == nil && len(m) > maxMetadata {
		p.refuse(fmt.Sprintf("has more than %d keys", maxMetadata))
	}
	return m
}

// base64 decodes bytes.
func (p *parser) base64() []byte {
	b, ok := dialect.Base64(p.text())
	if p.bad == nil && !ok {
		p.refuse("is not base64")
	}
	return b
}

// link reads the URL of a part. A data URL is the content itself, with its media type. The
// address of an object in a bucket is judged when the submitter is known.
func (p *parser) link() (content a2a.PartContent, mediaType string) {
	s := p.text()
	if !dialect.IsDataURL(s) {
		if p.plain(s, maxURL); p.bad == nil && !absolute(s) && !strings.HasPrefix(s, "gs://") {
			p.refuse("must be an absolute http or https URL, or gs://BUCKET/NAME")
		}
		return a2a.URL(s), ""
	}
	data, mediaType, err := dialect.DataURL(s)
	if p.bad == nil && err != nil {
		p.refuse(err.Error())
	}
	return a2a.Raw(data), mediaType
}

func absolute(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// media reads a media type.
func (p *parser) media() string {
	s := dialect.MediaType(p.label(maxMedia))
	if p.bad == nil && !isMedia(s) {
		p.refuse("must be a media type, such as text/plain")
	}
	return s
}

func isMedia(s string) bool {
	t, _, err := mime.ParseMediaType(s)
	return err == nil && strings.Contains(t, "/")
}

// filename reads the name of a file, or the last one of a path.
func (p *parser) filename() string {
	s, ok := dialect.Filename(p.label(maxPathname))
	switch {
	case p.bad != nil:
	case len(s) > maxFilename:
		p.refuse(fmt.Sprintf("is a name of more than %d bytes: shorten it", maxFilename))
	case !ok:
		p.refuse("has a character that changes the direction of text: remove it")
	}
	return s
}

// path names the value that was read last: body.messages[1].content.
func (p *parser) path() string {
	var s strings.Builder
	level := 0
	for name := range p.d.StackPointer().Tokens() {
		level++
		if kind, _ := p.d.StackIndex(level); kind == jsontext.KindBeginArray {
			s.WriteString("[" + name + "]")
		} else {
			s.WriteString("." + clean(name))
		}
	}
	return strings.TrimPrefix(s.String(), ".")
}

// origin is the field that a part of the message came from.
func (p *parser) origin(part int) string {
	switch {
	case part < len(p.origins):
		return p.origins[part]
	case p.dialect == OpenAI:
		return "body.messages"
	}
	return fmt.Sprintf("message.parts[%d]", part)
}

// clean makes a name that a stranger chose fit for an error: a few characters, all of them
// printable.
func clean(name string) string {
	const most = 40
	name = strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && !dialect.Reorders(r) {
			return r
		}
		return '?'
	}, name[:min(len(name), 4*most)])
	if runes := []rune(name); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return name
}

// blank reports whether a line has only space.
func blank(raw []byte) bool { return len(bytes.Trim(raw, " \t\r")) == 0 }

// remarshal reads a decoded value, or one that is still JSON text, into a struct.
func remarshal(v, into any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
