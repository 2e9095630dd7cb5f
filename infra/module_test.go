// Package infra_test compares the deployment with the code that it deploys: the Terraform
// module, the Dockerfile, the commands of the README. It deploys nothing and needs no
// network. Tests that need Terraform or gcloud say so where these are missing.
package infra_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// indexes is the path of the file of Firestore's indexes.
const indexes = "../shared/adapters/gcp/firestore.indexes.json"

// files are the files of the module as written.
type files []*hclsyntax.Body

func module(t *testing.T) files {
	t.Helper()
	names, err := filepath.Glob("*.tf")
	if err != nil || len(names) < 5 {
		t.Fatalf("found %v, %v: not the module", names, err)
	}
	var all files
	for _, name := range names {
		f, diags := hclsyntax.ParseConfig([]byte(read(t, name)), name, hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		all = append(all, f.Body.(*hclsyntax.Body))
	}
	return all
}

// blocks returns the module's blocks of the given types.
func (f files) blocks(types ...string) []*hclsyntax.Block {
	var out []*hclsyntax.Block
	for _, body := range f {
		for _, b := range body.Blocks {
			if slices.Contains(types, b.Type) {
				out = append(out, b)
			}
		}
	}
	return out
}

// each calls do with every attribute of the module's resources, including nested ones.
func (f files) each(do func(resource, name string, a *hclsyntax.Attribute)) {
	var walk func(string, *hclsyntax.Body)
	walk = func(resource string, b *hclsyntax.Body) {
		for name, a := range b.Attributes {
			do(resource, name, a)
		}
		for _, inner := range b.Blocks {
			walk(resource, inner.Body)
		}
	}
	for _, b := range f.blocks("resource") {
		walk(b.Labels[0]+"."+b.Labels[1], b.Body)
	}
}

// agentFile is the definition that the module reads. The tests have one of their own.
const agentFile = "../worker/agent/agent.yaml"

// chosen are variables as an installation may have set them.
var chosen = map[string]cty.Value{
	"settings":    cty.MapVal(map[string]cty.Value{"shop_url": cty.StringVal("https://shop.example.com")}),
	"agent_allow": cty.ListVal([]cty.Value{cty.StringVal("10.0.0.0/8:443"), cty.StringVal("192.168.1.1:8080")}),
	"origins":     cty.ListVal([]cty.Value{cty.StringVal("https://ui.example.com")}),
	"subnetwork":  cty.StringVal("inner"),
	"submissions": cty.MapVal(map[string]cty.Value{"nightly": cty.ObjectVal(map[string]cty.Value{"members": cty.ListVal([]cty.Value{cty.StringVal("user:a@example.com")})})}),
	"project":     cty.StringVal("my-project"),
	"region":      cty.StringVal("europe-west1"),
	"instances": cty.ObjectVal(map[string]cty.Value{
		"cardserver": cty.NumberIntVal(10), "worker": cty.NumberIntVal(20), "functions": cty.NumberIntVal(10),
	}),
	"memory": cty.ObjectVal(map[string]cty.Value{
		"cardserver": cty.NumberIntVal(512), "worker": cty.NumberIntVal(1024), "functions": cty.NumberIntVal(512),
	}),
}

// invoker stands for an address that Google assigns.
const invoker = "errand-invoker@my-project.iam.gserviceaccount.com"

// scope evaluates as Terraform does, as far as a value depends only on variables and on the
// module's text. Everything else is unknown.
func (f files) scope(t *testing.T) *hcl.EvalContext {
	t.Helper()
	return f.scopeWith(t, nil)
}

// scopeWith is scope with other choices of the installation.
func (f files) scopeWith(t *testing.T, choices map[string]cty.Value) *hcl.EvalContext {
	t.Helper()

	ctx := &hcl.EvalContext{
		Variables: map[string]cty.Value{
			"path": cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal(".")}),
			"data": cty.ObjectVal(map[string]cty.Value{"google_project": cty.ObjectVal(map[string]cty.Value{
				"this": cty.ObjectVal(map[string]cty.Value{"number": cty.StringVal("123456789012")}),
			})}),
		},
		Functions: functions(),
	}

	vars := map[string]cty.Value{}
	for _, b := range f.blocks("variable") {
		name := b.Labels[0]
		if v, ok := choices[name]; ok {
			vars[name] = v
			continue
		}
		if v, ok := chosen[name]; ok {
			vars[name] = v
			continue
		}

		v, diags := b.Body.Attributes["default"].Expr.Value(ctx)
		if diags.HasErrors() {
			t.Fatal(diags)
		}

		vars[name] = v
	}

	ctx.Variables["var"] = cty.ObjectVal(vars)

	// Locals and resources refer to each other: evaluate again as long as more values
	// become known.
	for known, before := 1, 0; known > before; {
		before, known = known, 0
		locals, resources := map[string]cty.Value{}, map[string]map[string]cty.Value{}

		for _, b := range f.blocks("locals") {
			for name, a := range b.Body.Attributes {
				locals[name] = evaluate(a, ctx)
			}
		}

		for _, b := range f.blocks("resource") {
			typ, name := b.Labels[0], b.Labels[1]
			if resources[typ] == nil {
				resources[typ] = map[string]cty.Value{}
			}

			resources[typ][name] = instances(b, ctx)
		}

		ctx.Variables["local"] = cty.ObjectVal(locals)
		for typ, r := range resources {
			ctx.Variables[typ] = cty.ObjectVal(r)
			for _, v := range r {
				known += count(v)
			}
		}

		known += count(ctx.Variables["local"])
	}

	return ctx
}

