package auth

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A roster is an access file as requests are checked against it. It does not change: a
// changed file makes another.
type roster struct {
	keys         map[string]*apiKey // by the id in the key
	issuers      []*issuer
	certificates map[string]string        // principals by a name of their certificate
	principals   map[string]filePrincipal // by name
	limits       Limits                   // of all callers
	own          map[string]Limits        // by principal
	submitters   map[string]string        // principals by the subscription whose messages are theirs
	accepts      string                   // the credentials that a caller may send, in words
	audiences    []string                 // of all issuers
	card         string                   // who may read the card
	cardFrom     []netip.Prefix           // from where; none: from everywhere
	catalogue    Catalogue
}

// roster makes the roster of a file, which is known to be consistent. Issuers that are in
// the former roster keep the keys that they have fetched.
func (a *Access) roster(f *file, former *roster) *roster {
	l := &roster{keys: map[string]*apiKey{}, certificates: map[string]string{}, principals: map[string]filePrincipal{}, limits: f.Limits.over(byDefault), own: map[string]Limits{}, submitters: map[string]string{}}
	byName := map[string]*issuer{}

	for _, i := range f.Issuers {
		own := &issuer{
			verifier: verifier{issuer: i.URL, audiences: i.Audiences, now: a.now, keys: former.keysOf(i)},
			name:     i.Name, keysURL: i.KeysURL, oauth: i.OAuth, everyone: i.Everyone, emails: map[string]string{}, subjects: map[string]string{},
		}
		if own.keys == nil {
			own.keys = NewKeys(KeysConfig{Issuer: i.URL, URL: i.KeysURL, Client: a.client, Now: a.now})
		}

		byName[i.Name] = own
		l.issuers = append(l.issuers, own)

		for _, audience := range i.Audiences {
			if !slices.Contains(l.audiences, audience) {
				l.audiences = append(l.audiences, audience)
			}
		}
	}

	for _, s := range f.Submit {
		l.submitters[s.Subscription] = s.Principal
	}

	for _, p := range f.Principals {
		l.principals[p.Name], l.own[p.Name] = p, p.Limits.over(l.limits)
		for _, k := range p.Keys {
			if id, digest, ok := parseHash(k.Hash); ok {
				ends, _ := parseExpiry(k.Expires)
				l.keys[id] = &apiKey{digest: digest, id: id, owner: p.Name, rights: rightsOf(k.May), expires: ends}
			}
		}

		for _, name := range p.Certificates {
			l.certificates[name] = p.Name
		}

		for _, t := range p.Tokens {
			if t.Email != "" {
				byName[t.Issuer].emails[t.Email] = p.Name
			} else {
				byName[t.Issuer].subjects[t.Subject] = p.Name
			}
		}
	}

	l.card, l.cardFrom, l.catalogue = f.Card, networks(f.CardFrom), catalogueOf(f.Catalogue)
	l.accepts = l.credentials(a.asks)
	return l
}

// keysOf are the keys of an issuer in the roster, or nil.
func (l *roster) keysOf(f fileIssuer) *Keys {
	if l == nil {
		return nil
	}
	for _, i := range l.issuers {
		if i.verifier.issuer == f.URL && i.keysURL == f.KeysURL {
			return i.keys
		}
	}
	return nil
}

// credentials says which credentials a caller may send. asks says that certificates are asked for.
func (l *roster) credentials(asks bool) string {
	var accepts []string
	if len(l.keys) > 0 {
		accepts = append(accepts, `an API key as "Authorization: Bearer KEY" or "X-API-Key: KEY"`)
	}
	for _, i := range l.issuers {
		accepts = append(accepts, fmt.Sprintf(`an ID token of %s%s as "Authorization: Bearer TOKEN"`, i.verifier.issuer, i.forAudiences()))
	}
	if asks && len(l.certificates) > 0 {
		accepts = append(accepts, "a client certificate of TLS")
	}
	return strings.Join(accepts, ", or ")
}

// issuer is the issuer that the claims name, or nil.
func (l *roster) issuer(c claims) *issuer {
	for _, i := range l.issuers {
		if i.verifier.issuer == c.Issuer {
			return i
		}
	}
	return nil
}

// An issuer is an issuer whose ID tokens are accepted, and the owners that they stand for.
type issuer struct {
	verifier
	name, keysURL    string
	oauth            *fileOAuth
	emails, subjects map[string]string // to the owner
	everyone         bool              // also unlisted subjects, who own their tasks as name/subject
}

// forAudiences says which audiences a token may have, as an end of a sentence.
func (i *issuer) forAudiences() string {
	if len(i.audiences) == 0 {
		return " that Cloud Run accepts"
	}
	return " for the audience " + strings.Join(i.audiences, " or ")
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

// A proof is the credential that identified a caller, so that a later roster can be asked
// about it: a key, a name of a certificate, or the claims of a token.
type proof struct {
	key         *apiKey
	certificate string
	claims      claims
}

// admits returns the reason why the roster would no longer let p in as it came; nil if it
// would. The times of a token do not count: they are for the beginning of a call.
func (l *roster) admits(p Principal, now time.Time) error {
	if k := p.proof.key; k != nil {
		switch same := l.keys[k.id]; {
		case same == nil || same.digest != k.digest || same.owner != p.Owner:
			return removed
		case same.expired(now):
			return expiredKey
		case !p.rights.within(same.rights):
			return reduced
		}
		return nil
	}
	if name := p.proof.certificate; name != "" {
		if l.certificates[name] != p.Owner {
			return removed
		}
		return nil
	}
	if i := l.issuer(p.proof.claims); i == nil || !i.serves(p.proof.claims.Audience[0]) || i.owner(p.proof.claims) != p.Owner {
		return removed
	}
	return nil
}

const (
	removed reason = "no longer in the access file"
	reduced reason = "the rights of the API key were reduced: call again with those it has"
)
