package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the access file: some thousand principals.
const maxFile = 1 << 20

// readFile reads only regular files: opening a named pipe would hang the start.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is not a regular file of at most %d KiB", path, maxFile>>10)
	}
	return os.ReadFile(path)
}

// A reader walks one YAML document and gathers its faults, each with its line. No
// value is ever repeated: somebody may have put a key where its hash belongs.
type reader struct{ errs []error }

func (r *reader) failf(n *yaml.Node, path, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("line %d: %s: %s", n.Line, path, fmt.Sprintf(format, args...)))
}

// document is the one document of data.
func (r *reader) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		r.errs = append(r.errs, errors.New("the file is empty: name those who may call under principals"))
		return nil
	} else if err != nil {
		r.errs = append(r.errs, fmt.Errorf("not valid YAML: %w", err))
		return nil
	}
	if !errors.Is(dec.Decode(new(yaml.Node)), io.EOF) {
		r.errs = append(r.errs, errors.New("the file must be one YAML document: remove what follows the second ---"))
	}
	return doc.Content[0]
}

// A field reads what stands under one key of a mapping.
type field func(n *yaml.Node, path string)

// mapping reads a mapping with no other keys than these, each at most once. A null
// is as good as no key.
func (r *reader) mapping(n *yaml.Node, path string, fields map[string]field) {
	if n.Kind != yaml.MappingNode {
		r.failf(n, path, "must be a mapping with some of the keys %s", known(fields))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := fields[key.Value]
		switch at := strings.TrimPrefix(path+"."+key.Value, "."); {
		case key.Kind != yaml.ScalarNode || !ok:
			r.failf(key, cut(at), "unknown key; known here: %s", known(fields))
		case seen[key.Value]:
			r.failf(key, at, "stands here a second time: remove one")
		case value.Kind == yaml.ScalarNode && value.ShortTag() == "!!null":
		default:
			read(value, at)
		}
		seen[key.Value] = true
	}
}

// list reads each entry of a list.
func (r *reader) list(each field) field {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.SequenceNode {
			r.failf(n, path, "must be a list: write each entry on a line of its own after \"- \"")
			return
		}
		for i, entry := range n.Content {
			each(entry, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

// text reads a text that check has no objection to: it returns the remedy.
func (r *reader) text(into *string, check func(string) string) field {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode || !slices.Contains([]string{"!!str", "!!int", "!!float", "!!timestamp"}, n.ShortTag()) {
			r.failf(n, path, "must be a text, written out: no alias, no tag, no list")
			return
		}
		if remedy := check(n.Value); remedy != "" {
			r.failf(n, path, "%s", remedy)
			return
		}
		*into = n.Value
	}
}

func (r *reader) flag(into *bool) field {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(into) != nil {
			r.failf(n, path, "must be true or false")
		}
	}
}

func known(fields map[string]field) string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// cut shortens what the file's author wrote in the place of a key.
func cut(s string) string {
	const most = 40
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
