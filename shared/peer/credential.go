package peer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"errand/shared/secret"
)

// A Credential identifies us to another agent. It was agreed on outside of the protocol, and is
// read when it is used, so that a changed one is seen.
type Credential interface {
	// Put adds the credential to a request to the agent of the card.
	Put(ctx context.Context, c *a2a.AgentCard, r *http.Request) error
}

// An APIKey is a key in a secret. It goes into the header that the card names, or else into
// Authorization, as a Bearer token.
type APIKey struct {
	Secrets secret.Source
	Ref     secret.Ref
}

// Put implements Credential.
func (k APIKey) Put(ctx context.Context, c *a2a.AgentCard, r *http.Request) error {
	value, err := k.Secrets.Get(ctx, k.Ref)
	if err != nil {
		return fmt.Errorf("the API key in the secret %s: %w", k.Ref, err)
	}
	for _, s := range c.SecuritySchemes {
		if s, ok := s.(a2a.APIKeySecurityScheme); ok && s.Location == a2a.APIKeySecuritySchemeLocationHeader {
			r.Header.Set(s.Name, value.Text())
			return nil
		}
	}
	r.Header.Set("Authorization", "Bearer "+value.Text())
	return nil
}

// OAuth are the credentials of a client (RFC 6749, section 4.4). The address of the tokens is
// the operator's: a card's own would get the secret of the client. A token is kept while it is good
// and the secret is the same.
type OAuth struct {
	TokenURL, ClientID string
	Scopes             []string
	Secrets            secret.Source
	Ref                secret.Ref   // the client's secret
	Client             *http.Client // asks for tokens

	mu   sync.Mutex
	kept *oauth2.Token
	with [sha256.Size]byte // the hash of the secret by which kept was got
}

// Put implements Credential.
func (o *OAuth) Put(ctx context.Context, _ *a2a.AgentCard, r *http.Request) error {
	value, err := o.Secrets.Get(ctx, o.Ref)
	if err != nil {
		return fmt.Errorf("the OAuth client's secret %s: %w", o.Ref, err)
	}

	with := sha256.Sum256([]byte(value.Text()))
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.kept.Valid() || o.with != with {
		token, err := o.token(ctx, value.Text())
		if err != nil {
			return err
		}
		o.kept, o.with = token, with
	}
	o.kept.SetAuthHeader(r)
	return nil
}

// token asks for a token.
func (o *OAuth) token(ctx context.Context, clientSecret string) (*oauth2.Token, error) {
	cfg := clientcredentials.Config{ClientID: o.ClientID, ClientSecret: clientSecret, TokenURL: o.TokenURL, Scopes: o.Scopes}
	token, err := cfg.Token(context.WithValue(ctx, oauth2.HTTPClient, o.Client))
	if err == nil {
		return token, nil
	}
	// The library's error has the answer of the server, which may repeat what it was sent.
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return nil, fmt.Errorf("the OAuth server at %s refuses the client: %d %.40q", hostOf(o.TokenURL), refused.Response.StatusCode, refused.ErrorCode)
	}
	return nil, fmt.Errorf("no token from the OAuth server at %s", hostOf(o.TokenURL))
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "its address"
	}
	return u.Host
}

// GoogleID is an ID token of the program's service account, for the address of the agent.
type GoogleID struct {
	Token func(ctx context.Context, audience string) (string, error)
}

// Put implements Credential.
func (g GoogleID) Put(ctx context.Context, _ *a2a.AgentCard, r *http.Request) error {
	token, err := g.Token(ctx, r.URL.Scheme+"://"+r.URL.Host)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	return nil
}
