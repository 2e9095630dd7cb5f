package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"errand/shared/strict"
)

// Access decides who may call. Safe for concurrent use.
type Access struct {
	anonymous, said bool
	keys            map[string]apiKey // by the id in the key
	issuers         []*issuer
	accepts         string   // the credentials that a caller may send, in words
	audiences       []string // of all issuers
	operators       map[string]bool
	idTokens        map[string][]string // the origins of each principal
	attempts        attempts
	proxies         int
	now             func() time.Time
	log             *slog.Logger
}

// An issuer is an issuer whose ID tokens are accepted, and the owners that they stand for.
type issuer struct {
	verifier
	name             string
	emails, subjects map[string]string // to the owner
	everyone         bool              // also unlisted subjects, who own their tasks as name/subject
}

// Options are the needs of Load beside the file. The zero value is usable.
type Options struct {
	Client  Doer             // fetches the issuers' keys; nil: one of its own
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // refused attempts, without credentials; nil: no log
	Proxies int              // how many proxies add to X-Forwarded-For: 1 on Cloud Run
}

// Load reads the access file. Without a path callers are anonymous. The path [Anonymous]
// means the same, and says that it is on purpose.
func Load(path string, o Options) (*Access, error) {
	a := &Access{proxies: o.Proxies, now: o.Now, log: o.Log}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if path == "" || path == Anonymous {
		a.anonymous, a.said = true, path == Anonymous
		return a, nil
	}
	data, err := strict.Open(path, form)
	if err != nil {
		return nil, fmt.Errorf("reading ERRAND_ACCESS: %w", err)
	}
	file, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading ERRAND_ACCESS, %s:\n%w", path, err)
	}
	a.take(file, o.Client)
	return a, nil
}

// take fills a from the file, which is known to be consistent.
func (a *Access) take(f *file, client Doer) {
	a.keys, a.operators, a.idTokens = map[string]apiKey{}, map[string]bool{}, map[string][]string{}
	byName := map[string]*issuer{}

	for _, i := range f.Issuers {
		own := &issuer{
			verifier: verifier{
				issuer: i.URL, audiences: i.Audiences, now: a.now,
				keys: NewKeys(KeysConfig{Issuer: i.URL, URL: i.KeysURL, Client: client, Now: a.now}),
			},
			name: i.Name, everyone: i.Everyone, emails: map[string]string{}, subjects: map[string]string{},
		}

		byName[i.Name] = own
		a.issuers = append(a.issuers, own)

		for _, audience := range i.Audiences {
			if !slices.Contains(a.audiences, audience) {
				a.audiences = append(a.audiences, audience)
			}
		}
	}

	for _, p := range f.Principals {
		a.operators[p.Name], a.idTokens[p.Name] = p.Operator, p.IDTokens
		for _, hash := range p.Keys {
			if id, digest, ok := parseHash(hash); ok {
				a.keys[id] = apiKey{digest: digest, owner: p.Name}
			}
		}

		for _, t := range p.Tokens {
			if t.Email != "" {
				byName[t.Issuer].emails[t.Email] = p.Name
			} else {
				byName[t.Issuer].subjects[t.Subject] = p.Name
			}
		}
	}

	var accepts []string
	if len(a.keys) > 0 {
		accepts = append(accepts, `an API key as "Authorization: Bearer KEY" or "X-API-Key: KEY"`)
	}

	for _, i := range a.issuers {
		accepts = append(accepts, fmt.Sprintf(`an ID token of %s for the audience %s as "Authorization: Bearer TOKEN"`,
			i.verifier.issuer, strings.Join(i.audiences, " or ")))
	}

	a.accepts = strings.Join(accepts, ", or ")
}

// IDTokens reports whether the owner's webhooks to an origin, such as
// https://hooks.example.com, may carry an ID token of the program's service account. Such a
// token says which program sends, and not for which owner, so the file gives each origin to
// those principals that its receiver trusts. Anonymous callers have none.
func (a *Access) IDTokens(owner, origin string) bool {
	return slices.Contains(a.idTokens[owner], origin)
}

// Anonymous reports whether callers are not identified.
func (a *Access) Anonymous() bool { return a.anonymous }

// Check refuses anonymous callers, unless the listener is on loopback, where only this
// machine can call, or the operator has chosen them (ERRAND_ACCESS=anonymous).
func (a *Access) Check(loopback bool) error {
	if loopback || a.said || !a.anonymous {
		return nil
	}
	return errors.New("whoever reaches this address could use the agent and read every task: " +
		"name the file of those who may call in ERRAND_ACCESS, " +
		"or set ERRAND_ACCESS=anonymous if something in front asks who they are")
}

