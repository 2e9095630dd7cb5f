package card_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"errand/shared/card"
	"errand/shared/keys"
)

// A signer signs cards with a ring as it is at a time.
type signer struct {
	ring keys.Ring
	now  time.Time
}

func newSigner(t testing.TB) signer {
	t.Helper()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	text, err := keys.Generate("", now)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return signer{ring, now.Add(time.Hour)}
}

func (s signer) sign(base string, payload []byte) ([]a2a.AgentCardSignature, error) {
	signed, err := s.ring.SignCard(s.now, base+keys.Path, payload)
	var all []a2a.AgentCardSignature
	for _, one := range signed {
		all = append(all, a2a.AgentCardSignature{Protected: one.Protected, Signature: one.Signature})
	}
	return all, err
}

func (s signer) keys(t testing.TB) jose.JSONWebKeySet {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(s.ring.JWKS(s.now), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// served is the card of the tests as clients get it.
func (s signer) served(t testing.TB) string {
	t.Helper()
	h, err := card.New(card.Config{Agent: load(t), URL: base, Modified: modified, Sign: s.sign})
	if err != nil {
		t.Fatal(err)
	}
	return text(t, ask(h, "GET"))
}

// Shows D17, D18, D19. Another library opens both signatures, each over its own form.
func TestCardIsSigned(t *testing.T) {
	s := newSigner(t)
	doc := s.served(t)
	var c struct{ Signatures []a2a.AgentCardSignature }
	if err := json.Unmarshal([]byte(doc), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Signatures) != 2 {
		t.Fatalf("the card has %d signatures, want 2", len(c.Signatures))
	}

	set, err := jwk.Parse(s.ring.JWKS(s.now))
	if err != nil {
		t.Fatal(err)
	}
	for i, form := range []card.Form{card.Protocol, card.Whole} {
		payload, err := card.Canonical([]byte(doc), form)
		if err != nil {
			t.Fatal(err)
		}
		compact := c.Signatures[i].Protected + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + c.Signatures[i].Signature
		if _, err := jws.Verify([]byte(compact), jws.WithKeySet(set)); err != nil {
			t.Errorf("signature %d: %v", i, err)
		}
	}

	believed, kid, err := card.Verify([]byte(doc), s.keys(t))
	whole, _ := card.Canonical([]byte(doc), card.Whole)
	if err != nil || kid != s.ring.CardKeys(s.now)[0] || string(believed) != string(whole) {
		t.Errorf("Verify = %s, %q, %v", believed, kid, err)
	}
	if again := s.served(t); again != doc {
		t.Error("another process serves another card")
	}
}

// A client that knows the fields of 1.0 alone, and writes them in another order, checks the
// signature over these.
func TestSignatureOutlivesTheTypesOfTheProtocol(t *testing.T) {
	s := newSigner(t)
	doc := s.served(t)
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(doc), &fields); err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"url", "protocolVersion", "preferredTransport", "additionalInterfaces"} {
		delete(fields, old)
	}
	again, err := json.MarshalIndent(fields, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	believed, _, err := card.Verify(again, s.keys(t))
	if err != nil || strings.Contains(string(believed), "preferredTransport") {
		t.Errorf("Verify = %s, %v", believed, err)
	}
}

// Shows D18. What was not signed is not believed.
func TestForgedCards(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	doc, trusted := s.served(t), s.keys(t)

	for name, forged := range map[string]string{
		"another name":   strings.Replace(doc, `"name":"`, `"name":"X`, 1),
		"another order":  strings.Replace(doc, `"JSONRPC","protocolVersion":"1.0"`, `"HTTP+JSON","protocolVersion":"1.0"`, 1),
		"no signature":   strings.Replace(doc, `"signatures":`, `"signed":`, 1),
		"a skill more":   strings.Replace(doc, `"skills":[`, `"skills":[{"id":"x","name":"x","description":"x","tags":["x"]},`, 1),
		"a required one": strings.Replace(doc, `"version":`, `"documentationUrl":"https://x.example","version":`, 1),
		"a flipped bit":  strings.Replace(doc, `"signature":"`, `"signature":"A`, 2),
		"a switch off":   strings.Replace(doc, `"streaming":true`, `"streaming":false`, 1),
		"a switch gone":  strings.Replace(doc, `"streaming":true`, `"x":true`, 1),
		"a field twice":  strings.Replace(doc, `"name":`, `"name":"X","name":`, 1),
		"another agent":  other.served(t),
		"nothing":        "",
	} {
		if forged == doc {
			t.Errorf("%s: nothing is forged", name)
		}
		if believed, kid, err := card.Verify([]byte(forged), trusted); err == nil {
			t.Errorf("%s: Verify = %s by %s", name, believed, kid)
		}
	}

	// A field of 0.3 is signed too: with another one the fields of 1.0 alone are believed.
	forged := strings.Replace(doc, `"preferredTransport":"JSONRPC"`, `"preferredTransport":"EVIL"`, 1)
	if believed, _, err := card.Verify([]byte(forged), trusted); err != nil || strings.Contains(string(believed), "EVIL") {
		t.Errorf("with a forged field of 0.3 Verify = %s, %v", believed, err)
	}

	// Keys of tokens and of nobody open nothing, whatever the header says.
	var none jose.JSONWebKeySet
	if _, _, err := card.Verify([]byte(doc), none); !errors.Is(err, card.ErrSignature) {
		t.Errorf("without keys Verify = %v", err)
	}
	tokens := trusted
	tokens.Keys = tokens.Keys[:1]
	if _, _, err := card.Verify([]byte(doc), tokens); !errors.Is(err, card.ErrSignature) {
		t.Errorf("with the keys of tokens Verify = %v", err)
	}
}

// Shows D20. During a change of keys the card has signatures by both.
func TestCardDuringAChangeOfKeys(t *testing.T) {
	first := newSigner(t)
	old, err := keys.Generate("", first.now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.Generate(old, first.now.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	both, err := keys.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	before, err := keys.Parse(old)
	if err != nil {
		t.Fatal(err)
	}

	during := signer{both, first.now.Add(48 * time.Hour)}
	for name, at := range map[string]signer{"the former": {before, first.now}, "the new": during} {
		if _, _, err := card.Verify([]byte(during.served(t)), at.keys(t)); err != nil {
			t.Errorf("who knows %s key: %v", name, err)
		}
	}
	after := signer{both, first.now.Add(24*time.Hour + keys.Overlap + time.Hour)}
	if diff := cmp.Diff(during.ring.CardKeys(during.now)[:1], after.ring.CardKeys(after.now)); diff != "" {
		t.Errorf("after the change (-want +got):\n%s", diff)
	}
	if _, _, err := card.Verify([]byte(after.served(t)), signer{before, first.now}.keys(t)); !errors.Is(err, card.ErrSignature) {
		t.Errorf("who knows the former key alone: %v", err)
	}
}
