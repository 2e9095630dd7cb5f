package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"errand/shared/objects"
	"errand/shared/strict"
)

// Access decides who may call. Safe for concurrent use.
type Access struct {
	anonymous, said bool
	checked         bool // by Cloud Run
	balanced        bool // by a load balancer that checks certificates
	asks            bool // for certificates, the program or the load balancer
	path            string
	content         func() ([]byte, error) // of the file
	client          Doer
	attempts        attempts
	rates           rates
	proxies         int
	now             func() time.Time
	log             *slog.Logger

	kept    atomic.Pointer[reading] // nil for anonymous callers
	reread  sync.Mutex              // held while the file is read again
	trouble string                  // the last error of a reading, held by reread
	hanging chan content            // of a reading that did not end in time, held by reread

	hold held
}

// Options are the needs of Load beside the file. The zero value is usable.
type Options struct {
	Client  Doer             // fetches the issuers' keys; nil: one of its own
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // faults of the file and of issuers; nil: no log
	Proxies int              // how many proxies add to X-Forwarded-For: 1 on Cloud Run

	// Checked says that Cloud Run's own check is on in front of the program. The identity that
	// it has checked is then the caller's, unless the request has a credential of the agent's own.
	Checked bool

	// Balanced says that a load balancer in front checks the certificates of clients, and that
	// nobody reaches the program past it: its headers about them are then believed.
	Balanced bool

	// TLS says that the program asks for the certificates of its connections itself.
	TLS bool
}

// Load reads the access file, which is read again later ([Access.Identify]). Without a path
// callers are anonymous. The path [Anonymous] means the same, and says that it is on purpose.
// If Cloud Run checks callers, [Anonymous] lets in everybody whom it lets in, each as an owner of
// its own, google/SUBJECT.
func Load(path string, o Options) (*Access, error) {
	a := &Access{proxies: o.Proxies, checked: o.Checked, balanced: o.Balanced, asks: o.Balanced || o.TLS, now: o.Now, log: o.Log}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if path == Anonymous && a.checked {
		all := &file{Issuers: []fileIssuer{{Name: "google", URL: GoogleIssuer, Everyone: true}}}
		a.content = func() ([]byte, error) { return nil, nil } // which never changes
		a.kept.Store(&reading{roster: a.roster(all, nil), at: a.now()})
		return a, nil
	}

	if path == "" || path == Anonymous {
		a.anonymous, a.said = true, path == Anonymous
		return a, nil
	}

	a.path, a.client = path, o.Client
	a.content = func() ([]byte, error) { return strict.Open(path, form) }
	first, err := a.read(nil)
	if err != nil {
		return nil, err
	}
	a.kept.Store(first)
	return a, nil
}

// IDTokens reports whether the owner's webhooks to an origin, such as
// https://hooks.example.com, may carry an ID token of the program's service account. Such a
// token says which program sends, and not for which owner, so the file gives each origin to
// those principals that its receiver trusts. Anonymous callers have none.
func (a *Access) IDTokens(owner, origin string) bool {
	return slices.Contains(a.current().principals[owner].IDTokens, origin)
}

// MayRead reports whether an owner may have an object read, gs://BUCKET/NAME: whether the file
// gives it the bucket, or a folder that has it. By default nobody may read any. A text that is not the
// address of an object may not be read.
func (a *Access) MayRead(owner, url string) bool {
	if _, _, err := objects.Parse(url); err != nil {
		return false
	}
	return slices.ContainsFunc(a.current().principals[owner].Buckets, func(prefix string) bool { return strings.HasPrefix(url, prefix) })
}

// Submitter returns the principal whose tasks the messages of a subscription are,
// projects/PROJECT/subscriptions/NAME, as the file says. It may send and nothing else. Nothing
// in a message may decide this, because whoever may publish to the topic writes the messages.
func (a *Access) Submitter(subscription string) (Principal, bool) {
	owner, ok := a.current().submitters[subscription]
	if !ok {
		return Principal{}, false
	}
	_, name, _ := strings.Cut(subscription, "/subscriptions/")
	return Principal{Owner: owner, Via: "subscription " + name, rights: bit(Send)}, true
}

