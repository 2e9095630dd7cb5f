package card

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/loopback"
)

// A Fault is something in a card that hinders clients, or tells more than it should.
type Fault struct {
	Field  string // the name of the field: skills[0].tags
	Remedy string // what is wrong and how to mend it. It repeats no secret
}

// String is the field and the remedy.
func (f Fault) String() string { return f.Field + ": " + f.Remedy }

// Lint looks for faults of a card. A public one is for everybody: it may name no host that only
// some can reach.
func Lint(doc []byte, public bool) []Fault {
	if _, err := Canonical(doc, Whole); err != nil {
		return []Fault{{"the card", "is not readable: " + err.Error()}}
	}
	c, err := Read(doc)
	if err != nil {
		return []Fault{{"the card", "is not an agent card of A2A 1.0: " + err.Error()}}
	}

	l := &linter{public: public}
	l.texts("", map[string]string{"name": c.Name, "description": c.Description, "version": c.Version})
	l.lists("", map[string]int{
		"supportedInterfaces": len(c.SupportedInterfaces), "skills": len(c.Skills),
		"defaultInputModes": len(c.DefaultInputModes), "defaultOutputModes": len(c.DefaultOutputModes),
	})
	l.interfaces(c.SupportedInterfaces)
	l.skills(c.Skills)
	if c.Provider != nil {
		l.texts("provider.", map[string]string{"organization": c.Provider.Org, "url": c.Provider.URL})
		l.link("provider.url", c.Provider.URL)
	}
	l.link("documentationUrl", c.DocumentationURL)
	l.link("iconUrl", c.IconURL)
	l.secrets(doc)

	slices.SortFunc(l.faults, func(a, b Fault) int { return strings.Compare(a.Field, b.Field) })
	return l.faults
}

type linter struct {
	public bool
	faults []Fault
}

func (l *linter) fail(field, format string, args ...any) {
	l.faults = append(l.faults, Fault{field, fmt.Sprintf(format, args...)})
}

func (l *linter) texts(at string, fields map[string]string) {
	for name, value := range fields {
		if strings.TrimSpace(value) == "" {
			l.fail(at+name, "is required, and empty")
		}
	}
}

func (l *linter) lists(at string, fields map[string]int) {
	for name, n := range fields {
		if n == 0 {
			l.fail(at+name, "is required, and has no element")
		}
	}
}

func (l *linter) interfaces(all []*a2a.AgentInterface) {
	for i, of := range all {
		at := fmt.Sprintf("supportedInterfaces[%d].", i)
		if of == nil {
			l.fail(strings.TrimSuffix(at, "."), "is null")
			continue
		}
		l.texts(at, map[string]string{"url": of.URL, "protocolBinding": string(of.ProtocolBinding), "protocolVersion": string(of.ProtocolVersion)})
		l.link(at+"url", of.URL)
	}
}

func (l *linter) skills(all []a2a.AgentSkill) {
	first := map[string]int{}
	for i, s := range all {
		at := fmt.Sprintf("skills[%d].", i)
		l.texts(at, map[string]string{"id": s.ID, "name": s.Name, "description": s.Description})
		l.lists(at, map[string]int{"tags": len(s.Tags)})
		if before, twice := first[s.ID]; twice && s.ID != "" {
			l.fail(at+"id", "is the id of skills[%d] too: give each its own", before)
		} else {
			first[s.ID] = i
		}
	}
}

// link checks an address, which may be missing.
func (l *linter) link(field, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		l.fail(field, "must be an address such as https://agent.example.com")
	case u.User != nil:
		l.fail(field, "has a user or a password: everybody who reads the card would have it")
	case l.public && private(u.Hostname()):
		l.fail(field, "leads to a private host, which readers of a public card do not reach and need not know of")
	case u.Scheme == "http" && !private(u.Hostname()):
		l.fail(field, "is not encrypted: use https")
	}
}

// private reports whether a host is one that only some can reach.
func private(host string) bool {
	if loopback.Is(host) {
		return true
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		addr = addr.Unmap()
		return addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsUnspecified()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return !strings.Contains(host, ".") || slices.ContainsFunc([]string{".local", ".internal", ".localhost", ".lan", ".home.arpa"}, func(end string) bool { return strings.HasSuffix(host, end) })
}

// secretForms are the beginnings and forms of well-known secrets.
var secretForms = map[string]*regexp.Regexp{
	"an API key of Google":                 regexp.MustCompile(`AIza[0-9A-Za-z_-]{35}`),           // https://cloud.google.com/docs/authentication/api-keys
	"an API key of this program":           regexp.MustCompile(`errand_[a-z2-7]{8}_[0-9A-Za-z]+`), // shared/auth
	"the secret of a webhook":              regexp.MustCompile(`whsec_[0-9A-Za-z+/=]{16,}`),       // https://www.standardwebhooks.com
	"a private key":                        regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`),
	"a token (JWT)":                        regexp.MustCompile(`eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}`),
	"an access key of Amazon Web Services": regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b`),        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
	"a token of GitHub":                    regexp.MustCompile(`\bgh[pousr]_[0-9A-Za-z]{36}`), // https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/
}

// secrets looks for secrets anywhere in the card but in its signatures.
func (l *linter) secrets(doc []byte) {
	fields, err := decode(doc)
	if err != nil {
		return
	}
	delete(fields, "signatures")
	l.searchIn("", fields)
}

func (l *linter) searchIn(at string, value any) {
	switch value := value.(type) {
	case string:
		for what, form := range secretForms {
			if form.MatchString(value) {
				l.fail(at, "has %s: take it out, and revoke it, because whoever reads the card has it", what)
			}
		}
	case []any:
		for i, element := range value {
			l.searchIn(fmt.Sprintf("%s[%d]", at, i), element)
		}
	case map[string]any:
		for name, element := range value {
			l.searchIn(strings.TrimPrefix(at+"."+name, "."), element)
		}
	}
}
