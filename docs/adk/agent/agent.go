// Package agent is an example of worker/agent with an agent of ADK, whose place it takes in the
// program that the tests build.
package agent

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"google.golang.org/adk/v2/agent"
	"google.golang.org/adk/v2/agent/llmagent"
	"google.golang.org/adk/v2/model/gemini"
	"google.golang.org/adk/v2/tool"
	"google.golang.org/adk/v2/tool/functiontool"
	"google.golang.org/genai"

	"errand/docs/adk"
	"errand/shared/kit"
	"errand/worker/tools"
)

// Definition names the settings and the secret of the agent.
//
//go:embed agent.yaml
var Definition []byte

// Tools are those of the shipped executor, which this agent does not use.
func Tools(kit.Env) ([]tools.Tool, error) { return nil, nil }

// Executor runs the agent of ADK in the place of the shipped executor.
func Executor(env kit.Env, _ a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error) {
	var s struct {
		Model string `setting:"model_url"`
		Shop  string `setting:"shop_url"`
	}
	if err := env.Settings(&s); err != nil {
		return nil, err
	}

	ctx := context.Background()
	key, err := env.Secret(ctx, "model-key")
	if err != nil {
		return nil, err
	}
	model, err := gemini.NewModel(ctx, "gemini-3.6-flash", &genai.ClientConfig{
		Backend: genai.BackendGeminiAPI, APIKey: key.Text(), HTTPClient: env.HTTP(), HTTPOptions: genai.HTTPOptions{BaseURL: s.Model},
	})
	if err != nil {
		return nil, err
	}

	shop := shop{env, s.Shop}
	refund, err := functiontool.New(functiontool.Config{
		Name: "refund", Description: "Refunds an order.", RequireConfirmation: true,
	}, shop.refund)
	if err != nil {
		return nil, err
	}
	look, err := functiontool.New(functiontool.Config{Name: "look", Description: "Looks an order up, and notes that it did."}, shop.look)
	if err != nil {
		return nil, err
	}

	root, err := llmagent.New(llmagent.Config{
		Name: "refunds", Model: adk.Model(model), Instruction: "Refund orders.", Tools: []tool.Tool{refund, look},
	})
	if err != nil {
		return nil, err
	}
	return adk.New(adk.Config{App: "refunds", Agent: root, Run: agent.RunConfig{StreamingMode: agent.StreamingModeSSE}})
}

// A shop is a service that recognises a repeated request by its key.
type shop struct {
	env kit.Env
	url string
}

type order struct {
	Order string `json:"order" jsonschema:"the number of the order"`
}

type receipt struct {
	Number string `json:"number"`
}

func (s shop) refund(ctx agent.Context, in order) (receipt, error) { return s.post(ctx, "refund", in) }
func (s shop) look(ctx agent.Context, in order) (receipt, error)   { return s.post(ctx, "look", in) }

func (s shop) post(ctx agent.Context, what string, in order) (receipt, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/"+what+"?order="+url.QueryEscape(in.Order), http.NoBody)
	if err != nil {
		return receipt{}, err
	}
	req.Header.Set("Idempotency-Key", adk.Key(ctx)) // the same in every run of the turn

	resp, err := s.env.HTTP().Do(req)
	if err != nil {
		return receipt{}, errors.New("the shop does not answer")
	}
	defer resp.Body.Close()
	number, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return receipt{}, fmt.Errorf("the shop answers %s", resp.Status)
	}
	return receipt{string(number)}, nil
}
