package gemini

import (
	"encoding/json"
	"math"

	"google.golang.org/genai"

	"errand/shared/model"
)

// decode turns one response into a chunk without Finish. It collects the finish reason, its
// message and the usage in end.
func decode(resp *genai.GenerateContentResponse, end *model.Chunk) model.Chunk {
	var chunk model.Chunk
	if u := resp.UsageMetadata; u != nil && plausible(u) {
		// Input of tools that run in the service is billed like the prompt.
		chunk.Usage = model.Usage{
			Prompt:  u.PromptTokenCount + u.ToolUsePromptTokenCount,
			Output:  u.CandidatesTokenCount,
			Thought: u.ThoughtsTokenCount,
			Cached:  u.CachedContentTokenCount,
		}

		end.Usage = chunk.Usage
	}

	if f := resp.PromptFeedback; f != nil && f.BlockReason != "" {
		end.Finish, end.Reason = model.FinishBlocked, string(f.BlockReason)
		if f.BlockReasonMessage != "" {
			end.Reason = clip(f.BlockReasonMessage)
		}
	}

	if len(resp.Candidates) == 0 || resp.Candidates[0] == nil {
		return chunk
	}

	c := resp.Candidates[0]
	// For the Gemini API genai 1.77 omits finishMessage, so the message is empty until a
	// later version reads it.
	if c.FinishReason != "" && c.FinishReason != genai.FinishReasonUnspecified {
		end.Finish, end.Reason = string(c.FinishReason), clip(c.FinishMessage)
	}
	if c.Content == nil {
		return chunk
	}

	for _, p := range c.Content.Parts {
		if part, ok := decodePart(p); ok {
			chunk.Parts = append(chunk.Parts, part)
		}
	}

	return chunk
}

// plausible reports whether a usage can be true. A negative number would give tokens back
// that the turn has spent, and so would a sum that overflows.
func plausible(u *genai.GenerateContentResponseUsageMetadata) bool {
	return min(u.PromptTokenCount, u.ToolUsePromptTokenCount, u.CandidatesTokenCount, u.ThoughtsTokenCount, u.CachedContentTokenCount) >= 0 &&
		u.PromptTokenCount <= math.MaxInt32-u.ToolUsePromptTokenCount
}

// decodePart returns false for an empty part, and for one that only describes an action
// inside the service.
func decodePart(p *genai.Part) (model.Part, bool) {
	if p == nil {
		return model.Part{}, false
	}
	out := model.Part{Thought: p.Thought, Signature: p.ThoughtSignature}
	switch {
	case p.FunctionCall != nil:
		out.Call = &model.Call{ID: p.FunctionCall.ID, Name: p.FunctionCall.Name, Args: raw(p.FunctionCall.Args)}
	case p.FunctionResponse != nil:
		r := p.FunctionResponse
		out.Result = &model.Result{ID: r.ID, Name: r.Name, Value: raw(r.Response)}
	case p.InlineData != nil && len(p.InlineData.Data) > 0:
		out.Data, out.MIME = p.InlineData.Data, p.InlineData.MIMEType
	case p.FileData != nil && p.FileData.FileURI != "":
		out.URI, out.MIME = p.FileData.FileURI, p.FileData.MIMEType
	default:
		out.Text = p.Text
		return out, p.Text != "" || len(p.ThoughtSignature) > 0
	}
	return out, true
}

func raw(m map[string]any) json.RawMessage {
	if len(m) == 0 {
		return json.RawMessage("{}")
	}
	b, err := json.Marshal(m)
	if err != nil {
		// Not reached: m was decoded from JSON.
		return json.RawMessage("{}")
	}
	return b
}
