package tools

import "context"

type keyKey struct{}

// WithKey gives a call its idempotency key.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyKey{}, key)
}

// Key is the idempotency key of a call to a tool with [Effects]: task, turn and step, the
// same in every attempt. It is empty for other tools.
func Key(ctx context.Context) string {
	key, _ := ctx.Value(keyKey{}).(string)
	return key
}
