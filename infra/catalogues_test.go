package infra_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"errand/shared/auth"
)

// registryFlags are those of the commands of Agent Registry that older versions of gcloud lack.
// https://docs.cloud.google.com/sdk/gcloud/reference/agent-registry/services/create
var registryFlags = []string{"--location", "--display-name", "--description", "--agent-spec-type", "--agent-spec-content", "--interfaces", "--async", "--request-id", "--project"}

// The commands and the access file of the page about Google's catalogues are what gcloud and the
// programs take. A gcloud without the commands of Agent Registry cannot say, and then their
// flags are compared with the reference.
func TestCataloguesOfGoogle(t *testing.T) {
	t.Parallel()
	gcloud := findGcloud(t)
	document := read(t, "../docs/gemini-enterprise.md")
	access := filepath.Join(t.TempDir(), "access.yaml")
	write(t, access, regexp.MustCompile("(?s)```yaml access\n(.*?)```").FindStringSubmatch(document)[1])
	if _, err := auth.Load(access, auth.Options{}); err != nil {
		t.Error(err)
	}

	joined := strings.ReplaceAll(document, "\\\n", " ")
	commands := regexp.MustCompile(`(?m)^gcloud ([^#\n]*)`).FindAllStringSubmatch(joined, -1)
	if len(commands) != 3 {
		t.Fatalf("the page has %d commands", len(commands))
	}
	for _, m := range commands {
		args := strings.Fields(strings.NewReplacer(`"$(cat agent-card.json)"`, `{"name":"x"}`, "$REGION", "europe-west1").Replace(m[1]))
		wrong := gcloud.wrong(t, t.TempDir(), args)
		if wrong == "" || !strings.Contains(wrong, "Invalid choice: 'agent-registry'") {
			if wrong != "" {
				t.Errorf("gcloud %q: %s", args, wrong)
			}
			continue
		}

		for _, arg := range args {
			if flag, _, _ := strings.Cut(arg, "="); strings.HasPrefix(flag, "--") && !slices.Contains(registryFlags, flag) {
				t.Errorf("gcloud agent-registry has no flag %s", flag)
			}
		}
	}
}
