package standin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genai"
)

// greeting begins every text, so that readers do not mistake the stand-in for Gemini.
const greeting = "This is the stand-in model speaking (set GEMINI_API_KEY for Gemini). "

// maxQuote limits how many bytes of a message are quoted: a record has no room for the
// largest message twice (R14).
const maxQuote = 2000

// Parse reads the options of the stand-in, the part of its spec string after
// "standin:", and returns the Answer that they describe. Commas separate options. The
// option "delay=10m" delays every answer by ten minutes.
func Parse(spec string) (Answer, error) {
	var delay time.Duration
	seen := map[string]bool{}
	for option := range strings.SplitSeq(spec, ",") {
		if option == "" && spec == "" {
			break
		}
		name, value, _ := strings.Cut(option, "=")
		if name != "delay" {
			return nil, fmt.Errorf("standin: unknown option %q; known: delay=DURATION", name)
		}
		if seen[name] {
			return nil, fmt.Errorf("standin: option %q is given twice", name)
		}
		seen[name] = true
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("standin: delay=%q is not a duration such as 50ms or 10m", value)
		}
		delay = d
	}
	return Talk(delay), nil
}

// Talk is the Answer for people who try the agent without a key. It quotes the message, in
// two chunks. Two commands call functions, if the request declares them:
//
//	/ask QUESTION       calls the function "ask" with the question
//	/tool NAME {JSON}   calls the function NAME with these arguments
//
// The result of a function is quoted in the next answer.
func Talk(delay time.Duration) Answer {
	return func(_ context.Context, r Request) Reply {
		if r.Op != OpStream && r.Op != OpGenerate {
			return Reply{}
		}
		reply := say(r)
		usage := reply.Chunks[len(reply.Chunks)-1].UsageMetadata
		usage.PromptTokenCount = tokens(string(r.Body))
		usage.TotalTokenCount = usage.PromptTokenCount + usage.CandidatesTokenCount
		return reply.After(delay)
	}
}

func say(r Request) Reply {
	text, results := last(r.Contents)
	if len(results) > 0 {
		return Text(greeting, strings.Join(results, " "))
	}
	command, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case command == "/ask" && rest != "" && declared(r.Tools, "ask"):
		return Call(&genai.FunctionCall{Name: "ask", Args: map[string]any{"question": rest}})
	case command == "/tool":
		return useTool(r.Tools, rest)
	}
	return Text(greeting, "You said: "+quote(text))
}

func useTool(tools []*genai.Tool, rest string) Reply {
	name, raw, _ := strings.Cut(rest, " ")
	if !declared(tools, name) {
		return Text(greeting, fmt.Sprintf("There is no tool %q; I was offered: %s.", quote(name), strings.Join(offered(tools), ", ")))
	}
	args := map[string]any{}
	if raw = strings.TrimSpace(raw); raw != "" {
		if err := json.Unmarshal([]byte(raw), &args); err != nil {
			return Text(greeting, "Write the arguments as a JSON object: /tool NAME {\"key\": \"value\"}.")
		}
	}
	return Call(&genai.FunctionCall{Name: name, Args: args})
}

// last returns the texts and the results of functions in the newest content.
func last(contents []*genai.Content) (text string, results []string) {
	if len(contents) == 0 || contents[len(contents)-1] == nil {
		return "", nil
	}
	var texts []string
	for _, p := range contents[len(contents)-1].Parts {
		switch {
		case p == nil:
		case p.FunctionResponse != nil:
			b, err := json.Marshal(p.FunctionResponse.Response)
			if err != nil {
				continue
			}
			results = append(results, fmt.Sprintf("%s answered: %s", p.FunctionResponse.Name, quote(string(b))))
		case p.Text != "":
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n"), results
}

func offered(tools []*genai.Tool) []string {
	names := []string{}
	for _, t := range tools {
		if t == nil {
			continue
		}
		for _, f := range t.FunctionDeclarations {
			if f != nil {
				names = append(names, f.Name)
			}
		}
	}
	if len(names) == 0 {
		return []string{"none"}
	}
	return names
}

func declared(tools []*genai.Tool, name string) bool {
	for _, n := range offered(tools) {
		if n == name && name != "none" {
			return true
		}
	}
	return false
}

func quote(s string) string {
	if len(s) > maxQuote {
		s = s[:maxQuote] + "..."
	}
	return strings.ToValidUTF8(s, "")
}
