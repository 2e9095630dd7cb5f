package auth_test

import (
	"encoding/json"
	"testing"

	"errand/shared/auth"

	"github.com/google/go-cmp/cmp"
)

// The schemes on the card have the form of the specification.
func TestSchemes(t *testing.T) {
	_, hash := auth.NewKey()
	a, err := auth.Load(write(t, `
principals:
  - name: alice
    keys: [`+hash+`]
    tokens: [{issuer: google, email: alice@example.com}]
issuers:
  - {name: google, issuer: https://accounts.google.com, audiences: [https://agent.example.com, https://b.example.com]}
`), auth.Options{})
	if err != nil {
		t.Fatal(err)
	}

	schemes, requirements := a.Schemes()
	got := map[string]any{}

	for name, v := range map[string]any{"securitySchemes": schemes, "securityRequirements": requirements} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = plain(t, b)
	}

	want := plain(t, []byte(`{
		"securitySchemes": {
			"bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer", "description": "An API key of this agent."}},
			"apiKey": {"apiKeySecurityScheme": {"location": "header", "name": "X-API-Key", "description": "The same API key, in a header of its own."}},
			"google": {"openIdConnectSecurityScheme": {
				"openIdConnectUrl": "https://accounts.google.com/.well-known/openid-configuration",
				"description": "An ID token for the audience https://agent.example.com or https://b.example.com."}}
		},
		"securityRequirements": [{"schemes": {"bearer": []}}, {"schemes": {"apiKey": []}}, {"schemes": {"google": []}}]
	}`))
	if diff := cmp.Diff(want, any(got)); diff != "" {
		t.Errorf("schemes (-want +got):\n%s", diff)
	}
}

func plain(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
