package infra_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testsOf are the names of all tests of the repository, and of the runs of Terraform's tests.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	named := map[string]bool{}
	declared := map[string]*regexp.Regexp{".go": regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`), ".hcl": regexp.MustCompile(`(?m)^run "(\w+)"`)}

	err := fs.WalkDir(os.DirFS(".."), ".", func(p string, d fs.DirEntry, err error) error {
		re := declared[path.Ext(p)]
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || re == nil || !strings.Contains(p, "test."):
			return nil
		}

		for _, m := range re.FindAllStringSubmatch(read(t, path.Join("..", p)), -1) {
			named[m[1]] = true
		}
		return nil
	})

	if err != nil || len(named) < 100 {
		t.Fatalf("found %d tests: %v", len(named), err)
	}

	return named
}

// The table of what is seen has each fault of the audit once, with a test or a document, and
// the tests exist.
func TestSeen(t *testing.T) {
	named := testsOf(t)
	_, section, _ := strings.Cut(read(t, "README.md"), "\n## Seen, and from documents\n")
	var rows []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z]?[0-9]*) \| (.+) \|(.*)\|(.*)\|$`).FindAllStringSubmatch(section, -1) {
		rows = append(rows, m[1])
		tests, documents := regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(m[3], -1), strings.Count(m[4], "](https://")
		if len(tests)+documents == 0 {
			t.Errorf("%s: neither a test nor a document", m[1])
		}
		for _, name := range tests {
			if !named[name[1]] {
				t.Errorf("%s: there is no test %s", m[1], name[1])
			}
		}
	}

	// The audit's numbers.
	want := strings.Fields("A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 B1 B2 B3 B4 B5 B6 B7 B8 B9 B10 B11 C1 C2 C3 C4 C5 C6 C7 D1 D2 D3 D4 D5 D6 E 4")
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
