// Package strict reads a YAML file that a person wrote into a struct, and gathers every
// fault of it: a key that is unknown (with the nearest one that is known) or repeated, a
// value of another kind, an alias, a tag, a second document. A fault names its line, its
// path and the remedy. No fault repeats a value, because the value may be a secret. The
// library's own strictness (KnownFields) knows neither paths nor the nearest key.
//
// The package does not know which values make sense. Its callers check that and add to
// the same list ([File.Failf]).
package strict

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Options are the differences between kinds of files.
type Options struct {
	Size  int    // bytes that a file may have
	Large string // the remedy for a larger one
	Empty string // the remedy for an empty one

	// Secret returns the remedy for a text that must not stand in the file, such as a
	// password, and "" for any other. A key that is one is not named in its fault.
	// Optional.
	Secret func(text string) (remedy string)

	// Unknown returns the remedy for an unknown key, and "" for the usual one. Optional.
	Unknown func(key string) (remedy string)
}

// A File is a file as read: where each field stands, and the faults.
type File struct {
	options Options
	lines   map[string]int
	faulty  map[string]bool
	faults  []fault
}

type fault struct {
	line int // 0: of the whole document
	text string
}

// Open reads the file at path for [Read]: no more bytes than that needs to find it too
// large. It refuses all but regular files, because opening a named pipe would hang.
func Open(path string, o Options) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(o.Size)+1))
}

// Read copies the one document of data into a struct, to which into points. The yaml tags
// of its fields are the keys. Fields are texts, whole numbers, truth values, structs, lists
// of these, and pointers to them, which are nil for an absent field. A null leaves a field
// as it is, and a text loses the space around it. Where a struct has a field with the tag
// strict:"short", a text alone stands for a struct with that field.
//
// The error is for data that cannot be read at all. Faults of fields are in the file.
func Read(data []byte, into any, o Options) (*File, error) {
	if len(data) > o.Size {
		return nil, fmt.Errorf("the file is larger than %d KiB: %s", o.Size>>10, o.Large)
	}

	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return nil, errors.New("the file is empty: " + o.Empty)
	} else if err != nil && strings.Contains(err.Error(), "unknown anchor") { // which the error quotes
		return nil, errors.New("not valid YAML: an alias stands for nothing: put a text that begins with * into quotes")
	} else if err != nil {
		return nil, fmt.Errorf("not valid YAML: %w", err)
	}

	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file must be one YAML document: remove what follows the second ---")
	}

	f := &File{options: o, lines: map[string]int{}, faulty: map[string]bool{}}
	f.value("", doc.Content[0], reflect.ValueOf(into).Elem())
	return f, nil
}

// Has tells whether the field at path is in the file.
func (f *File) Has(path string) bool { return f.lines[path] > 0 }

// Failf notes a fault of the field at path (skills[0].name) and the remedy. It notes one
// fault of each field, the first.
func (f *File) Failf(path, format string, args ...any) {
	if f.faulty[path] {
		return
	}
	f.faulty[path] = true
	f.fail(f.lineOf(path), path, fmt.Sprintf(format, args...))
}

// Err joins all faults in the order of their lines, first those of fields that the
// document lacks; nil if there are none.
func (f *File) Err() error {
	slices.SortStableFunc(f.faults, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, fault := range f.faults {
		errs = append(errs, errors.New(fault.text))
	}
	return errors.Join(errs...)
}

func (f *File) fail(line int, path, text string) {
	if path != "" {
		text = path + ": " + text
	}
	if line > 0 {
		text = "line " + strconv.Itoa(line) + ": " + text
	}
	f.faults = append(f.faults, fault{line, text})
}

// lineOf is the line of the field at path or, if it is missing, of the field that it is
// missing from; 0 for a missing field of the document itself.
func (f *File) lineOf(path string) int {
	if path == "" {
		return f.lines[path]
	}
	for path != "" {
		if line := f.lines[path]; line > 0 {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}
