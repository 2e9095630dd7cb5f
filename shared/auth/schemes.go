package auth

import (
	"fmt"
	"maps"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Schemes are the agent card's security schemes, and the requirements, of which a caller
// needs to meet one, by the access file as it is now. Both are nil for anonymous callers.
func (a *Access) Schemes() (a2a.NamedSecuritySchemes, a2a.SecurityRequirementsOptions) {
	if a.anonymous {
		return nil, nil
	}
	now := a.current()
	schemes := a2a.NamedSecuritySchemes{}
	var options a2a.SecurityRequirementsOptions
	add := func(name a2a.SecuritySchemeName, s a2a.SecurityScheme) {
		schemes[name] = s
		options = append(options, a2a.SecurityRequirements{name: {}})
	}
	if len(now.keys) > 0 {
		add(bearerScheme, a2a.HTTPAuthSecurityScheme{Scheme: bearer, Description: "An API key of this agent."})
		add(keyScheme, a2a.APIKeySecurityScheme{
			Location: a2a.APIKeySecuritySchemeLocationHeader, Name: keyHeader, Description: "The same API key, in a header of its own.",
		})
	}

	for _, i := range now.issuers {
		if i.oauth != nil {
			name := a2a.SecuritySchemeName(i.name)
			schemes[name] = a2a.OAuth2SecurityScheme{Flows: i.oauth.flows(), Description: "A token (JWT)" + i.forAudiences() + "."}
			options = append(options, a2a.SecurityRequirements{name: slices.Sorted(maps.Keys(i.oauth.scopes()))})
			continue
		}
		add(a2a.SecuritySchemeName(i.name), a2a.OpenIDConnectSecurityScheme{
			OpenIDConnectURL: discovery(i.verifier.issuer),
			Description:      "An ID token" + i.forAudiences() + ".",
		})
	}

	if a.asks && len(now.certificates) > 0 {
		add(certificateScheme, a2a.MutualTLSSecurityScheme{Description: "A client certificate that the agent's operator knows."})
	}
	return schemes, options
}

// The flows of OAuth 2.0 that a card may name. Implicit and password are deprecated in A2A 1.0.
const (
	flowClient = string(a2a.ClientCredentialsOAuthFlowName)
	flowCode   = string(a2a.AuthorizationCodeOAuthFlowName)
	flowDevice = string(a2a.DeviceCodeOAuthFlowName)
)

// flows is the one flow, as the protocol writes it.
func (o *fileOAuth) flows() a2a.OAuthFlows {
	scopes := o.scopes()
	switch o.Flow {
	case flowCode:
		return a2a.AuthorizationCodeOAuthFlow{AuthorizationURL: o.AuthorizationURL, TokenURL: o.TokenURL, Scopes: scopes}
	case flowDevice:
		return a2a.DeviceCodeOAuthFlow{DeviceAuthorizationURL: o.DeviceAuthorizationURL, TokenURL: o.TokenURL, Scopes: scopes}
	}
	return a2a.ClientCredentialsOAuthFlow{TokenURL: o.TokenURL, Scopes: scopes}
}

// scopes are the descriptions of the scopes, by their names.
func (o *fileOAuth) scopes() map[string]string {
	all := map[string]string{} // which the protocol requires, also without any
	for _, s := range o.Scopes {
		all[s.Name] = s.Description
	}
	return all
}

// oauth checks a flow, and that it has what the flow needs and nothing else.
func (c *checker) oauth(path string, o *fileOAuth) {
	needs := map[string]map[string]string{
		flowClient: {"tokenUrl": o.TokenURL},
		flowCode:   {"tokenUrl": o.TokenURL, "authorizationUrl": o.AuthorizationURL},
		flowDevice: {"tokenUrl": o.TokenURL, "deviceAuthorizationUrl": o.DeviceAuthorizationURL},
	}[o.Flow]
	if needs == nil {
		c.Failf(path+".flow", "must be %s, %s or %s", flowClient, flowCode, flowDevice)
		return
	}

	for name, value := range map[string]string{"tokenUrl": o.TokenURL, "authorizationUrl": o.AuthorizationURL, "deviceAuthorizationUrl": o.DeviceAuthorizationURL} {
		at := path + "." + name
		if _, needed := needs[name]; needed {
			c.required(at, value, "an https address of the issuer", checkAddress)
		} else if value != "" {
			c.Failf(at, "is not of the flow %s: remove it", o.Flow)
		}
	}

	for i, s := range o.Scopes {
		at := fmt.Sprintf("%s.scopes[%d].name", path, i)
		c.required(at, s.Name, "the name of a scope, or remove the entry", checkPlain)
		c.once(at, "scope of "+path, s.Name, "stands here a second time: remove one")
	}
}

// The names of schemes that are not an issuer's.
const (
	bearerScheme = "bearer"
	keyScheme    = "apiKey"

	certificateScheme = "certificate"
)
