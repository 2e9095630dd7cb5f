package main_test

import (
	"context"
	"errors"
	"fmt"
	"iter"

	old "github.com/a2aproject/a2a-go/a2a"
	oldclient "github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
)

// An oldClient is the client of the SDK's module for 0.3. The functions of the newer module
// convert its types. The bytes on the wire are its own.
type oldClient struct{ c *oldclient.Client }

// oldErrors are the errors of the old module by their names in the new one.
var oldErrors = map[error]error{
	old.ErrTaskNotFound:         a2a.ErrTaskNotFound,
	old.ErrTaskNotCancelable:    a2a.ErrTaskNotCancelable,
	old.ErrUnsupportedOperation: a2a.ErrUnsupportedOperation,
	old.ErrInvalidParams:        a2a.ErrInvalidParams,
	old.ErrMethodNotFound:       a2a.ErrMethodNotFound,
}

func newError(err error) error {
	for was, is := range oldErrors {
		if errors.Is(err, was) {
			return fmt.Errorf("%w: %w", is, err)
		}
	}
	return err
}

// renewed converts a result of the old client.
func renewed[From, To any](v From, err error, convert func(From) (To, error)) (To, error) {
	if err != nil {
		var none To
		return none, newError(err)
	}
	return convert(v)
}

// surely makes a conversion out of one that cannot fail.
func surely[From, To any](convert func(From) To) func(From) (To, error) {
	return func(v From) (To, error) { return convert(v), nil }
}

func (o oldClient) SendMessage(ctx context.Context, req *a2a.SendMessageRequest) (a2a.SendMessageResult, error) {
	res, err := o.c.SendMessage(ctx, a2av0.FromV1SendMessageRequest(req))
	return renewed(res, err, func(res old.SendMessageResult) (a2a.SendMessageResult, error) {
		ev, err := a2av0.ToV1Event(res)
		if err != nil {
			return nil, err
		}
		out, ok := ev.(a2a.SendMessageResult)
		if !ok {
			return nil, fmt.Errorf("sending was answered with a %T", res)
		}
		return out, nil
	})
}

func (o oldClient) SendStreamingMessage(ctx context.Context, req *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] {
	return renewedEvents(o.c.SendStreamingMessage(ctx, a2av0.FromV1SendMessageRequest(req)))
}

func (o oldClient) SubscribeToTask(ctx context.Context, req *a2a.SubscribeToTaskRequest) iter.Seq2[a2a.Event, error] {
	return renewedEvents(o.c.ResubscribeToTask(ctx, a2av0.FromV1SubscribeToTaskRequest(req)))
}

func renewedEvents(seq iter.Seq2[old.Event, error]) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		for ev, err := range seq {
			if !yield(renewed(ev, err, a2av0.ToV1Event)) {
				return
			}
		}
	}
}

func (o oldClient) GetTask(ctx context.Context, req *a2a.GetTaskRequest) (*a2a.Task, error) {
	res, err := o.c.GetTask(ctx, a2av0.FromV1GetTaskRequest(req))
	return renewed(res, err, a2av0.ToV1Task)
}

func (o oldClient) ListTasks(ctx context.Context, req *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
	res, err := o.c.ListTasks(ctx, a2av0.FromV1ListTasksRequest(req))
	return renewed(res, err, a2av0.ToV1ListTasksResponse)
}

func (o oldClient) CancelTask(ctx context.Context, req *a2a.CancelTaskRequest) (*a2a.Task, error) {
	res, err := o.c.CancelTask(ctx, a2av0.FromV1CancelTaskRequest(req))
	return renewed(res, err, a2av0.ToV1Task)
}

func (o oldClient) CreateTaskPushConfig(ctx context.Context, req *a2a.PushConfig) (*a2a.PushConfig, error) {
	res, err := o.c.SetTaskPushConfig(ctx, a2av0.FromV1PushConfig(req))
	return renewed(res, err, surely(a2av0.ToV1PushConfig))
}

func (o oldClient) GetTaskPushConfig(ctx context.Context, req *a2a.GetTaskPushConfigRequest) (*a2a.PushConfig, error) {
	res, err := o.c.GetTaskPushConfig(ctx, a2av0.FromV1GetTaskPushConfigRequest(req))
	return renewed(res, err, surely(a2av0.ToV1PushConfig))
}

func (o oldClient) ListTaskPushConfigs(ctx context.Context, req *a2a.ListTaskPushConfigRequest) ([]*a2a.PushConfig, error) {
	res, err := o.c.ListTaskPushConfig(ctx, a2av0.FromV1ListTaskPushConfigRequest(req))
	return renewed(res, err, a2av0.ToV1PushConfigs)
}

func (o oldClient) DeleteTaskPushConfig(ctx context.Context, req *a2a.DeleteTaskPushConfigRequest) error {
	return newError(o.c.DeleteTaskPushConfig(ctx, a2av0.FromV1DeleteTaskPushConfigRequest(req)))
}
