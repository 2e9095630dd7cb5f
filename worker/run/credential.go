package run

import (
	"context"
	"errors"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/secret"
)

// Credentials are those that people give to the task while it runs, each for this task alone.
type Credentials interface {
	// Get returns the newest credential with the name. Without one the error is a *Wanted, which
	// asks for it, and why says what the credential is for, to the person who has it: "to read
	// the repository acme/shop". Other errors name no credential.
	Get(ctx context.Context, name, why string) (secret.Value, error)

	// Drop deletes the credential with the name, because its service refuses it. The next Get
	// asks again.
	Drop(ctx context.Context, name string) error
}

// Wanted is the error with which an executor asks a person for a credential. The turn ends in
// AUTH_REQUIRED with the message, which names a URL. When the credential was given there, another
// turn begins.
type Wanted struct {
	Name    string
	Message *a2a.Message
}

// Error implements error. It does not tell the URL, which takes the credential of anybody.
func (w *Wanted) Error() string { return "the task needs the credential " + w.Name }

var errNoTurn = errors.New("run: no credential can be asked for here: the context belongs to no turn")

// Credential is Get of the Credentials of the turn that ctx belongs to. An executor passes its
// error on as it is, or wrapped with %w. A tool of the shipped executor returns it. Names have 1 to 64 of a-z, 0-9, '.', '_' and '-'.
//
// The value is for one use: ask again before the next one. It prints as [secret]; its Text is
// the credential.
func Credential(ctx context.Context, name, why string) (secret.Value, error) {
	if r, ok := From(ctx); ok && r.Credentials != nil {
		return r.Credentials.Get(ctx, name, why)
	}
	return secret.Value{}, errNoTurn
}

// DropCredential is Drop of the Credentials of the turn that ctx belongs to.
func DropCredential(ctx context.Context, name string) error {
	if r, ok := From(ctx); ok && r.Credentials != nil {
		return r.Credentials.Drop(ctx, name)
	}
	return errNoTurn
}
