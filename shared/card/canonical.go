package card

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2apb/v1"
	"github.com/gowebpki/jcs"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// A Form says which fields of a card a signature covers.
type Form int

const (
	// Protocol covers the fields of A2A 1.0 alone: the form that a client makes of a card which
	// it has read into the types of the protocol.
	Protocol Form = iota
	// Whole covers every field, those of 0.3 too: the form that a client makes of the document.
	Whole
)

// Canonical is what a signature of the card is made over (A2A 1.0, section 8.4.1): the card
// without its signatures and without fields that have their default value, unless they are
// required or were set, in the form of RFC 8785.
func Canonical(card []byte, form Form) ([]byte, error) {
	// What RFC 8785 does not allow, such as a field twice, is refused before it can be read in
	// different ways.
	strict, err := jcs.Transform(card)
	if err != nil {
		return nil, fmt.Errorf("reading a card: %w", err)
	}
	fields, err := decode(strict)
	if err != nil {
		return nil, fmt.Errorf("reading a card: %w", err)
	}
	delete(fields, "signatures")

	prune(fields, (&a2apb.AgentCard{}).ProtoReflect().Descriptor(), form)
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encoding a card: %w", err)
	}
	return jcs.Transform(text)
}

// decode reads an object, whose numbers it keeps as they are written.
func decode(text []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var fields map[string]any
	if err := d.Decode(&fields); err != nil {
		return nil, err
	}
	if fields == nil {
		return nil, errors.New("not an object")
	}
	if d.More() {
		return nil, errors.New("more than one object")
	}
	return fields, nil
}

// prune deletes from the fields of a message those that its canonical form leaves out.
func prune(fields map[string]any, message protoreflect.MessageDescriptor, form Form) {
	if message.FullName().Parent() == "google.protobuf" { // any JSON, such as parameters of an extension
		return
	}

	for name, value := range fields {
		field := message.Fields().ByJSONName(name)
		switch {
		case field == nil && form == Protocol:
			delete(fields, name)
		case field == nil:
		case value == nil, empty(field, value) && !required(field) && !field.HasPresence():
			delete(fields, name)
		default:
			pruneValue(value, field, form)
		}
	}
}

// pruneValue prunes the messages in the value of a field.
func pruneValue(value any, field protoreflect.FieldDescriptor, form Form) {
	if field.IsMap() {
		if field = field.MapValue(); field.Kind() != protoreflect.MessageKind {
			return
		}
		entries, _ := value.(map[string]any)
		for _, entry := range entries {
			pruneValue(entry, field, form)
		}
		return
	}
	if field.Kind() != protoreflect.MessageKind {
		return
	}

	switch value := value.(type) {
	case map[string]any:
		prune(value, field.Message(), form)
	case []any:
		for _, element := range value {
			if fields, ok := element.(map[string]any); ok {
				prune(fields, field.Message(), form)
			}
		}
	}
}

// empty reports whether the value is the default of its field.
func empty(field protoreflect.FieldDescriptor, value any) bool {
	switch value := value.(type) {
	case string:
		return value == "" || field.Enum() != nil && field.Enum().Values().ByNumber(0).Name() == protoreflect.Name(value)
	case bool:
		return !value
	case json.Number:
		n, err := value.Float64()
		return err == nil && n == 0
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0 && field.IsMap()
	}
	return false
}

// required reports whether the protocol marks the field as required.
func required(field protoreflect.FieldDescriptor) bool {
	options, ok := field.Options().(*descriptorpb.FieldOptions)
	if !ok {
		return false
	}
	behavior, _ := proto.GetExtension(options, annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(behavior, annotations.FieldBehavior_REQUIRED)
}
