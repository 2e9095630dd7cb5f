package batch

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/dialect"
	"errand/shared/task"
)

// Endpoint is the only one that lines of OpenAI's may name. Each line is
// {"custom_id", "method": "POST", "url": Endpoint, "body": {"model", "messages", ...}}.
//
// The last message of the user is the message to answer. An item has no conversation, so all
// other messages become one text before it, in which a mark says what each one is: an
// instruction, an earlier message, an earlier answer. Pictures and files stay where they are.
// The agent keeps its own instructions: those of the line are a part of the message.
//
// A response_format that asks for JSON needs an agent that says that it writes JSON. The form
// is told to it, and a schema that must be enforced (strict) is the line's fault.
//
// The agent's definition decides how the model writes. So these options are read and checked,
// and change nothing, because none of them promises an answer, only a taste or a bound:
// temperature, top_p, seed, presence_penalty, frequency_penalty, reasoning_effort, verbosity,
// max_tokens and max_completion_tokens (the agent's own limits bound an answer, and the budget
// a batch), prediction, service_tier, store, user, safety_identifier, prompt_cache_key,
// prompt_cache_options, prompt_cache_retention, parallel_tool_calls and the detail of a
// picture, which the model gets whole. All others that ask for something are the line's fault,
// because the reader of the answer relies on them: tools, n, stream, stop, logprobs and so on.
const Endpoint = "/v1/chat/completions"

const maxTokens = 1 << 30

