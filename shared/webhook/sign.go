package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"errand/shared/keys"
)

// Sign signs a delivery by Standard Webhooks and returns the values of the headers
// Webhook-Timestamp and Webhook-Signature. The signatures by HMAC (v1) with the
// secrets of the owner and the URL come first, because some receivers look at the
// first one only; then those by Ed25519 (v1a). Of both kinds the one of the current
// key leads. An id that would leave open where it ends is refused.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func Sign(r keys.Ring, now time.Time, owner, url, id string, body []byte) (timestamp, signatures string, err error) {
	if err := checkID(id); err != nil {
		return "", "", err
	}
	timestamp = strconv.FormatInt(now.Unix(), 10)
	content := append([]byte(id+"."+timestamp+"."), body...)
	var all []string
	for _, s := range r.Secrets(now, owner, url) {
		v1, err := signHMAC(s, content)
		if err != nil {
			return "", "", err
		}
		all = append(all, v1)
	}
	for _, s := range r.SignEd25519(now, content) {
		all = append(all, "v1a,"+base64.StdEncoding.EncodeToString(s))
	}
	return timestamp, strings.Join(all, " "), nil
}

// minSecret is how many bytes a secret has at least.
const minSecret = 24

// signHMAC is the signature v1 with a secret in the form whsec_BASE64.
func signHMAC(secret string, content []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < minSecret {
		return "", fmt.Errorf("a webhook's secret must be whsec_ and at least %d bytes in base64", minSecret)
	}
	h := hmac.New(sha256.New, key)
	h.Write(content)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// checkID refuses ids that a header cannot carry, and those with a dot: the id, the
// time and the body are signed with dots between them, so that a part of such an id
// could be taken for the time.
func checkID(id string) error {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '.' }
	if id == "" || strings.ContainsFunc(id, odd) {
		return errors.New("a webhook's id must be visible ASCII without a dot")
	}
	return nil
}

// TokenAge is how long a token of Token is valid: as long as receivers accept the
// timestamp of a signature.
const TokenAge = 5 * time.Minute

// claims are those of Token. https://www.rfc-editor.org/rfc/rfc7519#section-4.1
type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`
	Task     string `json:"taskId"`
}

// Token is the bearer token for a receiver that gave no credentials: it says that the
// issuer sends this delivery of this task to the origin of the URL, and is checked by
// the issuer's key set.
func Token(r keys.Ring, now time.Time, issuer, url, id, taskID string) (string, error) {
	if issuer == "" {
		return "", errors.New("a token needs an issuer: the address at which the agent's key set is found")
	}
	if err := checkID(id); err != nil {
		return "", err
	}
	audience, err := Origin(url)
	if err != nil {
		return "", err
	}
	return r.Token(now, claims{issuer, audience, now.Unix(), now.Add(TokenAge).Unix(), id, taskID})
}

// Origin is scheme and host of a URL, and its port unless it is the scheme's own, as
// browsers write it. https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin
func Origin(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("a webhook's URL must be https://host/path") // url's own error quotes it
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil {
		if host, err = idna.Lookup.ToASCII(host); err != nil {
			return "", errors.New("a webhook's URL must name a valid host")
		}
	}
	port := u.Port()
	switch {
	case port == "", u.Scheme == "https" && port == "443", u.Scheme == "http" && port == "80":
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return u.Scheme + "://" + host, nil
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port), nil
}
