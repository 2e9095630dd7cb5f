package turn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/credential"
	"errand/shared/keys"
	"errand/shared/secret"
	"errand/shared/task"
	"errand/worker/run"
	workersteps "errand/worker/steps"
)

// credentials are those of a session's task.
type credentials struct {
	s *session
	r task.Record // as the run began
}

var _ run.Credentials = credentials{}

var errNoCredentials = errors.New("this worker keeps no credentials")

// Get implements run.Credentials. If the store or the keys cannot be read, another run asks again.
func (c credentials) Get(ctx context.Context, name, why string) (v secret.Value, err error) {
	store := c.s.w.cfg.Credentials
	if store == nil {
		return v, errNoCredentials
	}

	v, ok, err := store.Find(ctx, c.r, name)
	switch {
	case ok:
		return v, nil
	case errors.Is(err, keys.ErrSealed): // of a key that is gone, or moved here from another task
		c.s.log.ErrorContext(ctx, "a credential does not open, and is asked for again", "credential", name, "err", err)
	case err != nil:
		return v, later(err)
	}

	ask := credential.AskOf(c.r, name, c.s.w.cfg.Desk.Now())
	url, err := store.URL(ctx, ask)
	if err != nil {
		return v, later(err)
	}
	return v, &run.Wanted{Name: name, Message: wanted(ask, why, url)}
}

// Drop implements run.Credentials.
func (c credentials) Drop(ctx context.Context, name string) error {
	store := c.s.w.cfg.Credentials
	switch {
	case store == nil:
		return errNoCredentials
	case name == "":
		return credential.ErrName
	}
	if err := store.Drop(ctx, c.r, name); err != nil {
		return later(err)
	}
	return nil
}

// later asks for another run, unless it would end in the same way.
func later(err error) error {
	if errors.Is(err, credential.ErrURL) || errors.Is(err, credential.ErrName) {
		return err
	}
	return &workersteps.Again{Err: fmt.Errorf("credentials of the task: %w", err)}
}

// wanted asks a person for a credential, in words and as data.
func wanted(a credential.Ask, why, url string) *a2a.Message {
	until := a.Until.Format(time.RFC3339)
	text := fmt.Sprintf("The credential %s is needed", a.Name)
	if why != "" {
		text += " " + why
	}
	text += fmt.Sprintf(". Give it at %s, until %s. It is kept sealed, for this task alone, and for at most %d hours. Do not send it in a message.",
		url, until, int(credential.Keep.Hours()))

	return a2a.NewMessage(a2a.MessageRoleAgent, task.TextPart(text),
		a2a.NewDataPart(map[string]any{"credential": map[string]any{"name": a.Name, "why": why, "url": url, "until": until}}))
}

// dropCredentials deletes the credentials of a task that has ended. Those that are left after a
// crash end by themselves.
func (w *Worker) dropCredentials(ctx context.Context, r task.Record) error {
	if w.cfg.Credentials == nil || r.Task == nil || !r.Terminal() || !credential.Given(r) {
		return nil
	}
	if err := w.cfg.Credentials.Drop(ctx, r, ""); err != nil {
		return fmt.Errorf("deleting the credentials of task %s: %w", r.ID(), err)
	}
	return nil
}
