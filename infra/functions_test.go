package infra_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	"go.yaml.in/yaml/v3"
)

// functions are those of Terraform's that the module uses where these tests look.
func functions() map[string]function.Function {
	return map[string]function.Function{
		"alltrue":         alltrue,
		"can":             tryfunc.CanFunc,
		"ceil":            stdlib.CeilFunc,
		"coalesce":        stdlib.CoalesceFunc,
		"concat":          stdlib.ConcatFunc,
		"contains":        stdlib.ContainsFunc,
		"file":            file,
		"flatten":         stdlib.FlattenFunc,
		"floor":           stdlib.FloorFunc,
		"join":            stdlib.JoinFunc,
		"keys":            stdlib.KeysFunc,
		"length":          stdlib.LengthFunc,
		"lookup":          stdlib.LookupFunc,
		"max":             stdlib.MaxFunc,
		"merge":           stdlib.MergeFunc,
		"min":             stdlib.MinFunc,
		"range":           stdlib.RangeFunc,
		"regex":           stdlib.RegexFunc,
		"setintersection": stdlib.SetIntersectionFunc,
		"setunion":        stdlib.SetUnionFunc,
		"startswith":      startsWith,
		"toset":           stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
		"tostring":        stdlib.MakeToFunc(cty.String),
		"trimsuffix":      stdlib.TrimSuffixFunc,
		"try":             tryfunc.TryFunc,
		"upper":           stdlib.UpperFunc,
		"yamldecode":      yamldecode,
	}
}

var alltrue = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "list", Type: cty.List(cty.Bool)}},
	Type:   function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		for _, v := range args[0].AsValueSlice() {
			if v.False() {
				return cty.False, nil
			}
		}
		return cty.True, nil
	},
})

var startsWith = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "prefix", Type: cty.String}},
	Type:   function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		return cty.BoolVal(strings.HasPrefix(args[0].AsString(), args[1].AsString())), nil
	},
})

// file reads the agent's definition of the tests in the place of the installation's.
var file = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "path", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		path := filepath.Clean(args[0].AsString())
		if path == filepath.FromSlash(agentFile) {
			path = filepath.Join("testdata", "agent.yaml")
		}
		text, err := os.ReadFile(path)
		return cty.StringVal(string(text)), err
	},
})

var yamldecode = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "text", Type: cty.String}},
	Type: func(args []cty.Value) (cty.Type, error) {
		v, err := decodeYAML(args[0])
		return v.Type(), err
	},
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return decodeYAML(args[0]) },
})

func decodeYAML(text cty.Value) (cty.Value, error) {
	if !text.IsKnown() {
		return cty.DynamicVal, nil
	}
	var v any
	if err := yaml.Unmarshal([]byte(text.AsString()), &v); err != nil {
		return cty.DynamicVal, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return cty.DynamicVal, err
	}
	return stdlib.JSONDecode(cty.StringVal(string(b)))
}
