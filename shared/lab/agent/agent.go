// Package agent is an agent for tests, in the form of worker/agent, whose place it takes in
// the programs that tests build (lab.Overlay). So no test of the frame depends on the
// agent of an installation.
package agent

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"errand/shared/kit"
	"errand/worker/run"
	"errand/worker/tools"
)

// Definition needs no setting and no secret.
//
//go:embed agent.yaml
var Definition []byte

// OwnQuestion is the message that the executor of this package answers itself, with
// OwnAnswer. The shipped executor answers all others.
const (
	OwnQuestion = "Who executes this?"
	OwnAnswer   = "An executor of one's own."
)

// CredentialQuestion begins a task for which the executor of this package asks for the credential
// lab-key, and which it answers with CredentialAnswer.
const (
	CredentialQuestion = "Have you got the key?"
	CredentialAnswer   = "A key of %d bytes."
)

// A Report is the result of the tool report.
type Report struct {
	tools.Info
	Answer string // of the service that the setting service names, to the secret service-token
}

// A zone is the argument of the tool clock, and its result.
type zone struct {
	Zone string `json:"zone"`
}

// Tools are clock, which repeats its argument, report, which returns a Report, await, which
// tells the service its wake URL in the query, and waits until the service answers "ready", and
// those that call a receiver.
func Tools(env kit.Env) ([]tools.Tool, error) {
	var s struct {
		Service string `setting:"service"`
	}
	if err := env.Settings(&s); err != nil {
		return nil, err
	}
	ask := func(ctx context.Context, _ struct{}) (Report, error) {
		answer, err := askService(ctx, env, s.Service)
		return Report{tools.InfoFrom(ctx), answer}, err
	}
	await := func(ctx context.Context, _ struct{}) (string, error) {
		answer, err := askService(ctx, env, s.Service+"?wake="+url.QueryEscape(tools.InfoFrom(ctx).Wake))
		if err == nil && answer != "ready" {
			err = tools.Wake(time.Now().Add(24 * time.Hour))
		}
		return answer, err
	}
	return append(calling(env, s.Service),
		tools.New("clock", "Tells a time zone.", func(_ context.Context, in zone) (zone, error) { return in, nil }),
		tools.New("report", "Reports what a call is given.", ask, tools.Effects()),
		tools.New("await", "Waits for the service.", await, tools.Effects()),
	), nil
}

func askService(ctx context.Context, env kit.Env, address string) (string, error) {
	token, err := env.Secret(ctx, "service-token")
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token.Text())

	resp, err := env.HTTP().Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// Executor answers OwnQuestion and leaves everything else to the one that is shipped.
func Executor(_ kit.Env, shipped a2asrv.AgentExecutor) (a2asrv.AgentExecutor, error) {
	counter, _ := shipped.(run.Counter)
	return own{shipped, counter}, nil
}

// An own is the shipped executor in all else, and counts as that one does.
type own struct {
	a2asrv.AgentExecutor
	run.Counter
}

func (o own) Execute(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	if first := ec.StoredTask.History[0]; len(first.Parts) > 0 && first.Parts[0].Text() == CredentialQuestion {
		return func(yield func(a2a.Event, error) bool) {
			key, err := run.Credential(ctx, "lab-key", "to measure it")
			if err != nil {
				yield(nil, err)
				return
			}
			yield(a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(fmt.Sprintf(CredentialAnswer, len(key.Reveal())))), nil)
		}
	}
	if ec.Message == nil || len(ec.Message.Parts) == 0 || ec.Message.Parts[0].Text() != OwnQuestion {
		return o.AgentExecutor.Execute(ctx, ec)
	}
	return func(yield func(a2a.Event, error) bool) {
		if yield(a2a.NewArtifactEvent(ec, a2a.NewTextPart(OwnAnswer)), nil) {
			yield(a2a.NewStatusUpdateEvent(ec, a2a.TaskStateCompleted, nil), nil)
		}
	}
}
