package gemini

import (
	"context"
	"strings"

	"google.golang.org/genai"

	"errand/shared/model"
)

// Count returns the tokens of req with instructions and tools. Both services count free of
// charge, and not against the quota of generated content: 3,000 requests a minute.
// https://firebase.google.com/docs/vertex-ai/count-tokens
//
// Vertex AI takes the fields of a request, and needs the permission that generating needs.
// The Gemini API counts instructions and tools only in a whole request inside of the
// request, which names the model.
// https://cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/projects.locations.publishers.models/countTokens
// https://ai.google.dev/api/tokens
func (m *Model) Count(ctx context.Context, req model.Request) (int64, error) {
	fields, err := encodeInput(req)
	if err != nil {
		return 0, err
	}
	if !m.vertex {
		fields["model"] = m.resource()
		fields = map[string]any{"generateContentRequest": fields}
	}

	ctx, call := withCall(ctx)
	resp, err := m.count(ctx, &genai.CountTokensConfig{HTTPOptions: sending(fields)})
	if err != nil {
		return 0, failure(ctx, call, err)
	}
	if resp.TotalTokens <= 0 { // no request has none
		return 0, &model.Error{Message: errMalformed.Error(), Err: errMalformed}
	}
	return int64(resp.TotalTokens), nil
}

// count calls genai, whose converters panic at an answer of another form.
func (m *Model) count(ctx context.Context, config *genai.CountTokensConfig) (resp *genai.CountTokensResponse, err error) {
	defer func() {
		if recover() != nil {
			resp, err = nil, errMalformed
		}
	}()
	return m.client.Models.CountTokens(ctx, m.name, nil, config)
}

// resource is the model's name with its collection.
func (m *Model) resource() string {
	if strings.Contains(m.name, "/") {
		return m.name
	}
	return "models/" + m.name
}
