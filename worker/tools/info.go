package tools

import "context"

// An Info names the task and the turn that a call belongs to.
type Info struct {
	Task    string // the task's id
	Context string // the id of the conversation
	Turn    int    // the message being answered, from 1
	Caller  string // the task's owner, as the access file names it; "anonymous" without one

	// Key names the call: TASK/LIFE/STEP.CALL. It is the same in every attempt and that of no
	// other call, so a receiver that remembers it can tell a repetition. LIFE tells a task from
	// an earlier one with the same id.
	Key string

	// Attempt counts how often this call was begun, from 1. A tool may see the same number
	// twice if the worker died.
	Attempt int

	// Wake is a URL that ends the wait of a call that returned [Wake]. It is called with POST
	// and carries no data. It counts from the call's first begin on, so that it can be passed
	// on before the call waits, and until the call has its result. It is empty if the agent has
	// no public address.
	Wake string
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
