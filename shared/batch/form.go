package batch

import (
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/agent"
	"errand/shared/dialect"
	"errand/shared/task"
)

// Limits of the fields of a line. They are those of a message over A2A, as far as that has the
// same fields.
const (
	MaxID       = 256       // bytes of a line's id
	MaxParts    = 100       // of one message
	MaxMessages = 1000      // of a body of OpenAI's
	MaxSchema   = 32 << 10  // bytes of the JSON Schema of an answer
	maxMetadata = 256       // keys of one metadata object
	maxDepth    = 100       // containers around a value
	maxURL      = 2048      // bytes
	maxMedia    = 256       // bytes of a media type
	maxFilename = 255       // bytes, as in most file systems
	maxPathname = 4096      // bytes of a path before its last name
	smallLine   = 64 << 10  // bytes of a line whose item always fits
	maxItem     = 400 << 10 // bytes of an item's message: its record has room for an answer
)

// Codes of faults. The first ones are OpenAI's words, which its clients know.
const (
	CodeJSON      = "invalid_json_line"
	CodeDuplicate = "duplicate_custom_id"
	CodeURL       = "url_mismatch"
	CodeModel     = "model_mismatch"
	CodeEmpty     = "empty_file"
	CodeMany      = "too_many_tasks"
	CodeLine      = "invalid_request" // any other fault of a line
	CodeFile      = "invalid_file"    // any other fault of a whole file
)

// A Form is what the lines of a manifest may ask of the agent. It does not change.
type Form struct {
	Skills []Skill
	Models []string // names by which lines of OpenAI's may call the agent, the best one first
	Input  []string // media types that the agent reads, those of all skills included
	JSON   bool     // the agent says that it writes application/json
	Hosts  []string // where clients reach the agent: lines may name files by URLs there
}

// A Skill is a skill that a line may name.
type Skill struct {
	ID    string
	Name  string   // for people and the model
	Input []string // media types that it reads
}

// OwnModel is a name by which a line of OpenAI's may always call the agent.
const OwnModel = "errand"

const jsonType = "application/json"

// NewForm returns the form of an agent. model is the name of the model that answers, which
// may be another one than the definition's. urls are where clients reach the agent, as far as
// that is known.
func NewForm(a *agent.Agent, model string, urls ...string) Form {
	f := Form{Input: slices.Clone(a.InputModes), JSON: slices.Contains(a.OutputModes, jsonType)}
	for _, s := range a.Skills {
		own := s.InputModes
		if len(own) == 0 {
			own = a.InputModes
		}
		f.Skills = append(f.Skills, Skill{ID: s.ID, Name: s.Name, Input: own})
		f.JSON = f.JSON || slices.Contains(s.OutputModes, jsonType)
		f.Input = union(f.Input, own)
	}

	for _, raw := range urls {
		if u, err := url.Parse(raw); err == nil && u.Host != "" {
			f.Hosts = append(f.Hosts, u.Host)
		}
	}
	f.Models = union(nil, []string{model, a.Name, OwnModel})
	return f
}

