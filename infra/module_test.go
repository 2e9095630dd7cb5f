package infra_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// indexes is the file of Firestore's indexes, from this folder.
const indexes = "../shared/gcp/firestore.indexes.json"

// A source is the module as written.
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

// blocks are the module's blocks of these types.
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

// Paths of the probes.
const (
	live  = "/live"
	ready = "/ready"
)
