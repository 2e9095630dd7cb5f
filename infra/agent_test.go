package infra_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"errand/shared/agent"
)

// The module asks the model that agent.yaml names, gives its secrets to the worker alone,
// and its settings to all.
func TestModuleFollowsTheAgent(t *testing.T) {
	m := module(t)
	ctx := m.scope(t)
	env := local(t, ctx, "environment")

	for variable, want := range map[string]string{
		"ERRAND_MODEL": "vertex:probe-model", "ERRAND_SETTING_SHOP_URL": "https://shop.example.com", "ERRAND_AGENT_ALLOW": "10.0.0.0/8:443,192.168.1.1:8080",
	} {
		if env[variable] != want {
			t.Errorf("%s is %q, want %q", variable, env[variable], want)
		}
	}

	var readers []string
	for read := range local(t, ctx, "reads") {
		if program, secret, _ := strings.Cut(read, "/"); secret == "shop-token" {
			readers = append(readers, program)
		}
	}

	if !slices.Equal(readers, []string{"worker"}) {
		t.Errorf("the agent's secret is read by %v", readers)
	}

	// The secrets of the programs are taken: neither the programs nor the module let an
	// agent.yaml name them.
	if !distinct(t, m, ctx) {
		t.Error("the module takes the agent's secret for one of the programs")
	}

	for name := range local(t, ctx, "store_secrets") {
		locals := ctx.Variables["local"].AsValueMap()
		locals["agent_secrets"] = cty.SetVal([]cty.Value{cty.StringVal(name)})
		if distinct(t, m, &hcl.EvalContext{Variables: map[string]cty.Value{"local": cty.ObjectVal(locals)}, Functions: ctx.Functions}) {
			t.Errorf("the module lets the agent's own code read the database's %s", name)
		}
	}

	for name := range local(t, ctx, "program_secrets") {
		locals := ctx.Variables["local"].AsValueMap()
		locals["agent_secrets"] = cty.SetVal([]cty.Value{cty.StringVal(name), cty.StringVal("shop-token")})
		if distinct(t, m, &hcl.EvalContext{Variables: map[string]cty.Value{"local": cty.ObjectVal(locals)}, Functions: ctx.Functions}) {
			t.Errorf("the module lets the agent's own code read the secret %s", name)
		}

		_, err := agent.Parse([]byte(strings.ReplaceAll(read(t, "testdata/agent.yaml"), "shop-token", name)))
		if err == nil || !strings.Contains(err.Error(), "belongs to the programs") {
			t.Errorf("a definition that names the secret %s: %v", name, err)
		}
	}
}

// distinct evaluates the precondition on the names of secrets.
func distinct(t *testing.T, m files, ctx *hcl.EvalContext) bool {
	t.Helper()
	for _, b := range m.blocks("resource") {
		if b.Labels[0] != "google_secret_manager_secret" {
			continue
		}
		for _, l := range b.Body.Blocks {
			for _, p := range l.Body.Blocks {
				if l.Type == "lifecycle" && p.Type == "precondition" {
					v, diags := p.Body.Attributes["condition"].Expr.Value(ctx)
					if diags.HasErrors() {
						t.Fatal(diags)
					}
					return v.True()
				}
			}
		}
	}
	t.Fatal("nothing keeps the agent from the secrets of the programs")
	return false
}

// Terraform and the worker refuse the same settings.
func TestSettingsAreCheckedAlike(t *testing.T) {
	a, err := agent.Load("testdata/agent.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}

	m := module(t)
	ctx := m.scope(t)

	want := map[string]string{}
	for name, typ := range agent.Types() {
		want[name] = typ.Pattern
	}

	if diff := cmp.Diff(want, local(t, ctx, "setting_types")); diff != "" {
		t.Errorf("types of settings (-code +module):\n%s", diff)
	}

	const url = "https://shop.example.com"
	for _, row := range []struct {
		given map[string]string
		ok    bool
	}{
		{map[string]string{"shop_url": url}, true},
		{map[string]string{"shop_url": url, "greeting": "Dear all", "tries": "-1", "loud": "true", "wait": "1h30m"}, true},
		{map[string]string{"shop_url": url, "tries": ""}, true},
		{map[string]string{}, false},
		{map[string]string{"shop_url": ""}, false},
		{map[string]string{"shop_url": "shop.example.com"}, false},
		{map[string]string{"shop_url": "https://u:p@shop.example.com"}, false},
		{map[string]string{"shop_url": url, "shop_uri": url}, false},
		{map[string]string{"shop_url": url, "Tries": "3"}, false},
		{map[string]string{"shop_url": url, "tries": "three"}, false},
		{map[string]string{"shop_url": url, "tries": "3.5"}, false},
		{map[string]string{"shop_url": url, "loud": "yes"}, false},
		{map[string]string{"shop_url": url, "wait": "90"}, false},
		{map[string]string{"shop_url": url, "greeting": "two\nlines"}, false},
	} {
		if got := accepts(t, m, "settings", row.given); got != row.ok {
			t.Errorf("the module accepts %q: %t, want %t", row.given, got, row.ok)
		}

		given, proper := map[string]string{}, true
		for name, value := range row.given {
			proper = proper && name == strings.ToLower(name) // a variable has no other case
			given[strings.ToUpper(name)] = value
		}

		if _, err := a.Configure(given); proper && (err == nil) != row.ok {
			t.Errorf("the worker says of %q: %v, want accepted %t", row.given, err, row.ok)
		}
	}
}

// accepts evaluates the validations of a variable.
func accepts(t *testing.T, m files, variable string, value map[string]string) bool {
	t.Helper()
	ctx := m.scope(t)
	vars := ctx.Variables["var"].AsValueMap()
	vars[variable] = cty.MapValEmpty(cty.String)

	if len(value) > 0 {
		all := map[string]cty.Value{}
		for k, v := range value {
			all[k] = cty.StringVal(v)
		}
		vars[variable] = cty.MapVal(all)
	}

	ctx.Variables["var"] = cty.ObjectVal(vars)

	ok, seen := true, 0
	for _, b := range m.blocks("variable") {
		for _, v := range b.Body.Blocks {
			if b.Labels[0] != variable || v.Type != "validation" {
				continue
			}

			seen++
			got, diags := v.Body.Attributes["condition"].Expr.Value(ctx)
			if diags.HasErrors() {
				t.Fatal(diags)
			}

			ok = ok && got.True()
		}
	}

	if seen == 0 {
		t.Fatalf("%s has no validation", variable)
	}

	return ok
}

// The module reads an agent.yaml leniently and the programs read it strictly, but both read
// the same, in the installation's own file too.
func TestModuleReadsTheDefinition(t *testing.T) {
	for _, path := range []string{"testdata/agent.yaml", agentFile} {
		a, err := agent.Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}

		decoded, err := decodeYAML(cty.StringVal(read(t, path)))
		if err != nil {
			t.Fatal(err)
		}

		got, want := map[string]bool{}, map[string]bool{}
		for key, v := range decoded.AsValueMap() {
			if key == "settings" || key == "secrets" {
				for _, s := range v.AsValueSlice() {
					got[key+" "+s.GetAttr("name").AsString()] = true
				}
			}
		}

		for _, s := range a.Settings {
			want["settings "+s.Name] = true
		}

		for _, s := range a.Secrets {
			want["secrets "+s.Name] = true
		}

		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		if model := decoded.GetAttr("model").AsString(); model != a.Model {
			t.Errorf("%s: the module reads the model %s, the programs %s", path, model, a.Model)
		}
	}
}
