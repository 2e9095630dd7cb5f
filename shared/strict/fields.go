package strict

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// value copies n into v.
func (f *File) value(path string, n *yaml.Node, v reflect.Value) {
	f.lines[path] = n.Line
	switch {
	case n.Kind == yaml.AliasNode: // it could stand for itself, or for a gigabyte
		f.Failf(path, "aliases are not supported: write the value out")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.value(path, n, v.Elem())
	case v.Kind() == reflect.Struct && n.Kind == yaml.ScalarNode && short(v.Type()) >= 0:
		f.text(path, n, v.Field(short(v.Type())))
	case v.Kind() == reflect.Struct:
		f.mapping(path, n, v)
	case v.Kind() == reflect.Slice:
		f.list(path, n, v)
	case v.Kind() == reflect.Int:
		f.integer(path, n, v)
	case v.Kind() == reflect.Bool:
		f.boolean(path, n, v)
	default:
		f.text(path, n, v)
	}
}

func (f *File) mapping(path string, n *yaml.Node, v reflect.Value) {
	known := keys(v.Type())
	if n.Kind != yaml.MappingNode {
		f.Failf(path, "must be a mapping with the keys %s", strings.Join(known, ", "))
		return
	}

	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		field := strings.TrimPrefix(path+"."+key.Value, ".")

		switch index := slices.Index(known, key.Value); {
		case key.Kind != yaml.ScalarNode:
			f.fail(key.Line, path, "a key must be a plain word, one of "+strings.Join(known, ", "))
		case index < 0:
			f.unknown(path, key, known)
		case seen[key.Value]:
			f.fail(key.Line, field, "stands here a second time: remove one")
		default:
			seen[key.Value] = true
			f.value(field, n.Content[i+1], v.Field(index))
		}
	}
}

func (f *File) unknown(path string, key *yaml.Node, known []string) {
	if remedy := call(f.options.Secret, key.Value); remedy != "" {
		f.fail(key.Line, path, "the name of a field here "+remedy)
		return
	}
	remedy := call(f.options.Unknown, key.Value)
	if remedy == "" {
		remedy = nearest(key.Value, known)
	}
	f.fail(key.Line, strings.TrimPrefix(path+"."+clip(key.Value), "."), "unknown key; "+remedy)
}

func (f *File) list(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		f.Failf(path, "must be a list: write each entry on a line of its own after \"- \"")
		return
	}
	all := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, entry := range n.Content {
		f.value(fmt.Sprintf("%s[%d]", path, i), entry, all.Index(i))
	}
	v.Set(all)
}

func (f *File) integer(path string, n *yaml.Node, v reflect.Value) {
	var i int64
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(&i) != nil {
		f.Failf(path, "must be a whole number")
		return
	}
	v.SetInt(i)
}

func (f *File) boolean(path string, n *yaml.Node, v reflect.Value) {
	var b bool
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(&b) != nil {
		f.Failf(path, "must be true or false")
		return
	}
	v.SetBool(b)
}

func (f *File) text(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		f.Failf(path, "must be a text")
		return
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp": // 1.10 is a text here
	default:
		f.Failf(path, "a tag is not supported: write plain text, and put a text that begins with ! into quotes")
		return
	}
	if remedy := call(f.options.Secret, n.Value); remedy != "" {
		f.Failf(path, "%s", remedy)
		return
	}
	v.SetString(strings.TrimSpace(n.Value))
}

// keys are the YAML keys of a struct, in the order of its fields.
func keys(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

// short is the index of the field that a text in the place of the struct is for; -1: a
// text cannot stand for it.
func short(t reflect.Type) int {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("strict") == "short" {
			return i
		}
	}
	return -1
}

// nearest says which of the known keys an unknown one may be meant as.
func nearest(key string, known []string) string {
	const slips = 2 // of the finger; more is another word
	if best, distance := Nearest(key, known, simplify); distance <= slips {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(known, ", ")
}

// Nearest finds the known name that is most similar to another name, and their distance: how
// many letters must be put in, left out or changed. form removes the differences that do not
// count. Without known names the result is empty and as far as can be.
func Nearest(name string, known []string, form func(string) string) (best string, distance int) {
	distance = math.MaxInt
	for _, k := range known {
		if d := levenshtein.ComputeDistance(form(name), form(k)); d < distance {
			best, distance = k, d
		}
	}
	return best, distance
}

// simplify removes the differences between spellings of one word.
func simplify(key string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(clip(key)))
}

// clip shortens a key or tag for an error message.
func clip(s string) string {
	const most = 40
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return s
}

func call(f func(string) string, s string) string {
	if f == nil {
		return ""
	}
	return f(s)
}
