package executor_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/adapters/standin"
	"errand/shared/credential"
	"errand/shared/lab/scripts"
	"errand/shared/lab/world"
	"errand/worker/run"
	"errand/worker/tools"
)

// A tool that lacks a credential ends the turn, which asks for it before the model is asked again.
// When it was given, the model calls the tool again. The model is shown nothing of it.
func TestToolAsksForCredential(t *testing.T) {
	s := newSite(t)
	s.given = credential.New(credential.Config{KV: s.Store.KV(), Ring: world.Keys(t).Ring, Base: func() string { return "https://agent.example.com" }, Now: s.clock})
	var got []string
	buy := tools.New("buy", "Buys.", func(ctx context.Context, _ struct{}) (string, error) {
		key, err := run.Credential(ctx, "shop-key", "to buy in your name")
		if err == nil {
			got = append(got, key.Text())
		}
		return "bought", err
	}, tools.Effects())

	script := scripts.New(standin.Call(call("buy", nil)), standin.Call(call("buy", nil)), standin.Text("Done."))
	s.setup = setup{model: scripted(t, script), tools: []tools.Tool{buy}}
	id := s.send("m1", "Buy it!", "").ID()
	r := s.until(id)
	if r.State() != a2a.TaskStateAuthRequired || len(script.Requests()) != 1 || !strings.Contains(r.Task.Status.Message.Parts[0].Text(), "https://agent.example.com/credentials/"+id+"/") {
		t.Fatalf("after %d requests the task is %s: %+v", len(script.Requests()), r.State(), r.Task.Status.Message)
	}

	ask := credential.AskOf(r, "shop-key", s.clock())
	if _, err := s.given.Give(t.Context(), r, ask, "canary-key"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.desk.ChangeByID(t.Context(), id, ask.Tell); err != nil {
		t.Fatal(err)
	}
	if r := s.until(id); r.State() != a2a.TaskStateCompleted || !slices.Equal(got, []string{"canary-key"}) || len(script.Requests()) != 3 {
		t.Errorf("after %d requests the task is %s, and the tool got %q", len(script.Requests()), r.State(), got)
	}
	for _, r := range script.Requests() {
		if said := plain(r.Contents); strings.Contains(said, "canary") {
			t.Errorf("the model is shown %s", said)
		}
	}
}
