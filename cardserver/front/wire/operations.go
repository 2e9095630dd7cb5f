package wire

import (
	"context"
	"iter"
	"net/http"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/go-json-experiment/json/jsontext"

	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/dialect"
)

// An operation is one row of the protocol. Both bindings and both versions derive their
// methods and paths from the rows; a new operation is one row and the readers of its
// fields.
type operation struct {
	name     string   // in 1.0, and of its JSON-RPC method there
	name03   string   // of the JSON-RPC method in 0.3
	verbs    []string // HTTP methods in HTTP+JSON, in the order of an Allow header
	path     string   // in HTTP+JSON; {task} and {config} stand for one segment
	path03   string   // in HTTP+JSON of 0.3, below v1; empty: as in 1.0
	query    []string // fields that a query may have beside the tenant
	bodyless bool     // a POST may come without a body
	serve    service  // nil: the name is known and not served

	right   auth.Right // that a caller needs
	changes bool       // it changes something, and the audit log has a line for each request
}

var (
	get       = []string{http.MethodGet}
	post      = []string{http.MethodPost}
	getOrPost = []string{http.MethodGet, http.MethodPost} // the specification's verb of a subscription, and the proto's
	remove    = []string{http.MethodDelete}
)

// operations are all rows. Rows of one path stand in the order of an Allow header.
var operations = [...]operation{
	{
		name: "SendMessage", name03: "message/send", verbs: post, path: "message:send",
		right: auth.Send, changes: true,
		serve: unary((*cursor).sendMessage, (*cursor).sendMessage03, sendMessage),
	}, {
		name: "SendStreamingMessage", name03: "message/stream", verbs: post, path: "message:stream",
		right: auth.Send, changes: true,
		serve: stream((*cursor).sendMessage, (*cursor).sendMessage03, a2asrv.RequestHandler.SendStreamingMessage),
	}, {
		name: "GetTask", name03: "tasks/get", verbs: get, path: "tasks/{task}", query: []string{"historyLength"},
		right: auth.Read,
		serve: unary((*cursor).getTask, (*cursor).getTask, a2asrv.RequestHandler.GetTask),
	}, {
		name: "ListTasks", verbs: get, path: "tasks",
		query: []string{"contextId", "status", "pageSize", "pageToken", "historyLength", "statusTimestampAfter", "lastUpdatedAfter", "lastUpdatedTime", "includeArtifacts"},
		right: auth.Read,
		serve: unary((*cursor).listTasks, (*cursor).listTasks03, listTasks),
	}, {
		name03: "tasks/list", // not in 0.3, which lists in HTTP+JSON alone; a client that tries it gets an error of 0.3
	}, {
		name: "CancelTask", name03: "tasks/cancel", verbs: post, path: "tasks/{task}:cancel", bodyless: true,
		right: auth.Cancel, changes: true,
		serve: unary((*cursor).cancelTask, (*cursor).cancelTask, a2asrv.RequestHandler.CancelTask),
	}, {
		name: "SubscribeToTask", name03: "tasks/resubscribe", verbs: getOrPost, path: "tasks/{task}:subscribe", bodyless: true,
		right: auth.Read,
		serve: stream((*cursor).subscribe, (*cursor).subscribe, a2asrv.RequestHandler.SubscribeToTask),
	}, {
		name: "ListTaskPushNotificationConfigs", name03: "tasks/pushNotificationConfig/list",
		verbs: get, path: "tasks/{task}/pushNotificationConfigs", query: []string{"pageSize", "pageToken"},
		right: auth.Webhooks,
		serve: unary((*cursor).listPushConfigs, (*cursor).listPushConfigs03, a2asrv.RequestHandler.ListTaskPushConfigs),
	}, {
		name: "CreateTaskPushNotificationConfig", name03: "tasks/pushNotificationConfig/set",
		verbs: post, path: "tasks/{task}/pushNotificationConfigs", query: []string{"configId"},
		right: auth.Webhooks, changes: true,
		serve: unary((*cursor).createPushConfig, (*cursor).createPushConfig03, a2asrv.RequestHandler.CreateTaskPushConfig),
	}, {
		name: "GetTaskPushNotificationConfig", name03: "tasks/pushNotificationConfig/get",
		verbs: get, path: "tasks/{task}/pushNotificationConfigs/{config}",
		right: auth.Webhooks,
		serve: unary((*cursor).getPushConfig, (*cursor).getPushConfig03, a2asrv.RequestHandler.GetTaskPushConfig),
	}, {
		name: "DeleteTaskPushNotificationConfig", name03: "tasks/pushNotificationConfig/delete",
		verbs: remove, path: "tasks/{task}/pushNotificationConfigs/{config}",
		right: auth.Webhooks, changes: true,
		serve: unary((*cursor).deletePushConfig, (*cursor).deletePushConfig03, deletePushConfig),
	}, {
		name: "GetExtendedAgentCard", name03: "agent/getAuthenticatedExtendedCard", verbs: get, path: "extendedAgentCard", path03: "card",
		right: auth.Read,
		serve: extendedCard,
	},
}

