package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

const (
	maxResult = 64 << 10 // bytes of a result, which the model reads again in every further step
	maxError  = 1 << 10  // bytes of an error's text
)

// Errors of calls, for the log.
var (
	errFailed  = errors.New("the function returned an error")
	errExited  = errors.New("the function ended its goroutine")
	errUnshown = errors.New("the result cannot be shown")
)

// call runs a function. A panic in it fails the call, not the worker.
func call[In, Out any](ctx context.Context, name string, run func(context.Context, In) (Out, error), in In) (result json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = Refusal("the tool broke down"), panicked(p)
		}
	}()

	ctx, end := beginReports(ctx, name)
	defer end()

	out, err := run(ctx, in)
	if w := waitIn(err); w != nil {
		return nil, w
	}
	if err != nil {
		return Refusal(err.Error()), errFailed
	}
	return encode(out)
}

// encode makes the result of a call of the function's result.
func encode(out any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"output": out}); err != nil {
		return Refusal("the tool was run, but its result cannot be shown"), fmt.Errorf("%w: %T is not JSON", errUnshown, out)
	}
	if b.Len() > maxResult {
		return Refusal(fmt.Sprintf("the tool was run, but its result is too large to be shown: %d bytes, at most %d", b.Len(), maxResult)),
			fmt.Errorf("%w: it has %d bytes, at most %d", errUnshown, b.Len(), maxResult)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// panicked describes a panic by its place. The value of the panic may quote a message,
// unless it is the runtime's own.
func panicked(p any) error {
	what := fmt.Sprintf("%T", p)
	if e, ok := p.(runtime.Error); ok {
		what = e.Error()
	}
	return fmt.Errorf("the function panicked: %s\n%s", what, debug.Stack())
}

// Refusal is the result of a call that failed: an object whose "error" tells the model the
// reason.
func Refusal(why string) json.RawMessage {
	if len(why) > maxError {
		why = why[:maxError] + "..."
	}
	b, err := json.Marshal(map[string]string{"error": strings.ToValidUTF8(why, "")})
	if err != nil {
		return json.RawMessage(`{"error":"the call failed"}`)
	}
	return b
}
