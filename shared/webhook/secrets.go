package webhook

import (
	"encoding/json"
	"fmt"
	"time"

	"errand/shared/keys"
)

// Secrets are what nobody but the receiver may see of a webhook. They are stored sealed.
type Secrets struct {
	Token       string `json:"token,omitempty"`       // for the receiver to validate
	Credentials string `json:"credentials,omitempty"` // of Authorization
}

// Seal encrypts s for the webhooks of an owner at a URL; empty if there is nothing in it.
// What is sealed for one URL opens for no other, so that whoever can write to the store
// cannot have it sent to himself. Equal secrets are sealed to the same text.
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

// Unseal decrypts what Seal made. An error is keys.ErrSealed: the key is no longer in the
// ring, or the text was made for another owner or URL.
func Unseal(r keys.Ring, owner, url, sealed string) (s Secrets, err error) {
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

func bound(owner, url string) string {
	text, err := json.Marshal([3]string{"webhook", owner, url})
	if err != nil { // strings always encode
		panic(err)
	}
	return string(text)
}
