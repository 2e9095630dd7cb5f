package shared_test

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// requirements are the numbers that docs/conformance.md has: a prefix and the last one.
var requirements = []struct {
	prefix string
	last   int
}{
	{"D", 27}, {"M", 34}, {"S", 17}, {"G", 12}, {"C", 6}, {"P", 22}, {"E", 10}, {"V", 16}, {"AU", 13}, {"B-", 10},
	{"", 35}, // decisions
}

// A test says which requirements it shows in a sentence of its doc comment, such as
// "Shows P9, B-1, decision 19." The older form is the beginning of its name, where B-1 is
// written Binding1, because B1 could be either, and decision 7 is Decision7.
var (
	sentence = regexp.MustCompile(`\bShows ((?:` + code + `, )*` + code + `)\.`)
	numbered = regexp.MustCompile(`^Test((?:(?:AU|Binding|Decision|[DMSGCPEV])[1-9][0-9]*)+)`)
	number   = regexp.MustCompile(`[A-Za-z]+[0-9]+`)
)

// code is one requirement in such a sentence.
const code = `(?:(?:AU|B-|decision |[DMSGCPEV])[1-9][0-9]*)`

// shows lists the requirements that a test shows, as docs/conformance.md spells them.
func shows(name, comment string) []string {
	var ids []string
	for _, m := range sentence.FindAllStringSubmatch(strings.Join(strings.Fields(comment), " "), -1) {
		for id := range strings.SplitSeq(m[1], ", ") {
			ids = append(ids, strings.TrimPrefix(id, "decision "))
		}
	}
	if m := numbered.FindStringSubmatch(name); m != nil {
		for _, id := range number.FindAllString(m[1], -1) {
			ids = append(ids, strings.NewReplacer("Binding", "B-", "Decision", "").Replace(id))
		}
	}
	return ids
}

func TestRequirementsAreReadFromCommentsAndNames(t *testing.T) {
	for _, c := range []struct {
		name, comment string
		want          []string
	}{
		{"TestPages", "A page ends.\n\nShows G3, B-1,\nAU12, decision 14.\n", []string{"G3", "B-1", "AU12", "14"}},
		{"TestPages", "It is long. Shows G3. It goes on.", []string{"G3"}},
		{"TestPages", "Shows that pages end, as G3 says.", nil},
		{"TestPages", "Shows G3 and G4.", nil},
		{"TestG3Binding1Decision14Pages", "", []string{"G3", "B-1", "14"}},
		{"TestG3Pages", "Shows P9.", []string{"P9", "G3"}},
	} {
		if got := shows(c.name, c.comment); !slices.Equal(got, c.want) {
			t.Errorf("shows(%q, %q) = %q, want %q", c.name, c.comment, got, c.want)
		}
	}
}

// The table of requirements says what is shown, by which tests, and why not: all of it is
// there once, and it is true of the code.
func TestEveryRequirementIsAccountedFor(t *testing.T) {
	missing := map[string]bool{}
	for _, r := range requirements {
		for i := range r.last {
			missing[r.prefix+strconv.Itoa(i+1)] = true
		}
	}

	found := map[string][]string{} // packages by test
	shown := map[string][]string{} // tests by requirement, in the code

	for _, f := range files(t) {
		if !f.test {
			continue
		}

		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil {
				continue
			}

			name := fn.Name.Name
			found[name] = append(found[name], f.pkg)

			for _, id := range shows(name, fn.Doc.Text()) {
				shown[id] = append(shown[id], name)
				if !missing[id] {
					t.Errorf("%s: %s shows %s, which is no requirement", f.path, name, id)
				}
			}
		}
	}

	text, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}

	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 2 || strings.HasPrefix(cells[1], "--") || cells[1] == " ID " {
			continue
		}

		if len(cells) != 7 {
			t.Errorf("not a row of five cells: %s", line)
			continue
		}

		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}

		id, level, what, state := cells[1], cells[2], cells[3], cells[5]
		if !missing[id] {
			t.Errorf("%s is there twice, or is no requirement", id)
		}

		delete(missing, id)
		if what == "" || level == "" {
			t.Errorf("%s does not say what is asked", id)
		}

		var tests []string
		for _, m := range regexp.MustCompile("`([A-Za-z0-9]+)`").FindAllStringSubmatch(cells[4], -1) {
			tests = append(tests, m[1])
			if in := found[m[1]]; len(in) != 1 {
				t.Errorf("%s names %s, which is in the packages %v", id, m[1], in)
			}
		}

		slices.Sort(shown[id])
		slices.Sort(tests)
		if !slices.Equal(tests, shown[id]) {
			t.Errorf("%s names the tests %v; the tests that say they show it are %v", id, tests, shown[id])
		}

		word, reason, _ := strings.Cut(state, ": ")
		switch {
		case !slices.Contains([]string{"shown", "not yet", "not offered", "advice"}, word):
			t.Errorf("%s has the state %q", id, state)
		case word == "shown" && (len(tests) == 0 || reason != ""):
			t.Errorf("%s is %q with the tests %v", id, state, tests)
		case word != "shown" && reason == "":
			t.Errorf("%s does not say why it is %q", id, state)
		case word == "advice" && strings.Contains(level, "MUST"):
			t.Errorf("%s is a MUST, which is no advice", id)
		}
	}

	for id := range missing {
		t.Errorf("%s is not in docs/conformance.md", id)
	}

	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, more, _ := strings.Cut(string(readme), "\n## More\n"); !strings.Contains(more, "docs/conformance.md") {
		t.Error("the README does not lead to docs/conformance.md")
	}
}
