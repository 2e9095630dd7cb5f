package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads a definition. It is strict: unknown and repeated keys, aliases,
// tags and further documents are errors. The error lists every fault, each
// with its line, its field and what to do about it.
func Parse(data []byte) (*Agent, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("the file is larger than %d KiB: shorten the instructions", maxSize>>10)
	}

	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return nil, errors.New("the file is empty: start from the default agent.yaml")
	} else if err != nil {
		return nil, fmt.Errorf("not valid YAML: %w", err)
	}

	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file must be one YAML document: remove what follows the second ---")
	}

	a := &Agent{Limits: Limits{Steps: 16, TurnTokens: 32768, OutputTokens: 8192, HistoryMessages: 50}}
	r := &reader{lines: map[string]int{}}
	r.value("", doc.Content[0], reflect.ValueOf(a).Elem())
	if r.lines["limits.outputTokens"] == 0 { // not in the file: follow a small turn
		a.Limits.OutputTokens = max(min(a.Limits.OutputTokens, a.Limits.TurnTokens), 1)
	}

	for i := range a.Settings {
		if a.Settings[i].Type == "" {
			a.Settings[i].Type = "string"
		}
	}

	r.check(a)
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	if len(a.InputModes) == 0 {
		a.InputModes = []string{"text/plain"}
	}
	if len(a.OutputModes) == 0 {
		a.OutputModes = []string{"text/plain"}
	}

	return a, nil
}

// A reader copies YAML nodes into the fields of an Agent and gathers faults.
// It does what yaml.Decoder.KnownFields does not: it names the path of a
// field, the nearest known key, and goes on after a fault.
type reader struct {
	lines map[string]int // where each field stands
	errs  []error
}

// failf notes a fault of the field at path.
func (r *reader) failf(path, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if path != "" {
		text = path + ": " + text
	}
	if line := r.lineOf(path); line > 0 {
		text = "line " + strconv.Itoa(line) + ": " + text
	}
	r.errs = append(r.errs, errors.New(text))
}

// lineOf is the line of the field at path or, when it is missing, of what it
// is missing from; 0 for a missing field of the document itself.
func (r *reader) lineOf(path string) int {
	for path != "" {
		if line := r.lines[path]; line > 0 {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

// value copies n into v. A null leaves v as it is, so "key:" means its
// default.
func (r *reader) value(path string, n *yaml.Node, v reflect.Value) {
	r.lines[path] = n.Line
	switch {
	case n.Kind == yaml.AliasNode: // could stand for itself, or for a gigabyte
		r.failf(path, "aliases are not supported: write the value out")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.value(path, n, v.Elem())
	case v.Kind() == reflect.Struct:
		r.mapping(path, n, v)
	case v.Kind() == reflect.Slice:
		r.sequence(path, n, v)
	case v.Kind() == reflect.Int:
		r.integer(path, n, v)
	case v.Kind() == reflect.Bool:
		r.boolean(path, n, v)
	default:
		r.text(path, n, v)
	}
}

func (r *reader) mapping(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.failf(path, "must be a mapping with the keys %s", strings.Join(keys(v.Type()), ", "))
		return
	}

	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		field := path + "." + key.Value
		if path == "" {
			field = key.Value
		}

		index := slot(v.Type(), key.Value)
		switch {
		case key.Kind != yaml.ScalarNode:
			r.errs = append(r.errs, fmt.Errorf("line %d: a key must be a plain word, one of %s", key.Line, strings.Join(keys(v.Type()), ", ")))
		case index < 0:
			r.errs = append(r.errs, fmt.Errorf("line %d: %s: unknown key; %s", key.Line, clip(field), advice(key.Value, keys(v.Type()))))
		case seen[key.Value]:
			r.errs = append(r.errs, fmt.Errorf("line %d: %s: stands here a second time: remove one", key.Line, field))
		default:
			seen[key.Value] = true
			r.value(field, n.Content[i+1], v.Field(index))
		}
	}
}

func (r *reader) sequence(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		r.failf(path, "must be a list: write each entry on a line of its own after \"- \"")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, entry := range n.Content {
		r.value(fmt.Sprintf("%s[%d]", path, i), entry, list.Index(i))
	}
	v.Set(list)
}

func (r *reader) integer(path string, n *yaml.Node, v reflect.Value) {
	var i int64
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(&i) != nil {
		r.failf(path, "must be a whole number")
		return
	}
	v.SetInt(i)
}

func (r *reader) boolean(path string, n *yaml.Node, v reflect.Value) {
	var b bool
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(&b) != nil {
		r.failf(path, "must be true or false")
		return
	}
	v.SetBool(b)
}

// apiKey is the form of Google's API keys.
// https://cloud.google.com/docs/authentication/api-keys
var apiKey = regexp.MustCompile(`AIza[0-9A-Za-z_-]{35}`)

func (r *reader) text(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		r.failf(path, "must be a text")
		return
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp": // version: 1.10 is a text here
	default:
		r.failf(path, "the tag %s is not supported: write plain text", clip(n.ShortTag()))
		return
	}
	if apiKey.MatchString(n.Value) {
		r.failf(path, "holds an API key: remove it, revoke it, and set the new one as GEMINI_API_KEY in the environment")
		return
	}
	v.SetString(strings.TrimSpace(n.Value))
}

// keys are the YAML keys of a struct.
func keys(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

// slot is the index of the field with this key, or -1.
func slot(t reflect.Type, key string) int {
	for i, name := range keys(t) {
		if name == key {
			return i
		}
	}
	return -1
}
