package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/shared/auth"
)

// OpenAI's own client, unmodified, runs batches at the agent: it is given another address and
// nothing else.
func TestOpenAIClient(t *testing.T) {
	t.Parallel()
	node := needJavaScript(t)
	key, hash := auth.NewKey()
	other, otherHash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	text := fmt.Sprintf("principals:\n- {name: alice, keys: [%s]}\n- {name: bob, keys: [%s]}\n", hash, otherHash)
	if err := os.WriteFile(access, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	p := start(t, "ERRAND_ACCESS="+access)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, node, "testdata/js/openai.mjs", p.url(), key, other).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	var steps []string
	for _, m := range regexp.MustCompile(`(?m)^ok (.*)$`).FindAllSubmatch(out, -1) {
		steps = append(steps, string(m[1]))
	}
	want := []string{
		"upload", "run a batch to its end", "download its answers", "submit the same lines again", "cancel another, and download both files",
		"submit bad lines", "list", "be refused", "delete files",
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("its steps (-want +got):\n%s", diff)
	}
}
