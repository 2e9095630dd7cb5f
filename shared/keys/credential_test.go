package keys_test

import (
	"errors"
	"strings"
	"testing"

	"errand/shared/keys"
)

// Credentials and what records keep are sealed with different keys of a ring, under which both
// open after changes. Signatures of URLs hold as long as their key is there.
func TestCredentialKeysAreTheirOwn(t *testing.T) {
	r := parse(t, line(0, 1))
	given, kept := r.SealCredential(day(0), "here", []byte("CANARY")), r.Seal(day(0), "here", []byte("CANARY"))
	if _, err := r.Open("here", given); !errors.Is(err, keys.ErrSealed) {
		t.Errorf("Open of a credential: %v", err)
	}
	if _, err := r.OpenCredential("here", kept); !errors.Is(err, keys.ErrSealed) {
		t.Errorf("OpenCredential of what a record keeps: %v", err)
	}

	rotated, other := parse(t, line(0, 1)+line(5, 2)), parse(t, line(5, 2))
	if got, err := rotated.OpenCredential("here", given); err != nil || string(got) != "CANARY" {
		t.Errorf("after a change: %q, %v", got, err)
	}
	if _, err := rotated.OpenCredential("there", given); !errors.Is(err, keys.ErrSealed) {
		t.Errorf("bound to another place: %v", err)
	}
	if _, err := other.OpenCredential("here", given); !errors.Is(err, keys.ErrSealed) || !strings.Contains(err.Error(), "not in the secret "+keys.CredentialSecret) {
		t.Errorf("without its key: %v", err)
	}

	signature := r.SignCredentialURL(day(1), "a/b/1/c/2")
	if !r.SignedCredentialURL("a/b/1/c/2", signature) || !rotated.SignedCredentialURL("a/b/1/c/2", signature) || rotated.SignCredentialURL(day(6), "a/b/1/c/2") == signature {
		t.Error("the signature of a URL does not follow the keys")
	}
	if r.SignedCredentialURL("a/b/1/c/3", signature) || other.SignedCredentialURL("a/b/1/c/2", signature) || r.SignedCredentialURL("a/b/1/c/2", "") {
		t.Error("a forged signature counts")
	}
}
