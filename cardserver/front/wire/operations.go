package wire

import (
	"context"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/dialect"
)

// The operations by their names in 1.0, which are the methods of its JSON-RPC.
const (
	opSend       = "SendMessage"
	opStream     = "SendStreamingMessage"
	opGet        = "GetTask"
	opList       = "ListTasks"
	opCancel     = "CancelTask"
	opSubscribe  = "SubscribeToTask"
	opCreateHook = "CreateTaskPushNotificationConfig"
	opGetHook    = "GetTaskPushNotificationConfig"
	opListHooks  = "ListTaskPushNotificationConfigs"
	opDeleteHook = "DeleteTaskPushNotificationConfig"
	opCard       = "GetExtendedAgentCard"
)

// A reader fills requests from the params of one version.
type reader struct {
	send       func(*cursor, *a2a.SendMessageRequest)
	get        func(*cursor, *a2a.GetTaskRequest)
	list       func(*cursor, *a2a.ListTasksRequest)
	cancel     func(*cursor, *a2a.CancelTaskRequest)
	subscribe  func(*cursor, *a2a.SubscribeToTaskRequest)
	createHook func(*cursor, *a2a.PushConfig)
	getHook    func(*cursor, *a2a.GetTaskPushConfigRequest)
	listHooks  func(*cursor, *a2a.ListTaskPushConfigRequest)
	deleteHook func(*cursor, *a2a.DeleteTaskPushConfigRequest)
}

var readers = [...]reader{
	dialect.V1: {
		send: (*cursor).sendMessage, get: (*cursor).getTask, list: (*cursor).listTasks,
		cancel: (*cursor).cancelTask, subscribe: (*cursor).subscribe, createHook: (*cursor).createPushConfig,
		getHook: (*cursor).getPushConfig, listHooks: (*cursor).listPushConfigs, deleteHook: (*cursor).deletePushConfig,
	},
	dialect.V03:     reader03(configured03),
	dialect.V03REST: reader03(configured03REST),
}

// do serves an operation. It is the one list of them, for all bindings and versions.
func (c *call) do(operation string, params []byte) error {
	c.operation = operation
	h, in, p := c.handler, &readers[c.dialect], c.path
	id := a2a.TaskID(p.task)

	switch operation {
	case opSend:
		send := func(ctx context.Context, req *a2a.SendMessageRequest) (*a2a.StreamResponse, error) {
			res, err := h.SendMessage(ctx, req)
			return &a2a.StreamResponse{Event: res}, err
		}
		return unary(c, params, &a2a.SendMessageRequest{Tenant: p.tenant}, in.send, send)

	case opStream:
		return stream(c, params, &a2a.SendMessageRequest{Tenant: p.tenant}, in.send, h.SendStreamingMessage)
	case opGet:
		return unary(c, params, &a2a.GetTaskRequest{Tenant: p.tenant, ID: id}, in.get, h.GetTask)

	case opList:
		list := func(ctx context.Context, req *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
			res, err := h.ListTasks(ctx, req)
			if err == nil && res != nil && !req.IncludeArtifacts {
				res = withoutArtifacts(res)
			}
			return res, err
		}
		return unary(c, params, &a2a.ListTasksRequest{Tenant: p.tenant}, in.list, list)

	case opCancel:
		return unary(c, params, &a2a.CancelTaskRequest{Tenant: p.tenant, ID: id}, in.cancel, h.CancelTask)
	case opSubscribe:
		return stream(c, params, &a2a.SubscribeToTaskRequest{Tenant: p.tenant, ID: id}, in.subscribe, h.SubscribeToTask)
	case opCreateHook:
		return unary(c, params, &a2a.PushConfig{Tenant: p.tenant, TaskID: id}, in.createHook, h.CreateTaskPushConfig)
	case opGetHook:
		return unary(c, params, &a2a.GetTaskPushConfigRequest{Tenant: p.tenant, TaskID: id, ID: p.config}, in.getHook, h.GetTaskPushConfig)

	case opListHooks:
		return unary(c, params, &a2a.ListTaskPushConfigRequest{Tenant: p.tenant, TaskID: id}, in.listHooks, h.ListTaskPushConfigs)
	case opDeleteHook:
		remove := func(ctx context.Context, req *a2a.DeleteTaskPushConfigRequest) (*nothing, error) {
			return &nothing{}, h.DeleteTaskPushConfig(ctx, req)
		}
		return unary(c, params, &a2a.DeleteTaskPushConfigRequest{Tenant: p.tenant, TaskID: id, ID: p.config}, in.deleteHook, remove)

	case opCard:
		return unary(c, params, &a2a.GetExtendedAgentCardRequest{Tenant: p.tenant}, (*cursor).extendedCard, h.GetExtendedAgentCard)
	}

	return dialect.ErrNothing // every route and method names one of the above
}

// nothing is the result of an operation that has none: null in JSON-RPC, where a
// response needs a result, and an empty object elsewhere.
type nothing struct{}

// withoutArtifacts is a page whose tasks have none, not even an empty list (3.1.4).
// The tasks themselves may be shared.
func withoutArtifacts(l *a2a.ListTasksResponse) *a2a.ListTasksResponse {
	page := *l
	page.Tasks = make([]*a2a.Task, len(l.Tasks))
	for i, t := range l.Tasks {
		bare := *t
		bare.Artifacts = nil
		page.Tasks[i] = &bare
	}
	return &page
}
