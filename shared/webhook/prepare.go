package webhook

import (
	"net/http"
	"strings"
	"time"

	"errand/shared/keys"
	"errand/shared/task"
)

// A Request is one attempt as it is sent, by POST.
type Request struct {
	URL    string
	Header http.Header
	Body   []byte

	// Audience is the receiver's origin if the webhook wants an ID token of the courier's
	// service account. The courier fetches the token, and then calls Authorize.
	Audience string
}

// Authorize adds an ID token to the header.
func (q Request) Authorize(idToken string) { q.Header.Set("Authorization", bearer+" "+idToken) }

// Prepare makes the request that sends the webhook h of r its ping, if one was requested, or
// otherwise the notification after its cursor. The ring signs the request, which carries the
// authentication that the webhook asks for. A token of ours names the issuer, which is the
// agent's address. After an error nothing may be sent.
func Prepare(ring keys.Ring, issuer string, now time.Time, r task.Record, h task.Webhook) (Request, error) {
	m, err := messageOf(r, h)
	if err != nil {
		return Request{}, err
	}

	secrets, err := unseal(ring, r.Owner, h.URL, h.Sealed)
	if err != nil {
		return Request{}, err
	}

	header, err := signed(ring, now, r.Owner, h.URL, m)
	if err != nil {
		return Request{}, err
	}

	q := Request{URL: h.URL, Header: header, Body: m.body}
	if secrets.Token != "" {
		// The specification's examples and the SDKs name it differently (P11).
		q.Header.Set("A2A-Notification-Token", secrets.Token)
		q.Header.Set("X-A2A-Notification-Token", secrets.Token)
	}

	switch {
	case h.Scheme == "":
	case wantsIDToken(h.Scheme):
		q.Audience, err = origin(h.URL)
	case secrets.Credentials != "":
		q.Header.Set("Authorization", h.Scheme+" "+secrets.Credentials)
	case strings.EqualFold(h.Scheme, bearer):
		var text string
		text, err = token(ring, now, issuer, r.Owner, h.URL, m.id, r.ID())
		q.Header.Set("Authorization", bearer+" "+text)
	default:
		err = ErrScheme
	}

	if err != nil {
		return Request{}, err
	}

	return q, nil
}

// signed makes the header of a message: the kind of its content and its signature.
func signed(ring keys.Ring, now time.Time, owner, url string, m message) (http.Header, error) {
	timestamp, signature, err := sign(ring, now, owner, url, m.id, m.body)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	h.Set("Content-Type", m.mediaType)
	h.Set("User-Agent", "errand")
	h.Set("Webhook-Id", m.id)
	h.Set("Webhook-Timestamp", timestamp)
	h.Set("Webhook-Signature", signature)
	return h, nil
}
