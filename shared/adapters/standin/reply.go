package standin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"google.golang.org/genai"
)

// A Reply says how the Server answers one request, in the order of the fields. The zero
// Reply is an empty answer. Raw, Hang and Cut are faults of a service, for tests.
type Reply struct {
	Delay  time.Duration                    // before the answer, at most until the request is cancelled
	Error  *genai.APIError                  // instead of an answer: HTTP status and body
	Chunks []*genai.GenerateContentResponse // the answer; generateContent merges them
	Raw    string                           // sent unchanged after the chunks, to break the protocol
	Hang   bool                             // then the Server is silent until the request is cancelled
	Cut    bool                             // then the Server breaks the connection
}

// alive is the time after which a stream whose answer is not ready says that it goes on, with an
// empty chunk, as models that think do.
const alive = time.Minute

// After returns the reply with a delay.
func (r Reply) After(d time.Duration) Reply {
	r.Delay = d
	return r
}

// Text is a complete answer in as many chunks as there are texts.
func Text(chunks ...string) Reply {
	var r Reply
	n := 0
	for _, c := range chunks {
		n += len(c)
		r.Chunks = append(r.Chunks, chunk(&genai.Part{Text: c}))
	}
	return r.end(n)
}

// Call is an answer that calls functions.
func Call(calls ...*genai.FunctionCall) Reply {
	var parts []*genai.Part
	for _, c := range calls {
		parts = append(parts, &genai.Part{FunctionCall: c})
	}
	return Reply{Chunks: []*genai.GenerateContentResponse{chunk(parts...)}}.end(40 * len(calls))
}

func chunk(parts ...*genai.Part) *genai.GenerateContentResponse {
	return &genai.GenerateContentResponse{Candidates: []*genai.Candidate{{
		Content: &genai.Content{Role: genai.RoleModel, Parts: parts},
	}}}
}

// end puts the finish reason STOP and the usage of n bytes of text on the last chunk.
func (r Reply) end(n int) Reply {
	if len(r.Chunks) == 0 {
		r.Chunks = append(r.Chunks, &genai.GenerateContentResponse{Candidates: []*genai.Candidate{{}}})
	}
	last := r.Chunks[len(r.Chunks)-1]
	last.Candidates[0].FinishReason = genai.FinishReasonStop
	out := int32(n/4 + 1)
	last.UsageMetadata = &genai.GenerateContentResponseUsageMetadata{
		PromptTokenCount: 1, CandidatesTokenCount: out, TotalTokenCount: out + 1,
	}
	return r
}

// stream sends the reply as server-sent events and flushes after each one.
func (r Reply) stream(w http.ResponseWriter, ctx context.Context) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	flush := func() {}
	if f, ok := w.(http.Flusher); ok {
		flush = f.Flush
	}
	flush()
	send := func(c *genai.GenerateContentResponse) bool {
		b, err := json.Marshal(c)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, err = w.Write(append(append([]byte("data: "), b...), "\r\n\r\n"...))
		flush()
		return err == nil
	}

	for left := r.Delay - alive; left > 0; left -= alive {
		if !send(chunk()) || !wait(ctx, min(left, alive)) {
			return
		}
	}
	for _, c := range r.Chunks {
		if !send(c) {
			return
		}
	}
	r.finish(w, ctx, flush)
}

// whole sends the reply as one JSON document.
func (r Reply) whole(w http.ResponseWriter, ctx context.Context) {
	out := genai.GenerateContentResponse{}
	for _, c := range r.Chunks {
		merge(&out, c)
	}
	if r.Raw == "" {
		writeJSON(w, http.StatusOK, &out)
	}
	r.finish(w, ctx, func() {})
}

func merge(out, c *genai.GenerateContentResponse) {
	if c.UsageMetadata != nil {
		out.UsageMetadata = c.UsageMetadata
	}
	if c.PromptFeedback != nil {
		out.PromptFeedback = c.PromptFeedback
	}
	if len(c.Candidates) == 0 {
		return
	}
	if len(out.Candidates) == 0 {
		out.Candidates = []*genai.Candidate{{Content: &genai.Content{Role: genai.RoleModel}}}
	}
	from, to := c.Candidates[0], out.Candidates[0]
	if from.Content != nil {
		to.Content.Parts = append(to.Content.Parts, from.Content.Parts...)
	}
	if from.FinishReason != "" {
		to.FinishReason, to.FinishMessage = from.FinishReason, from.FinishMessage
	}
}

func (r Reply) finish(w http.ResponseWriter, ctx context.Context, flush func()) {
	if r.Raw != "" {
		if _, err := w.Write([]byte(r.Raw)); err != nil {
			return
		}
		flush()
	}
	if r.Hang {
		<-ctx.Done()
	}
	if r.Cut {
		panic(http.ErrAbortHandler)
	}
}
