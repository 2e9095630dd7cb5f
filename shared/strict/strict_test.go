package strict_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/shared/strict"
)

type person struct {
	Name   string   `yaml:"name"`
	Age    int      `yaml:"age"`
	Member bool     `yaml:"member"`
	Tags   []string `yaml:"tags"`
	Home   *address `yaml:"home"`
	Alias  *string  `yaml:"alias"`
	Others []person `yaml:"others"`
}

type address struct {
	Street string `yaml:"street"`
}

var options = strict.Options{
	Size: 1 << 10, Large: "write less", Empty: "write something",
	Secret: func(text string) string {
		if strings.Contains(text, "hunter2") {
			return "is a password: remove it"
		}
		return ""
	},
	Unknown: func(key string) string {
		if key == "password" {
			return "passwords are not for files"
		}
		return ""
	},
}

func TestReadFillsEveryKindOfField(t *testing.T) {
	got := person{Age: 7, Member: true}

	f, err := strict.Read([]byte(`
name: 1.10
age:
member: false
tags: [true, 2026-01-02, "  spaced\n"]
home: {street: s}
alias: ""
others:
- {name: a}
- {age: 3, home: null}
`), &got, options)
	if err != nil || f.Err() != nil {
		t.Fatal(err, f.Err())
	}

	want := person{
		Name: "1.10", Age: 7, Tags: []string{"true", "2026-01-02", "spaced"}, Home: &address{"s"}, Alias: new(string),
		Others: []person{{Name: "a"}, {Age: 3}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}

	for path, want := range map[string]bool{"name": true, "age": true, "others[1].age": true, "others[0].age": false, "x": false} {
		if f.Has(path) != want {
			t.Errorf("Has(%s) = %v", path, !want)
		}
	}
}

// Each fault names its line, its path and a remedy, and repeats no value.
func TestFaults(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"a list for the document", "- a", "line 1: must be a mapping with the keys name, age, member, tags, home, alias, others"},
		{"a text for the document", "hunter2", "line 1: must be a mapping with the keys name, age, member, tags, home, alias, others"},
		{"a slip", "naem: x", `line 1: naem: unknown key; did you mean "name"?`},
		{"another spelling", "Mem_ber: x", `line 1: Mem_ber: unknown key; did you mean "member"?`},
		{"an unknown key inside", "home:\n  town: x", "line 2: home.town: unknown key; known here: street"},
		{"an unknown key with advice", "password: x", "line 1: password: unknown key; passwords are not for files"},
		{"a long key", strings.Repeat("k", 100) + ": x", "line 1: " + strings.Repeat("k", 40) + "...: unknown key; known here: name, age, member, tags, home, alias, others"},
		{"a secret for a key", "home:\n  hunter2: x", "line 2: home: the name of a field here is a password: remove it"},
		{"a list for a key", "? [a]\n: b", "line 1: a key must be a plain word, one of name, age, member, tags, home, alias, others"},
		{"a merge", "<<: {name: a}", "line 1: <<: unknown key; known here: name, age, member, tags, home, alias, others"},
		{"a repeated key", "name: a\nname: hunter2", "line 2: name: stands here a second time: remove one"},
		{"a list for a text", "name: [hunter2]", "line 1: name: must be a text"},
		{"a secret", "tags:\n- a\n- hunter2", "line 3: tags[1]: is a password: remove it"},
		{"a tag", "name: !!binary aHVudGVyMg==", "line 1: name: a tag is not supported: write plain text, and put a text that begins with ! into quotes"},
		{"a tag of one's own", "name: !hunter2 x", "line 1: name: a tag is not supported: write plain text, and put a text that begins with ! into quotes"},
		{"a text for a number", "age: hunter2", "line 1: age: must be a whole number"},
		{"a fraction", "age: 1.5", "line 1: age: must be a whole number"},
		{"a large number", "age: 99999999999999999999", "line 1: age: must be a whole number"},
		{"a text for a truth value", "member: hunter2", "line 1: member: must be true or false"},
		{"a text for a list", "tags: hunter2", "line 1: tags: must be a list: write each entry on a line of its own after \"- \""},
		{"a text for a mapping", "home: hunter2", "line 1: home: must be a mapping with the keys street"},
		{"an alias", "name: &a x\ntags: [*a]", "line 2: tags[0]: aliases are not supported: write the value out"},
		{"an alias of itself", "others: &a [*a]", "line 1: others[0]: aliases are not supported: write the value out"},
	} {
		f, err := strict.Read([]byte(row.text), &person{}, options)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}

		if got := f.Err(); got == nil || got.Error() != row.want {
			t.Errorf("%s: %v\nwant %s", row.name, got, row.want)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"", "the file is empty: write something"},
		{"# a comment\n", "the file is empty: write something"},
		{"name: [", "not valid YAML: "},
		{"name: *hunter2", "not valid YAML: an alias stands for nothing: put a text that begins with * into quotes"},
		{"name: a\n---\nname: b", "the file must be one YAML document: remove what follows the second ---"},
		{"name: a\n---\nname: [", "the file must be one YAML document: remove what follows the second ---"},
		{"name: " + strings.Repeat("x", 1<<10), "the file is larger than 1 KiB: write less"},
	} {
		_, err := strict.Read([]byte(row.text), &person{}, options)
		if err == nil || !strings.HasPrefix(err.Error(), row.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.40q: %v, want %s", row.text, err, row.want)
		}
	}
}

// Faults are in the order of lines, one of each field, and those of the caller among them.
func TestFaultsAreGathered(t *testing.T) {
	f, err := strict.Read([]byte("others:\n- name: {}\n  age: x\ntags: 5\n"), &person{}, options)
	if err != nil {
		t.Fatal(err)
	}
	f.Failf("tags", "has a second fault")
	f.Failf("others[0].home.street", "is required: write %s", "one")
	f.Failf("name", "is required")
	want := []string{
		"name: is required",
		"line 2: others[0].name: must be a text",
		"line 2: others[0].home.street: is required: write one",
		"line 3: others[0].age: must be a whole number",
		`line 4: tags: must be a list: write each entry on a line of its own after "- "`,
	}
	if diff := cmp.Diff(want, strings.Split(f.Err().Error(), "\n")); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestOpenReadsRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := strict.Open(path, options); err != nil || len(data) != options.Size+1 {
		t.Errorf("of a large file %d bytes are read, %v", len(data), err)
	}
	for _, path := range []string{dir, os.DevNull, filepath.Join(dir, "none")} {
		if _, err := strict.Open(path, options); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s): %v", path, err)
		}
	}
}
