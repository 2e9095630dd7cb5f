package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"errand/shared/adapters/local"
	"errand/shared/keys"
	"errand/shared/secret"
)

// openKeys finds the secret with the ring of keys. Beside a SQLite file there may be none:
// see ownKeys.
func (p *Parts) openKeys(ctx context.Context, e Env) error {
	source, err := p.secrets(ctx, e)
	if err != nil {
		return err
	}
	ring := keys.New(keys.Config{Read: func(ctx context.Context) (secret.Value, error) {
		return source.Get(ctx, secret.Ref{Name: keys.Secret})
	}})
	if _, far := source.(io.Closer); !far { // which is not asked before the program is ready: see openModel
		_, err := ring.Ring(ctx)
		if _, embedded := e.file(); embedded && errors.Is(err, secret.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("ERRAND_KEYS, or errand-keys in ERRAND_SECRETS: %w", err)
		}
	}
	p.Keys = ring
	return nil
}

// CheckKeys reads the keys once, so that a secret without a version is seen before the
// first webhook. The program runs all the same: what is owed is sent when they are there.
func (p *Parts) CheckKeys(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := p.Keys.Ring(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil: // also where nothing was done between requests
		p.log.ErrorContext(ctx, "the keys could not be read in time; webhooks wait until they can", "err", err)
	default:
		p.log.ErrorContext(ctx, "webhooks wait, and none that has a token or credentials can be registered: add what cardserver keys makes as a version of the secret errand-keys in ERRAND_SECRETS, and let this program read it",
			"err", err, "alert", true)
	}
}

// ownKeys makes a ring at the first start and keeps it beside the SQLite file. One that
// disappears later is missed: another in its place would sign what no receiver believes.
func (p *Parts) ownKeys(ctx context.Context, e Env) error {
	path, embedded := e.file()
	if p.Keys != nil || !embedded {
		return nil
	}
	path += ".keys"
	fresh := func() (string, error) {
		p.log.WarnContext(ctx, "keys for webhooks are made: keep the file with the database, because without it nothing that was sealed before can be opened, and receivers need the new ones", "file", path)
		return keys.Generate("", time.Now())
	}
	if _, err := local.KeyFile(path, fresh); err != nil {
		return err
	}
	lost := func() (string, error) {
		return "", errors.New("it was there at the start: put it back, or restart for a fresh one")
	}
	p.Keys = keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) { return local.KeyFile(path, lost) }})
	if _, err := p.Keys.Ring(ctx); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