// Identify returns the sender of r. Any error is a [*Refusal]. It is called once, at the
// beginning of a call: a token that expires during a long call does not end it.
func (a *Access) Identify(r *http.Request) (Principal, error) {
	if a.anonymous {
		return Principal{Owner: Anonymous, Via: Anonymous}, nil
	}
	p, claimed, err := a.identify(r)
	if err == nil {
		p.Operator = a.operators[p.Owner]
		return p, nil
	}
	return Principal{}, a.refuse(r, claimed, err)
}

// identify also returns the owner that wrong credentials claim to be, if any.
func (a *Access) identify(r *http.Request) (p Principal, claimed string, err error) {
	raw, err := credential(r.Header)
	if err != nil {
		return Principal{}, "", err
	}
	if strings.HasPrefix(raw, keyPrefix) {
		return a.byKey(raw)
	}
	if len(r.Header.Values(keyHeader)) > 0 {
		return Principal{}, "", notKey
	}
	return a.byToken(r.Context(), raw)
}

const (
	notKey  reason = "not an API key of this agent"
	damaged reason = "a damaged API key: its checksum is wrong"
	nobody  reason = "a token of somebody who is not in the access file"
)

func (a *Access) byKey(raw string) (Principal, string, error) {
	id := keyID(raw)
	if id == "" {
		return Principal{}, "", damaged
	}
	k := a.keys[id]
	if !k.is(raw) {
		return Principal{}, k.owner, notKey
	}
	return Principal{Owner: k.owner, Via: "key " + id}, "", nil
}

func (a *Access) byToken(ctx context.Context, raw string) (Principal, string, error) {
	t, err := parseToken(raw)
	if err != nil {
		return Principal{}, "", err
	}
	for _, i := range a.issuers {
		if i.verifier.issuer != t.claims.Issuer {
			continue
		}
		owner := i.owner(t.claims)
		if err := i.verify(ctx, t); err != nil {
			return Principal{}, owner, err
		}
		if owner == "" {
			return Principal{}, "", nobody
		}
		return Principal{Owner: owner, Via: i.name}, "", nil
	}
	return Principal{}, "", wrongIssuer
}

// owner is the owner that a token stands for; empty if there is none. An issuer never gives
// a subject to another person, but may give an e-mail address: so the subject goes first.
func (i *issuer) owner(c claims) string {
	if owner := cmp.Or(i.subjects[c.Subject], i.emails[c.verifiedEmail()]); owner != "" {
		return owner
	}
	if !i.everyone || c.Subject == "" || len(c.Subject) > maxName || strings.ContainsFunc(c.Subject, unicode.IsControl) {
		return ""
	}
	return i.name + "/" + c.Subject
}

// refuse makes the answer, and counts and logs the fault.
func (a *Access) refuse(r *http.Request, claimed string, err error) *Refusal {
	no := &Refusal{
		Status: http.StatusUnauthorized, Scheme: bearer, Realm: realm, Audiences: a.audiences, Reason: reasonOf(err),
		presented: !errors.Is(err, missing),
	}

	no.Message = "not identified (" + no.Reason + "): send " + a.accepts
	switch {
	case errors.Is(err, errKeys):
		no.Status, no.Scheme, no.Audiences, no.After = http.StatusServiceUnavailable, "", nil, fetchEvery
		no.Message = no.Reason + ", try again"
	case errors.Is(err, nobody):
		no.Status, no.Scheme = http.StatusForbidden, ""
		no.Message = "identified, but not allowed to call this agent: whoever runs it has to add you"
	}

	if no.presented && no.After == 0 {
		names := []string{"from " + ClientAddr(r, a.proxies).String()}
		if claimed != "" {
			names = append(names, "as "+claimed)
		}

		if wait := a.attempts.wrong(a.now(), names...); wait > 0 {
			no.Status, no.Scheme, no.Audiences, no.After = http.StatusTooManyRequests, "", nil, wait
			no.Message = "too many wrong credentials, try again later"
			return no // the log has enough of them
		}

		a.log.WarnContext(r.Context(), "caller not identified", "reason", no.Reason, "claimed", claimed)
	} else if no.After > 0 {
		a.log.ErrorContext(r.Context(), "caller not identified", "reason", no.Reason, "err", err)
	}

	return no
}
