package agent_test

import (
	"path/filepath"
	"strings"
	"testing"

	"errand/shared/lab"
	"errand/worker/agent"
	"errand/worker/agent/stock"
	"errand/worker/tools"
)

func TestReserve(t *testing.T) {
	env := lab.Env(t, agent.Definition, lab.Given{
		Settings: map[string]string{"stock_file": filepath.Join(t.TempDir(), "stock.db"), "first_stock": "2"},
		Secrets:  map[string]string{"stock-seal": "sesame"},
	})
	all, err := agent.Tools(env)
	if err != nil {
		t.Fatal(err)
	}

	call := func(n int, key string) string {
		t.Helper()
		bound, err := all[n].Bind([]byte(`{"item":"tea"}`))
		if err != nil {
			t.Fatal(err)
		}
		result, err := bound(tools.With(t.Context(), tools.Info{Key: key, Caller: "me"}))
		if err != nil {
			t.Fatal(err)
		}
		return string(result)
	}
	for _, key := range []string{"1", "1"} { // a crash between them
		if got := call(1, key); !strings.Contains(got, stock.Receipt("sesame", "tea")) {
			t.Errorf("the receipt is %s", got)
		}
	}
	if got := call(0, ""); got != `{"output":1}` {
		t.Errorf("left: %s, want 1 of 2", got)
	}
}
