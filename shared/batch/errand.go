package batch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// Fields of the lines of both dialects.
var (
	errandFields = []string{"id", "text", "message", "skill", "metadata"}
	openAIFields = []string{"custom_id", "method", "url", "body"}
)

// errand reads a line of ours.
func (p *parser) errand(it *Item) {
	named, text := "", false
	for name := range p.fields() {
		switch name {
		case "id", "key":
			p.id = p.label(MaxID)
			if p.bad != nil {
				p.id = ""
			} else if named != "" {
				p.refuse(fmt.Sprintf("is another word for %q: remove one", named))
			}
			named = name

		case "text":
			text = true
			it.Message = p.onlyMessage(it.Message, &a2a.Message{Role: a2a.MessageRoleUser, Parts: a2a.ContentParts{task.TextPart(p.text())}})

		case "message":
			it.Message = p.onlyMessage(it.Message, p.message())

		case "skill":
			it.Skill = p.skill()

		case "metadata":
			it.Metadata = p.object()

		default:
			p.stranger(name)
		}
	}

	if p.bad == nil && it.Message == nil {
		p.fail(CodeLine, "text", `is required: write "text", or a "message" of A2A`)
	}
	if text {
		p.origins = []string{"text"}
	}
}

// onlyMessage refuses a second message.
func (p *parser) onlyMessage(before, m *a2a.Message) *a2a.Message {
	if p.bad == nil && before != nil {
		p.refuse(`stands beside another one: write either "text" or "message"`)
	}
	return m
}

// stranger refuses an unknown field of a line of ours.
func (p *parser) stranger(name string) {
	switch {
	case slices.Contains(openAIFields, name):
		p.syntax(p.d.SkipValue())
		p.refuse("is a field of OpenAI's lines, and the file begins with a line of Errand's: write all lines in one form")
	case name == "request":
		p.syntax(p.d.SkipValue())
		p.refuse(`is a field of Gemini's lines, which are not read here: write "text", or a "message" of A2A`)
	default:
		p.unknown(name, errandFields...)
	}
}

func (p *parser) skill() string {
	id := p.text()
	if p.bad != nil {
		return ""
	}
	if _, ok := p.form.skill(id); !ok {
		var known []string
		for _, s := range p.form.Skills {
			known = append(known, s.ID)
		}
		p.refuse("no skill of this agent has that id; it has " + list(known))
	}
	return id
}

// message reads a message of A2A 1.0.
func (p *parser) message() *a2a.Message {
	m := &a2a.Message{Role: a2a.MessageRoleUser}
	for name := range p.fields() {
		switch name {
		case "messageId":
			m.ID = p.label(MaxID)

		case "role":
			if s := p.text(); p.bad == nil && s != string(a2a.MessageRoleUser) {
				p.refuse("must be " + string(a2a.MessageRoleUser))
			}

		case "parts":
			for range p.elements(MaxParts) {
				m.Parts = append(m.Parts, p.part())
			}

		case "extensions":
			for range p.elements(MaxParts) {
				m.Extensions = append(m.Extensions, p.label(maxURL))
			}

		case "metadata":
			m.Metadata = p.object()
			if _, ok := m.Metadata[markKey]; ok && p.bad == nil {
				p.refuse(fmt.Sprintf("must not have the key %q, which is for the line", markKey))
			}

		case "contextId", "taskId", "referenceTaskIds":
			p.syntax(p.d.SkipValue())
			p.refuse("must be missing: the item of a batch has no conversation")

		default:
			p.unknown(name, "messageId", "role", "parts", "extensions", "metadata")
		}
	}

	if p.bad == nil && len(m.Parts) == 0 {
		p.fail(CodeLine, "message.parts", "is required: write at least one part")
	}
	return m
}

// part reads a part of a message of A2A 1.0.
func (p *parser) part() *a2a.Part {
	part := &a2a.Part{}
	contents, kind := 0, ""

	for name := range p.fields() {
		switch name {
		case "text":
			part.Content = a2a.Text(p.text())
			contents++

		case "raw":
			part.Content = a2a.Raw(p.base64())
			contents++

		case "url":
			part.Content, kind = p.link()
			contents++

		case "data":
			part.Content = a2a.Data{Value: p.value()}
			contents++

		case "mediaType":
			part.MediaType = p.media()

		case "filename":
			part.Filename = p.filename()

		case "metadata":
			part.Metadata = p.object()

		default:
			p.unknown(name, "text", "raw", "url", "data", "mediaType", "filename", "metadata")
		}
	}

	if p.bad == nil && contents != 1 {
		p.refuse("must have exactly one of text, raw, url and data")
	}
	part.MediaType = cmp.Or(part.MediaType, kind)
	return part
}

// Detect returns the dialect of a line. A file has the dialect of the first line that has one.
func Detect(n int, raw []byte) (Dialect, *Bad) {
	p := newParser(Form{}, "", n, raw)
	defer p.free()

	switch head := strings.TrimLeft(string(raw[:min(len(raw), 64)]), " \t\r"); {
	case blank(raw):
		p.fail(CodeLine, "", "the line is blank: remove it")
	case strings.HasPrefix(head, "\xff\xfe"), strings.HasPrefix(head, "\xfe\xff"):
		p.fail(CodeJSON, "", "the line is UTF-16: save the file as UTF-8")
	case strings.HasPrefix(head, "\x1f\x8b"), strings.HasPrefix(head, "PK\x03\x04"):
		p.fail(CodeJSON, "", "the file is compressed: send it as it was before")
	case strings.HasPrefix(head, "["):
		p.fail(CodeJSON, "", "the line begins a JSON array: write one object on each line (JSON Lines), without [ and commas between them")
	}

	for name := range p.fields() {
		switch {
		case slices.Contains(openAIFields, name):
			return OpenAI, nil
		case slices.Contains(errandFields, name), name == "key":
			return Errand, nil
		}
		p.syntax(p.d.SkipValue())
	}
	p.fail(CodeLine, "", `the line is in no known form: write {"id", "text"}, or {"custom_id", "method", "url", "body"} as OpenAI has it`)
	p.bad.Line = n
	return "", p.bad
}