// byMethod finds the operation of a JSON-RPC method, and the version that calls it so.
func byMethod(method string) (*operation, dialect.Dialect) {
	for i := range operations {
		switch o := &operations[i]; method {
		case o.name:
			return o, dialect.V1
		case o.name03:
			return o, dialect.V03
		}
	}
	return &operation{}, dialect.V1
}

// A service serves one operation.
type service func(c *call, p params) error

// unary serves an operation that has one answer.
func unary[Req, Res any](read, read03 func(*cursor, *Req), do func(a2asrv.RequestHandler, context.Context, *Req) (*Res, error)) service {
	return func(c *call, p params) error {
		ctx, req, err := request(c, p, read, read03)
		if err != nil {
			return err
		}
		res, err := do(c.handler, ctx, req)
		if err != nil {
			return err
		}
		if res == nil {
			return dialect.ErrNothing
		}
		c.charge.Settle()
		return c.answer(res)
	}
}

// stream serves an operation that answers with events.
func stream[Req any](read, read03 func(*cursor, *Req), do func(a2asrv.RequestHandler, context.Context, *Req) iter.Seq2[a2a.Event, error]) service {
	return func(c *call, p params) error {
		c.streaming = true
		ctx, req, err := request(c, p, read, read03)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return c.send(ctx, cancel, do(c.handler, ctx, req))
	}
}

// request reads the service parameters and then the request itself.
func request[Req any](c *call, p params, read, read03 func(*cursor, *Req)) (context.Context, *Req, error) {
	ctx, err := c.begin()
	if err != nil {
		return nil, nil, err
	}
	if c.dialect != dialect.V1 {
		read = read03
	}
	req, names, err := decode(p, c.dialect, read)
	c.names = names
	return ctx, req, err
}

// extendedCard answers with the document that clients of both versions read, as the public card.
// No cache but the caller's own may keep it.
func extendedCard(c *call, p params) error {
	ctx, req, err := request(c, p, (*cursor).extendedCard, (*cursor).extendedCard)
	if err != nil {
		return err
	}
	own, err := c.handler.GetExtendedAgentCard(ctx, req)
	if err != nil {
		return err
	}
	doc, err := card.Encode(own)
	if err != nil {
		return err
	}

	c.charge.Settle()
	c.w.Header().Set("Cache-Control", "private, max-age=300")
	c.w.Header().Add("Vary", "Authorization, X-API-Key")
	return c.answer(jsontext.Value(doc))
}

func sendMessage(h a2asrv.RequestHandler, ctx context.Context, req *a2a.SendMessageRequest) (*a2a.StreamResponse, error) {
	res, err := h.SendMessage(ctx, req)
	return &a2a.StreamResponse{Event: res}, err
}

// listTasks lists tasks. Without a wish for artifacts they have none, not even an empty
// list (3.1.4). The tasks themselves may be shared.
func listTasks(h a2asrv.RequestHandler, ctx context.Context, req *a2a.ListTasksRequest) (*a2a.ListTasksResponse, error) {
	res, err := h.ListTasks(ctx, req)
	if err != nil || res == nil || req.IncludeArtifacts {
		return res, err
	}
	page := *res
	page.Tasks = make([]*a2a.Task, len(res.Tasks))
	for i, t := range res.Tasks {
		bare := *t
		bare.Artifacts = nil
		page.Tasks[i] = &bare
	}
	return &page, nil
}

func deletePushConfig(h a2asrv.RequestHandler, ctx context.Context, req *a2a.DeleteTaskPushConfigRequest) (*nothing, error) {
	return &nothing{}, h.DeleteTaskPushConfig(ctx, req)
}

// nothing is the result of an operation that has none: null in JSON-RPC, where a
// response needs a result, and an empty object elsewhere.
type nothing struct{}
