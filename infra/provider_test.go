package infra_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// source is the address of Google's provider without its host. version is the version whose
// arguments schemaPackage describes.
const (
	source  = "hashicorp/google"
	version = "6.50.0"
)

// TestMain makes this test program a Terraform provider when Terraform starts it as one.
// The provider knows the arguments of Google's resources and cannot create any. This is
// enough for validate, and for test with a mock_provider, without a network.
func TestMain(m *testing.M) {
	if os.Getenv("TF_PLUGIN_MAGIC_COOKIE") == "" {
		os.Exit(m.Run())
	}
	p := &provider{dir: os.Getenv("ERRAND_TEST_PROVIDER")}
	if err := tf5server.Serve(source, func() tfprotov5.ProviderServer { return p }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A provider answers questions about schemas. The embedded server is nil, because a mocked
// provider gets no other questions.
type provider struct {
	tfprotov5.ProviderServer
	dir string // folder of generated bindings: provider, RESOURCE and data-SOURCE
}

// readSchemas reads the bindings in a folder.
func readSchemas(dir string) (*tfprotov5.GetProviderSchemaResponse, error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}

	// Terraform starts a provider several times for each of its tests. It need not read the
	// schemas each time.
	schemas := &tfprotov5.GetProviderSchemaResponse{
		ServerCapabilities: &tfprotov5.ServerCapabilities{GetProviderSchemaOptional: true},
		ResourceSchemas:    map[string]*tfprotov5.Schema{},
		DataSourceSchemas:  map[string]*tfprotov5.Schema{},
	}

	for _, d := range all {
		name := strings.ReplaceAll(d.Name(), "-", "_")
		s, err := readSchema(filepath.Join(dir, d.Name()))
		if err != nil {
			return nil, err
		}

		data, isData := strings.CutPrefix(name, "data_")
		switch {
		case name == "provider":
			schemas.Provider = s
		case isData:
			schemas.DataSourceSchemas["google_"+data] = s
		default:
			schemas.ResourceSchemas["google_"+name] = s
		}
	}

	return schemas, nil
}

func (p *provider) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	return readSchemas(p.dir)
}

func (*provider) GetResourceIdentitySchemas(context.Context, *tfprotov5.GetResourceIdentitySchemasRequest) (*tfprotov5.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov5.GetResourceIdentitySchemasResponse{}, nil
}