// instances is the value of a resource: the object itself, or as many as count says. The
// accounts of the programs have the addresses that Google gives them.
func instances(b *hclsyntax.Block, ctx *hcl.EvalContext) cty.Value {
	if b.Body.Attributes["for_each"] != nil {
		if b.Labels[0] != "google_service_account" {
			return cty.DynamicVal
		}
		accounts := map[string]cty.Value{}
		for _, p := range programs {
			accounts[p] = cty.ObjectVal(map[string]cty.Value{"email": cty.StringVal("errand-" + p + "@my-project.iam.gserviceaccount.com"), "member": cty.DynamicVal, "name": cty.DynamicVal})
		}
		return cty.ObjectVal(accounts)
	}

	own := map[string]cty.Value{"id": cty.DynamicVal, "member": cty.DynamicVal, "email": cty.StringVal(invoker)}
	for attr, a := range b.Body.Attributes {
		own[attr] = evaluate(a, ctx)
	}

	if own["name"] == cty.NilVal {
		own["name"] = cty.DynamicVal
	}

	count, ok := own["count"]
	switch {
	case !ok:
		return cty.ObjectVal(own)
	case !count.IsKnown():
		return cty.DynamicVal
	case count.Equals(cty.NumberIntVal(0)).True():
		return cty.EmptyTupleVal
	}

	return cty.TupleVal([]cty.Value{cty.ObjectVal(own)})
}

func evaluate(a *hclsyntax.Attribute, ctx *hcl.EvalContext) cty.Value {
	v, diags := a.Expr.Value(ctx)
	if diags.HasErrors() {
		return cty.DynamicVal
	}
	return v
}

// count is the number of known values in v.
func count(v cty.Value) int {
	n := 0
	_ = cty.Walk(v, func(_ cty.Path, v cty.Value) (bool, error) {
		if v.IsKnown() {
			n++
		}
		return true, nil
	})
	return n
}

// local returns one of the module's locals as strings by key. The keys of a set are its
// values.
func local(t *testing.T, ctx *hcl.EvalContext, name string) map[string]string {
	t.Helper()
	v := ctx.Variables["local"].GetAttr(name)
	if !v.IsKnown() || !v.CanIterateElements() {
		t.Fatalf("local.%s is not known without Google", name)
	}
	out := map[string]string{}
	for k, e := range v.Elements() {
		if v.Type().IsSetType() {
			k = e
		}
		switch {
		case !e.IsKnown():
			t.Fatalf("local.%s[%q] is not known without Google", name, k.AsString())
		case e.Type() == cty.String:
			out[k.AsString()] = e.AsString()
		default:
			out[k.AsString()] = ""
		}
	}
	return out
}
