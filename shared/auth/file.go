package auth

import (
	"crypto/sha256"
	"errors"
	"regexp"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// A file is the access file as written, consistent in itself.
type file struct {
	principals []filePrincipal
	issuers    []fileIssuer
}

type filePrincipal struct {
	at       *yaml.Node
	name     string
	operator bool
	keys     []fileKey
	tokens   []fileToken
}

type fileKey struct {
	id     string
	digest [sha256.Size]byte
}

type fileToken struct {
	at                     *yaml.Node
	path                   string
	issuer, email, subject string
}

type fileIssuer struct {
	at        *yaml.Node
	path      string
	name      string
	url       string
	audiences []string
	keys      string
	everyone  bool
}

// parse reads an access file. The error lists every fault, each with its line, its
// field and what to do about it.
func parse(data []byte) (*file, error) {
	r, f := &reader{}, &file{}
	doc := r.document(data)
	if doc == nil {
		return nil, errors.Join(r.errs...)
	}
	ids := map[string]bool{}
	r.mapping(doc, "", map[string]field{
		"principals": r.list(func(n *yaml.Node, path string) { f.principals = append(f.principals, r.principal(n, path, ids)) }),
		"issuers":    r.list(func(n *yaml.Node, path string) { f.issuers = append(f.issuers, r.issuer(n, path)) }),
	})
	r.check(doc, f)
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	return f, nil
}

func (r *reader) principal(n *yaml.Node, path string, ids map[string]bool) filePrincipal {
	p := filePrincipal{at: n}
	given := false

	r.mapping(n, path, map[string]field{
		"name":     r.text(&p.name, checkName),
		"operator": r.flag(&p.operator),
		"keys": r.list(func(n *yaml.Node, path string) {
			given = true
			var hash string
			r.text(&hash, checkHash)(n, path)
			id, digest, ok := parseHash(hash)

			switch {
			case !ok:
			case ids[id]:
				r.failf(n, path, "this key stands in the file a second time: remove one")
			default:
				ids[id] = true
				p.keys = append(p.keys, fileKey{id, digest})
			}
		}),
		"tokens": r.list(func(n *yaml.Node, path string) {
			given = true
			t := fileToken{at: n, path: path}
			r.mapping(n, path, map[string]field{
				"issuer":  r.text(&t.issuer, checkPlain),
				"email":   r.text(&t.email, checkEmail),
				"subject": r.text(&t.subject, checkPlain),
			})

			p.tokens = append(p.tokens, t)
		}),
	})

	if p.name == "" {
		r.failf(n, path+".name", "is required: it owns the principal's tasks, so never give it to another")
	}
	if !given {
		r.failf(n, path, "has neither keys nor tokens: make a key, or remove the principal")
	}

	return p
}

func (r *reader) issuer(n *yaml.Node, path string) fileIssuer {
	i := fileIssuer{at: n, path: path}

	r.mapping(n, path, map[string]field{
		"name":   r.text(&i.name, checkIssuerName),
		"issuer": r.text(&i.url, checkAddress),
		"audiences": r.list(func(n *yaml.Node, path string) {
			var audience string
			r.text(&audience, checkPlain)(n, path)
			i.audiences = append(i.audiences, audience)
		}),
		"keysUrl":  r.text(&i.keys, checkAddress),
		"everyone": r.flag(&i.everyone),
	})

	if i.name == "" {
		r.failf(n, path+".name", "is required: a short word by which principals refer to it")
	}
	if i.url == "" {
		r.failf(n, path+".issuer", "is required: the iss of its tokens, to the letter")
	}
	if len(i.audiences) == 0 {
		r.failf(n, path+".audiences", "at least one is required: the aud that tokens for this agent have")
	}
	if i.everyone && i.url == GoogleIssuer {
		r.failf(n, path+".everyone", "would let in whoever has a Google account: name people and service accounts under principals")
	}

	return i
}

// check looks at what must agree across the file.
func (r *reader) check(doc *yaml.Node, f *file) {
	if len(f.principals)+len(f.issuers) == 0 {
		r.failf(doc, "principals", "nobody may call: name at least one")
	}

	names, urls, used := map[string]*fileIssuer{}, map[string]bool{}, map[string]bool{}
	for k := range f.issuers {
		i := &f.issuers[k]
		if names[i.name] != nil && i.name != "" {
			r.failf(i.at, i.path+".name", "is the name of another issuer: choose another")
		}
		if urls[i.url] && i.url != "" {
			r.failf(i.at, i.path+".issuer", "stands here a second time: list its audiences in one place")
		}

		names[i.name], urls[i.url] = i, true
	}

	owners, people := map[string]bool{}, map[fileToken]bool{}
	for _, p := range f.principals {
		tenant, _, _ := strings.Cut(p.name, "/")
		if i := names[tenant]; i != nil && i.everyone && p.name != "" {
			r.failf(p.at, "principals", "a name may not begin with that of an issuer of everyone, whose callers have such names: choose another")
		}
		if owners[p.name] && p.name != "" {
			r.failf(p.at, "principals", "two have the same name: put their keys and tokens in one")
		}

		owners[p.name] = true
		for _, t := range p.tokens {
			used[t.issuer] = true
			r.token(t, names, people)
		}
	}

	for _, i := range f.issuers {
		if !i.everyone && !used[i.name] {
			r.failf(i.at, i.path, "nobody is let in by it: refer to it under a principal's tokens, or set everyone: true")
		}
	}
}

func (r *reader) token(t fileToken, issuers map[string]*fileIssuer, people map[fileToken]bool) {
	if issuers[t.issuer] == nil {
		r.failf(t.at, t.path+".issuer", "is required: the name of one of the issuers")
	}
	if (t.email == "") == (t.subject == "") {
		r.failf(t.at, t.path, "needs either an email or a subject")
	}
	who := fileToken{issuer: t.issuer, email: t.email, subject: t.subject}
	if people[who] {
		r.failf(t.at, t.path, "stands in the file a second time: remove one")
	}
	people[who] = true
}

var (
	nameForm       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._@+-]{0,63})?$`)
	issuerNameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
)

func checkName(s string) string {
	switch {
	case s == Anonymous:
		return "is what unidentified callers are called: choose another"
	case !nameForm.MatchString(s):
		return "must be a name such as alice or tenant/alice: letters, digits and . _ @ + -, at most 64 of them each"
	}
	return ""
}

func checkIssuerName(s string) string {
	if s == bearerScheme || !issuerNameForm.MatchString(s) {
		return "must be a short word in lower case such as google, and not " + bearerScheme
	}
	return ""
}

func checkHash(s string) string {
	switch {
	case strings.HasPrefix(s, keyPrefix):
		return "is a key, which anybody who reads this file could use: make a new one and put its hash here"
	case !hashForm.MatchString(s):
		return "must be the hash that was printed with the key, such as sha256:3k9x2b7q:..."
	}
	return ""
}

func checkEmail(s string) string {
	if !isEmail(s) {
		return "must be an e-mail address"
	}
	return ""
}

func checkAddress(s string) string {
	if err := checkURL(s); err != nil {
		return err.Error()
	}
	return ""
}

// checkPlain also keeps quotes out of challenges.
func checkPlain(s string) string {
	if s == "" || len(s) > maxName || strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII || c <= ' ' || c == '"' || c == '\\' || c == 0x7f }) {
		return "must be one word of plain characters, without quotes"
	}
	return ""
}
