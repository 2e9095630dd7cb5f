package webhook

import (
	"encoding/json"
	"fmt"
	"time"

	"errand/shared/keys"
)

// Secrets are the parts of a webhook that only its receiver may see. The store holds them
// encrypted.
type Secrets struct {
	Token       string `json:"token,omitempty"`       // the receiver compares it
	Credentials string `json:"credentials,omitempty"` // sent in Authorization
}

// Seal encrypts s for the webhooks of one owner at one URL. Empty secrets give an empty
// text. The text does not open for another URL, so a writer of the store cannot redirect
// the secrets to a receiver of his own. Equal secrets give equal texts.
func (s Secrets) Seal(r keys.Ring, now time.Time, owner, url string) string {
	if s == (Secrets{}) {
		return ""
	}
	text, err := json.Marshal(s)
	if err != nil { // strings always encode
		panic(err)
	}
	return r.Seal(now, bound(owner, url), text)
}

// unseal decrypts the text that Seal made. The error wraps keys.ErrSealed: the key is no
// longer in the ring, or the text belongs to another owner or URL.
func unseal(r keys.Ring, owner, url, sealed string) (s Secrets, err error) {
	if sealed == "" {
		return s, nil
	}
	text, err := r.Open(bound(owner, url), sealed)
	if err != nil {
		return s, fmt.Errorf("opening the credentials of a webhook: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return Secrets{}, fmt.Errorf("opening the credentials of a webhook: %w", keys.ErrSealed)
	}
	return s, nil
}

// bound names the owner and URL that sealed secrets are bound to.
func bound(owner, url string) string {
	text, err := json.Marshal([3]string{"webhook", owner, url})
	if err != nil { // strings always encode
		panic(err)
	}
	return string(text)
}
