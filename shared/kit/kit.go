// Package kit holds what the code of an installation is given to work with: its settings,
// its secrets, a way out to other services, and a logger.
//
// It reads no environment and chooses nothing: shared/setup makes an Env for a program, and
// shared/lab for a test. What belongs to one call, such as its task and its key, is in the
// call's context; see errand/worker/tools.
package kit

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"errand/shared/agent"
	"errand/shared/secret"
)

// An Env is what tools and an executor of one's own are given at the start. It is safe for
// concurrent use. Nothing outside of the frame makes one; its zero value has nothing.
type Env struct{ cfg Config }

// Config is what an Env is made of. All fields are required.
type Config struct {
	Settings agent.Settings
	Secrets  []agent.Secret // those that may be read
	Source   secret.Source
	HTTP     *http.Client // guarded
	Log      *slog.Logger
}

// New makes an Env.
func New(c Config) Env { return Env{c} }

// Settings copies the settings of agent.yaml into a struct; each field names its setting
// in a tag, such as `setting:"shop_url"`. See [agent.Settings.Into].
func (e Env) Settings(into any) error { return e.cfg.Settings.Into(into) }

// Secret reads a secret that agent.yaml names. Ask at each use and keep nothing: then a
// rotated secret is seen within minutes. A Value prints as [secret]; its Text is the
// secret. The error holds no part of it.
func (e Env) Secret(ctx context.Context, name string) (secret.Value, error) {
	if !slices.ContainsFunc(e.cfg.Secrets, func(s agent.Secret) bool { return s.Name == name }) {
		return secret.Value{}, fmt.Errorf("agent.yaml names no secret %s: add it under secrets%s", name, there(e.cfg.Secrets))
	}
	return e.cfg.Source.Get(ctx, secret.Ref{Name: name})
}

// there lists the secrets that there are.
func there(secrets []agent.Secret) string {
	var names []string
	for _, s := range secrets {
		names = append(names, s.Name)
	}
	if names == nil {
		return ""
	}
	return "; there are: " + strings.Join(names, ", ")
}

// HTTP is the client for requests to other services. It reaches public addresses by HTTPS,
// private ones only where ERRAND_AGENT_ALLOW names them, and never this installation. Put
// secrets into headers: its errors quote the URL.
func (e Env) HTTP() *http.Client { return e.cfg.HTTP }

// Log is the program's logger. With the ctx of a call its lines carry the request's id and
// trace.
func (e Env) Log() *slog.Logger { return e.cfg.Log }
