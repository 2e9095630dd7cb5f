// Package standin is the model that answers when no API key is configured. A Server speaks
// the Gemini API inside this process, without a socket, so that the client that calls
// Gemini calls the stand-in too. Tests decide its answers with package scripts.
//
//	answer, err := standin.Parse("delay=50ms") // the part after "standin:"
//	client := standin.New(answer).Client()
//	m, err := gemini.New(ctx, gemini.Config{Name: "standin", Key: anyKey, HTTPClient: client})
//
// It is not a language model and does not pretend to be one: each text of [Talk] begins
// with the sentence that the stand-in is speaking. An [Answer] decides the replies; Talk is
// the one for people.
package standin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"google.golang.org/genai"
)

// maxRequest limits a request in bytes. Gemini takes 100 MB:
// https://ai.google.dev/gemini-api/docs/file-input-methods
// The executor sends about 12 MB at most, and the whole request is in memory here.
const maxRequest = 20 << 20

// The operations of the API, in Request.Op.
const (
	OpStream   = "streamGenerateContent"
	OpGenerate = "generateContent"
	OpCount    = "countTokens"
	OpGet      = "get" // the model's description
)

// A Request is one call of the API, decoded.
type Request struct {
	Op       string           `json:"-"`
	Model    string           `json:"-"`
	Key      string           `json:"-"` // the API key, or on Vertex AI the access token
	Parent   string           `json:"-"` // on Vertex AI: projects/P/locations/L
	System   *genai.Content   `json:"systemInstruction"`
	Contents []*genai.Content `json:"contents"`
	Tools    []*genai.Tool    `json:"tools"`
	Config   struct {
		MaxOutputTokens int32 `json:"maxOutputTokens"`
	} `json:"generationConfig"`
	Resume []byte `json:"continuationToken"` // of the answer to resume
	Body   []byte `json:"-"`                 // as sent

	// Counted is the request inside of a countTokens of the Gemini API. Server moves its
	// fields to the outer request.
	Counted *Request `json:"generateContentRequest"`
}

// An Answer decides the reply to a request. It may be called concurrently. Its context
// ends with the request.
type Answer func(ctx context.Context, r Request) Reply

// A Server is an http.Handler that speaks the Gemini API:
// POST /v1beta/models/M:generateContent, :streamGenerateContent and
// :countTokens, and GET /v1beta/models/M. It requires an API key and accepts every value.
// The POST methods are also at Vertex AI's paths
// /v1beta1/projects/P/locations/L/publishers/google/models/M, with any access token.
type Server struct{ answer Answer }

// New makes a Server whose replies answer decides.
func New(answer Answer) *Server { return &Server{answer} }

// Client returns an HTTP client that sends every request to s, without a socket and for
// any host.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: transport{s}}
}

// ServeHTTP serves one call of the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, failure := decode(w, r)
	if failure != nil {
		writeError(w, failure)
		return
	}

	reply := s.answer(r.Context(), req)
	delay := reply.Delay
	if req.Op == OpStream && reply.Error == nil {
		delay = min(delay, alive) // the stream has the rest
	}
	if !wait(r.Context(), delay) {
		return
	}

	switch {
	case reply.Error != nil:
		writeError(w, reply.Error)
	case req.Op == OpStream:
		reply.stream(w, r.Context())
	case req.Op == OpGenerate:
		reply.whole(w, r.Context())
	case req.Op == OpCount:
		writeJSON(w, http.StatusOK, map[string]any{"totalTokens": tokens(string(req.Body))})
	case req.Op == OpGet:
		writeJSON(w, http.StatusOK, map[string]any{
			"name": "models/" + req.Model, "displayName": "Stand-in",
			"supportedGenerationMethods": []string{OpGenerate, OpCount},
		})
	}
}

func decode(w http.ResponseWriter, r *http.Request) (Request, *genai.APIError) {
	req, rest, ok := addressed(r)
	name, op, post := strings.Cut(rest, ":")

	switch {
	case !ok || name == "":
		return req, apiError(http.StatusNotFound, "NOT_FOUND", "there is no such path")
	case !post && r.Method == http.MethodGet && req.Parent == "":
		op = OpGet
	case r.Method != http.MethodPost || (op != OpStream && op != OpGenerate && op != OpCount):
		return req, apiError(http.StatusNotFound, "NOT_FOUND", "there is no such method")
	}

	switch {
	case req.Key == "" && req.Parent == "":
		return req, apiError(http.StatusForbidden, "PERMISSION_DENIED", "the request has no API key")
	case req.Key == "":
		return req, apiError(http.StatusUnauthorized, "UNAUTHENTICATED", "the request has no access token")
	}

	req.Model, req.Op = name, op
	if op == OpGet {
		return req, nil
	}

	body := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(r.ContentLength, 0), maxRequest)))
	if _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxRequest)); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return req, apiError(http.StatusRequestEntityTooLarge, "INVALID_ARGUMENT", "the request is too large")
		}
		return req, apiError(http.StatusBadRequest, "INVALID_ARGUMENT", "the request could not be read")
	}

	req.Body = body.Bytes()
	if err := json.Unmarshal(req.Body, &req); err != nil {
		return req, apiError(http.StatusBadRequest, "INVALID_ARGUMENT", fmt.Sprintf("the request does not have the form of the API: %v", err))
	}
	if inner := req.Counted; inner != nil && op == OpCount {
		req.System, req.Contents, req.Tools = inner.System, inner.Contents, inner.Tools
	}

	return req, nil
}

// vertexPaths are the paths of Google's own models on Vertex AI.
var vertexPaths = regexp.MustCompile(`^/v1beta1/(projects/[^/]+/locations/[^/]+)/publishers/google/models/(.+)$`)

// addressed reads the service and the key from a request, and the rest of its path: the
// model and the operation.
func addressed(r *http.Request) (req Request, rest string, ok bool) {
	if m := vertexPaths.FindStringSubmatch(r.URL.Path); m != nil {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		return Request{Key: token, Parent: m[1]}, m[2], true
	}
	rest, ok = strings.CutPrefix(r.URL.Path, "/v1beta/models/")
	return Request{Key: r.Header.Get("X-Goog-Api-Key")}, rest, ok
}

func apiError(code int, status, message string) *genai.APIError {
	return &genai.APIError{Code: code, Status: status, Message: message}
}

func writeError(w http.ResponseWriter, e *genai.APIError) {
	code := e.Code
	if code < 400 || code > 599 {
		code = http.StatusInternalServerError
	}
	writeJSON(w, code, map[string]any{"error": e})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encoding failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(code)
	w.Write(b)
}

// wait lets d pass and reports whether the request is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tokens estimates the number of tokens, well enough to show that usage is counted.
func tokens(text string) int32 {
	if text == "" {
		return 0
	}
	return int32(len(text)/4 + 1)
}
