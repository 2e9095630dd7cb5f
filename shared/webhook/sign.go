package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"errand/shared/keys"
)

// sign signs a request by Standard Webhooks. It returns the values of the headers
// Webhook-Timestamp and Webhook-Signature. The HMAC signatures (v1), with the secrets of
// the owner and the URL, come first, because some receivers read only the first
// signature. The Ed25519 signatures (v1a), with the keys of the owner, follow. The current key leads in both groups.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func sign(r keys.Ring, now time.Time, owner, url, id string, body []byte) (timestamp, signatures string, err error) {
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
	for _, s := range r.SignEd25519(now, owner, content) {
		all = append(all, "v1a,"+base64.StdEncoding.EncodeToString(s))
	}

	return timestamp, strings.Join(all, " "), nil
}

// minSecret is the least length of a secret, in bytes.
const minSecret = 24

// signHMAC makes the signature v1 with a secret in the form whsec_BASE64.
func signHMAC(secret string, content []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < minSecret {
		return "", fmt.Errorf("a webhook's secret must be whsec_ and at least %d bytes in base64", minSecret)
	}
	h := hmac.New(sha256.New, key)
	h.Write(content)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// checkID refuses an id that a header cannot carry or that contains a dot. The signed
// text joins id, time and body with dots, so a part of such an id could pass as the time.
func checkID(id string) error {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '.' }
	if id == "" || strings.ContainsFunc(id, odd) {
		return errors.New("a webhook's id must be visible ASCII without a dot")
	}
	return nil
}

// tokenAge is the lifetime of a token. Receivers accept the timestamp of a signature for
// the same time.
const tokenAge = 5 * time.Minute

// claims are the claims of a token. https://www.rfc-editor.org/rfc/rfc7519#section-4.1
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"` // opaque name of the owner
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	ID       string `json:"jti"`
	Task     string `json:"taskId"`
}

// token makes the bearer token for a webhook without credentials. It states that the issuer
// sends this delivery of this task of the owner to the origin of the URL. Receivers check it
// with the issuer's key set and the owner's opaque name.
func token(r keys.Ring, now time.Time, issuer, owner, url, id, taskID string) (string, error) {
	if issuer == "" {
		return "", errors.New("a token needs an issuer: the address at which the agent's key set is found")
	}
	if err := checkID(id); err != nil {
		return "", err
	}
	audience, err := origin(url)
	if err != nil {
		return "", err
	}
	return r.Token(now, claims{
		Issuer: issuer, Subject: r.Subjects(now, owner)[0], Audience: audience,
		Issued: now.Unix(), Expires: now.Add(tokenAge).Unix(), ID: id, Task: taskID,
	})
}
