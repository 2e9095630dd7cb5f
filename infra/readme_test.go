package infra_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"errand/functions/submit"
	"errand/shared/auth"
	"errand/shared/lab/conformance"
)

// A gcloudRun runs gcloud in a folder, with a configuration of its own that has no account.
type gcloudRun func(ctx context.Context, dir string, args ...string) (string, error)

func findGcloud(t *testing.T) gcloudRun {
	t.Helper()
	_, err := exec.LookPath("gcloud")
	conformance.Require(t, "gcloud", err == nil, "install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install")
	config := t.TempDir()
	return func(ctx context.Context, dir string, args ...string) (string, error) {
		c := exec.CommandContext(ctx, "gcloud", args...)
		c.Dir = dir
		c.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+config, "CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_CHECK_GCE_METADATA=false",
			"CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=1", "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=1", "CLOUDSDK_CORE_PROJECT=my-project")
		out, err := c.CombinedOutput()
		return string(out), err
	}
}

// runReadme runs the README's shell commands as they stand, every block twice, as for a
// second version, and all of it again after the destroy near its end: the files that they
// make must be valid then too. Then it runs those of the workflow. The programs that they
// call are replaced by ones that write down their arguments and do nothing. It returns the
// folder and the calls of each program.
func runReadme(t *testing.T) (dir string, calls map[string][][]string) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	conformance.Require(t, "shell", err == nil, "install bash")
	dir = t.TempDir()
	tools := filepath.Join(dir, "tools")
	log := filepath.Join(dir, "log")
	script := "set -euo pipefail\nGEMINI_API_KEY=none SHOP_TOKEN=none STORE_PASSWORD=none\n"

	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}

	for name, prints := range map[string]string{
		"terraform": `case "$*" in
*builder) echo projects/my-errand/serviceAccounts/errand-builder@my-errand.iam.gserviceaccount.com ;;
*serving) echo '{"cardserver":"errand-cardserver-00007-abc","functions":"errand-functions-00003-ghi","worker":"errand-worker-00009-def"}' ;;
*) echo europe-west1-docker.pkg.dev/my-errand/errand ;; # most become part of longer words
esac`,
		"git": "echo 0123456789ab", "gcloud": "echo none", "go": "echo", "curl": "echo", "mktemp": "echo '" + source + "'",
	} {
		// A function starts no process. What the README's own commands start calls the file.
		body := fmt.Sprintf("if [ -p /dev/stdin ]; then cat >/dev/null; fi\nprintf '%%s\\0' %s \"$@\" $'\\n' >>'%s'\n%s\n", name, log, prints)
		script += fmt.Sprintf("%s() {\n%s}\n", name, body)
		file := filepath.Join(tools, name)
		write(t, file, "#!"+bash+"\n"+body)
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}

	for _, name := range []string{"infra/cloudbuild.yaml", "infra/backend.tf.example", "go.mod"} {
		write(t, filepath.Join(dir, name), read(t, "../"+name))
	}
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(blocks) < 5 {
		t.Fatalf("the README has %d blocks of commands", len(blocks))
	}

	for range 2 {
		for _, b := range blocks {
			script += b[1] + b[1]
		}
	}
	for _, run := range workflow(t).runs() {
		script += run + "\n"
	}

	c := exec.CommandContext(t.Context(), bash, "-c", script)
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"), "TOKEN=none")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("the README's commands: %v\n%s", err, out)
	}

	calls = map[string][][]string{}
	for call := range bytes.SplitSeq([]byte(read(t, log)), []byte("\n\x00")) {
		if words := strings.Split(strings.TrimSuffix(string(call), "\x00"), "\x00"); len(words) > 1 {
			calls[words[0]] = append(calls[words[0]], words[1:])
		}
	}

	return dir, calls
}

// wrong is gcloud's complaint about a command line, and empty if gcloud accepts it. Nothing
// is done, because without an account gcloud only reads its arguments. Its auth commands
// need no account, so they get a flag that does not exist and must refuse only that.
func (g gcloudRun) wrong(t *testing.T, dir string, args []string) string {
	t.Helper()
	const nonsense = "--errand-nonsense"
	if args[0] == "auth" {
		out, err := g(t.Context(), dir, append(slices.Clone(args), nonsense)...)
		if err != nil && strings.Contains(out, "unrecognized arguments: "+nonsense) {
			return ""
		}
		return out
	}
	out, err := g(t.Context(), dir, args...)
	if err == nil && args[0] == "config" || strings.Contains(out, "do not currently have an active account") {
		return ""
	}
	return out + "(neither accepted nor refused for lack of an account)"
}

// The real gcloud understands the README's commands. It takes a second to read one, so the
// small form of the test tries only a few.
func TestReadmeGcloud(t *testing.T) {
	t.Parallel()
	gcloud := findGcloud(t)
	dir, calls := runReadme(t)
	if len(calls["gcloud"]) < 15 {
		t.Fatalf("the README has only %d gcloud commands: %q", len(calls["gcloud"]), calls["gcloud"])
	}

	// gcloud does not know which roles there are.
	role := regexp.MustCompile(`^--role=.*`)
	for _, args := range calls["gcloud"] {
		for i := range args {
			args[i] = role.ReplaceAllString(args[i], "--role=roles/some.role")
		}
	}

	slices.SortFunc(calls["gcloud"], slices.Compare)
	lines := slices.CompactFunc(calls["gcloud"], slices.Equal)
	for _, args := range lines[:conformance.Size(3, len(lines))] {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			if w := gcloud.wrong(t, dir, args); w != "" {
				t.Error(w)
			}
		})
	}

	bad := []string{"projects create my-errand --bogus", "auth login --bogus", "run servics list", "secrets versions add errand-access", "tasks queues pause"}
	for _, line := range bad[:conformance.Size(2, len(bad))] {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			if gcloud.wrong(t, dir, strings.Fields(line)) == "" {
				t.Error("accepted, but wrong")
			}
		})
	}
}

