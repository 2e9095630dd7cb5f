// Package model is the port to the language model: one streamed step of a conversation, in
// plain values.
//
// It is not a client and knows no vendor: shared/adapters/gemini implements it, and
// worker/executor decides the meaning of a step for the task.
package model

import (
	"context"
	"encoding/json"
	"iter"
)

// A Model answers one step of a conversation. It is safe for concurrent use.
//
// A Model makes no retries of its own. A failed step is an *Error, and the caller, which
// knows the turn's age and attempts, decides how to go on.
type Model interface {
	// Generate streams the answer to req. Chunks come in order, and the last one carries
	// Finish. An error ends the sequence and is an *Error unless ctx ended. Cancelling ctx
	// stops the call in flight. req is not retained.
	Generate(ctx context.Context, req Request) iter.Seq2[Chunk, error]

	// Count returns how many tokens of req the model would read, and generates nothing. It is
	// free of charge. Its error is an *Error unless ctx ended, and says nothing about
	// Generate: a service may generate and not count.
	Count(ctx context.Context, req Request) (tokens int64, err error)

	// Check asks whether the model can be used with this configuration (key, name, quota
	// project), without generating anything. It is called once at start, so that a wrong
	// key is found before the first message.
	Check(ctx context.Context) error

	// Name is the model's name for people: on the page, in logs and errors.
	Name() string
}

// An ObjectReader is a Model that may read objects of buckets: parts whose URI is
// gs://BUCKET/NAME. It reads them by the rights of the program. A Model that is none gets no such
// parts.
type ObjectReader interface {
	// ReadsObjects reports whether it does.
	ReadsObjects() bool
}

// A Request is everything the model sees in one step.
type Request struct {
	System    string    // instructions; empty for none
	History   []Content // oldest first; the last one is the user's
	Tools     []Tool    // functions the model may call
	MaxTokens int32     // cap on generated tokens of this step, thoughts included; 0: the model's own cap
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
	Thought   bool    // Text is reasoning, not part of the answer
	Signature []byte  // opaque; must be sent back with its part
}

// A Tool is a function the model may call.
type Tool struct {
	Name        string
	Description string
	Schema      json.RawMessage // JSON Schema of the arguments, an object
}

// A Call is the model's request to run a Tool.
type Call struct {
	ID   string // the model's own id of the call; may be empty
	Name string
	Args json.RawMessage // a JSON object
}

// A Result is the outcome of running a Call.
type Result struct {
	ID    string // id of the Call
	Name  string
	Value json.RawMessage // a JSON object
}

// A Chunk is a piece of the answer. Chunks come in the order in which the model made them.
type Chunk struct {
	Parts  []Part
	Finish string // FinishStop and the like; empty while the answer goes on
	Reason string // the model's text about Finish, safe to show; may be empty
	Usage  Usage  // running total of this step; zero: not reported in this chunk
}

// Finish reasons that the executor handles specially. Other reasons are passed on as the
// model named them. A stream that ends without a reason has FinishNone.
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
	Cached  int32 `json:"cached"`  // the part of Prompt that came from a cache
}

// Total is the number of all tokens that are paid for.
func (u Usage) Total() int32 { return u.Prompt + u.Output + u.Thought }
