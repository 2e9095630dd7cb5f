package shared_test

import (
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

// The numbers at the beginning of a test's name. B-1 is written Binding1 there, because B1
// could be either; decision 7 is Decision7.
var (
	numbered = regexp.MustCompile(`^Test((?:(?:AU|Binding|Decision|[DMSGCPEV])[1-9][0-9]*)+)`)
	number   = regexp.MustCompile(`[A-Za-z]+[0-9]+`)
)

func shows(test string) []string {
	var ids []string
	if m := numbered.FindStringSubmatch(test); m != nil {
		for _, id := range number.FindAllString(m[1], -1) {
			ids = append(ids, strings.NewReplacer("Binding", "B-", "Decision", "").Replace(id))
		}
	}
	return ids
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

		for _, name := range testsOf(f) {
			found[name] = append(found[name], f.pkg)
			for _, id := range shows(name) {
				shown[id] = append(shown[id], name)
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
			t.Errorf("%s names the tests %v; named after it are %v", id, tests, shown[id])
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
}