func (*provider) PrepareProviderConfig(_ context.Context, r *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (*provider) ValidateResourceTypeConfig(context.Context, *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func (*provider) ValidateDataSourceConfig(context.Context, *tfprotov5.ValidateDataSourceConfigRequest) (*tfprotov5.ValidateDataSourceConfigResponse, error) {
	return &tfprotov5.ValidateDataSourceConfigResponse{}, nil
}

func (*provider) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

// The bindings are generated from the provider's schema, so a few patterns find everything:
// the arguments with their types, the functions that write nested blocks, the optional
// arguments, and the attributes that only the provider knows.
var (
	argument = regexp.MustCompile(`(?m)^ +(\w+): \{\n +value: (.*),\n +isBlock: (true|false),\n +type: "(\w+)",\n +storageClassType: "(\w+)",`)
	property = regexp.MustCompile(`(?:struct\.|this\._)(\w+)`)
	writer   = regexp.MustCompile(`(\w+)ToHclTerraform`)
	optional = regexp.MustCompile(`(?m)^    readonly (\w+)\?: `)
	known    = regexp.MustCompile(`// (\w+) - computed: true, optional: false, required: false\n +(?:get \w+\(\) \{\n +return (?:cdktf\.Fn\.tolist\()?this\.get(\w+)Attribute|this\._\w+ = new cdktf\.(\w+)\()`)
)

// types of arguments, by their names in the bindings.
var types = map[string]tftypes.Type{
	"string": tftypes.String, "String": tftypes.String,
	"number": tftypes.Number, "Number": tftypes.Number,
	"boolean": tftypes.Bool, "Boolean": tftypes.Bool,
	"stringList": tftypes.List{ElementType: tftypes.String}, "List": tftypes.List{ElementType: tftypes.String},
	"stringMap": tftypes.Map{ElementType: tftypes.String}, "StringMap": tftypes.Map{ElementType: tftypes.String},
	"numberList": tftypes.List{ElementType: tftypes.Number},
}

// A binding is the text of one resource's generated code.
type binding struct{ code, declared string }

func readSchema(dir string) (*tfprotov5.Schema, error) {
	code, err := os.ReadFile(filepath.Join(dir, "index.js"))
	if err != nil {
		return nil, err
	}

	declared, err := os.ReadFile(filepath.Join(dir, "index.d.ts"))
	if err != nil {
		return nil, err
	}

	b := binding{string(code), string(declared)}
	body, err := between(b.code, "    synthesizeHclAttributes() {", "\n    }\n")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}

	config := "Config extends cdktf."
	if filepath.Base(dir) == "provider" {
		config = "interface GoogleProviderConfig {"
	}

	top, err := b.block(body, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}

	// The attributes that only the provider knows are read in the resource's own class, the
	// last one.
	own := b.code[strings.LastIndex(b.code, "\nclass "):]
	for _, m := range known.FindAllStringSubmatch(own, -1) {
		if typ := types[m[2]+m[3]]; typ != nil {
			top.Attributes = append(top.Attributes, &tfprotov5.SchemaAttribute{Name: m[1], Type: typ, Computed: true})
		}
	}

	return &tfprotov5.Schema{Block: top}, nil
}

// block makes the schema of the arguments that body writes. The interface with the given
// name tells which of them are optional.
func (b binding) block(body, name string) (*tfprotov5.SchemaBlock, error) {
	declared, err := between(b.declared, name, "\n}\n")
	if err != nil {
		return nil, err
	}

	left := map[string]bool{}
	for _, m := range optional.FindAllStringSubmatch(declared, -1) {
		left[m[1]] = true
	}

	out := &tfprotov5.SchemaBlock{}
	for _, m := range argument.FindAllStringSubmatch(body, -1) {
		name, value, isBlock, kind, class := m[1], m[2], m[3] == "true", m[4], m[5]
		required := !left[property.FindStringSubmatch(value)[1]]

		if !isBlock {
			typ := types[class]
			if kind == "set" {
				typ = tftypes.Set{ElementType: tftypes.String}
			}
			if typ == nil {
				return nil, fmt.Errorf("%s: unknown type %s", name, class)
			}

			// The provider fills these in. The bindings do not tell whether it fills in
			// others.
			filled := name == "id" || name == "project" || name == "region"
			out.Attributes = append(out.Attributes, &tfprotov5.SchemaAttribute{Name: name, Type: typ, Required: required, Optional: !required, Computed: filled && !required})
			continue
		}

		fn := writer.FindStringSubmatch(value)[1]
		body, err := between(b.code, "\nfunction "+fn+"ToHclTerraform(", "\n}\n")
		if err != nil {
			return nil, err
		}

		inner, err := b.block(body, "interface "+strings.ToUpper(fn[:1])+fn[1:]+" {")
		if err != nil {
			return nil, err
		}

		nested := &tfprotov5.SchemaNestedBlock{TypeName: name, Block: inner}
		switch kind {
		case "list":
			nested.Nesting = tfprotov5.SchemaNestedBlockNestingModeList
		case "set":
			nested.Nesting = tfprotov5.SchemaNestedBlockNestingModeSet
		case "struct":
			nested.Nesting = tfprotov5.SchemaNestedBlockNestingModeSingle
		default:
			return nil, fmt.Errorf("%s: unknown nesting %s", name, kind)
		}

		if kind != "struct" {
			if required {
				nested.MinItems = 1
			}
			if !strings.HasPrefix(value, "cdktf.listMapper") {
				nested.MaxItems = 1
			}
		}

		out.BlockTypes = append(out.BlockTypes, nested)
	}

	return out, nil
}

// between is the text after begin, up to end.
func between(text, begin, end string) (string, error) {
	_, rest, ok := strings.Cut(text, begin)
	if !ok {
		return "", fmt.Errorf("the bindings have no %q", strings.TrimSpace(begin))
	}
	inner, _, _ := strings.Cut(rest, end)
	return inner, nil
}
