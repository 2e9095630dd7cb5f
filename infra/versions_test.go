package infra_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// parse reads a file of Terraform's language.
func parse(t *testing.T, name string) *hclsyntax.Body {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(read(t, name)), name, hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return f.Body.(*hclsyntax.Body)
}

// The lock file names the version of the provider that these tests know, and the checksums
// of its archives, one for each platform, so that every machine applies with the same one.
func TestLockFile(t *testing.T) {
	lock := parse(t, ".terraform.lock.hcl")
	if len(lock.Blocks) != 1 || lock.Blocks[0].Type != "provider" || !strings.HasSuffix(lock.Blocks[0].Labels[0], "/"+source) {
		t.Fatalf("the lock file is not about %s alone", source)
	}
	locked := lock.Blocks[0].Body.Attributes
	if v := evaluate(locked["version"], nil).AsString(); v != version {
		t.Errorf("locked is %s, and the tests know %s", v, version)
	}

	// Terraform would change the file if it did not repeat what the module asks for.
	if c := evaluate(locked["constraints"], nil).AsString(); !strings.Contains(read(t, "versions.tf"), `version = "`+c+`"`) {
		t.Errorf("the module does not ask for %s", c)
	}

	var archives []string
	for _, h := range evaluate(locked["hashes"], nil).AsValueSlice() {
		if sum, ok := strings.CutPrefix(h.AsString(), "zh:"); ok && len(sum) == 64 {
			archives = append(archives, sum)
		}
	}
	if !slices.IsSorted(archives) || len(slices.Compact(archives)) < 5 { // Linux and macOS on both processors, and Windows
		t.Errorf("the checksums are %q", archives)
	}
}

// The example of a backend is none until it has another name, and leaves the bucket to the
// command line.
func TestBackendExample(t *testing.T) {
	for _, b := range module(t).blocks("terraform") {
		for _, inner := range b.Body.Blocks {
			if inner.Type == "backend" {
				t.Error("the module has a backend already, which the example would be the second one beside")
			}
		}
	}

	example := parse(t, "backend.tf.example")
	if len(example.Blocks) != 1 || example.Blocks[0].Type != "terraform" || len(example.Blocks[0].Body.Blocks) != 1 {
		t.Fatal("the example is not one block")
	}
	backend := example.Blocks[0].Body.Blocks[0]
	if backend.Type != "backend" || backend.Labels[0] != "gcs" || len(backend.Body.Attributes) != 1 || backend.Body.Attributes["prefix"] == nil {
		t.Errorf("the example is a %s %q", backend.Type, backend.Labels)
	}
	if !strings.Contains(read(t, "README.md"), "cp infra/backend.tf.example infra/backend.tf") {
		t.Error("the README does not say how to use the example")
	}
}

// The provider gives the chosen labels to everything that has labels.
func TestLabels(t *testing.T) {
	m := module(t)
	for _, b := range m.blocks("resource") {
		if b.Body.Attributes["labels"] != nil {
			t.Errorf("%s.%s has labels of its own", b.Labels[0], b.Labels[1])
		}
	}

	ctx := m.scopeWith(t, map[string]cty.Value{"labels": cty.MapVal(map[string]cty.Value{"team": cty.StringVal("billing")})})
	for _, b := range m.blocks("provider") {
		a := b.Body.Attributes["default_labels"]
		if a == nil || !evaluate(a, ctx).RawEquals(ctx.Variables["var"].GetAttr("labels")) {
			t.Errorf("the provider %q does not label what it makes", b.Labels)
		}
	}
}
