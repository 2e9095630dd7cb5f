package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// skew is how far another clock may be ahead of ours. There is none at the end: a
	// sender can get a new token before the old one expires.
	skew = 60 * time.Second
	// lifetime is the longest time that a token may be valid. Google's are valid for an
	// hour.
	lifetime = time.Hour
	// maxToken bounds the size of a token. Google's have about 1 KiB.
	maxToken = 8 << 10
	// maxName is the longest subject of OpenID Connect (Core 1.0, section 2), and
	// more than an e-mail address can have.
	maxName = 255
)

// algorithms are the accepted ones: asymmetric ones only, so that no public key can serve
// as a shared secret.
var algorithms = []string{oidc.RS256, oidc.ES256}

// A reason is the reason why a token is refused. It holds nothing of the token, so callers
// and logs may see it.
type reason string

func (r reason) Error() string { return string(r) }

const (
	notToken      reason = "not an ID token"
	stripped      reason = "the signature was removed by Cloud Run, which does so when it checks tokens itself: turn the service's own check off (invoker_iam_disabled), or set ERRAND_CHECKED_BY=cloudrun"
	unchecked     reason = "the signature was removed, and this is not the token that Cloud Run has checked"
	noEmail       reason = "no verified e-mail address"
	wrongAlg      reason = "the algorithm is not RS256 or ES256"
	noKey         reason = "no key id (kid)"
	ownKey        reason = "a header that is not accepted: jwk, jku, x5c, x5u, crit or b64"
	wrongIssuer   reason = "of another issuer"
	wrongAudience reason = "not for this audience alone"
	noTimes       reason = "no time of issue or expiry"
	expired       reason = "expired"
	notYet        reason = "from the future"
	tooLong       reason = "valid for more than an hour"
	unknownKey    reason = "the issuer has no such key"
	badSignature  reason = "the signature is wrong"
)

// A token is a JWT as read, not yet believed: only verify makes it trustworthy.
type token struct {
	raw     string
	checked bool // Cloud Run has checked the signature, and removed it
	header  header
	claims  claims
}

type header struct {
	Algorithm string         `json:"alg"`
	KeyID     string         `json:"kid"`
	Type      string         `json:"typ"`
	JWK       jsontext.Value `json:"jwk"`
	JKU       jsontext.Value `json:"jku"`
	X5C       jsontext.Value `json:"x5c"`
	X5U       jsontext.Value `json:"x5u"`
	Crit      jsontext.Value `json:"crit"`
	B64       jsontext.Value `json:"b64"`
}

// claims are the claims that matter here. Names are compared exactly and a repeated name is
// an error: encoding/json, which the OIDC library uses, would take "EMAIL" for "email".
type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	Expires   float64  `json:"exp"` // seconds since 1970
	Issued    float64  `json:"iat"`
	NotBefore float64  `json:"nbf"`
	Email     string   `json:"email"`
	Verified  any      `json:"email_verified"` // some issuers send a text, which does not count
}

// verifiedEmail is the e-mail address that the issuer vouches for, or empty.
func (c claims) verifiedEmail() string {
	if c.Verified != true {
		return ""
	}
	return c.Email
}

// An audience is one text or a list of them (RFC 7519, section 4.1.3).
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(a))
	}
	*a = make([]string, 1)
	return json.Unmarshal(b, &(*a)[0])
}

// removedByGoogle stands for the signature of a token that Cloud Run has checked.
// https://cloud.google.com/run/docs/troubleshooting#signature-removed
const removedByGoogle = ".SIGNATURE_REMOVED_BY_GOOGLE"

// isStripped reports whether Cloud Run has removed the signature of a token, or somebody says so.
func isStripped(raw string) bool { return strings.HasSuffix(raw, removedByGoogle) }

// unsigned is a token up to its signature.
func unsigned(raw string) string {
	if i := strings.LastIndexByte(raw, '.'); i >= 0 {
		return raw[:i]
	}
	return raw
}

// parseToken reads a JWT in its compact form without believing it. checked says that a token
// without its signature has been checked: without it such a token is refused.
func parseToken(raw string, checked bool) (token, error) {
	parts := strings.Split(raw, ".")
	if len(raw) > maxToken || len(parts) != 3 {
		return token{}, notToken
	}

	t := token{raw: raw, checked: isStripped(raw)}
	if t.checked && !checked {
		return token{}, stripped
	}

	if !decode(parts[0], &t.header) || !decode(parts[1], &t.claims) {
		return token{}, notToken
	}

	h := t.header
	switch {
	// An access token in the form of a JWT says at+jwt (RFC 9068).
	case h.Type != "" && !strings.EqualFold(h.Type, "JWT"):
		return token{}, notToken
	case !slices.Contains(algorithms, h.Algorithm):
		return token{}, wrongAlg

	// A token that brings its own key serves only forgers.
	case h.JWK != nil || h.JKU != nil || h.X5C != nil || h.X5U != nil || h.Crit != nil || h.B64 != nil:
		return token{}, ownKey
	case h.KeyID == "":
		return token{}, noKey
	}

	return t, nil
}

func decode(part string, into any) bool {
	data, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err == nil && json.Unmarshal(data, into) == nil
}

// A verifier believes the tokens that one issuer made for one of the audiences. Without
// audiences it believes those alone that Cloud Run has checked, which compares the audience too.
type verifier struct {
	issuer    string
	audiences []string
	keys      *Keys
	now       func() time.Time
}

// verify checks all of a token but its subject. It checks the readable parts first, so that
// only tokens that might be good cause a fetch of keys. The error is a reason, or errKeys
// if the signature cannot be checked now.
func (v *verifier) verify(ctx context.Context, t token) error {
	c := t.claims
	now := v.now()
	at := float64(now.UnixMilli()) / 1000

	switch {
	case c.Issuer != v.issuer:
		return wrongIssuer
	case len(c.Audience) != 1 || !v.serves(c.Audience[0]), len(v.audiences) == 0 && !t.checked:
		return wrongAudience
	case c.Expires <= 0 || c.Issued <= 0:
		return noTimes
	case at >= c.Expires:
		return expired
	case c.Issued > at+skew.Seconds() || c.NotBefore > at+skew.Seconds():
		return notYet
	case c.Expires-c.Issued > (lifetime + skew).Seconds():
		return tooLong
	}

	if t.checked { // tokens of Google are all that Cloud Run checks
		switch {
		case v.issuer != GoogleIssuer:
			return wrongIssuer
		case c.verifiedEmail() == "":
			return noEmail
		}
		return nil
	}

	keys, err := v.keys.find(ctx, t.header.KeyID, t.header.Algorithm)
	if err != nil {
		return err
	}

	_, err = oidc.NewVerifier(v.issuer, &oidc.StaticKeySet{PublicKeys: keys}, &oidc.Config{
		ClientID: c.Audience[0], SupportedSigningAlgs: algorithms, Now: func() time.Time { return now },
	}).Verify(ctx, t.raw)
	if err != nil {
		return badSignature // the rest was checked above; the text may quote claims
	}

	return nil
}

// serves reports whether tokens may be for the audience.
func (v *verifier) serves(audience string) bool {
	return len(v.audiences) == 0 || slices.Contains(v.audiences, audience)
}

// reasonOf is the part of err that callers and logs may see.
func reasonOf(err error) string {
	if r, ok := errors.AsType[reason](err); ok {
		return string(r)
	}
	return "the issuer's keys cannot be fetched"
}
