package agent

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var (
	// mediaType is type/subtype of RFC 6838, without parameters, in lower
	// case so that modes can be compared byte by byte. mediaRange may be type/* or */* too.
	mediaType  = regexp.MustCompile(`^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$`)
	mediaRange = regexp.MustCompile(mediaType.String() + `|^([a-z0-9][a-z0-9!#$&^_.+-]{0,126}|\*)/\*$`)
	// toolName is what the Gemini API accepts as the name of a function.
	// https://ai.google.dev/api/caching#FunctionDeclaration
	toolName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,63}$`)

	settingName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)
	secretName  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

	// reserved are the secrets of the programs: who may call, the login of the database, the
	// keys of webhooks, the key of the model.
	reserved = []string{"access", "alloy_db_pass", "alloy_db_user", "errand-credential-keys", "errand-keys", "gemini-api-key"}
)

// check notes everything that is missing from a or cannot be meant.
func (r *reader) check(a *Agent) {
	r.line("name", a.Name, "the name people know the agent by")
	r.prose("description", a.Description, "one or two sentences on what the agent is for")
	r.line("version", a.Version, "for example 0.1.0")
	r.line("model", a.Model, "for example gemini-3.6-flash")
	if strings.ContainsFunc(a.Model, unicode.IsSpace) {
		r.failf("model", "must not contain spaces, for example gemini-3.6-flash")
	}

	r.printable("instructions", a.Instructions)
	r.link("documentationUrl", a.DocumentationURL)
	r.link("iconUrl", a.IconURL)

	if p := a.Provider; p != nil {
		r.line("provider.organization", p.Organization, "the provider's name, or remove provider")
		if p.URL == "" {
			r.failf("provider.url", "is required: the provider's site, or remove provider")
		}
		r.link("provider.url", p.URL)
	}

	r.inputModes("inputModes", a.InputModes)
	r.outputModes("outputModes", a.OutputModes)
	r.skills(a.Skills)
	r.extensions(a.Extensions)

	for i, name := range a.Tools {
		if !toolName.MatchString(name) {
			r.failf(item("tools", i), "is not the name of a tool: letters, digits and _, at most 64, not starting with a digit")
		}
	}

	r.unique("tools", a.Tools)
	r.settings(a.Settings)
	r.secrets(a.Secrets)
	r.limits(a.Limits)
	r.conversation(a.Conversation, a.Limits)
	r.prices(a.Prices)
}

func (r *reader) skills(skills []Skill) {
	if len(skills) == 0 {
		r.failf("skills", "at least one is required, with id, name, description and tags")
	}

	ids := map[string]int{}
	for i, s := range skills {
		at := item("skills", i)
		r.line(at+".id", s.ID, "a short name for requests and logs, for example summarize")
		r.line(at+".name", s.Name, "a name for people")
		r.prose(at+".description", s.Description, "what the skill does")

		if first, taken := ids[s.ID]; taken && s.ID != "" {
			r.failf(at+".id", "%q is already the id of skills[%d]: choose another", clip(s.ID), first)
		} else {
			ids[s.ID] = i
		}

		if len(s.Tags) == 0 {
			r.failf(at+".tags", "at least one is required: keywords to find the skill by")
		}

		for j, tag := range s.Tags {
			r.line(item(at+".tags", j), tag, "a keyword, or remove the entry")
		}

		for j, example := range s.Examples {
			r.prose(item(at+".examples", j), example, "a message the skill can handle, or remove the entry")
		}

		r.inputModes(at+".inputModes", s.InputModes)
		r.outputModes(at+".outputModes", s.OutputModes)
		r.printable(at+".details", s.Details)
	}

	if len(skills) > 0 && !slices.ContainsFunc(skills, func(s Skill) bool { return !s.Private }) {
		r.failf("skills", "at least one must be public, because a card needs a skill: take private off one")
	}
}

func (r *reader) extensions(all []Extension) {
	var uris []string
	for i, e := range all {
		at := item("extensions", i)
		u, err := url.Parse(e.URI)
		if err != nil || !u.IsAbs() || strings.ContainsFunc(e.URI, func(c rune) bool { return c <= ' ' || c == ',' || c > '~' }) {
			r.failf(at+".uri", "must be an absolute URI in ASCII without spaces and commas, such as https://example.com/ext/v1")
		}
		r.printable(at+".description", e.Description)
		uris = append(uris, e.URI)
	}
	r.unique("extensions", uris)
}

func (r *reader) settings(all []Setting) {
	var names []string
	for i, s := range all {
		at := item("settings", i)
		if !settingName.MatchString(s.Name) {
			r.failf(at+".name", "must be a name of small letters, digits and _, at most 40, beginning with a letter, such as shop_url")
		}
		r.line(at+".description", s.Description, "what the setting is for, to the person who installs the agent")

		if _, known := Types()[s.Type]; !known {
			r.failf(at+".type", "must be one of %s", strings.Join(slices.Sorted(maps.Keys(Types())), ", "))
		} else if s.Default != nil {
			if _, err := s.parse(*s.Default); err != nil {
				r.failf(at+".default", "%v", err)
			}
		}

		names = append(names, s.Name)
	}
	r.unique("settings", names)
}

func (r *reader) secrets(all []Secret) {
	var names []string
	for i, s := range all {
		at := item("secrets", i)
		switch {
		case !secretName.MatchString(s.Name):
			r.failf(at+".name", "must be a name of small letters, digits and -, at most 40, beginning with a letter, such as shop-token")
		case slices.Contains(reserved, s.Name):
			r.failf(at+".name", "%q belongs to the programs, and no code of an agent reads it: choose another name", s.Name)
		}
		r.line(at+".description", s.Description, "what the secret is for, to the person who installs the agent")
		names = append(names, s.Name)
	}
	r.unique("secrets", names)
}

func (r *reader) limits(l Limits) {
	r.within("limits.steps", l.Steps, 1, 256)
	r.within("limits.turnTokens", l.TurnTokens, 1, 10_000_000)
	r.within("limits.outputTokens", l.OutputTokens, 1, max(l.TurnTokens, 1))
	r.within("limits.thoughtTokens", l.ThoughtTokens, 0, max(l.TurnTokens, 0))
	r.within("limits.runMinutes", l.RunMinutes, minRunMinutes, maxRunMinutes)
}

func (r *reader) conversation(c Conversation, l Limits) {
	r.within("conversation.tokens", c.Tokens, 0, min(maxConversationTokens, max(l.TurnTokens, 0)))
	r.within("conversation.tasks", c.Tasks, 0, maxConversationTasks)
	if c.Tools != ToolsAll && c.Tools != ToolsEffects {
		r.failf("conversation.tools", "is %q: choose %s or %s", clip(c.Tools), ToolsAll, ToolsEffects)
	}
}

func (r *reader) within(path string, n, least, most int) {
	if n < least || n > most {
		r.failf(path, "is %d: choose a number from %d to %d", n, least, most)
	}
}

// line checks a required text of one line.
func (r *reader) line(path, s, remedy string) {
	if strings.ContainsFunc(s, unicode.IsControl) {
		r.failf(path, "must be one line without control characters")
		return
	}
	r.required(path, s, remedy)
}

// prose checks a required text of any number of lines.
func (r *reader) prose(path, s, remedy string) {
	r.printable(path, s)
	r.required(path, s, remedy)
}

func (r *reader) required(path, s, remedy string) {
	if s == "" {
		r.failf(path, "is required: %s", remedy)
	}
}

func (r *reader) printable(path, s string) {
	odd := func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }
	if strings.ContainsFunc(s, odd) {
		r.failf(path, "must not contain control characters other than line breaks and tabs")
	}
}

// link checks an optional address that people follow.
func (r *reader) link(path, s string) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		r.failf(path, "must be a complete address such as https://example.com/, without a password")
	}
}

// inputModes checks what an agent reads: it may read all types, or all of a kind.
func (r *reader) inputModes(path string, modes []string) {
	r.types(path, modes, mediaRange, "text/plain, image/* or */*")
}

// outputModes checks what an agent writes.
func (r *reader) outputModes(path string, modes []string) {
	r.types(path, modes, mediaType, "text/plain")
}

func (r *reader) types(path string, types []string, form *regexp.Regexp, such string) {
	for i, s := range types {
		if !form.MatchString(s) {
			r.failf(item(path, i), "%q is not a media type: write one in lower case and without parameters, such as %s", clip(s), such)
		}
	}
	r.unique(path, types)
}

func (r *reader) unique(path string, list []string) {
	first := map[string]int{}
	for i, s := range list {
		if j, taken := first[s]; taken {
			r.failf(item(path, i), "%q stands in the list twice (also at %d): remove one", clip(s), j)
			continue
		}
		first[s] = i
	}
}

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
