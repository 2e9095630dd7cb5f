package gemini

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"

	"google.golang.org/genai"

	"errand/shared/model"
)

// The request of the Gemini API: https://ai.google.dev/api/generate-content
// It does not use genai's own types. They omit an empty text, turn numbers in arguments
// into floats, are converted four times before they are sent, and silently drop values
// that cannot be encoded.
type (
	content struct {
		Role  string `json:"role,omitempty"`
		Parts []part `json:"parts"`
	}
	part struct {
		Text             *string   `json:"text,omitempty"`
		FunctionCall     *function `json:"functionCall,omitempty"`
		FunctionResponse *function `json:"functionResponse,omitempty"`
		InlineData       *blob     `json:"inlineData,omitempty"`
		FileData         *file     `json:"fileData,omitempty"`
		Thought          bool      `json:"thought,omitempty"`
		ThoughtSignature []byte    `json:"thoughtSignature,omitempty"`
	}
	function struct {
		ID       string          `json:"id,omitempty"`
		Name     string          `json:"name"`
		Args     json.RawMessage `json:"args,omitempty"`
		Response json.RawMessage `json:"response,omitempty"`
	}
	blob struct {
		MIMEType string `json:"mimeType"`
		Data     []byte `json:"data"`
	}
	file struct {
		MIMEType string `json:"mimeType,omitempty"`
		FileURI  string `json:"fileUri"`
	}
	tool struct {
		FunctionDeclarations []declaration `json:"functionDeclarations"`
	}
	declaration struct {
		Name                 string          `json:"name"`
		Description          string          `json:"description,omitempty"`
		ParametersJSONSchema json.RawMessage `json:"parametersJsonSchema,omitempty"`
	}
	generation struct {
		MaxOutputTokens int32 `json:"maxOutputTokens,omitempty"`
	}
)

// encode returns the configuration that makes genai send req. genai adds the token with
// which it resumes an interrupted answer.
//
// It sends no thinkingConfig. maxOutputTokens is the one bound of thoughts and answer
// together (https://github.com/googleapis/python-genai/issues/2062). A thinkingBudget does
// not bound thoughts (https://github.com/googleapis/go-genai/issues/339), from Gemini 3 on
// it is replaced by a thinkingLevel, and a level is no number of tokens.
func encode(req model.Request) (*genai.GenerateContentConfig, error) {
	fields, err := encodeInput(req)
	if err != nil {
		return nil, err
	}
	if req.MaxTokens > 0 {
		fields["generationConfig"] = generation{req.MaxTokens}
	}
	return &genai.GenerateContentConfig{HTTPOptions: sending(fields)}, nil
}

// encodeInput returns the fields of a request that the model reads.
func encodeInput(req model.Request) (map[string]any, error) {
	fields := map[string]any{}
	if req.System != "" {
		fields["systemInstruction"] = content{Parts: []part{{Text: &req.System}}}
	}
	contents, err := encodeHistory(req.History)
	if err != nil {
		return nil, err
	}
	fields["contents"] = contents
	if len(req.Tools) > 0 {
		if fields["tools"], err = encodeTools(req.Tools); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// sending makes genai add fields to the body of a request.
func sending(fields map[string]any) *genai.HTTPOptions {
	return &genai.HTTPOptions{ExtrasRequestProvider: func(body map[string]any) map[string]any {
		maps.Copy(body, fields)
		return body
	}}
}

func encodeHistory(history []model.Content) ([]content, error) {
	contents := make([]content, 0, len(history))
	for _, c := range history {
		parts := make([]part, 0, len(c.Parts))
		for _, p := range c.Parts {
			out, err := encodePart(p)
			if err != nil {
				return nil, err
			}
			if out != nil {
				parts = append(parts, *out)
			}
		}
		if len(parts) > 0 {
			contents = append(contents, content{Role: c.Role, Parts: parts})
		}
	}
	return contents, nil
}

func encodeTools(tools []model.Tool) ([]tool, error) {
	decls := make([]declaration, len(tools))
	for i, t := range tools {
		if len(t.Schema) > 0 && !isObject(t.Schema) {
			return nil, invalid("the schema of tool %s is not a JSON object", t.Name)
		}
		decls[i] = declaration{Name: t.Name, Description: t.Description, ParametersJSONSchema: t.Schema}
	}
	return []tool{{decls}}, nil
}

// encodePart returns nil for an empty part. A part with only a signature is sent with an
// empty text: models end answers with such parts and expect them back, and the service
// refuses a part without content.
func encodePart(p model.Part) (*part, error) {
	out := &part{Thought: p.Thought, ThoughtSignature: p.Signature}
	switch {
	case p.Call != nil:
		if len(p.Call.Args) > 0 && !isObject(p.Call.Args) {
			return nil, invalid("the arguments of call %s are not a JSON object", p.Call.Name)
		}
		out.FunctionCall = &function{ID: p.Call.ID, Name: p.Call.Name, Args: p.Call.Args}
	case p.Result != nil:
		if !isObject(p.Result.Value) {
			return nil, invalid("the result of call %s is not a JSON object", p.Result.Name)
		}
		out.FunctionResponse = &function{ID: p.Result.ID, Name: p.Result.Name, Response: p.Result.Value}
	case p.Data != nil:
		out.InlineData = &blob{p.MIME, p.Data}
	case p.URI != "":
		out.FileData = &file{p.MIME, p.URI}
	case p.Text == "" && len(p.Signature) == 0:
		return nil, nil
	default:
		out.Text = &p.Text
	}
	return out, nil
}

func isObject(raw json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) && json.Valid(raw)
}

// invalid reports a request that can never succeed, before it is sent.
func invalid(format string, args ...any) *model.Error {
	return &model.Error{Code: http.StatusBadRequest, Status: "INVALID_ARGUMENT", Message: fmt.Sprintf(format, args...)}
}
