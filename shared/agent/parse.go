package agent

import (
	"regexp"

	"errand/shared/strict"
)

// apiKey is the form of Google's API keys.
// https://cloud.google.com/docs/authentication/api-keys
var apiKey = regexp.MustCompile(`AIza[0-9A-Za-z_-]{35}`)

// form is the form of the file.
var form = strict.Options{
	Size:  maxSize,
	Large: "shorten the instructions",
	Empty: "start from the default agent.yaml",
	Secret: func(text string) string {
		if apiKey.MatchString(text) {
			return "holds an API key: remove it, revoke it, and set the new one as GEMINI_API_KEY in the environment"
		}
		return ""
	},
	Unknown: advice,
}

// Parse reads a definition. It is strict: unknown and repeated keys, aliases,
// tags and further documents are errors. The error lists every fault, each
// with its line, its field and what to do about it.
func Parse(data []byte) (*Agent, error) {
	a := &Agent{
		Capabilities: Capabilities{Streaming: true, PushNotifications: true},
		Limits:       Limits{Steps: 16, TurnTokens: 1_000_000, OutputTokens: 16_384, ThoughtTokens: 32_768, RunMinutes: maxRunMinutes},
	}
	a.Conversation = a.Limits.Conversation()
	file, err := strict.Read(data, a, form)
	if err != nil {
		return nil, err
	}

	if !file.Has("limits.outputTokens") { // follow a small turn
		a.Limits.OutputTokens = max(min(a.Limits.OutputTokens, a.Limits.TurnTokens), 1)
	}
	if !file.Has("limits.thoughtTokens") {
		a.Limits.ThoughtTokens = max(min(a.Limits.ThoughtTokens, a.Limits.TurnTokens), 0)
	}

	if !file.Has("conversation.tokens") {
		a.Conversation.Tokens = a.Limits.Conversation().Tokens
	}

	for i := range a.Settings {
		if a.Settings[i].Type == "" {
			a.Settings[i].Type = "string"
		}
	}

	r := &reader{file}
	r.check(a)
	if err := file.Err(); err != nil {
		return nil, err
	}

	if len(a.InputModes) == 0 {
		a.InputModes = []string{"text/plain"}
	}
	if len(a.OutputModes) == 0 {
		a.OutputModes = []string{"text/plain"}
	}

	return a, nil
}

// A reader checks a definition and adds to the faults of its file.
type reader struct{ file *strict.File }

// failf notes a fault of the field at path.
func (r *reader) failf(path, format string, args ...any) { r.file.Failf(path, format, args...) }
