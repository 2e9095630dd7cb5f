package setup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"errand/shared/adapters/gemini"
	"errand/shared/adapters/standin"
	"errand/shared/agent"
	"errand/shared/model"
	"errand/shared/secret"
)

// turnSide makes the parts that run turns of the agent, which is nil if its definition
// cannot be read.
func (o *opening) turnSide(to *TurnSide, a *agent.Agent) {
	to.log = o.log
	if a == nil {
		return
	}

	o.kit(to, a)

	spec := o.env.Model
	if spec == "" {
		spec = "standin:"
		if o.env.GeminiKey != "" {
			spec = "gemini:" + a.Model
		}
	}

	kind, details, _ := strings.Cut(spec, ":")
	name, base, _ := strings.Cut(details, "@")
	if name == "" {
		name = a.Model
	}

	var err error
	switch kind {
	case "standin":
		to.StandIn = true
		to.Model, err = o.standIn(details)
	case "gemini":
		to.Model, err = o.gemini(name, base)
	case "vertex":
		to.Model, err = o.vertex(name, base)
	default:
		err = fmt.Errorf("ERRAND_MODEL: %q is no kind of model; use standin:, gemini:NAME, gemini:NAME@URL or vertex:NAME", kind)
	}

	o.note(err)
}

func (o *opening) standIn(details string) (model.Model, error) {
	answer, err := standin.Parse(details)
	if err != nil {
		return nil, fmt.Errorf("ERRAND_MODEL: %w", err)
	}
	return gemini.New(o.ctx, gemini.Config{
		Name: "stand-in", Key: fixed("none"), HTTPClient: standin.New(answer).Client(),
		Silence: 24 * time.Hour, // its delay is the user's wish
	})
}

func (o *opening) gemini(name, base string) (model.Model, error) {
	key, now := o.read(modelKey)
	if key == nil {
		return nil, nil // which is noted already
	}
	if now {
		if _, err := key(o.ctx); errors.Is(err, secret.ErrNotFound) {
			return nil, fmt.Errorf("ERRAND_MODEL=gemini needs a key, GEMINI_API_KEY or gemini-api-key in ERRAND_SECRETS: %w; use ERRAND_MODEL=standin: to try without", err)
		}
	}
	m, err := gemini.New(o.ctx, gemini.Config{Name: name, Key: key, BaseURL: base})
	if err != nil {
		return nil, fmt.Errorf("ERRAND_MODEL, or model in agent.yaml: %w; use gemini:NAME or gemini:NAME@URL", err)
	}
	return m, nil
}

func (o *opening) vertex(name, base string) (model.Model, error) {
	m, err := gemini.New(o.ctx, gemini.Config{Name: name, BaseURL: base, Vertex: &gemini.Vertex{Project: o.env.Project, Location: o.env.Location}})
	if err != nil {
		return nil, fmt.Errorf("ERRAND_MODEL=vertex: %w", err)
	}
	return m, nil
}

// modelKey is the secret that holds the key of the Gemini API.
const modelKey = "gemini-api-key"

// fixed is a key that does not change.
func fixed(key string) func(context.Context) (secret.Value, error) {
	return func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(key)) }
}

// CheckModel asks once whether the model can be used, so that a wrong key is seen
// before the first message. The program runs all the same: accepted messages wait.
func (t *TurnSide) CheckModel(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := t.Model.Check(ctx)
	denied, ok := errors.AsType[*model.Error](err)
	switch {
	case err == nil:
	case ok && denied.Kind() != model.Busy:
		t.log.ErrorContext(ctx, "the model refuses this configuration; check its key (GEMINI_API_KEY, or gemini-api-key in ERRAND_SECRETS) or service account, and its name (ERRAND_MODEL or agent.yaml)",
			"model", t.Model.Name(), "status", denied.Code, "reason", denied.Status, "err", err, "alert", true)
	default:
		t.log.ErrorContext(ctx, "the model could not be reached; messages wait until it can", "model", t.Model.Name(), "err", err)
	}
}
