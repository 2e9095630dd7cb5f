package card_test

import (
	"testing"

	"errand/shared/card"
)

// Shows D18. The first row is the example of A2A 1.0, section 8.4.1.
func TestCanonicalForm(t *testing.T) {
	for name, row := range map[string]struct{ in, protocol, whole string }{
		"the protocol's example": {
			in:       `{"name":"Example Agent","description":"","capabilities":{"streaming":false,"pushNotifications":false,"extensions":[]},"skills":[]}`,
			protocol: `{"capabilities":{"pushNotifications":false,"streaming":false},"description":"","name":"Example Agent","skills":[]}`,
		},
		"signatures, nulls, empty fields": {
			in:       `{"signatures":[{"protected":"a","signature":"b"}],"name":"n","provider":null,"iconUrl":"","securityRequirements":[],"securitySchemes":{}}`,
			protocol: `{"iconUrl":"","name":"n"}`,
		},
		"in lists and maps": {
			in:       `{"skills":[{"id":"a","tags":[],"examples":[],"inputModes":["text/plain"]}],"securitySchemes":{"k":{"apiKeySecurityScheme":{"name":"X","description":""}}}}`,
			protocol: `{"securitySchemes":{"k":{"apiKeySecurityScheme":{"name":"X"}}},"skills":[{"id":"a","inputModes":["text/plain"],"tags":[]}]}`,
		},
		"fields of 0.3": {
			in:       `{"url":"https://a","name":"n","securitySchemes":{"k":{"type":"apiKey","apiKeySecurityScheme":{"name":"X","in":"header"}}}}`,
			protocol: `{"name":"n","securitySchemes":{"k":{"apiKeySecurityScheme":{"name":"X"}}}}`,
			whole:    `{"name":"n","securitySchemes":{"k":{"apiKeySecurityScheme":{"in":"header","name":"X"},"type":"apiKey"}},"url":"https://a"}`,
		},
		"parameters of an extension are anything": {
			in:       `{"capabilities":{"extensions":[{"uri":"u","required":false,"params":{"a":"","b":[],"c":1.50,"d":null}}]}}`,
			protocol: `{"capabilities":{"extensions":[{"params":{"a":"","b":[],"c":1.5,"d":null},"uri":"u"}]}}`,
		},
		"letters": {in: "{\"name\":\"\\u00e9\\u20ac<&>\\u0007\"}", protocol: "{\"name\":\"é€<&>\\u0007\"}"},
	} {
		for form, want := range map[card.Form]string{card.Protocol: row.protocol, card.Whole: row.whole} {
			if want == "" {
				want = row.protocol
			}
			got, err := card.Canonical([]byte(row.in), form)
			if err != nil || string(got) != want {
				t.Errorf("%s: Canonical = %s, %v, want %s", name, got, err, want)
			}
		}
	}

	for _, in := range []string{"", "[]", "null", "{", `{"name":"a"}{}`, `{"name":"\ud800"}`, `{"name":"a","name":"b"}`} {
		if got, err := card.Canonical([]byte(in), card.Whole); err == nil {
			t.Errorf("Canonical(%q) = %s", in, got)
		}
	}
}
