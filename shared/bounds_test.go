package shared_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// agent.yaml bounds a task, the access file bounds a caller, and the environment bounds a
// process: no key of one is a key or a variable of another, and the documents name each key.
// The same holds for rights, such as which objects a caller may have read: agent.yaml and the
// environment give none.
func TestOneBoundInOnePlace(t *testing.T) {
	keys := func(file, structure string) (all []string) {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, body, found := strings.Cut(string(text), "type "+structure+" struct {\n")
		body, _, ended := strings.Cut(body, "\n}\n")
		if !found || !ended {
			t.Fatalf("%s has no %s", file, structure)
		}
		for _, m := range regexp.MustCompile("yaml:\"([A-Za-z]+)\"").FindAllStringSubmatch(body, -1) {
			all = append(all, m[1])
		}
		if len(all) < 4 {
			t.Fatalf("%s of %s has the keys %v", structure, file, all)
		}
		return all
	}

	docs := documents(t)
	place := map[string]string{}
	ofTasks, err := os.ReadFile("agent/agent.go")
	if err != nil {
		t.Fatal(err)
	}

	// Both files have names and limits. ERRAND_KEYS are the installation's own, and the tokens of
	// the access file are credentials.
	words := []string{"name", "limits", "keys", "tokens"}
	for _, key := range append(keys("auth/file.go", "file"), keys("auth/file.go", "filePrincipal")...) {
		if slices.Contains(words, key) {
			continue
		}
		place[key] = "auth/file.go"
		if strings.Contains(string(ofTasks), "yaml:\""+key+"\"") {
			t.Errorf("%s is a key of the access file and of agent.yaml", key)
		}
		if !strings.Contains(docs["docs/access.md"], key+":") {
			t.Errorf("docs/access.md does not name the key %s", key)
		}
	}

	for _, of := range []struct{ file, structure, document string }{
		{"agent/agent.go", "Limits", "docs/limits.md"}, {"auth/limits.go", "fileLimits", "docs/access.md"},
	} {
		for _, key := range keys(of.file, of.structure) {
			if other := place[key]; other != "" {
				t.Errorf("%s is a key of %s and of %s", key, other, of.file)
			}
			place[key] = of.file
			if !strings.Contains(docs[of.document], key) {
				t.Errorf("%s does not name the key %s", of.document, key)
			}
		}
	}

	// ERRAND_TURNS bounds the slots of the process, of which the key turns gives a caller some.
	for _, m := range regexp.MustCompile("ERRAND_([A-Z_]+)").FindAllStringSubmatch(docs["docs/environment.md"], -1) {
		for key, file := range place {
			if key != "turns" && strings.EqualFold(strings.ReplaceAll(m[1], "_", ""), key) {
				t.Errorf("%s is a variable and a key of %s", m[0], file)
			}
		}
	}
}

// A local refill is longer than twice what a lane holds for all owners, whatever the number of
// turns. Otherwise a backlog may fit into the lane in part, and the lane asks for no more.
func TestARefillOverflowsTheLargestLane(t *testing.T) {
	number := func(file, name string) int {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^(?:const|\s)\s*` + name + `\s*= ([0-9_]+)`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s has no number %s", file, name)
		}
		n, err := strconv.Atoi(strings.ReplaceAll(string(m[1]), "_", ""))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	holds := 2 * (number("adapters/local/limits.go", "defaultCapacity") + number("setup/env.go", "maxTurns"))
	if fill := number("../functions/sweep/sweep.go", "defaultFill"); fill <= 2*holds {
		t.Errorf("a refill has %d records, and a lane holds %d jobs: want more than twice as many", fill, holds)
	}
}
