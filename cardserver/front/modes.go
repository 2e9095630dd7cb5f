package front

import (
	"mime"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/agent"
	"errand/shared/task"
)

// modes are the media types that the agent and its skills read and write.
type modes struct{ in, out []string }

func modesOf(a *agent.Agent) modes {
	m := modes{in: a.InputModes, out: a.OutputModes}
	for _, s := range a.Skills {
		m.in = append(m.in[:len(m.in):len(m.in)], s.InputModes...)
		m.out = append(m.out[:len(m.out):len(m.out)], s.OutputModes...)
	}
	return m
}

// check refuses a message that the agent cannot read (M9), and a client that cannot read
// the agent's answers (M10): one that names types, and none of them is the agent's. Every agent reads the answer to a question about a call. types are
// those of the parts that name files, as far as they are known.
func (m modes) check(req *a2a.SendMessageRequest, types map[int]string) error {
	for i, p := range req.Message.Parts {
		kind, file := types[i]
		if file && kind == "" {
			continue
		}
		if !file {
			kind = mediaType(p)
		}
		a, answers := task.AnswerIn(p)
		answers = answers && req.Message.TaskID != "" && strings.HasPrefix(a.Key, string(req.Message.TaskID)+"/")
		if !answers && !matchesAny(m.in, kind) {
			return a2a.NewError(a2a.ErrUnsupportedContentType, field(i)+": this agent reads "+strings.Join(m.in, ", "))
		}
	}

	if req.Config == nil || len(req.Config.AcceptedOutputModes) == 0 {
		return nil
	}
	for _, want := range req.Config.AcceptedOutputModes {
		for _, have := range m.out {
			if matches(want, have) {
				return nil
			}
		}
	}
	return a2a.NewError(a2a.ErrUnsupportedContentType,
		"configuration.acceptedOutputModes: this agent writes "+strings.Join(m.out, ", "))
}

// mediaType is the declared type of a part, or the usual type of its kind.
func mediaType(p *a2a.Part) string {
	if p.MediaType != "" {
		return p.MediaType
	}
	switch p.Content.(type) {
	case a2a.Text:
		return "text/plain"
	case a2a.Data:
		return "application/json"
	}
	return "application/octet-stream"
}

func matchesAny(patterns []string, kind string) bool {
	for _, p := range patterns {
		if matches(p, kind) {
			return true
		}
	}
	return false
}

// matches compares media types; pattern may be */* or type/*, as in Accept. A word that is no
// media type matches nothing.
func matches(pattern, kind string) bool {
	p, _, err1 := mime.ParseMediaType(pattern)
	k, _, err2 := mime.ParseMediaType(kind)
	if err1 != nil || err2 != nil || !strings.Contains(k, "/") {
		return false
	}
	if p == k || p == "*/*" {
		return true
	}
	group, ok := strings.CutSuffix(p, "/*")
	return ok && strings.HasPrefix(k, group+"/")
}
