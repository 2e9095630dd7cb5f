package setup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"errand/shared/agent"
	"errand/shared/egress"
	"errand/shared/kit"
	"errand/shared/secret"
)

// kit checks settings, secrets and private destinations, and makes the Env of the agent's
// own code.
func (o *opening) kit(to *TurnSide, a *agent.Agent) {
	to.secrets = a.Secrets
	c := kit.Config{Secrets: a.Secrets, Log: o.log}
	var err error

	c.Settings, err = a.Configure(o.env.AgentSettings)
	o.note(err)

	o.note(a.CheckSecrets(o.env.AgentSecrets))
	if len(o.env.AgentSecrets) > 0 && !inVariables(o.env.Secrets) {
		o.note(fmt.Errorf("%s... is set, and ERRAND_SECRETS says that secrets are elsewhere: leave one of them out", agent.SecretPrefix))
	}
	if len(a.Secrets) > 0 {
		c.Source = o.ownSecrets(a.Secrets)
	}

	allow, err := egress.ParseAllow(o.env.AgentAllow)
	if err != nil {
		o.note(fmt.Errorf("ERRAND_AGENT_ALLOW: %w", err))
	}
	c.HTTP, err = egress.NewHTTP(egress.Config{Allow: allow, Own: o.own(o.env.URL)}, o.log)
	o.note(ownFault(err))

	to.Kit = kit.New(c)
}

// ownSecrets is the place of the agent's secrets. A secret that is missing from variables
// or files is a fault. CheckSecrets asks a service later.
func (o *opening) ownSecrets(secrets []agent.Secret) secret.Source {
	source, err := o.source()
	if err != nil {
		return nil // which is noted already
	}
	for _, s := range secrets {
		get, now := o.read(s.Name)
		if !now {
			break
		}
		switch v, err := get(o.ctx); {
		case err == nil && v.Text() == "":
			o.note(fmt.Errorf("the secret %s is required by agent.yaml (%s), and its value is only space", s.Name, s.Description))
		case errors.Is(err, secret.ErrNotFound) && inVariables(o.env.Secrets):
			o.note(fmt.Errorf("%s is required by agent.yaml: %s", s.Variable(), s.Description))
		case err != nil:
			o.note(fmt.Errorf("the secret %s is required by agent.yaml (%s) and cannot be read: %w", s.Name, s.Description, err))
		}
	}
	return source
}

// CheckSecrets reads the agent's secrets once, so that a secret without a value is seen
// before the first call that needs it. The program runs all the same.
func (t *TurnSide) CheckSecrets(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, s := range t.secrets {
		if _, err := t.Kit.Secret(ctx, s.Name); err != nil {
			t.log.ErrorContext(ctx, "a secret that agent.yaml names cannot be read; add a version of it where ERRAND_SECRETS says, and let this program read it",
				"secret", s.Name, "err", err, "alert", ctx.Err() == nil)
		}
	}
}
