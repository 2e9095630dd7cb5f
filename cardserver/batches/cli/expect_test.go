package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/cardserver/batches/cli"
)

// The estimate is told once, as soon as an answer has it, with the price and the warning that it
// has. A command about a batch that is there, or is over, does not tell it.
func TestEstimateIsToldOnce(t *testing.T) {
	const (
		base   = `"id":"b","state":"running","complete":false,"lines":1200`
		done   = `{"id":"b","state":"completed","complete":true,"lines":1200,"estimate":{"input":1234567,"price":null}}`
		plain  = "lines: 1,200, about 1,234,567 tokens of input\n"
		priced = "lines: 1,200, about 1,234,567 tokens of input, about 0.37 USD\nThe budget is small.\n"
	)
	known := `{` + base + `,"estimate":{"input":1234567,"price":null}}`
	for _, row := range []struct {
		name    string
		config  cli.Config
		answers []string // the last one again and again
		want    string
	}{
		{"first answer", cli.Config{}, []string{known, known, done}, plain},
		{"with a price", cli.Config{}, []string{`{` + base + `,"estimate":{"input":1234567,"price":{"amount":0.37,"currency":"USD"}},"warning":"The budget is small."}`, done}, priced},
		{"later answer", cli.Config{}, []string{`{"id":"b","state":"submitted","lines":null,"estimate":null}`, known, done}, plain},
		{"nobody waits", cli.Config{NoWait: true}, []string{known}, plain},
		{"retry", cli.Config{Retry: "a"}, []string{known, done}, plain},
		{"no estimate", cli.Config{}, []string{`{` + base + `,"estimate":null}`, done}, ""},
		{"over", cli.Config{}, []string{done}, ""},
		{"watched", cli.Config{Watch: "b"}, []string{known, done}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			asked := 0
			agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/results") || strings.HasSuffix(r.URL.Path, "/errors") {
					return
				}
				fmt.Fprintln(w, row.answers[min(asked, len(row.answers)-1)])
				asked++
			}))
			defer agent.Close()

			c := row.config
			if c.Retry == "" && c.Watch == "" {
				c.File = filepath.Join(t.TempDir(), "prompts.jsonl")
				if err := os.WriteFile(c.File, []byte(`{"text":"a"}`+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}

			var out, errs bytes.Buffer
			at := make(chan time.Time)
			close(at)
			c.URL, c.Out, c.Errs, c.After = agent.URL, &out, &errs, func(time.Duration) <-chan time.Time { return at }

			if code := cli.Run(t.Context(), c); code != cli.Completed {
				t.Errorf("it ends with %d", code)
			}
			if said := errs.String(); strings.Count(said, "tokens of input") != strings.Count(row.want, "tokens of input") || !strings.Contains(said, row.want) {
				t.Errorf("it says %s, want %q", said, row.want)
			}
			if out.Len() > 0 {
				t.Errorf("it writes %s", &out)
			}
		})
	}
}
