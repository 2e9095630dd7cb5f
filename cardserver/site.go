package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"errand/cardserver/batches"
	discovery "errand/cardserver/catalogue"
	door "errand/cardserver/credentials"
	"errand/cardserver/files"
	"errand/cardserver/front"
	"errand/cardserver/openai"
	"errand/cardserver/push"
	"errand/shared/batch"
	"errand/shared/batchdesk"
	"errand/shared/card"
	"errand/shared/catalogue"
	"errand/shared/credential"
	"errand/shared/desk"
	"errand/shared/keys"
	"errand/shared/limits"
	"errand/shared/loopback"
	"errand/shared/queue"
	"errand/shared/serve"
	"errand/shared/setup"
	"errand/shared/uploads"
	sources "errand/worker/batches"
)

// A site is the front door at its address, whichever process runs the turns.
type site struct {
	parts    *setup.ClientSide
	env      setup.Env
	listener net.Listener
	log      *slog.Logger
	certs    *serve.Certificates // nil: connections are not encrypted
	limits   *limits.Limits
	uploads  *uploads.Store

	credentials *credential.Store    // those that tasks are given
	agents      *catalogue.Catalogue // of an organisation
}

// listen begins to listen. It refuses an address that strangers reach if the access file
// was not meant for that.
func listen(parts *setup.ClientSide, env setup.Env, log *slog.Logger) (*site, error) {
	s := &site{parts: parts, env: env, log: log}
	if env.TLS != "" {
		var err error
		if s.certs, err = serve.ReadCertificates(env.TLS, log); err != nil {
			return nil, fmt.Errorf("ERRAND_TLS: %w", err)
		}
	}
	l, err := serve.Listen(env.Address())
	if err != nil {
		return nil, err
	}
	s.listener = l
	s.limits = limits.New(limits.Config{Of: parts.Access.Limits, Holder: parts.Store, Files: s.fileBytes, Tokens: parts.Usage.Wait, Log: log})
	s.uploads = uploads.New(uploads.Config{Files: parts.Files, KV: parts.Store.KV(), Limit: s.limits.ForFiles, Room: parts.Store.Room})
	s.agents = catalogue.New(catalogue.Config{KV: parts.Store.KV(), Client: parts.Egress, CheckURL: parts.Egress.CheckURL, Policy: parts.Access, Now: time.Now, Log: log})
	s.credentials = credential.New(credential.Config{KV: parts.Store.KV(), Ring: parts.CredentialRing, Base: s.address, Now: time.Now})
	if err := parts.Access.Check(s.loopback()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// fileBytes counts the bytes of an owner's files.
func (s *site) fileBytes(ctx context.Context, owner string) (int64, error) {
	held, err := s.uploads.Held(ctx, owner)
	return held.Bytes, err
}

// loopback reports whether only this machine reaches the site.
func (s *site) loopback() bool {
	return loopback.Is(s.listener.Addr().String())
}

// address is where the agent is, as far as it knows.
func (s *site) address() string {
	if s.parts.URL != "" {
		return s.parts.URL
	}
	scheme := "http://"
	if s.certs != nil {
		scheme = "https://"
	}
	return scheme + s.listener.Addr().String()
}

// wakeURL is the address by which a call is woken.
func (s *site) wakeURL(wakeKey, call string) string { return keys.WakeURL(s.address(), wakeKey, call) }

// desk makes the desk that enqueues to q.
func (s *site) desk(q queue.Queue) *desk.Desk {
	return desk.New(desk.Config{
		Store: s.parts.Store, Queue: q, Rules: setup.Rules(s.parts.Agent), Now: time.Now, Log: s.log, Reused: s.env.Reused(),
		WakeKey: keys.NewWaker(s.parts.Keys.Ring, s.log).Key,
		Room: func(ctx context.Context, owner string) error {
			if err := s.parts.Store.Room(ctx); err != nil {
				return err
			}
			return s.limits.Admit(ctx, owner)
		},
	})
}

// handler serves clients: the card, the operations, and the state of webhooks. model is the
// name of the model that answers, for people.
func (s *site) handler(d *desk.Desk, model string) (http.Handler, error) {
	p := s.parts
	cards, err := newCards(s)
	if err != nil {
		return nil, err
	}

	c := s.batchDesk(d, model)
	api := push.New(push.Config{
		Withhold: c.WithholdItem, NoWebhooks: !p.Agent.Capabilities.PushNotifications,
		Desk: d, Store: p.Store, KV: p.Store.KV(), Files: s.uploads, Keys: p.Keys, Access: p.Access, CheckURL: p.Egress.CheckURL, Log: s.log,
	})

	found := discovery.New(discovery.Config{Catalogue: s.agents, Access: p.Access, Log: s.log})
	theirs := openai.New(openai.Config{Batches: c, Uploads: s.uploads, Access: p.Access, Now: time.Now, Log: s.log, Enter: s.limits.Enter})
	return front.New(front.Config{
		Desk: d, Store: p.Store, KV: p.Store.KV(), Agent: p.Agent, Access: p.Access, Keys: p.Keys, Card: cards, Extended: cards.extended, Push: api, Limits: s.limits, Log: s.log, Batches: c, Uploads: s.uploads, Objects: p.Objects,
		Doors: map[string]http.Handler{
			files.Path:          files.New(files.Config{Uploads: s.uploads, Batches: c, Access: p.Access, Log: s.log, URL: p.URL, Enter: s.limits.Enter}),
			batches.Path:        batches.New(batches.Config{Batches: c, Uploads: s.uploads, Access: p.Access, Now: time.Now, Log: s.log, Enter: s.limits.Enter}),
			discovery.Path:      found,
			discovery.WellKnown: found,
			credential.Path:     door.New(door.Config{Credentials: s.credentials, Desk: d, Store: p.Store, Access: p.Access, Log: s.log, Proxied: s.env.Hops() > 0}),
			"/v1/files":         theirs, // the rest of /v1 is A2A 0.3
			"/v1/batches":       theirs,
		},
		CheckURL: p.Egress.CheckURL, IDTokens: p.IDTokens, Model: model, URL: p.URL, Loopback: s.loopback(), Origins: s.env.AllowedOrigins(),
	}), nil
}

// form is what lines may ask of the agent.
func (s *site) form(model string) batch.Form {
	urls := []string{s.address()}
	if s.parts.URL == "" { // clients on this machine call it as they like
		_, port, _ := net.SplitHostPort(s.listener.Addr().String())
		scheme, _, _ := strings.Cut(s.address(), "://")
		urls = append(urls, scheme+"://localhost:"+port, scheme+"://127.0.0.1:"+port)
	}
	return batch.NewForm(s.parts.Agent, model, urls...)
}

// batchDesk makes the desk of batches, which changes records by d.
func (s *site) batchDesk(d *desk.Desk, model string) *batchdesk.Desk {
	p, currency := s.parts, ""
	if p.Agent.Prices != nil {
		currency = p.Agent.Prices.Currency
	}
	return batchdesk.New(batchdesk.Config{
		Desk: d, Store: p.Store, KV: p.Store.KV(), Files: p.Files, Uploads: s.uploads, Object: batchdesk.ObjectsOf(p.Objects), Objects: p.Objects,
		Manifests: sources.Sources{Uploads: s.uploads, Objects: p.Objects}, Form: s.form(model),
		Currency: currency, Log: s.log,
	})
}

// announce prints notes for the person who started the program, and last the address of
// the agent.
func (s *site) announce(out io.Writer) {
	if s.env.Reused() {
		fmt.Fprintln(out, "ERRAND_DEDUPE=off: a message that is sent twice is done twice, whoever sends it.")
	}
	if !s.loopback() && s.parts.Access.Anonymous() {
		fmt.Fprintln(out, "Whoever reaches this address may use the agent and read every task: ERRAND_ACCESS=anonymous says so.")
	}
	if s.parts.URL == "" && !s.loopback() {
		fmt.Fprintln(out, "Its card names the address of each request, and no cache may keep it: set ERRAND_URL to the address that clients use.")
	}
	url := s.address()
	fmt.Fprintf(out, "%s is at %s (card: %s%s)\n", s.parts.Agent.Name, url, url, card.Path)
}