func union(all, more []string) []string {
	for _, s := range more {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// An Item is a line that can run.
type Item struct {
	Line     int
	ID       string         // of the line; its number if it has none
	Named    bool           // the line has an id
	Skill    string         // id of the skill that it names; empty: none
	Message  *a2a.Message   // without the fields that For adds
	Metadata map[string]any // of the request
	Files    []File         // that the message names
	URLs     []Link         // that the message names
}

// A Link is a URL that a line names. Whether the model may be sent it depends on the submitter.
type Link struct {
	Field string // which names it
	URL   string
}

// A File is a file of the submitter's that a line names.
type File struct {
	Field string // which names it
	ID    string
	types []string // of which the file must have one; nil: the line says the type
}

// Reads reports whether the agent reads the file if it has this media type.
func (f File) Reads(kind string) bool { return f.types == nil || readsAny(f.types, kind) }

// Types tells a person which media types the file may have.
func (f File) Types() string { return list(f.types) }

// A Bad is a line that cannot run. The file of bad lines has one of them in each line. Its
// reason names the field and the remedy, and never tells content.
type Bad struct {
	Line   int    `json:"line"`
	ID     string `json:"id,omitempty"`    // as far as it could be read
	Code   string `json:"code"`            // one of the codes of this package
	Field  string `json:"field,omitempty"` // path of the field; empty: the whole line
	Reason string `json:"reason"`
}

// String tells a person what is wrong with the line.
func (b Bad) String() string { return fmt.Sprintf("line %d: %s", b.Line, b.Reason) }

// markKey is the key of an item's message under whose metadata the line is told.
const markKey = "batch"

// For returns the message of the item in a batch: with an id, which is the same each time, with
// the batch as its context, and with the line in its metadata, where [LineOf] finds it.
func (it Item) For(batch string) *a2a.Message {
	m := *it.Message
	if m.ID == "" {
		m.ID = "line-" + strconv.Itoa(it.Line)
	}
	m.ContextID = batch

	mark := map[string]any{"id": it.ID, "line": float64(it.Line)}
	if it.Skill != "" {
		mark["skill"] = it.Skill
	}
	meta := map[string]any{markKey: mark}
	for k, v := range m.Metadata {
		meta[k] = v
	}
	m.Metadata = meta
	return &m
}

// LineOf returns the id and the number of the line that an item's record is for. If the record
// has lost its messages, because its owner has deleted it, the number stands in for the id. ok
// is false for any other record.
func LineOf(r task.Record) (id string, line int, ok bool) {
	_, line, ok = r.Item()
	if !ok {
		return "", 0, false
	}
	id = strconv.Itoa(line)
	for _, m := range r.Task.History {
		if m == nil || m.Metadata[markKey] == nil {
			continue
		}
		var mark struct {
			ID string `json:"id"`
		}
		if remarshal(m.Metadata[markKey], &mark) == nil && mark.ID != "" {
			id = mark.ID
		}
		break
	}
	return id, line, true
}

// Parse reads the line with number n. raw has no end of line. It stops at the first fault.
//
// A line of ours is {"id", "text" or "message", "skill", "metadata"}. "key" is another word
// for "id", and the number of the line stands in for a missing one. A message is one of A2A
// 1.0, without ids of tasks and contexts, because an item has no conversation. Its id and role
// may be missing. A line of OpenAI's is described at [Endpoint].
//
// A null counts as a missing field. An unknown field, a value of another type, a field that
// occurs twice and a text that is not UTF-8 are faults.
func (f Form) Parse(d Dialect, n int, raw []byte) (Item, *Bad) {
	p := newParser(f, d, n, raw)
	defer p.free()
	if len(strings.TrimSpace(string(raw[:min(len(raw), 64)]))) == 0 && blank(raw) {
		p.fail(CodeLine, "", "the line is blank: remove it")
		return Item{}, p.bad
	}

	it := Item{Line: n}
	if d == OpenAI {
		p.openAI(&it)
	} else {
		p.errand(&it)
	}
	p.end()
	p.fits(&it, len(raw))
	if p.bad != nil {
		p.bad.Line, p.bad.ID = n, p.id
		return Item{}, p.bad
	}

	it.ID, it.Named = p.id, p.id != ""
	if it.ID == "" {
		it.ID = strconv.Itoa(n)
	}
	return it, nil
}

// fits checks what only the whole line tells: that the agent reads it, and that there is
// something to read.
func (p *parser) fits(it *Item, size int) {
	if p.bad != nil {
		return
	}
	reads := p.form.Input
	if s, ok := p.form.skill(it.Skill); ok {
		reads = s.Input
	}

	some, untyped := false, p.files(it, reads)
	for i, part := range it.Message.Parts {
		if c, ok := part.Content.(a2a.URL); ok {
			it.URLs = append(it.URLs, Link{p.origin(i), string(c)})
		}
		if untyped[i] {
			some = true
			continue
		}
		if kind := mediaType(part); !readsAny(reads, kind) {
			p.fail(CodeLine, p.origin(i), "this agent reads "+list(reads)+", and not "+clean(kind))
			return
		}
		some = some || holds(part)
	}
	if !some {
		p.fail(CodeLine, p.origin(0), "holds nothing to answer: write a text")
		return
	}

	if it.Skill != "" {
		s, _ := p.form.skill(it.Skill)
		it.Message.Parts = append(a2a.ContentParts{task.TextPart(fmt.Sprintf("(for the skill %q:)", s.Name))}, it.Message.Parts...)
	}
	if size > smallLine && stored(it) > maxItem {
		p.fail(CodeLine, "", fmt.Sprintf("the line is too large: as a message it has more than %d KiB; shorten it, or name large files by their URLs", maxItem>>10))
	}
}

// files notes the files that the message names. untyped are the parts whose types the files tell.
func (p *parser) files(it *Item, reads []string) (untyped map[int]bool) {
	named, err := task.FilesIn(it.Message, p.form.Hosts...)
	if f, ok := errors.AsType[*task.FileFault](err); ok {
		p.fail(CodeLine, p.origin(max(0, f.Part)), f.Fault)
		return nil
	}

	for _, n := range named {
		f := File{Field: p.origin(n.Part), ID: n.ID}
		if n.Type == "" {
			if untyped == nil {
				untyped = map[int]bool{}
			}
			f.types, untyped[n.Part] = reads, true
		}
		it.Files = append(it.Files, f)
	}
	return untyped
}

func (f Form) skill(id string) (Skill, bool) {
	for _, s := range f.Skills {
		if s.ID == id {
			return s, true
		}
	}
	return Skill{}, false
}

// stored is about the number of bytes that an item takes in its record, in which two
// characters of JavaScript's are written as escapes.
func stored(it *Item) int {
	text, err := dialect.V1.Append(nil, it.Message)
	if err == nil {
		text, err = dialect.V1.Append(text, it.Metadata)
	}
	if err != nil { // values of a JSON text always encode
		return maxItem + 1
	}
	return len(text) + 3*(strings.Count(string(text), "\u2028")+strings.Count(string(text), "\u2029"))
}

// holds reports whether there is anything in a part.
func holds(p *a2a.Part) bool {
	switch c := p.Content.(type) {
	case a2a.Text:
		return strings.TrimSpace(string(c)) != ""
	case a2a.Raw:
		return len(c) > 0
	case a2a.URL:
		return c != ""
	}
	return true
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
		return jsonType
	}
	return "application/octet-stream"
}

// readsAny reports whether one of the modes is for the type. A mode may be */* or type/*. The
// type may be image/*, for a picture of an unknown form, which a mode for any picture reads.
func readsAny(modes []string, kind string) bool {
	if slices.Contains(modes, kind) {
		return true
	}
	k, _, err := mime.ParseMediaType(kind)
	if err != nil {
		return false
	}
	any, unknown := strings.CutSuffix(k, "/*")
	for _, mode := range modes {
		m, _, err := mime.ParseMediaType(mode)
		group, whole := strings.CutSuffix(m, "/*")
		switch {
		case err != nil:
		case m == k, m == "*/*", whole && strings.HasPrefix(k, group+"/"), unknown && strings.HasPrefix(m, any+"/"):
			return true
		}
	}
	return false
}

// list names words for a person.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
