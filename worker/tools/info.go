package tools

import "context"

// An Info says what a call belongs to.
type Info struct {
	Task    string // the task's id
	Context string // the id of the conversation
	Turn    int    // the message being answered, from 1
	Caller  string // the task's owner, as the access file names it; "anonymous" without one

	// Key is the idempotency key of a call to a tool with [Effects]: it names task, turn
	// and call, and is the same in every attempt. It is empty for other tools.
	Key string
}

type infoKey struct{}

// With gives a call its Info.
func With(ctx context.Context, i Info) context.Context {
	return context.WithValue(ctx, infoKey{}, i)
}

// InfoFrom is the Info of the call that ctx belongs to. Without one it is empty.
func InfoFrom(ctx context.Context) Info {
	i, _ := ctx.Value(infoKey{}).(Info)
	return i
}
