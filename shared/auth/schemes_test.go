package auth_test

import (
	"encoding/json"
	"regexp"
	"strings"
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

// An issuer may say by which flow of OAuth 2.0 clients get its tokens, and certificates are a scheme
// too, in the words of the protocol.
func TestSchemesOfOAuthAndCertificates(t *testing.T) {
	text := `
principals: [{name: alice, certificates: ["spiffe://acme.example/agent"], tokens: [{issuer: corp, subject: alice}]}]
issuers:
  - name: corp
    issuer: https://login.acme.example
    audiences: [https://agent.example.com]
    oauth: {flow: FLOW, URLS, scopes: [{name: agent, description: Call the agent.}]}
`
	for flow, urls := range map[string]map[string]string{
		"clientCredentials": {"tokenUrl": "https://login.acme.example/token"},
		"authorizationCode": {"tokenUrl": "https://login.acme.example/token", "authorizationUrl": "https://login.acme.example/authorize"},
		"deviceCode":        {"tokenUrl": "https://login.acme.example/token", "deviceAuthorizationUrl": "https://login.acme.example/device"},
	} {
		var list []string
		wanted := map[string]any{"scopes": map[string]any{"agent": "Call the agent."}}
		for name, url := range urls {
			list, wanted[name] = append(list, name+": "+url), url
		}
		a, err := auth.Load(write(t, strings.NewReplacer("FLOW", flow, "URLS", strings.Join(list, ", ")).Replace(text)), auth.Options{TLS: true})
		if err != nil {
			t.Fatal(err)
		}

		schemes, requirements := a.Schemes()
		b, err := json.Marshal(map[string]any{"schemes": schemes, "requirements": requirements})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"schemes": map[string]any{
				"corp":        map[string]any{"oauth2SecurityScheme": map[string]any{"flows": map[string]any{flow: wanted}, "description": "A token (JWT) for the audience https://agent.example.com."}},
				"certificate": map[string]any{"mtlsSecurityScheme": map[string]any{"description": "A client certificate that the agent's operator knows."}},
			},
			"requirements": []any{
				map[string]any{"schemes": map[string]any{"corp": []any{"agent"}}},
				map[string]any{"schemes": map[string]any{"certificate": []any{}}},
			},
		}
		if diff := cmp.Diff(any(want), plain(t, b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", flow, diff)
		}
	}

	without, err := auth.Load(write(t, regexp.MustCompile(`oauth: .*`).ReplaceAllLiteralString(text, "")), auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if schemes, _ := without.Schemes(); len(schemes) != 1 {
		t.Errorf("where nobody asks for certificates the schemes are %v", schemes)
	}

	for _, oauth := range []string{"{flow: implicit}", "{flow: clientCredentials}", "{flow: clientCredentials, tokenUrl: 'https://a.example', authorizationUrl: 'https://a.example'}", "{flow: deviceCode, tokenUrl: 'http://a.example', deviceAuthorizationUrl: 'https://a.example'}", "{}"} {
		bad := regexp.MustCompile(`oauth: .*`).ReplaceAllLiteralString(text, "oauth: "+oauth)
		if _, err := auth.Load(write(t, bad), auth.Options{}); err == nil || !strings.Contains(err.Error(), "issuers[0].oauth") {
			t.Errorf("%s: %v", oauth, err)
		}
	}
}
