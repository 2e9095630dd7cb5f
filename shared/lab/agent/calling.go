package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"errand/shared/kit"
	"errand/worker/tools"
)

// HeaderKey is the header in which a receiver gets the key of a call.
const HeaderKey = "Idempotency-Key"

// CallLimit is the time limit of the tools refund and payout.
const CallLimit = time.Second

// An Order is the argument of the tools that call a receiver. The receiver gets it as JSON.
type Order struct {
	Order string `json:"order"`
	Try   int    `json:"try"`
}

// calling are tools that send their argument to the path of their own name at the receiver:
// refund, whose receiver keeps keys, payout and transfer, whose receivers keep none, and look,
// which changes nothing.
func calling(env kit.Env, receiver string) []tools.Tool {
	tool := func(name, purpose string, opts ...tools.Option) tools.Tool {
		return tools.New(name, purpose, func(ctx context.Context, in Order) (string, error) {
			return call(ctx, env, receiver+"/"+name, in)
		}, opts...)
	}
	return []tools.Tool{
		tool("refund", "Refunds an order.", tools.Effects(), tools.TimeLimit(CallLimit)),
		tool("payout", "Pays an order out.", tools.Effects(), tools.KeepsKeys(0), tools.TimeLimit(CallLimit)),
		tool("transfer", "Transfers the price of an order.", tools.Effects(), tools.KeepsKeys(0)),
		tool("look", "Looks an order up."),
	}
}

// call calls a receiver, over a connection of its own. A receiver that answers 202 names, in
// milliseconds, when it is to be called again.
func call(ctx context.Context, env kit.Env, url string, in Order) (string, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set(HeaderKey, tools.InfoFrom(ctx).Key)
	req.Close = true

	resp, err := env.HTTP().Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)

	switch {
	case err != nil:
		return "", err
	case resp.StatusCode == http.StatusOK:
		return string(answer), nil
	case resp.StatusCode == http.StatusAccepted:
		var wait int
		if _, err := fmt.Sscan(string(answer), &wait); err != nil {
			return "", err
		}
		return "", tools.Later(time.Now().Add(time.Duration(wait) * time.Millisecond))
	}
	return "", fmt.Errorf("the receiver answers %s", resp.Status)
}
