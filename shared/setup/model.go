package setup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"errand/shared/gemini"
	"errand/shared/model"
	"errand/shared/secret"
	"errand/shared/standin"
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
		if e.GeminiKey == "" {
			return errors.New("ERRAND_MODEL=gemini needs GEMINI_API_KEY; set it, or use ERRAND_MODEL=standin: to try without")
		}
		if p.Model, err = gemini.New(ctx, gemini.Config{Name: name, Key: fixed(e.GeminiKey), BaseURL: base}); err != nil {
			return fmt.Errorf("ERRAND_MODEL, or model in agent.yaml: %w; use gemini:NAME or gemini:NAME@URL", err)
		}
		return nil
	}
	return fmt.Errorf("ERRAND_MODEL: %q is no kind of model; use standin:, gemini:NAME or gemini:NAME@URL", kind)
}

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
			"model", p.Model.Name(), "status", denied.Code, "reason", denied.Status, "alert", true)
	default:
		p.log.ErrorContext(ctx, "the model could not be reached; messages wait until it can", "model", p.Model.Name(), "err", err)
	}
}
