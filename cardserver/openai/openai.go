// Package openai is OpenAI's interface to batches. Whoever has code for it points its client at
// the agent, with the base URL https://AGENT/v1 and a key of the access file, and changes nothing
// else. It is another spelling of what cardserver/batches offers: package batchdesk does what is
// asked, and package uploads keeps the files.
//
// OpenAI's own pages are the reference, https://platform.openai.com/docs/api-reference/batch and
// /files beside it, so there is no description here. It has files and batches and nothing else of
// OpenAI's interface: no chat, no models. What is different:
//
//   - The same lines with the same metadata are the same batch, whichever file has them. So a
//     pipeline that begins again pays for nothing twice, where OpenAI makes a new batch each time.
//     Who wants everything anew gives other metadata. A batch that was cancelled or has expired
//     goes on as a new one, which runs the lines without an answer and copies the other answers.
//   - The only endpoint is /v1/chat/completions, the only purpose batch, the only window 24h.
//   - A file is kept for a day, and as long as a batch that reads it. It cannot be deleted while
//     that batch runs. The output and error files end with their batch, 30 days after its deadline.
//     The fields expires_after and output_expires_after are checked and change nothing: expires_at
//     of a file tells when it ends.
//   - The list of files has the uploaded ones, newest first, and then those of batches, the newest
//     batch first. There is no other order.
//   - The id of a batch is that of its task, which A2A's operations stream and watch. A batch that
//     waits because it was paused over A2A is in_progress. request_counts are of whole segments of
//     1,000 lines.
//
// Callers see their own files and batches only, and foreign ones do not exist.
package openai

import (
	"log/slog"
	"time"

	"errand/cardserver/api"
	"errand/shared/auth"
	"errand/shared/batchdesk"
	"errand/shared/uploads"
)

// Config is what the API needs. All fields but Enter are required.
type Config struct {
	Batches *batchdesk.Desk
	Uploads *uploads.Store // the desk's
	Access  *auth.Access   // who may call
	Now     func() time.Time
	Log     *slog.Logger

	// Enter takes a place for a long request of the caller, which leave gives back. The error is
	// a refusal. Default: there is always one.
	Enter func(owner string) (leave func(), err error)
}

// An API is the handler of all operations. It is safe for concurrent use.
type API struct {
	*api.Handler
	cfg Config
}

// operations are all rows, by method and path.
func (a *API) operations() map[string]api.Operation {
	return map[string]api.Operation{
		"POST /v1/files":               {Right: auth.Send, Changes: true, Serve: a.upload},
		"GET /v1/files":                {Right: auth.Read, Serve: a.listFiles},
		"GET /v1/files/{file}":         {Right: auth.Read, Serve: a.getFile},
		"GET /v1/files/{file}/content": {Right: auth.Read, Serve: a.content},
		"DELETE /v1/files/{file}":      {Right: auth.Cancel, Changes: true, Serve: a.deleteFile},

		"POST /v1/batches":                {Right: auth.Send, Changes: true, Serve: a.create},
		"GET /v1/batches":                 {Right: auth.Read, Serve: a.listBatches},
		"GET /v1/batches/{batch}":         {Right: auth.Read, Serve: a.getBatch},
		"POST /v1/batches/{batch}/cancel": {Right: auth.Cancel, Changes: true, Serve: a.cancel},
	}
}

// New makes the API.
func New(cfg Config) *API {
	cfg.Enter = api.OrAlways(cfg.Enter)
	a := &API{cfg: cfg}
	a.Handler = api.New(api.Config{
		Operations: a.operations(), Access: cfg.Access, Describe: describe, Write: write, Log: cfg.Log,
		Nothing: "there is nothing here: of OpenAI's interface this agent has /v1/files and /v1/batches",
	})
	return a
}

// A list is a page of objects. after takes the id of the last one.
type list[T any] struct {
	Object  string `json:"object"` // list
	Data    []T    `json:"data"`
	FirstID string `json:"first_id,omitempty"`
	LastID  string `json:"last_id,omitempty"`
	HasMore bool   `json:"has_more"`
}

func newList[T any](data []T, id func(T) string, more bool) list[T] {
	l := list[T]{Object: "list", Data: data, HasMore: more}
	if len(data) == 0 {
		l.Data = []T{} // not null
		return l
	}
	l.FirstID, l.LastID = id(data[0]), id(data[len(data)-1])
	return l
}
