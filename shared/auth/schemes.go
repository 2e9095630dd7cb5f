package auth

import (
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
		add(a2a.SecuritySchemeName(i.name), a2a.OpenIDConnectSecurityScheme{
			OpenIDConnectURL: discovery(i.verifier.issuer),
			Description:      "An ID token" + i.forAudiences() + ".",
		})
	}
	return schemes, options
}

// The names of schemes that are not an issuer's.
const (
	bearerScheme = "bearer"
	keyScheme    = "apiKey"
)
