package agent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"errand/worker/agent"
	"errand/worker/tools"
)

// A tool that asks another service. agent.yaml names the setting shop_url, the secret
// shop-token and the tool order.
func Example() {
	type order struct {
		Item string `json:"item" jsonschema:"what to buy"`
	}

	_ = func(env agent.Env) ([]tools.Tool, error) { // as Tools in this folder
		var s struct {
			ShopURL string `setting:"shop_url"`
		}
		if err := env.Settings(&s); err != nil {
			return nil, err
		}

		buy := func(ctx context.Context, in order) (string, error) {
			token, err := env.Secret(ctx, "shop-token") // at each call, so that a rotated one is used
			if err != nil {
				return "", err
			}

			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.ShopURL+"/orders?item="+url.QueryEscape(in.Item), http.NoBody)
			if err != nil {
				return "", err
			}

			call := tools.InfoFrom(ctx)
			req.Header.Set("Authorization", "Bearer "+token.Text())
			req.Header.Set("Idempotency-Key", call.Key) // the same after a crash

			resp, err := env.HTTP().Do(req)
			if err != nil {
				return "", err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				return "", fmt.Errorf("the shop answers %s", resp.Status)
			}

			number, err := io.ReadAll(resp.Body)
			env.Log().InfoContext(ctx, "ordered", "task", call.Task)
			return "order " + string(number), err
		}

		return []tools.Tool{tools.New("order", "Orders an item in the shop.", buy, tools.Effects())}, nil
	}
}
