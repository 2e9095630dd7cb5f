// Package tools makes tools of Go functions, which the model may call. The tools of an
// installation lie in worker/agent: write a function, make a tool of it with [New], return
// it from Tools, and name it under tools in agent.yaml, without which the model never sees
// it.
//
// Options tell the frame on which properties of a tool it may rely: [Effects], [KeepsKeys],
// [Reconcile], [TimeLimit], [Alone]. While it runs, a tool can learn about its call ([InfoFrom]), report
// ([Progress], [Artifact]), and end the run to be called again ([Later], [Wake]).
//
// The package is not a registry and knows nothing of tasks or models: worker/executor
// decides when a tool is called and what becomes of its result.
package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"

	"github.com/google/jsonschema-go/jsonschema"
)

// names are the function names the Gemini API accepts.
// https://ai.google.dev/api/caching#FunctionDeclaration
var names = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,63}$`)

// A Tool is a Go function with a name, a description and a JSON Schema of its arguments. It
// is made by [New], and is safe for concurrent use if its function is.
type Tool struct {
	name        string
	description string
	options     options
	schema      json.RawMessage
	bind        func(args json.RawMessage) (Call, error)
	fault       error
}

// A Call is a function with its arguments, ready to run. [Tool.Run] runs it within its time
// limit. The result is a JSON object for the model, even after an error: "output" holds the
// function's result, or "error" the reason why there is none. The error is for the log and
// holds neither arguments nor results.
//
// There is no result if the function asked to be called again: the error is a [*Wait] then.
type Call func(ctx context.Context) (result json.RawMessage, err error)

// New makes a Tool of a function. In is a struct: its JSON field names are the arguments,
// fields with omitempty are optional, and a tag such as `jsonschema:"city to look up"`
// describes a field to the model. Arguments are checked before run gets them. Out is any
// type that encodes as JSON, to at most 64 KiB.
//
// The model reads the text of an error that run returns, and may pass it on. The text
// should say how to do better, and hold no secret. run must end when its context does.
// Calls of one step run side by side, unless an option says otherwise.
//
// A Tool that cannot work, such as one whose In has no schema, is refused when the program
// starts; see Fault.
func New[In, Out any](name, description string, run func(ctx context.Context, in In) (Out, error), opts ...Option) Tool {
	t := Tool{name: name, description: description}
	for _, opt := range opts {
		opt(&t.options)
	}
	if run == nil {
		t.fault = errors.New("it has no function")
		return t
	}
	if t.fault = t.options.fault(reflect.TypeFor[Out]()); t.fault != nil {
		return t
	}

	checked, err := t.infer(jsonschema.For[In](nil))
	if err != nil {
		t.fault = err
		return t
	}
	t.bind = func(args json.RawMessage) (Call, error) {
		var in In
		if err := decode(args, checked, &in); err != nil {
			return nil, err
		}
		return func(ctx context.Context) (json.RawMessage, error) { return call(ctx, name, run, in) }, nil
	}
	return t
}

// infer keeps the schema of the arguments.
func (t *Tool) infer(schema *jsonschema.Schema, err error) (*jsonschema.Resolved, error) {
	if err != nil {
		return nil, fmt.Errorf("its arguments have no JSON Schema: %w", err)
	}
	if schema.Type != "object" {
		return nil, errors.New("its arguments are not a struct")
	}
	if t.schema, err = json.Marshal(schema); err != nil {
		return nil, fmt.Errorf("encoding the schema of its arguments: %w", err)
	}
	checked, err := schema.Resolve(nil)
	if err != nil {
		return nil, fmt.Errorf("resolving the schema of its arguments: %w", err)
	}
	return checked, nil
}

// Name is the name of the tool in agent.yaml and for the model.
func (t Tool) Name() string { return t.name }

// Description tells the model the purpose of the tool.
func (t Tool) Description() string { return t.description }

// Schema is the JSON Schema of the arguments, an object.
func (t Tool) Schema() json.RawMessage { return t.schema }

// Fault returns the reason why the tool cannot be used, or nil if it can.
func (t Tool) Fault() error {
	switch {
	case !names.MatchString(t.name):
		return fmt.Errorf("%q is not the name of a tool: letters, digits and _, at most 64, not starting with a digit", t.name)
	case t.fault != nil:
		return fmt.Errorf("tool %s cannot be used: %w", t.name, t.fault)
	case t.description == "":
		return fmt.Errorf("tool %s has no description: the model would not know when to call it", t.name)
	case t.bind == nil:
		return fmt.Errorf("tool %s was not made with tools.New", t.name)
	}
	return nil
}

// Bind checks the arguments of a call, a JSON object, and makes the call ready to run. The
// error is for the model, which can correct its call, and may quote the arguments.
func (t Tool) Bind(args json.RawMessage) (Call, error) {
	if err := t.Fault(); err != nil {
		return nil, err
	}
	return t.bind(args)
}

// decode reads args into in, after the schema agreed to them.
func decode(args json.RawMessage, schema *jsonschema.Resolved, in any) error {
	if len(bytes.TrimSpace(args)) == 0 {
		args = json.RawMessage("{}")
	}
	var object map[string]any
	if err := json.Unmarshal(args, &object); err != nil || object == nil {
		return errors.New("the arguments are not a JSON object")
	}
	if err := schema.Validate(object); err != nil {
		return fmt.Errorf("the arguments do not fit: %w", err)
	}
	if err := json.Unmarshal(args, in); err != nil {
		return fmt.Errorf("the arguments do not fit: %w", err)
	}
	return nil
}
