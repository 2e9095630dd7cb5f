package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/model"
	"errand/shared/secret"
)

// openModel chooses the model: ERRAND_MODEL, or agent.yaml's with a key, or the
// stand-in.
func (p *Parts) openModel(ctx context.Context, e Env) (err error) {
	spec := e.Model
	if spec == "" {
		spec = "standin:"
		if e.GeminiKey != "" {
			spec = "gemini:" + p.Agent.Model
		}
	}

	kind, details, _ := strings.Cut(spec, ":")
	switch kind {
	case "standin":
		answer, err := standin.Parse(details)
		if err != nil {
			return fmt.Errorf("ERRAND_MODEL: %w", err)
		}
		p.StandIn = true
		p.Model, err = gemini.New(ctx, gemini.Config{Name: "stand-in", Key: fixed("none"), HTTPClient: standin.New(answer).Client()})
		return err

	case "gemini":
		name, base, _ := strings.Cut(details, "@")
		if name == "" {
			name = p.Agent.Model
		}

		source, err := p.secrets(ctx, e)
		if err != nil {
			return err
		}

		key := func(ctx context.Context) (secret.Value, error) {
			return source.Get(ctx, secret.Ref{Name: modelKey})
		}

		// Secret Manager is not asked before the program is ready, which a call would
		// delay at every start from nothing; CheckModel says the same a moment later.
		if _, far := source.(io.Closer); !far {
			if _, err := key(ctx); errors.Is(err, secret.ErrNotFound) {
				return fmt.Errorf("ERRAND_MODEL=gemini needs a key, GEMINI_API_KEY or gemini-api-key in ERRAND_SECRETS: %w; use ERRAND_MODEL=standin: to try without", err)
			}
		}

		if p.Model, err = gemini.New(ctx, gemini.Config{Name: name, Key: key, BaseURL: base}); err != nil {
			return fmt.Errorf("ERRAND_MODEL, or model in agent.yaml: %w; use gemini:NAME or gemini:NAME@URL", err)
		}

		return nil

	case "vertex":
		name, base, _ := strings.Cut(details, "@")
		if name == "" {
			name = p.Agent.Model
		}
		p.Model, err = gemini.New(ctx, gemini.Config{Name: name, BaseURL: base, Vertex: &gemini.Vertex{Project: e.Project, Location: e.Location}})
		if err != nil {
			return fmt.Errorf("ERRAND_MODEL=vertex: %w", err)
		}
		return nil
	}

	return fmt.Errorf("ERRAND_MODEL: %q is no kind of model; use standin:, gemini:NAME, gemini:NAME@URL or vertex:NAME", kind)
}

// modelKey is the secret that holds the key of the Gemini API.
const modelKey = "gemini-api-key"

// fixed is a key that does not change.
func fixed(key string) func(context.Context) (secret.Value, error) {
	return func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(key)) }
}

// CheckModel asks once whether the model can be used, so that a wrong key is seen
// before the first message. The program runs all the same: what was accepted waits.
func (p *Parts) CheckModel(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := p.Model.Check(ctx)
	var denied *model.Error
	switch {
	case err == nil:
	case errors.As(err, &denied) && (denied.Denied() || denied.Invalid()):
		p.log.ErrorContext(ctx, "the model refuses this configuration; check its key (GEMINI_API_KEY, or gemini-api-key in ERRAND_SECRETS) or service account, and its name (ERRAND_MODEL or agent.yaml)",
			"model", p.Model.Name(), "status", denied.Code, "reason", denied.Status, "err", err, "alert", true)
	default:
		p.log.ErrorContext(ctx, "the model could not be reached; messages wait until it can", "model", p.Model.Name(), "err", err)
	}
}
