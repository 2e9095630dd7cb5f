package infra_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// A deployment is the example of a workflow on GitHub.
type deployment struct {
	On          map[string]struct{ Branches []string }
	Permissions map[string]string
	Jobs        map[string]struct {
		Env   map[string]string
		Steps []struct {
			Name, ID, Uses, Run string
			With, Env           map[string]any
		}
	}
}

func workflow(t *testing.T) deployment {
	t.Helper()
	var d deployment
	if err := yaml.Unmarshal([]byte(read(t, "github-deploy.yaml")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// runs are the commands of all steps.
func (d deployment) runs() []string {
	var runs []string
	for _, job := range d.Jobs {
		for _, s := range job.Steps {
			if s.Run != "" {
				runs = append(runs, s.Run)
			}
		}
	}
	return runs
}

// The workflow deploys the branch that Google believes, and has no keys. TestReadmeGcloud and
// TestReadmeNames check its commands.
func TestWorkflow(t *testing.T) {
	text, readme := read(t, "github-deploy.yaml"), read(t, "README.md")
	d := workflow(t)
	if len(d.runs()) < 5 {
		t.Fatalf("the workflow has %d commands", len(d.runs()))
	}
	for _, run := range d.runs() {
		if strings.Contains(run, "${{") {
			t.Errorf("a command has what others may have written in it: %s", run)
		}
	}

	if found := regexp.MustCompile(`secrets\.|credentials_json|PRIVATE KEY`).FindString(text); found != "" {
		t.Errorf("the workflow has a key: %s", found)
	}
	if diff := cmp.Diff(map[string]string{"contents": "read", "id-token": "write"}, d.Permissions); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	if b := d.On["push"].Branches; len(d.On) != 1 || !slices.Equal(b, []string{"main"}) || !strings.Contains(readme, "assertion.ref == 'refs/heads/main'") {
		t.Errorf("the workflow deploys %v, and Google believes another branch", d.On)
	}

	for _, job := range d.Jobs {
		for _, s := range job.Steps {
			if s.Uses != "" && !regexp.MustCompile(`^[a-z-]+/[a-z-]+@v[0-9]+$`).MatchString(s.Uses) {
				t.Errorf("%s has no version", s.Uses)
			}
		}
	}

	// The README says what each variable of the repository is.
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`vars\.([A-Z_]+)`).FindAllStringSubmatch(text, -1) {
		named[m[1]] = true
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if !strings.Contains(readme, "`"+name+"`") {
			t.Errorf("the README does not say what %s is", name)
		}
	}
}
