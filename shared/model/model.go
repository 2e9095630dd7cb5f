// Package model is the port to the language model: one streamed step of a
// conversation, in plain values.
//
// It is not a client and knows no vendor: shared/adapters/gemini implements it, and
// worker/executor decides what a step means for the task.
package model

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// A Model answers one step of a conversation. It is safe for concurrent use.
//
// A Model makes no retries of its own: a failed step is an *Error, and the
// caller, which knows the turn's age and attempts, decides what follows.
type Model interface {
	// Generate streams the answer to req. Chunks come in order; the last one
	// carries Finish. An error ends the sequence and is an *Error unless ctx
	// ended. Cancelling ctx stops the call in flight. req is not retained.
	Generate(ctx context.Context, req Request) iter.Seq2[Chunk, error]

	// Check asks whether the model can be used with this configuration (key,
	// name, quota project), without generating anything. It is called once at
	// start, so that a wrong key is seen before the first message.
	Check(ctx context.Context) error

	// Name is what people call the model, for the page, logs and errors.
	Name() string
}

// A Request is everything the model sees in one step.
type Request struct {
	System    string    // instructions; empty: none
	History   []Content // oldest first; the last one is the user's
	Tools     []Tool    // functions the model may call
	MaxTokens int32     // cap on generated tokens of this step; 0: the model's own
}

// Roles of a Content, as Gemini names them.
const (
	RoleUser  = "user"
	RoleModel = "model"
)

// A Content is one contribution to the conversation.
type Content struct {
	Role  string // RoleUser or RoleModel
	Parts []Part
}

// A Part is one piece of a Content: exactly one of Text, Call, Result, Data
// and URI is set.
type Part struct {
	Text      string
	Call      *Call   // the model asks for a function
	Result    *Result // the answer to a Call
	Data      []byte  // inline bytes, of type MIME
	URI       string  // a file by reference, of type MIME
	MIME      string  // media type of Data or URI
	Thought   bool    // Text is reasoning, not answer
	Signature []byte  // opaque; must be sent back with the part it came with
}

// A Tool is a function the model may call.
type Tool struct {
	Name        string
	Description string
	Schema      json.RawMessage // JSON Schema of the arguments, an object
}

// A Call is the model's wish to have a Tool run.
type Call struct {
	ID   string // the model's own id of the call; may be empty
	Name string
	Args json.RawMessage // a JSON object
}

// A Result is what running a Call gave.
type Result struct {
	ID    string // of the Call
	Name  string
	Value json.RawMessage // a JSON object
}

// A Chunk is a piece of the answer, in the order it was made.
type Chunk struct {
	Parts  []Part
	Finish string // FinishStop and the like; empty while the answer goes on
	Reason string // the model's words on Finish, safe to show; may be empty
	Usage  Usage  // running total of this step; zero: not reported in this chunk
}

// Finish reasons the executor treats specially. Others are passed on as the
// model named them; a stream that ends without any is FinishNone.
const (
	FinishNone      = ""
	FinishStop      = "STOP"
	FinishMaxTokens = "MAX_TOKENS"
	FinishBlocked   = "PROMPT_BLOCKED" // the prompt itself was refused
)

// Usage counts tokens.
type Usage struct {
	Prompt  int32 `json:"prompt"`  // tokens read, cached ones included
	Output  int32 `json:"output"`  // tokens of the answer
	Thought int32 `json:"thought"` // tokens of reasoning
	Cached  int32 `json:"cached"`  // part of Prompt served from a cache
}

// Total is all tokens that are paid for.
func (u Usage) Total() int32 { return u.Prompt + u.Output + u.Thought }

// An Error is a step that failed. Message may quote the service and is for
// logs only.
type Error struct {
	Code       int           // HTTP status; 0: the service was not reached, or the stream was cut
	Status     string        // the service's name for it, for example RESOURCE_EXHAUSTED
	RetryAfter time.Duration // how long the service asks to wait; 0: it did not say
	Message    string
	Err        error // the cause; may be nil
}

// Error implements error.
func (e *Error) Error() string {
	if e.Code == 0 {
		return fmt.Sprintf("model not reached: %s", e.Message)
	}
	return fmt.Sprintf("model answered %d %s: %s", e.Code, e.Status, e.Message)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Throttled says that the service asked to wait (429).
func (e *Error) Throttled() bool { return e.Code == 429 }

// Denied says that the operator must mend the configuration: the key, its
// rights or the model's name (401, 403, 404).
func (e *Error) Denied() bool { return e.Code == 401 || e.Code == 403 || e.Code == 404 }

// Invalid says that the request itself can never succeed (other 4xx but 408).
func (e *Error) Invalid() bool {
	return e.Code >= 400 && e.Code < 500 && e.Code != 408 && !e.Throttled() && !e.Denied()
}