var (
	// numbers are options that are numbers, and their ranges.
	numbers = map[string][2]float64{
		"temperature": {0, 2}, "top_p": {0, 1}, "presence_penalty": {-2, 2}, "frequency_penalty": {-2, 2},
		"seed": {-math.MaxFloat64, math.MaxFloat64}, "max_tokens": {1, maxTokens}, "max_completion_tokens": {1, maxTokens},
	}
	texts  = []string{"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "verbosity", "service_tier"}
	truths = []string{"store", "parallel_tool_calls"}
	others = []string{"prediction", "prompt_cache_options"}

	// refused are options that no agent fulfils, and the values with which they ask for
	// nothing.
	refused = map[string][]string{
		"stream": {"false"}, "logprobs": {"false"}, "top_logprobs": {"0"}, "n": {"1"},
		"tools": {"[]"}, "functions": {"[]"}, "tool_choice": {`"none"`, `"auto"`}, "function_call": {`"none"`, `"auto"`},
		"modalities": {`["text"]`}, "stop": {"[]"}, "logit_bias": {"{}"},
		"audio": nil, "moderation": nil, "stream_options": nil, "web_search_options": nil,
	}
)

// openAI reads a line of OpenAI's.
func (p *parser) openAI(it *Item) {
	var seen []string
	for name := range p.fields() {
		switch name {
		case "custom_id":
			if p.id = p.label(MaxID); p.bad != nil {
				p.id = ""
			}

		case "method":
			if s := p.text(); p.bad == nil && s != "POST" {
				p.refuse("must be POST")
			}

		case "url":
			if s := p.text(); p.bad == nil && s != Endpoint {
				p.refuse("must be " + Endpoint)
				p.bad.Code = CodeURL
			}

		case "body":
			p.body(it)

		case "id", "key", "text", "message", "skill", "metadata":
			p.syntax(p.d.SkipValue())
			p.refuse("is a field of Errand's lines, and the file begins with a line of OpenAI's: write all lines in one form")

		default:
			p.unknown(name, openAIFields...)
		}
		seen = append(seen, name)
	}

	for _, name := range openAIFields {
		if !slices.Contains(seen, name) {
			p.fail(CodeLine, name, "is required")
		}
	}
}

// body reads the body of a line of OpenAI's.
func (p *parser) body(it *Item) {
	model, format := false, ""
	var said []said
	for name := range p.fields() {
		switch name {
		case "model":
			model = true
			p.model()
		case "messages":
			for range p.elements(MaxMessages) {
				said = append(said, p.said())
			}
		case "response_format":
			format = p.format()
		case "metadata":
			it.Metadata = p.words()
		default:
			p.option(name)
		}
	}

	if !model {
		p.fail(CodeModel, "body.model", "is required: use "+quoted(p.form.Models))
	}
	if p.bad == nil {
		it.Message = p.compose(said, format)
	}
}

func (p *parser) model() {
	s := p.text()
	if p.bad != nil || slices.Contains(p.form.Models, s) {
		return
	}
	p.refuse(fmt.Sprintf("%q is not served here: use %s", clean(s), quoted(p.form.Models)))
	p.bad.Code = CodeModel
}

func quoted(words []string) string {
	var all []string
	for _, w := range words {
		all = append(all, fmt.Sprintf("%q", w))
	}
	return strings.Join(all, " or ")
}

// option reads an option of a body that does not change the message.
func (p *parser) option(name string) {
	switch between, number := numbers[name]; {
	case number:
		p.numeric(between[0], between[1])
		return
	case slices.Contains(texts, name):
		p.text()
		return
	case slices.Contains(truths, name):
		p.truth()
		return
	case slices.Contains(others, name):
		p.syntax(p.d.SkipValue())
		return
	}

	neutral, known := refused[name]
	if !known {
		p.unknown(name, bodyFields()...)
		return
	}
	v, err := p.d.ReadValue()
	p.syntax(err)
	if err == nil && p.bad == nil {
		if v = slices.Clone(v); v.Compact() != nil || !slices.Contains(neutral, string(v)) {
			p.refuse("asks for something that this agent does not do: remove it")
		}
	}
}

// bodyFields are the fields that a body may have.
func bodyFields() []string {
	all := slices.Concat([]string{"model", "messages", "response_format", "metadata"}, texts, truths, others)
	for name := range numbers {
		all = append(all, name)
	}
	for name := range refused {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// words reads an object of texts.
func (p *parser) words() map[string]any {
	m := map[string]any{}
	for name := range p.fields() {
		m[name] = p.text()
		if len(m) > maxMetadata {
			p.refuse(fmt.Sprintf("is beyond the limit: at most %d keys", maxMetadata))
		}
	}
	return m
}

// format reads the form of the answer and returns what the agent is told of it.
func (p *parser) format() (tell string) {
	kind, schema, strict := "", "", false
	for name := range p.fields() {
		switch name {
		case "type":
			kind = p.text()
		case "json_schema":
			schema, strict = p.schema()
		default:
			p.unknown(name, "type", "json_schema")
		}
	}

	switch {
	case p.bad != nil, kind == "text":
	case kind != "json_object" && kind != "json_schema":
		p.refuse("has an unknown type: use text, json_object or json_schema")
	case !p.form.JSON:
		p.refuse("this agent does not say that it writes " + jsonType + ": use the type text and ask for JSON in the message")
	case kind == "json_object":
		return "One JSON object and nothing else."
	case strict:
		p.refuse("this agent does not enforce a schema: leave strict out, and the schema is told to it")
	case schema == "":
		p.refuse("needs a json_schema with a schema")
	default:
		return "One JSON value of this JSON Schema and nothing else:\n" + schema
	}
	return ""
}

func (p *parser) schema() (schema string, strict bool) {
	for name := range p.fields() {
		switch name {
		case "name", "description":
			p.text()
		case "strict":
			strict = p.truth()
		case "schema":
			if !p.is(jsontext.KindBeginObject, "must be an object") {
				return "", false
			}
			v, err := p.d.ReadValue()
			p.syntax(err)
			if schema = string(v); len(schema) > MaxSchema {
				p.refuse(fmt.Sprintf("has more than %d KiB: shorten it", MaxSchema>>10))
			}
		default:
			p.unknown(name, "name", "description", "strict", "schema")
		}
	}
	return schema, strict
}

// said is one message of a body.
type said struct {
	role, name string
	parts      []*a2a.Part
	from       []string // their fields
}

// said reads a message of a body.
func (p *parser) said() said {
	var s said
	for name := range p.fields() {
		switch name {
		case "role":
			s.role = p.text()
			if p.bad == nil && !slices.Contains([]string{"system", "developer", "user", "assistant"}, s.role) {
				p.refuse("must be system, developer, user or assistant: the agent has tools of its own")
			}

		case "name":
			s.name = p.label(MaxID)

		case "content":
			p.content(&s)

		case "refusal":
			s.add(task.TextPart(p.text()), p.path())

		case "annotations":
			p.syntax(p.d.SkipValue())

		case "tool_calls", "function_call", "tool_call_id", "audio":
			v, err := p.d.ReadValue()
			p.syntax(err)
			if p.bad == nil && string(v) != "[]" {
				p.refuse("is not supported: the agent has tools of its own; remove it")
			}

		default:
			p.unknown(name, "role", "content", "name", "refusal")
		}
	}

	if p.bad != nil {
		return s
	}
	if s.role == "" {
		p.fail(CodeLine, p.path()+".role", "is required")
	}
	for i, part := range s.parts {
		if _, text := part.Content.(a2a.Text); !text && s.role != "user" {
			p.fail(CodeLine, s.from[i], "must be a text: only messages of the user have files")
		}
	}
	return s
}

func (s *said) add(part *a2a.Part, from string) {
	s.parts, s.from = append(s.parts, part), append(s.from, from)
}

func (p *parser) content(s *said) {
	if p.d.PeekKind() == jsontext.KindString {
		s.add(task.TextPart(p.text()), p.path())
		return
	}
	if p.d.PeekKind() != jsontext.KindBeginArray {
		p.is(jsontext.KindBeginArray, "must be a text or a list of parts")
		return
	}
	for range p.elements(MaxParts) {
		part := p.piece()
		s.add(part, p.path())
	}
}

// piece reads a part of the content of a message.
func (p *parser) piece() *a2a.Part {
	kind := ""
	contents := map[string]*a2a.Part{}
	for name := range p.fields() {
		switch name {
		case "type":
			kind = p.text()

		case "text", "refusal":
			contents[name] = task.TextPart(p.text())

		case "image_url":
			contents[name] = p.image()

		case "input_audio":
			contents[name] = p.audio()

		case "file":
			contents[name] = p.file()

		case "prompt_cache_breakpoint":
			p.syntax(p.d.SkipValue())

		default:
			p.unknown(name, "type", "text", "image_url", "input_audio", "file")
		}
	}

	if p.bad != nil {
		return nil
	}
	part := contents[kind]
	if part == nil || len(contents) != 1 {
		p.refuse(`must have a "type", which is text, image_url, input_audio or file, and one field of that name`)
	}
	return part
}

// image reads a picture. The model gets it whole, whatever its detail says.
func (p *parser) image() *a2a.Part {
	part := &a2a.Part{}
	for name := range p.fields() {
		switch name {
		case "detail":
			p.text()
		case "url":
			part = p.picture()
		default:
			p.unknown(name, "url", "detail")
		}
	}
	if p.bad == nil && part.Content == nil {
		p.refuse("must have a url")
	}
	return part
}

func (p *parser) picture() *a2a.Part {
	if !p.is(jsontext.KindString, "must be a text, in quotes") {
		return nil
	}
	s := p.token().String()
	if dialect.IsDataURL(s) {
		return p.data(s, "image/")
	}
	if p.bad == nil && (len(s) > maxURL || !strings.HasPrefix(s, "https://") || !absolute(s)) {
		p.refuse("must be a https or a data URL")
	}
	return &a2a.Part{Content: a2a.URL(s), MediaType: imageType(s)}
}

// imageType is the media type of the picture at a URL, as far as the URL tells it.
func imageType(s string) string {
	path, _, _ := strings.Cut(s, "?")
	path, _, _ = strings.Cut(path, "#")
	switch strings.ToLower(path[strings.LastIndex(path, ".")+1:]) {
	case "png":
		return "image/png"
	case "jpg", "jpeg":
		return "image/jpeg"
	case "webp":
		return "image/webp"
	case "gif":
		return "image/gif"
	}
	return "image/*"
}

// data decodes a data URL of a type that begins with group.
func (p *parser) data(s, group string) *a2a.Part {
	raw, kind, err := dialect.DataURL(s)
	if p.bad == nil && (!dialect.IsDataURL(s) || err != nil || len(raw) == 0 || !strings.HasPrefix(kind, group)) {
		p.refuse("must be a data URL such as data:" + group + "TYPE;base64,CONTENT")
	}
	return &a2a.Part{Content: a2a.Raw(raw), MediaType: kind}
}

func (p *parser) audio() *a2a.Part {
	part, format := &a2a.Part{}, ""
	for name := range p.fields() {
		switch name {
		case "data":
			part.Content = a2a.Raw(p.base64())
		case "format":
			format = p.text()
		default:
			p.unknown(name, "data", "format")
		}
	}
	part.MediaType = map[string]string{"wav": "audio/wav", "mp3": "audio/mpeg"}[format]
	if p.bad == nil && (part.Content == nil || part.MediaType == "") {
		p.refuse("must have data, in base64, and a format, which is wav or mp3")
	}
	return part
}

func (p *parser) file() *a2a.Part {
	part, filename := &a2a.Part{}, ""
	for name := range p.fields() {
		switch name {
		case "filename":
			filename = p.filename()
		case "file_data":
			part = p.data(p.text(), "")
		case "file_id":
			p.syntax(p.d.SkipValue())
			p.refuse("is not supported: put the content into file_data")
		default:
			p.unknown(name, "filename", "file_data")
		}
	}
	if p.bad == nil && part.Content == nil {
		p.refuse("must have file_data")
	}
	part.Filename = filename
	return part
}

// compose makes one message of the messages of a body, and of what is told of the answer's
// form.
func (p *parser) compose(all []said, format string) *a2a.Message {
	last := -1
	for i, s := range all {
		switch s.role {
		case "user":
			last = i
		case "assistant":
			if i > last {
				last = -1
			}
		}
	}
	if last < 0 {
		p.fail(CodeLine, "body.messages", "must end with a message of the user")
		return nil
	}

	w := composer{}
	for i, s := range all {
		if i == last {
			continue
		}
		w.begin(mark(s))
		for j, part := range s.parts {
			w.add(part, s.from[j])
		}
	}
	if format != "" {
		w.begin("(the form of the answer:)")
		w.add(task.TextPart(format), "body.response_format")
	}
	if w.marked {
		w.begin(strings.Replace(mark(all[last]), "earlier message", "message to answer", 1))
	}
	w.flush()

	for i, part := range all[last].parts {
		w.put(part, all[last].from[i])
	}
	p.origins = w.from
	if len(w.parts) > MaxParts {
		p.fail(CodeLine, "body.messages", fmt.Sprintf("has more than %d files and texts between them", MaxParts))
	}
	return &a2a.Message{Role: a2a.MessageRoleUser, Parts: w.parts}
}

// mark says what a message is.
func mark(s said) string {
	what := map[string]string{
		"system": "instructions", "developer": "instructions", "user": "earlier message", "assistant": "earlier answer",
	}[s.role]
	if s.name != "" {
		what += fmt.Sprintf(" of %q", s.name)
	}
	return "(" + what + ":)"
}

// A composer joins marks and texts to one text, up to the next file.
type composer struct {
	parts  a2a.ContentParts
	from   []string
	text   strings.Builder
	marked bool
}

func (w *composer) begin(mark string) {
	w.marked = true
	w.write(mark)
}

func (w *composer) write(s string) {
	if w.text.Len() > 0 {
		w.text.WriteString("\n\n")
	}
	w.text.WriteString(s)
}

func (w *composer) add(part *a2a.Part, from string) {
	if _, ok := part.Content.(a2a.Text); ok {
		if s := part.Text(); strings.TrimSpace(s) != "" {
			w.write(s)
		}
		return
	}
	w.flush()
	w.put(part, from)
}

func (w *composer) flush() {
	if w.text.Len() > 0 {
		w.put(task.TextPart(w.text.String()), "body.messages")
		w.text.Reset()
	}
}

func (w *composer) put(part *a2a.Part, from string) {
	w.parts, w.from = append(w.parts, part), append(w.from, from)
}
