package card_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/shared/card"
)

func TestLint(t *testing.T) {
	c, err := card.Derive(card.Config{Agent: load(t), URL: base})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := card.Encode(c)
	if err != nil {
		t.Fatal(err)
	}

	change := func(old, with string) string {
		t.Helper()
		changed := strings.Replace(string(doc), old, with, 1)
		if changed == string(doc) {
			t.Fatalf("nothing is %q in %s", old, doc)
		}
		return changed
	}
	name, err := json.Marshal(c.Name)
	if err != nil {
		t.Fatal(err)
	}
	first := `"supportedInterfaces":[{"url":"` + base + `"`

	for what, row := range map[string]struct {
		in   string
		want []string
	}{
		"a good card": {string(doc), nil},
		"no name":     {change(`"name":`+string(name), `"name":" "`), []string{"name: is required, and empty"}},
		"no tags":     {change(`"tags":[`, `"tags":[],"x":[`), []string{"skills[0].tags: is required, and has no element"}},
		"a private host": {change(first, `"supportedInterfaces":[{"url":"https://10.1.2.3"`), []string{
			"supportedInterfaces[0].url: leads to a private host, which readers of a public card do not reach and need not know of"}},
		"an internal name": {change(first, `"supportedInterfaces":[{"url":"https://agent.corp.internal"`), []string{
			"supportedInterfaces[0].url: leads to a private host, which readers of a public card do not reach and need not know of"}},
		"plain HTTP": {change(first, `"supportedInterfaces":[{"url":"http://agent.example.com"`), []string{"supportedInterfaces[0].url: is not encrypted: use https"}},
		"a password": {change(first, `"supportedInterfaces":[{"url":"https://u:p@agent.example.com"`), []string{"supportedInterfaces[0].url: has a user or a password: everybody who reads the card would have it"}},
		"a secret":   {change(`"version":"`, `"version":"AIzaSyA0123456789012345678901234567890123`), []string{"version: has an API key of Google: take it out, and revoke it, because whoever reads the card has it"}},
		"no card":    {`[]`, []string{"the card: is not readable"}},

		"fields twice": {change(`"version":`, `"version":"1","version":`), []string{"the card: is not readable"}},
	} {
		var got []string
		for _, f := range card.Lint([]byte(row.in), true) {
			line := f.String()
			if f.Field == "the card" {
				line, _, _ = strings.Cut(line, " readable")
				line += " readable"
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}

	if faults := card.Lint([]byte(change(first, `"supportedInterfaces":[{"url":"http://localhost:8080"`)), false); len(faults) > 0 {
		t.Errorf("of a card for this machine: %v", faults)
	}
}
