package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/shared/lab/conformance"
)

// TestJavaScriptClients has the JavaScript SDK's clients go through the same scenario.
func TestJavaScriptClients(t *testing.T) {
	node := needJavaScript(t)
	out, err := exec.Command(node, scenarioJS).Output()
	if err != nil {
		t.Fatalf("naming the clients: %v", err)
	}

	clients := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(clients) != 6 {
		t.Fatalf("the scenario has the clients %q", clients)
	}

	for _, client := range clients {
		t.Run(client, func(t *testing.T) {
			hooks := freePort(t)
			prompt := start(t, fmt.Sprintf("ERRAND_PUSH_ALLOW=127.0.0.1:%d", hooks))
			held := start(t, "ERRAND_MODEL=standin:delay=10m")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out, err := exec.CommandContext(ctx, node, scenarioJS, client, prompt.url(), held.url(), fmt.Sprint(hooks)).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}

			var steps, want []string
			for _, m := range regexp.MustCompile(`(?m)^ok (.*)$`).FindAllSubmatch(out, -1) {
				steps = append(steps, string(m[1]))
			}

			for _, step := range scenario {
				want = append(want, step.name)
			}

			if diff := cmp.Diff(want, steps); diff != "" {
				t.Errorf("its steps (-Go client +got):\n%s", diff)
			}
		})
	}
}

const scenarioJS = "testdata/js/scenario.mjs"

// needJavaScript is the path of node, if the modules that the scenario imports are
// installed too.
func needJavaScript(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(filepath.Dir(scenarioJS), "node_modules"))
	}
	conformance.Require(t, "node", err == nil, "install Node.js 20 or newer, then run: npm ci --prefix cardserver/testdata/js")
	return node
}
