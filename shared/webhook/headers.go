package webhook

import (
	"net/http"
	"strings"
	"time"

	"errand/shared/keys"
	"errand/shared/task"
)

// A Sender is who signs.
type Sender struct {
	Keys    keys.Ring
	Issuer  string // the agent's address: iss of its tokens
	IDToken string // of the service account, for GoogleIDToken
}

// Headers are what goes with m to the hook h of r: the signature, and the authentication
// that the hook asks for. An error means that this cannot be performed, and then nothing
// is sent.
func (s Sender) Headers(now time.Time, r task.Record, h task.Hook, m Message) (http.Header, error) {
	secrets, err := Unseal(s.Keys, r.Owner, h.URL, h.Sealed)
	if err != nil {
		return nil, err
	}

	timestamp, signature, err := Sign(s.Keys, now, r.Owner, h.URL, m.ID, m.Body)
	if err != nil {
		return nil, err
	}

	header := http.Header{}
	set := header.Set
	set("Content-Type", m.MediaType)
	set("User-Agent", "errand")
	set("Webhook-Id", m.ID)
	set("Webhook-Timestamp", timestamp)
	set("Webhook-Signature", signature)

	if secrets.Token != "" {
		// The specification's examples and the SDKs name it differently (P11).
		set("A2A-Notification-Token", secrets.Token)
		set("X-A2A-Notification-Token", secrets.Token)
	}

	switch {
	case h.Scheme == "":
	case WantsIDToken(h.Scheme):
		set("Authorization", Bearer+" "+s.IDToken)
	case secrets.Credentials != "":
		set("Authorization", h.Scheme+" "+secrets.Credentials)

	case strings.EqualFold(h.Scheme, Bearer):
		token, err := Token(s.Keys, now, s.Issuer, h.URL, m.ID, r.ID())
		if err != nil {
			return nil, err
		}
		set("Authorization", Bearer+" "+token)

	default:
		return nil, ErrScheme
	}

	return header, nil
}

// Host is the receiver's host, and its port unless it is the usual one: by it receivers are
// told apart, however a URL spells it, and named in logs.
func Host(raw string) string {
	origin, err := Origin(raw)
	if err != nil {
		return ""
	}
	_, host, _ := strings.Cut(origin, "://")
	return strings.TrimSuffix(host, ".")
}