// setIn returns the variables that the files in a folder set. Terraform refuses a variable
// that a file sets twice, but silently takes the last of two files.
func setIn(t *testing.T, dir string) hclsyntax.Attributes {
	t.Helper()
	all := hclsyntax.Attributes{}
	files, err := filepath.Glob(filepath.Join(dir, "*.tfvars"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		set, diags := hclsyntax.ParseConfig([]byte(read(t, file)), filepath.Base(file), hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		for name, a := range set.Body.(*hclsyntax.Body).Attributes {
			if all[name] != nil {
				t.Errorf("%s is set in two files", name)
			}
			all[name] = a
		}
	}
	return all
}

// The outputs, variables and resources that the README names exist in the module.
func TestReadmeNames(t *testing.T) {
	dir, calls := runReadme(t)
	m := module(t)
	outputs := map[string]bool{}
	for _, b := range m.blocks("output") {
		outputs[b.Labels[0]] = true
	}

	asked := 0
	for _, args := range calls["terraform"] {
		if args[0] != "-chdir=infra" {
			t.Errorf("terraform %q is not run for the module", args)
		}

		if args[1] == "output" {
			asked++
			if name := args[len(args)-1]; !outputs[name] {
				t.Errorf("there is no output %s", name)
			}
		}
	}

	if asked < 4 {
		t.Errorf("the README reads only %d outputs", asked)
	}

	text := read(t, "README.md")
	variables := map[string]bool{}
	for _, b := range m.blocks("variable") {
		variables[b.Labels[0]] = true
	}

	for _, set := range regexp.MustCompile("(?m)(?:^|`|\")([a-z_]+) += \\\\?\"?[a-z$]").FindAllStringSubmatch(text, -1) {
		if !variables[set[1]] {
			t.Errorf("there is no variable %s", set[1])
		}
	}

	names := map[string]bool{}
	set := setIn(t, filepath.Join(dir, "infra"))
	for name := range set {
		if !variables[name] {
			t.Errorf("%s is set, but there is no such variable", name)
		}
	}

	for _, name := range []string{"project", "region", "image", "pipelines", "submissions", "input_buckets"} {
		if set[name] == nil {
			t.Errorf("the README's commands do not set %s", name)
		}
	}

	for name, p := range evaluate(set["pipelines"], nil).AsValueMap() {
		names["errand-pipeline-"+name] = true
		if filter := p.GetAttr("filter").AsString(); !strings.Contains(read(t, "../docs/events.md"), "| `"+filter+"` |") {
			t.Errorf("docs/events.md has no filter %s", filter)
		}
	}

	for name := range evaluate(set["submissions"], nil).AsValueMap() {
		names["errand-submit-"+name] = true
	}

	for _, attribute := range []string{submit.Reason, submit.Field, submit.Subscription, submit.MessageID, submit.PublishTime} {
		names[attribute] = true
		if !strings.Contains(text, "`"+attribute+"`") {
			t.Errorf("the README does not name the attribute %s", attribute)
		}
	}

	for _, known := range []string{"programs", "queues", "secrets", "store_secrets"} {
		for name := range local(t, m.scope(t), known) {
			names["errand-"+name] = true
		}
	}

	ctx := m.scope(t)
	m.each(func(_, name string, a *hclsyntax.Attribute) {
		if name != "name" && name != "account_id" {
			return
		}
		if v := evaluate(a, ctx); v.IsKnown() {
			names[strings.ReplaceAll(v.AsString(), "my-project", "PROJECT")] = true
		}
	})

	for _, found := range regexp.MustCompile("[` =]((?:PROJECT-)?errand-[a-z_-]+)").FindAllStringSubmatch(text, -1) {
		if !names[strings.TrimSuffix(found[1], "-")] { // a revision has the name of its service and a number
			t.Errorf("no resource has the name %s", found[1])
		}
	}
}

// The access files work. That of a pipeline names the subscription that Terraform makes.
func TestReadmeAccess(t *testing.T) {
	var all []*auth.Access
	for _, m := range regexp.MustCompile("(?s)```yaml access\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1) {
		path := filepath.Join(t.TempDir(), "access.yaml")
		write(t, path, m[1])
		a, err := auth.Load(path, auth.Options{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	if len(all) != 2 {
		t.Fatalf("the README has %d examples of access files", len(all))
	}

	a := all[0]
	p, ok := a.Submitter("projects/my-errand/subscriptions/errand-submit-nightly")
	if !ok || !a.MayRead(p.Owner, "gs://my-errand-in/prompts.jsonl") {
		t.Errorf("the messages belong to %+v, %t, who may not have the manifest read", p, ok)
	}
}
