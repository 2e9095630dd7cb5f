package executor_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"errand/shared/agent"
	"errand/shared/lab/scripts"
	"errand/shared/model"
)

// An estimate costs two counts, whatever the number of texts. Both have what every message has:
// the instructions and the tools.
func TestCountAsksTwice(t *testing.T) {
	m := &counting{}
	e := newExecutor(t, setup{model: m})
	texts := []string{"twelve bytes", strings.Repeat("x", 1000), "and more"}
	each, tokens, err := e.Count(t.Context(), texts)
	if want := int64(len("twelve bytes") + 1000 + len("and more")); err != nil || tokens != want {
		t.Errorf("the texts have %d tokens, want %d: %v", tokens, want, err)
	}
	if len(m.requests) != 2 {
		t.Fatalf("the model was asked %d times", len(m.requests))
	}
	for _, r := range m.requests {
		if !strings.Contains(r.System, "Be brief.") || len(r.Tools) != 1 || len(r.History) != 1 || r.History[0].Role != model.RoleUser {
			t.Errorf("the model was asked to count %+v", r)
		}
	}
	if want := size(m.requests[0]); each != want || each == 0 {
		t.Errorf("beside a message the model reads %d tokens, want %d", each, want)
	}

	m.requests = nil
	if again, tokens, err := e.Count(t.Context(), nil); again != each || tokens != 0 || err != nil || len(m.requests) != 1 {
		t.Errorf("without texts: %d and %d, %v, with %d requests", again, tokens, err, len(m.requests))
	}
}

// counting is a model that counts a token for each byte.
type counting struct {
	chunks
	requests []model.Request
	fault    error // of every count
	constant bool  // it counts every request as the same
}

func (c *counting) Count(_ context.Context, r model.Request) (int64, error) {
	c.requests = append(c.requests, r)
	if c.constant {
		return 7, c.fault
	}
	return size(r), c.fault
}

func size(r model.Request) int64 {
	n := len(r.System)
	for _, t := range r.Tools {
		n += len(t.Name) + len(t.Description) + len(t.Schema)
	}
	for _, c := range r.History {
		for _, p := range c.Parts {
			n += len(p.Text)
		}
	}
	return int64(n)
}

// A model that does not count is asked once, and one whose counts make no sense is not believed.
func TestCountFails(t *testing.T) {
	broken := errors.New("broken")
	m := &counting{fault: broken}
	if _, _, err := newExecutor(t, setup{model: m}).Count(t.Context(), []string{"a"}); !errors.Is(err, broken) || len(m.requests) != 1 {
		t.Errorf("%v after %d requests", err, len(m.requests))
	}
	m = &counting{constant: true}
	if each, tokens, err := newExecutor(t, setup{model: m}).Count(t.Context(), []string{"a"}); err == nil {
		t.Errorf("a text without tokens: %d and %d", each, tokens)
	}
}

// The stand-in counts as the service does, by the real client, without an answer of its script.
func TestStandInCounts(t *testing.T) {
	e := newExecutor(t, setup{model: scripted(t, &scripts.Script{})})
	each, few, err := e.Count(t.Context(), []string{strings.Repeat("a", 400)})
	_, many, merr := e.Count(t.Context(), []string{strings.Repeat("a", 4000)})
	if err != nil || merr != nil || each <= 0 || few < 100 || few > 120 || many < 1000 || many > 1020 {
		t.Errorf("%d, %d, %d: %v, %v", each, few, many, err, merr)
	}
}

// The price is that of tokens that the model reads, for the model that answers.
func TestPriceOfInput(t *testing.T) {
	for _, row := range []struct {
		prices *agent.Prices
		nanos  int64
		of     string
	}{
		{nil, 0, ""},
		{&agent.Prices{Currency: "USD", Input: "0.30", Output: "2.50", Cached: "0.03"}, 300_000, "USD"},
		{&agent.Prices{Currency: "USD", Models: []agent.ModelPrices{{Model: "another", Input: "1", Output: "1"}}}, 0, ""},
	} {
		if nanos, of := newExecutor(t, setup{model: &chunks{}, prices: row.prices}).Price(1000); nanos != row.nanos || of != row.of {
			t.Errorf("%+v: %d %q, want %d %q", row.prices, nanos, of, row.nanos, row.of)
		}
	}
}
