package setup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"errand/shared/adapters/local"
	"errand/shared/keys"
	"errand/shared/secret"
)

// keys finds the secret with the ring of keys. Beside a SQLite file there may be none: then
// a later step makes one.
func (o *opening) keys(to *Sealing) {
	to.log = o.log
	get, now := o.read(keys.Secret)
	if get == nil {
		return
	}

	to.Keys = keys.New(keys.Config{Read: get})
	if !now {
		return
	}

	_, err := to.Keys.Ring(o.ctx)
	path, embedded := o.env.file()
	switch {
	case err == nil:
	case embedded && errors.Is(err, secret.ErrNotFound):
		o.later(func() (err error) {
			to.Keys, err = o.ownKeys(path + ".keys")
			return err
		})
	default:
		o.note(fmt.Errorf("ERRAND_KEYS, or errand-keys in ERRAND_SECRETS: %w", err))
	}
}

// credentialRing finds the secret with the keys of credentials. The worker opens credentials and
// must open nothing else, so they have a secret of their own. An agent whose code asks for no
// credentials needs none, so a secret that is missing is no fault: it is read at the first use.
func (o *opening) credentialRing() func(context.Context) (keys.Ring, error) {
	get, now := o.read(keys.CredentialSecret)
	if get == nil {
		return nil
	}
	k := keys.New(keys.Config{Read: get, Name: keys.CredentialSecret})
	if now {
		if _, err := k.Ring(o.ctx); err != nil && !errors.Is(err, secret.ErrNotFound) {
			o.note(fmt.Errorf("ERRAND_CREDENTIAL_KEYS, or errand-credential-keys in ERRAND_SECRETS: %w", err))
		}
	}
	return k.Ring
}

// CheckKeys reads the keys once, so that a secret without a version is seen before the
// first webhook. The program runs all the same: webhooks wait and are sent later.
func (s *Sealing) CheckKeys(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := s.Keys.Ring(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil: // also where nothing was done between requests
		s.log.ErrorContext(ctx, "the keys could not be read in time; webhooks wait until they can", "err", err)
	default:
		s.log.ErrorContext(ctx, "webhooks wait, and none that has a token or credentials can be registered: add what cardserver keys makes as a version of the secret errand-keys in ERRAND_SECRETS, and let this program read it",
			"err", err, "alert", true)
	}
}

// ownKeys makes a ring at the first start and keeps it beside the SQLite file. A ring that
// disappears later is not replaced, because receivers would not accept the signatures of
// another one.
func (o *opening) ownKeys(path string) (*keys.Keyring, error) {
	fresh := func() (string, error) {
		o.log.WarnContext(o.ctx, "keys for webhooks are made: keep the file with the database, because without it nothing that was sealed before can be opened, and receivers need the new ones", "file", path)
		return keys.Generate("", time.Now())
	}
	if _, err := local.KeyFile(path, fresh); err != nil {
		return nil, err
	}

	lost := func() (string, error) {
		return "", errors.New("it was there at the start: put it back, or restart for a fresh one")
	}
	ring := keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) { return local.KeyFile(path, lost) }})
	if _, err := ring.Ring(o.ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}

	return ring, nil
}
