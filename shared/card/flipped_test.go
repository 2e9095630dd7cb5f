package card_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"errand/shared/card"
)

// A change is one other value at a place of a document.
type change struct {
	at   string
	make func() // makes the change
	undo func()
}

// changes are all changes of one value in a document: texts and numbers get a letter more, switches
// are turned, lists lose their first element, objects one field.
func changes(at string, value any, set func(any)) (all []change) {
	one := func(other any) { all = append(all, change{at, func() { set(other) }, func() { set(value) }}) }
	switch v := value.(type) {
	case string:
		one(v + "x")
	case bool:
		one(!v)
	case float64:
		one(v + 1)
	case []any:
		if len(v) > 0 {
			one(v[1:])
		}
		for i, element := range v {
			all = append(all, changes(fmt.Sprintf("%s[%d]", at, i), element, func(e any) { v[i] = e })...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			field := v[name]
			all = append(all, change{at + "." + name + " gone", func() { delete(v, name) }, func() { v[name] = field }})
			all = append(all, changes(at+"."+name, field, func(e any) { v[name] = e })...)
		}
	}
	return all
}

// Shows D18. Each value of a card is signed: with any of them changed the card, or what is believed of it, is
// not the changed one.
func TestEachValueIsSigned(t *testing.T) {
	s := newSigner(t)
	doc, trusted := s.served(t), s.keys(t)
	var fields map[string]any
	if err := json.Unmarshal([]byte(doc), &fields); err != nil {
		t.Fatal(err)
	}
	signatures := fields["signatures"]
	delete(fields, "signatures")

	all := changes("", fields, func(any) {})
	for _, c := range all {
		c.make()
		fields["signatures"] = signatures
		forged, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		delete(fields, "signatures")

		believed, _, err := card.Verify(forged, trusted)
		if whole, _ := card.Canonical(forged, card.Whole); err == nil && string(believed) == string(whole) {
			t.Errorf("%s is not signed", c.at)
		}
		c.undo()
	}
	if len(all) < 50 {
		t.Errorf("%d values were changed", len(all))
	}
}

// Shows D18. What stands around a signature neither breaks it nor lends it weight.
func TestSignaturesAmongOthers(t *testing.T) {
	s := newSigner(t)
	doc, trusted := s.served(t), s.keys(t)
	asked := 0
	hostile := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(hostile.Close)

	var c struct {
		Signatures []struct{ Protected, Signature string }
	}
	if err := json.Unmarshal([]byte(doc), &c); err != nil {
		t.Fatal(err)
	}

	header := func(change func(map[string]any)) string {
		text, err := base64.RawURLEncoding.DecodeString(c.Signatures[1].Protected)
		if err != nil {
			t.Fatal(err)
		}
		var h map[string]any
		if err := json.Unmarshal(text, &h); err != nil {
			t.Fatal(err)
		}
		change(h)
		text, err = json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}

	with := func(list ...string) []byte {
		var fields map[string]any
		if err := json.Unmarshal([]byte(doc), &fields); err != nil {
			t.Fatal(err)
		}
		var all []any
		for i := 0; i+1 < len(list); i += 2 {
			all = append(all, map[string]any{"protected": list[i], "signature": list[i+1]})
		}
		fields["signatures"] = all
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good, bytes := c.Signatures[1].Protected, c.Signatures[1].Signature
	mac := hmacOf(t, doc, trusted)

	for name, row := range map[string]struct {
		doc []byte
		ok  bool
	}{
		"another order":         {with(good, bytes, c.Signatures[0].Protected, c.Signatures[0].Signature), true},
		"an unknown one before": {with("e30", "AAAA", header(func(h map[string]any) { h["kid"] = "other" }), bytes, good, bytes), true},
		"rubbish before":        {with("", "", "%%", "%%", strings.Repeat("A", 1<<16), "x", good, bytes), true},
		"another key's name":    {with(header(func(h map[string]any) { h["kid"] = "other" }), bytes), false},
		"no key's name":         {with(header(func(h map[string]any) { delete(h, "kid") }), bytes), false},
		"no algorithm":          {with(header(func(h map[string]any) { h["alg"] = "none" }), ""), false},
		"a shared secret":       {with(mac[0], mac[1]), false},
		"a key set elsewhere":   {with(header(func(h map[string]any) { h["kid"], h["jku"] = "other", hostile.URL }), bytes), false},
		"critical and unknown":  {with(header(func(h map[string]any) { h["crit"], h["x"] = []string{"x"}, 1 }), bytes), false},
		"too many":              {with(append(slices.Repeat([]string{"e30", "AAAA"}, 32), good, bytes)...), false},
	} {
		if _, _, err := card.Verify(row.doc, trusted); (err == nil) != row.ok || err != nil && !errors.Is(err, card.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}

	if asked > 0 {
		t.Error("a key set that a signature names was fetched")
	}
}

// hmacOf is a header and a signature with the public key as a shared secret: what an attacker
// makes for verifiers that believe the algorithm in the header.
func hmacOf(t *testing.T, doc string, trusted jose.JSONWebKeySet) [2]string {
	t.Helper()
	key := trusted.Keys[len(trusted.Keys)-1]
	public, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := card.Canonical([]byte(doc), card.Whole)
	if err != nil {
		t.Fatal(err)
	}
	return signatureOf(t, jose.HS256, jose.JSONWebKey{Key: public, KeyID: key.KeyID}, payload)
}

// signatureOf is the header and the signature of a payload by a key.
func signatureOf(t *testing.T, alg jose.SignatureAlgorithm, key jose.JSONWebKey, payload []byte) [2]string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(text, ".")
	return [2]string{parts[0], parts[2]}
}

// Numbers and letters have one form, whoever wrote them (RFC 8785).
func TestFormsOfValues(t *testing.T) {
	form := func(params string) string {
		t.Helper()
		got, err := card.Canonical([]byte(`{"name":"n","capabilities":{"extensions":[{"uri":"u","params":`+params+`}]}}`), card.Protocol)
		if err != nil {
			t.Fatalf("%s: %v", params, err)
		}
		return string(got)
	}

	for _, same := range [][]string{
		{`{"a":1}`, `{"a":1.0}`, `{"a":1e0}`, `{"a":10e-1}`},
		{`{"a":0}`, `{"a":-0}`, `{"a":0.0}`},
		{`{"a":"\u2028"}`, "{\"a\":\"\u2028\"}"},
		{`{"a":"\ud83d\ude00"}`, `{"a":"😀"}`},
		{`{"a":1,"b":2}`, `{ "b" : 2, "a" : 1 }`},
	} {
		for _, other := range same[1:] {
			if form(other) != form(same[0]) {
				t.Errorf("%s is %s, and %s is %s", same[0], form(same[0]), other, form(other))
			}
		}
	}
	if once := form(`{"a":[1,{"b":[]}]}`); once != "" {
		again, err := card.Canonical([]byte(once), card.Protocol)
		if err != nil || string(again) != once {
			t.Errorf("the form of %s is %s, %v", once, again, err)
		}
	}
}

// A key that is for one algorithm opens no signature by another one.
func TestKeyIsForItsAlgorithm(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := card.Canonical([]byte(`{"name":"n"}`), card.Whole)
	if err != nil {
		t.Fatal(err)
	}

	for alg, ok := range map[jose.SignatureAlgorithm]bool{jose.RS256: true, jose.PS256: false} {
		made := signatureOf(t, alg, jose.JSONWebKey{Key: key, KeyID: "k"}, payload)
		doc := fmt.Sprintf(`{"name":"n","signatures":[{"protected":%q,"signature":%q}]}`, made[0], made[1])
		trusted := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: string(jose.RS256)}}}
		if _, _, err := card.Verify([]byte(doc), trusted); (err == nil) != ok {
			t.Errorf("a signature by %s: %v", alg, err)
		}
	}
}