// Take counts a request of a principal that did not come with [Access.Identify]. The error is the
// refusal by its limit of requests.
func (a *Access) Take(p Principal) error {
	if a.anonymous {
		return nil
	}
	return a.rates.take(p.Owner, a.current().limitsOf(p.Owner).Requests, a.now())
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

// Identify returns the sender of r. It returns the sender also with a refusal by the sender's
// own limit. Any error is a [*Refusal]. Identify is called once, at the beginning of a call: a
// token that expires during a long call does not end it.
//
// It goes by a file that was read at most 30 s ago. The first call after that time reads the
// file again, and calls that come meanwhile wait for it. A file that cannot be read, or has
// a fault, changes nothing and is reported in the log.
func (a *Access) Identify(r *http.Request) (Principal, error) {
	if a.anonymous {
		return Principal{Owner: Anonymous, Via: Anonymous}, nil
	}
	now := a.current()
	p, claimed, err := now.identify(r, a.now(), a.checked, a.balanced)
	if err == nil {
		p.Operator = now.principals[p.Owner].Operator
		return p, a.rates.take(p.Owner, now.limitsOf(p.Owner).Requests, a.now())
	}
	return Principal{}, a.refuse(r, now, claimed, err)
}

// identify also returns the owner that wrong credentials claim to be, if any. A credential of
// the agent's own goes before the identity that Cloud Run has checked, if checked says that it does.
// The same token in both headers, as our own commands send it, is the checked one. A certificate counts
// for a request that has nothing else: connections of programs have one for many callers.
func (l *roster) identify(r *http.Request, now time.Time, checked, balanced bool) (p Principal, claimed string, err error) {
	own, platform := r.Header, ""
	if checked {
		if platform, own, err = checkedToken(r.Header); err != nil {
			return Principal{}, "", err
		}
	}

	raw, err := credential(own)
	switch {
	case platform != "" && (errors.Is(err, missing) || err == nil && unsigned(raw) == unsigned(platform)):
		return l.byToken(r.Context(), platform, true)
	case errors.Is(err, missing):
		return l.withoutCredential(r, balanced, now)
	case err != nil:
		return Principal{}, "", err
	case strings.HasPrefix(raw, keyPrefix):
		return l.byKey(raw, now)
	case len(own.Values(keyHeader)) > 0:
		return Principal{}, "", notKey
	case checked && isStripped(raw):
		return Principal{}, "", unchecked
	}
	return l.byToken(r.Context(), raw, false)
}

// withoutCredential goes by the certificate of the connection, if it has one.
func (l *roster) withoutCredential(r *http.Request, balanced bool, now time.Time) (Principal, string, error) {
	names, err := certificate(r, balanced, now)
	switch {
	case err != nil:
		return Principal{}, "", err
	case len(names) == 0 || len(l.certificates) == 0:
		return Principal{}, "", missing
	}
	return l.byCertificate(names)
}

const (
	notKey  reason = "not an API key of this agent"
	damaged reason = "a damaged API key: its checksum is wrong"
	nobody  reason = "a token of somebody who is not in the access file"

	expiredKey reason = "an API key that has expired: ask for a new one"
)

func (l *roster) byKey(raw string, now time.Time) (Principal, string, error) {
	id := keyID(raw)
	if id == "" {
		return Principal{}, "", damaged
	}
	k := l.keys[id]
	if k == nil {
		k = &apiKey{} // compared too, so that the time of an answer tells nothing
	}
	if !k.is(raw) {
		return Principal{}, k.owner, notKey
	}
	if k.expired(now) {
		return Principal{}, k.owner, expiredKey
	}
	return Principal{Owner: k.owner, Via: "key " + id, rights: k.rights, proof: &proof{key: k}}, "", nil
}

// byToken goes by a token. checked says that Cloud Run has checked it.
func (l *roster) byToken(ctx context.Context, raw string, checked bool) (Principal, string, error) {
	t, err := parseToken(raw, checked)
	if err != nil {
		return Principal{}, "", err
	}
	i := l.issuer(t.claims)
	if i == nil {
		return Principal{}, "", wrongIssuer
	}
	owner := i.owner(t.claims)
	if err := i.verify(ctx, t); err != nil {
		return Principal{}, owner, err
	}
	if owner == "" {
		return Principal{}, "", nobody
	}
	return Principal{Owner: owner, Via: i.name, proof: &proof{claims: t.claims}}, "", nil
}

// WrongURL counts a URL that is the right to something and was not made here, or not for long
// enough, as wrong credentials of its sender. An error is a [*Refusal] because of too many.
func (a *Access) WrongURL(r *http.Request) error {
	wait := a.attempts.wrong(a.now(), "from "+ClientAddr(r, a.proxies).String())
	if wait == 0 {
		return nil
	}
	return &Refusal{Status: http.StatusTooManyRequests, After: wait, Message: "too many wrong URLs, try again later", Reason: "wrong URL", By: "limit attempts"}
}

// refuse makes the answer, and counts wrong credentials. It logs the faults of issuers.
func (a *Access) refuse(r *http.Request, l *roster, claimed string, err error) *Refusal {
	no := &Refusal{
		Status: http.StatusUnauthorized, Scheme: bearer, Realm: realm, Audiences: l.audiences, Reason: reasonOf(err),
		Claimed: claimed, presented: !errors.Is(err, missing),
	}

	no.Message = "not identified (" + no.Reason + "): send " + l.accepts
	switch {
	case errors.Is(err, errKeys):
		no.Status, no.Scheme, no.Audiences, no.After = http.StatusServiceUnavailable, "", nil, fetchEvery
		no.Message = no.Reason + ", try again"
	case errors.Is(err, nobody):
		no.Status, no.Scheme = http.StatusForbidden, ""
		no.Message = "identified, but not allowed to call this agent: whoever runs it has to add you"
	}

	switch {
	case no.After > 0:
		a.log.ErrorContext(r.Context(), "caller not identified", "reason", no.Reason, "err", err)
	case no.presented:
		names := []string{"from " + ClientAddr(r, a.proxies).String()}
		if claimed != "" {
			names = append(names, "as "+claimed)
		}
		if wait := a.attempts.wrong(a.now(), names...); wait > 0 {
			no.Status, no.Scheme, no.Audiences, no.After = http.StatusTooManyRequests, "", nil, wait
			no.Message, no.By = "too many wrong credentials, try again later", "limit attempts"
		}
	}

	return no
}
