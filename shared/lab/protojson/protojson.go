// Package protojson spells a request in every way that readers of ProtoJSON accept. It knows the
// fields from the descriptors of a proto, and no field by name.
//
// The rules are those of https://protobuf.dev/programming-guides/json/.
package protojson

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A Spelling is a body that says the same as another one.
type Spelling struct {
	Field   string // that is spelt otherwise
	Body    string
	Default bool // the field has its default value, where the other body leaves it out
}

// Spellings returns all bodies that spell one field of a message otherwise. body has the usual
// spelling: names of JSON, names of enums, plain numbers. Fields that the message does not have
// stay as they are.
func Spellings(m protoreflect.MessageDescriptor, body string) []Spelling {
	object := fields(body)
	var all []Spelling
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		value, ok := object[f.JSONName()]
		if !ok {
			for _, unset := range unsets(f) {
				all = append(all, Spelling{f.TextName(), with(object, f.JSONName(), f.JSONName(), unset), unset != "null"})
			}
			continue
		}

		for _, name := range names(f) {
			all = append(all, Spelling{Field: f.TextName(), Body: with(object, f.JSONName(), name, string(value))})
		}
		for _, s := range respell(f, value) {
			s.Field = strings.TrimSuffix(f.TextName()+"."+s.Field, ".")
			s.Body = with(object, f.JSONName(), f.JSONName(), s.Body)
			all = append(all, s)
		}
	}
	return all
}

// fields are those of a body.
func fields(body string) (object map[string]json.RawMessage) {
	if err := json.Unmarshal([]byte(body), &object); err != nil {
		panic(fmt.Sprintf("%s: %v", body, err)) // a fault of the test
	}
	return object
}

// Without returns all bodies that lack one field of a message, or of a message in it.
func Without(m protoreflect.MessageDescriptor, body string) []Spelling {
	object := fields(body)
	var all []Spelling
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		value, ok := object[f.JSONName()]
		if !ok {
			continue
		}

		all = append(all, Spelling{Field: f.TextName(), Body: with(object, f.JSONName(), "unknown", string(value))})
		if f.Message() == nil || f.IsList() || f.Message().ParentFile().Package() == "google.protobuf" {
			continue
		}
		for _, s := range Without(f.Message(), string(value)) {
			all = append(all, Spelling{Field: f.TextName() + "." + s.Field, Body: with(object, f.JSONName(), f.JSONName(), s.Body)})
		}
	}
	return all
}

// with is the object with a value under a name, in the place of an old name.
func with(object map[string]json.RawMessage, old, name, value string) string {
	changed := maps.Clone(object)
	delete(changed, old)
	changed[name] = json.RawMessage(value)
	return encode(changed)
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a fault of the test
	}
	return string(text)
}

// names are the other names of a field.
func names(f protoreflect.FieldDescriptor) []string {
	if own := f.TextName(); own != f.JSONName() {
		return []string{own}
	}
	return nil
}

// unsets are the values that mean that a field is not set. A field without presence may be
// printed with its default.
func unsets(f protoreflect.FieldDescriptor) []string {
	if f.Message() != nil && f.Message().FullName() == "google.protobuf.Value" {
		return nil // which may be null
	}

	all := []string{"null"}
	switch {
	case f.IsList():
		all = append(all, "[]")
	case f.HasPresence():
	case f.Kind() == protoreflect.StringKind:
		all = append(all, `""`)
	case f.Kind() == protoreflect.BoolKind:
		all = append(all, "false")
	case f.Kind() == protoreflect.Int32Kind:
		all = append(all, "0", `"0"`, "0.0")
	case f.Kind() == protoreflect.EnumKind:
		all = append(all, "0", strconv.Quote(string(f.Enum().Values().ByNumber(0).Name())))
	}
	return all
}

// respell returns the other spellings of the value of a field. Their fields are those inside.
func respell(f protoreflect.FieldDescriptor, value json.RawMessage) []Spelling {
	if !f.IsList() {
		return respellOne(f, value)
	}

	var elements []json.RawMessage
	if err := json.Unmarshal(value, &elements); err != nil {
		panic(err)
	}

	var all []Spelling
	for i, e := range elements {
		for _, s := range respellOne(f, e) {
			changed := slices.Clone(elements)
			changed[i] = json.RawMessage(s.Body)
			s.Body = encode(changed)
			all = append(all, s)
		}
	}
	return all
}

func respellOne(f protoreflect.FieldDescriptor, value json.RawMessage) []Spelling {
	var bodies []string
	switch f.Kind() {
	case protoreflect.MessageKind:
		switch f.Message().FullName() {
		case "google.protobuf.Struct", "google.protobuf.Value":
			return nil // any JSON, whose values are kept as they are
		case "google.protobuf.Timestamp":
			bodies = times(value)
		default:
			return Spellings(f.Message(), string(value))
		}

	case protoreflect.Int32Kind:
		n := string(value)
		bodies = []string{strconv.Quote(n), n + ".0", n + ".000", n + "e0", n + "0e-1", strconv.Quote(n + ".0"), strconv.Quote(n + "E+0")}

	case protoreflect.EnumKind:
		n := fmt.Sprint(f.Enum().Values().ByName(protoreflect.Name(unquote(value))).Number())
		bodies = []string{n, n + ".0", n + "e0"}

	case protoreflect.BytesKind:
		url := strings.NewReplacer("+", "-", "/", "_").Replace(string(value))
		bodies = []string{url, strings.ReplaceAll(string(value), "=", ""), strings.ReplaceAll(url, "=", ""), strings.ReplaceAll(string(value), "/", `\/`)}

	case protoreflect.StringKind:
		s := unquote(value)
		bodies = []string{fmt.Sprintf(`"\u%04x%s"`, s[0], s[1:])}
	}

	var all []Spelling
	for _, b := range bodies {
		all = append(all, Spelling{Body: b})
	}
	return all
}

// times are other spellings of a time in UTC and whole seconds.
func times(value json.RawMessage) []string {
	whole := strings.TrimSuffix(unquote(value), "Z")
	return []string{strconv.Quote(whole + ".000Z"), strconv.Quote(whole + ".000000000Z"), strconv.Quote(whole + "+00:00"), strconv.Quote(whole + "-00:00")}
}

func unquote(value json.RawMessage) string {
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		panic(err)
	}
	return s
}

// Missing returns the fields of a message, and of the messages in it, that a body does not set:
// they have no spellings.
func Missing(m protoreflect.MessageDescriptor, bodies ...string) []string {
	var missing []string
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		var inside []string
		for _, body := range bodies {
			var object map[string]json.RawMessage
			if json.Unmarshal([]byte(body), &object) != nil || object[f.JSONName()] == nil {
				continue
			}
			value := object[f.JSONName()]
			var elements []json.RawMessage
			if f.IsList() && json.Unmarshal(value, &elements) == nil {
				for _, e := range elements {
					inside = append(inside, string(e))
				}
			} else {
				inside = append(inside, string(value))
			}
		}

		switch {
		case len(inside) == 0:
			missing = append(missing, f.TextName())
		case f.Message() != nil && f.Message().ParentFile().Package() != "google.protobuf":
			for _, name := range Missing(f.Message(), inside...) {
				missing = append(missing, f.TextName()+"."+name)
			}
		}
	}
	return missing
}
