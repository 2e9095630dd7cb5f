package front

import (
	"context"
	"errors"
	"net/http"

	"errand/cardserver/front/wire"
	"errand/shared/audit"
	"errand/shared/auth"
)

// identify names the caller to the handler, where caller finds it.
func (o *operations) identify(r *http.Request) (context.Context, error) {
	p, err := o.cfg.Access.Identify(r)
	audit.Of(r.Context()).Caller(p) // also if a limit of the caller refuses it
	if err != nil {
		return nil, err
	}
	return withHost(auth.With(r.Context(), p), r), nil
}

// caller is the owner of the caller's messages, and of the tasks that it may see. The
// tenant of a request only routes it, and must be the caller's own.
func caller(ctx context.Context, tenant string) (owner string, err error) {
	p, ok := auth.From(ctx)
	if !ok {
		return "", errUnasked
	}
	if p.Owner != auth.Anonymous { // who has no tenant, and cannot be told from others
		err = p.InTenant(tenant)
	}
	return p.Owner, err
}

// errUnasked is a fault of ours: the caller of a request was not identified.
var errUnasked = errors.New("the request was not identified")

// may refuses a caller whose key lacks a right that the operation alone does not need.
func may(ctx context.Context, right auth.Right) error {
	p, ok := auth.From(ctx)
	if !ok {
		return errUnasked
	}
	return p.May(right)
}

// card serves the agent card to those who may read it. Browsers ask first whether they may ask
// at all, without credentials, which tells nothing of the card.
func (o *operations) card(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodOptions {
		err := o.cfg.Access.Card(r)
		if no, ok := errors.AsType[*auth.Refusal](err); ok && no.Status == http.StatusNotFound {
			http.Error(w, no.Message, no.Status)
			return
		}
		if err != nil {
			wire.RefuseCaller(w, r, err)
			return
		}
	}
	o.cfg.Card.ServeHTTP(w, r)
}
