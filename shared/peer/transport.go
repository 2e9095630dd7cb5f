package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/loopback"
)

// ErrStranger says that a request with a credential would go to a place that may not have it.
var ErrStranger = errors.New("peer: the credential is not for this address")

// Transport sends the requests of a client to the agent, each with the credential. base sends
// them and follows no redirects.
//
// A request goes out only if one of the card's interfaces is at its origin, over TLS or on this
// machine. If nobody signed the card, the interface must be at the origin that served the card, or
// the operator gave the card as a file or text.
func (p *Peer) Transport(c Credential, base Doer) http.RoundTripper {
	return transport{p, c, base}
}

type transport struct {
	peer       *Peer
	credential Credential
	base       Doer
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	k, err := t.peer.Card(r.Context())
	if err == nil {
		err = k.mayHave(r.URL)
	}
	if err != nil {
		return nil, refuse(r, err)
	}

	r = r.Clone(r.Context())
	if err := t.credential.Put(r.Context(), k.Card, r); err != nil {
		return nil, refuse(r, err)
	}
	return t.base.Do(r)
}

// refuse closes the body of a request that is not sent, as a RoundTripper must.
func refuse(r *http.Request, err error) error {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return err
}

// mayHave reports whether the credential for the agent may go to a URL.
func (k *Known) mayHave(u *url.URL) error {
	at := origin(u)
	switch {
	case u.Scheme != "https" && !loopback.Is(u.Host):
		return fmt.Errorf("%w: %s is not encrypted; use https", ErrStranger, at)
	case !slices.ContainsFunc(k.Card.SupportedInterfaces, func(i *a2a.AgentInterface) bool { return i != nil && isAt(i.URL, at) }):
		return fmt.Errorf("%w: the card of the agent has no interface at %s", ErrStranger, at)
	case k.Signed != "":
		return nil
	case k.copied.Doubtful, k.copied.Origin != "" && k.copied.Origin != at:
		return fmt.Errorf("%w: the card that leads to %s is not signed; give the keys that sign it, or the card as a file", ErrStranger, at)
	}
	return nil
}

func isAt(text, at string) bool {
	u, err := url.Parse(text)
	return err == nil && origin(u) == at
}

// Anonymous is the credential of a client that needs none.
type Anonymous struct{}

// Put implements Credential. It adds nothing.
func (Anonymous) Put(context.Context, *a2a.AgentCard, *http.Request) error { return nil }
