package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"strings"
	"unicode"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/model"
	"errand/shared/task"
)

// maxSaid bounds the bytes that the model and its tools add to a turn, thoughts included,
// because every step sends them again. See maxHistory.
const maxSaid = 4 << 20

// maxParts bounds the parts of one event of the model, and the calls of one step: each takes
// far more memory than its bytes, and a useful answer has a few.
const maxParts = 1024

// Ends of a step that the executor itself decides.
var (
	errTooLong = errors.New("executor: the answer is too long")
	errBudget  = errors.New("executor: the tokens of the turn are used up")
	errDay     = errors.New("executor: the caller's tokens of the day are used up")
	errCrowded = errors.New("executor: the model sent too many parts or calls at once")
	errBlank   = errors.New("executor: the model gave an empty answer")
)

// A step is one call of the model.
type step struct {
	parts  []model.Part // the whole answer, signatures and thoughts included
	calls  []*model.Call
	finish string
	reason string
	usage  model.Usage
	spent  task.Spent
}

// step calls the model once and passes on the text as it comes.
func (t *turn) step(ctx context.Context) (step, error) {
	var s step
	left := int64(t.limits.TurnTokens) - t.used.total()

	for c, err := range t.model.Generate(ctx, t.request()) {
		if err != nil {
			return s, err
		}

		// Do not wait for parts after a usage over the limit. An answer that is complete by
		// then has been paid for, and counts.
		if len(c.Parts) > 0 && tokens(s.usage) > left {
			return s, errBudget
		}
		if c.Usage != (model.Usage{}) {
			s.usage = c.Usage
		}

		if len(c.Parts) > maxParts {
			return s, errCrowded
		}
		for _, p := range c.Parts {
			if err := t.take(&s, p); err != nil {
				return s, err
			}
		}

		if c.Finish != model.FinishNone {
			s.finish, s.reason = c.Finish, c.Reason
			break
		}
	}

	return s, nil
}

// take adds a part to the step.
func (t *turn) take(s *step, p model.Part) error {
	if t.said += weight(p); t.said > maxSaid {
		return errTooLong
	}
	if p.Call != nil {
		if len(s.calls) == maxParts {
			return errCrowded
		}
		p.Call = &model.Call{ID: p.Call.ID, Name: p.Call.Name, Args: object(p.Call.Args)}
		s.calls = append(s.calls, p.Call)
	}
	s.parts = append(s.parts, p)
	switch {
	case p.Thought:
		return nil
	case p.Text != "":
		return t.answer.text(p.Text)
	case len(p.Data) > 0:
		return t.answer.part(filePart(p), len(p.Data)*4/3)
	}
	return nil
}

// filePart is a file of the model as a part of the answer.
func filePart(p model.Part) *a2a.Part {
	raw := a2a.NewRawPart(p.Data)
	raw.MediaType = believed(p.MIME)
	return raw
}

// believed returns the media type that the model names, if it can be one. Clients copy it
// into headers and show files by it.
func believed(mediaType string) string {
	if mediaType == "" {
		return ""
	}
	t, _, err := mime.ParseMediaType(mediaType)
	if err != nil || !strings.Contains(t, "/") || len(mediaType) > maxMediaType || strings.ContainsFunc(mediaType, unicode.IsControl) {
		return "application/octet-stream"
	}
	return mediaType
}

const maxMediaType = 256 // bytes, as of a client's part

func weight(p model.Part) int {
	n := 64 + len(p.Text) + len(p.Data) + len(p.Signature)
	if p.Call != nil {
		n += len(p.Call.Name) + len(p.Call.ID) + len(p.Call.Args)
	}
	if p.Result != nil {
		n += len(p.Result.Name) + len(p.Result.ID) + len(p.Result.Value)
	}
	return n
}

// object returns the arguments as they are sent back to the model, which takes only
// objects. Arguments of any other kind were refused before.
func object(args json.RawMessage) json.RawMessage {
	if trimmed := bytes.TrimSpace(args); len(trimmed) == 0 || trimmed[0] == '{' && json.Valid(trimmed) {
		return args
	}
	return json.RawMessage(`{}`)
}

// merged joins neighbouring texts, because a stream cuts them into hundreds. A part with a
// signature stays as it came.
func merged(parts []model.Part) []model.Part {
	var out []model.Part
	for i := 0; i < len(parts); {
		var b strings.Builder
		j := i
		for j < len(parts) && plain(parts[j]) && parts[j].Thought == parts[i].Thought {
			b.WriteString(parts[j].Text)
			j++
		}
		if j > i {
			out = append(out, model.Part{Text: b.String(), Thought: parts[i].Thought})
			i = j
			continue
		}
		out = append(out, parts[i])
		i++
	}
	return out
}

func plain(p model.Part) bool {
	return p.Text != "" && len(p.Signature) == 0 && p.Call == nil && p.Result == nil && p.Data == nil && p.URI == ""
}
