package auth_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"errand/shared/auth"
)

// Every fault names its line, its field and the remedy, and repeats no secret.
func TestFileFaults(t *testing.T) {
	key, hash := auth.NewKey()
	_, other := auth.NewKey()
	alice := "principals: [{name: alice, keys: [" + hash + "]}]\n"
	google := "issuers: [{name: google, issuer: https://accounts.google.com, audiences: [a]}]\n"
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", "name the principals who may call"},
		{"comment only", "# empty\n", "name the principals who may call"},
		{"not YAML", "principals: [", "not valid YAML"},
		{"a list", "- a", "line 1: must be a mapping with the keys principals, issuers, limits"},
		{"nobody", "principals: []", "line 1: principals: nobody may call"},
		{"two documents", alice + "---\n" + alice, "one YAML document"},
		{"unknown key", alice + "users: []", "line 2: users: unknown key; known here: principals, issuers, limits"},
		{"unknown key inside", "principals:\n- name: alice\n  key: " + hash, "line 3: principals[0].key: unknown key; did you mean \"keys\"?"},
		{"repeated key", alice + alice, "line 2: principals: stands here a second time"},
		{"merge key", "principals:\n- <<: {name: alice}", "line 2: principals[0].<<: unknown key"},
		{"alias", "principals:\n- name: &a alice\n  keys: [*a]", "line 3: principals[0].keys[0]: aliases are not supported"},
		{"no name", "principals:\n- keys: [" + hash + "]", "line 2: principals[0].name: is required"},
		{"null name", "principals:\n- name:\n  keys: [" + hash + "]", "line 2: principals[0].name: is required"},
		{"anonymous", "principals:\n- name: anonymous\n  keys: [" + hash + "]", "line 2: principals[0].name: is what unidentified"},
		{"odd name", "principals:\n- name: a b\n  keys: [" + hash + "]", "line 2: principals[0].name: must be a name"},
		{"three parts", "principals:\n- name: a/b/c\n  keys: [" + hash + "]", "line 2: principals[0].name: must be a name"},
		{"twice", "principals:\n- name: a\n  keys: [" + hash + "]\n- name: a\n  keys: [" + other + "]", "line 4: principals[1].name: is the name of another principal"},
		{"nothing to show", "principals:\n- name: a", "line 2: principals[0]: has neither keys nor tokens"},
		{"a key for its hash", "principals:\n- name: a\n  keys:\n  - " + key, "line 4: principals[0].keys[0]: is a key, which anybody"},
		{"a password", "principals:\n- name: a\n  keys:\n  - hunter2", "line 4: principals[0].keys[0]: must be the hash"},
		{"a bare digest", "principals:\n- name: a\n  keys:\n  - " + strings.Repeat("0", 64), "line 4: principals[0].keys[0]: must be the hash"},
		{"keys as text", "principals:\n- name: a\n  keys: " + key, "line 3: principals[0].keys: must be a list"},
		{"key twice", "principals:\n- name: a\n  keys: [" + hash + "]\n- name: b\n  keys: [" + hash + "]", "line 5: principals[1].keys[0]: this key stands in the file a second time"},
		{"unknown field of a key", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    expire: 2027-01-01", "line 5: principals[0].keys[0].expire: unknown key; did you mean \"expires\"?"},
		{"key without a hash", "principals:\n- name: a\n  keys:\n  - may: [read]", "line 4: principals[0].keys[0].hash: is required"},
		{"a key for its hash, in the long form", "principals:\n- name: a\n  keys:\n  - hash: " + key, "line 4: principals[0].keys[0].hash: is a key, which anybody"},
		{"key twice, in both forms", "principals:\n- name: a\n  keys:\n  - " + hash + "\n  - hash: " + hash, "line 5: principals[0].keys[1].hash: this key stands in the file a second time"},
		{"odd end", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    expires: next year", "line 5: principals[0].keys[0].expires: must be a date such as"},
		{"no such day", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    expires: 2027-02-29", "line 5: principals[0].keys[0].expires: must be a date such as"},
		{"time without zone", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    expires: 2027-02-28T12:00:00", "line 5: principals[0].keys[0].expires: must be a date such as"},
		{"empty end", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    expires: ''", "line 5: principals[0].keys[0].expires: is empty"},
		{"right with a slip", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    may: [read, webhook]", "line 5: principals[0].keys[0].may[1]: is no right: did you mean \"webhooks\"?"},
		{"right in capitals", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    may: [Read]", "line 5: principals[0].keys[0].may[0]: is no right: did you mean \"read\"?"},
		{"unknown right", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    may: [everything]", "line 5: principals[0].keys[0].may[0]: is no right: known are read, send, cancel, webhooks, push"},
		{"right twice", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    may: [read, read]", "line 5: principals[0].keys[0].may[1]: stands here a second time"},
		{"no rights", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    may: []", "line 5: principals[0].keys[0].may: gives no right"},
		{"right as text", "principals:\n- name: a\n  keys:\n  - hash: " + hash + "\n    may: read", "line 5: principals[0].keys[0].may: must be a list"},
		{"token without issuer", alice[:len(alice)-3] + ", tokens: [{email: a@b.example}]}]", "tokens[0].issuer: is required"},
		{"token with both", google + "principals:\n- name: a\n  tokens:\n  - {issuer: google, email: a@b.example, subject: s}", "line 5: principals[0].tokens[0]: needs either"},
		{"token with neither", google + "principals:\n- name: a\n  tokens:\n  - {issuer: google}", "line 5: principals[0].tokens[0]: needs either"},
		{"token twice", google + "principals:\n- name: a\n  tokens:\n  - {issuer: google, subject: s}\n- name: b\n  tokens:\n  - {issuer: google, subject: s}", "line 8: principals[1].tokens[0]: stands in the file a second time"},
		{"no e-mail", google + "principals:\n- name: a\n  tokens:\n  - {issuer: google, email: everybody}", "line 5: principals[0].tokens[0].email: must be an e-mail"},
		{"issuer of nobody", google + alice, "line 1: issuers[0]: nobody is let in by it"},
		{"everyone at Google", alice + "issuers:\n- name: google\n  issuer: https://accounts.google.com\n  audiences: [a]\n  everyone: true", "line 6: issuers[0].everyone: would let in whoever"},
		{"everyone perhaps", alice + "issuers:\n- name: corp\n  everyone: perhaps", "line 4: issuers[0].everyone: must be true or false"},
		{"names of everyone's", "principals:\n- name: corp/1\n  keys: [" + hash + "]\nissuers: [{name: corp, issuer: https://x.example, audiences: [a], everyone: true}]", "line 2: principals[0].name: may not begin"},
		{"http", "issuers:\n- name: corp\n  issuer: http://login.example.com", "line 3: issuers[0].issuer: must be a complete address"},
		{"a path in idTokens", alice[:len(alice)-3] + ", idTokens: ['https://hooks.example.com/a']}]", "line 1: principals[0].idTokens[0]: must be an origin such as https://hooks.example.com"},
		{"http in idTokens", alice[:len(alice)-3] + ", idTokens: ['http://hooks.example.com']}]", "idTokens[0]: must be an origin"},
		{"upper case in idTokens", alice[:len(alice)-3] + ", idTokens: ['https://Hooks.example.com']}]", "idTokens[0]: must be an origin"},
		{"port 443 in idTokens", alice[:len(alice)-3] + ", idTokens: ['https://hooks.example.com:443']}]", "with a port only if it is not 443"},
		{"all origins in idTokens", alice[:len(alice)-3] + ", idTokens: ['*']}]", "idTokens[0]: must be an origin"},
		{"a bucket without a slash", alice[:len(alice)-3] + ", buckets: ['gs://acme-in']}]", "line 1: principals[0].buckets[0]: must be gs://BUCKET/ or gs://BUCKET/FOLDER/: a bucket or a folder in one, with a slash at the end"},
		{"an object for a bucket", alice[:len(alice)-3] + ", buckets: [gs://acme-in/, 'gs://acme-in/a.jsonl']}]", "principals[0].buckets[1]: must be gs://BUCKET/"},
		{"all buckets", alice[:len(alice)-3] + ", buckets: ['gs://*/']}]", "principals[0].buckets[0]: must be gs://BUCKET/"},
		{"a way out of a folder", alice[:len(alice)-3] + ", buckets: ['gs://acme-in/a/../']}]", "principals[0].buckets[0]: must be gs://BUCKET/"},
		{"an empty bucket", alice[:len(alice)-3] + ", buckets: ['']}]", "principals[0].buckets[0]: is required: a bucket such as gs://BUCKET/"},
		{"a bucket twice", alice[:len(alice)-3] + ", buckets: [gs://acme-in/, gs://acme-in/]}]", "principals[0].buckets[1]: stands here a second time"},
		{"a bucket as text", alice[:len(alice)-3] + ", buckets: gs://acme-in/}]", "principals[0].buckets: must be a list"},
		{"an empty catalogue", alice + "catalogue:", "line 2: catalogue: is empty: write {}"},
		{"a word for strangers", alice + "catalogue: {strangers: all}", "line 2: catalogue.strangers: must be nothing or public"},
		{"a word for require", alice + "catalogue: {require: all}", "line 2: catalogue.require: must be signed"},
		{"signed by nobody", alice + "catalogue: {require: signed}", "line 2: catalogue.require: lets no card in without keys"},
		{"trust without keys", alice + "catalogue: {trust: [{host: a.example}]}", "line 2: catalogue.trust[0].jwks: is required"},
		{"trust in no key", alice + "catalogue: {trust: [{jwks: '{\"keys\": []}'}]}", "catalogue.trust[0].jwks: must be a JSON Web Key Set"},
		{"trust in a secret", alice + "catalogue: {trust: [{jwks: '{\"keys\": [{\"kty\": \"oct\", \"k\": \"c2VjcmV0\"}]}'}]}", "catalogue.trust[0].jwks: keys[0] is no public key"},
		{"trust in an address", alice + "catalogue: {trust: [{host: 'https://a.example', jwks: '{}'}]}", "catalogue.trust[0].host: must be a host"},
		{"a word in the catalogue", alice[:len(alice)-3] + ", catalogue: [owner]}]", "principals[0].catalogue[0]: must be register, partner or admin"},
		{"a word twice in the catalogue", alice[:len(alice)-3] + ", catalogue: [admin, admin]}]", "principals[0].catalogue[1]: stands here a second time"},
		{"buckets of everybody", alice + "buckets: [gs://acme-in/]", "line 2: buckets: unknown key"},
		{"submit as text", alice + "submit: alice", "line 2: submit: must be a list"},
		{"submit without a subscription", alice + "submit:\n- principal: alice", "line 3: submit[0].subscription: is required: the name of a subscription"},
		{"submit without a principal", alice + "submit:\n- subscription: projects/p/subscriptions/errand-submit", "line 3: submit[0].principal: is required"},
		{"a short name of a subscription", alice + "submit:\n- subscription: errand-submit\n  principal: alice", "line 3: submit[0].subscription: must be the full name of a subscription of Pub/Sub, projects/PROJECT/subscriptions/NAME"},
		{"a topic for a subscription", alice + "submit:\n- subscription: projects/p/topics/errand-submit\n  principal: alice", "line 3: submit[0].subscription: must be"},
		{"a slip in the principal", alice + "submit:\n- subscription: projects/p/subscriptions/errand-submit\n  principal: alcie", "line 4: submit[0].principal: is no principal of this file: did you mean \"alice\"?"},
		{"an unknown principal", alice + "submit:\n- subscription: projects/p/subscriptions/errand-submit\n  principal: acme/pipelines", "line 4: submit[0].principal: is no principal of this file: add it under principals"},
		{"a subscription of two", alice + "submit:\n- {subscription: projects/p/subscriptions/errand-submit, principal: alice}\n- {subscription: projects/p/subscriptions/errand-submit, principal: alice}", "line 4: submit[1].subscription: stands in the file a second time"},
		{"an attribute that decides", alice + "submit:\n- subscription: projects/p/subscriptions/errand-submit\n  principal: alice\n  attribute: owner", "line 5: submit[0].attribute: unknown key"},
		{"a principal of no subscription", "principals:\n- name: a\n- name: b\nsubmit:\n- {subscription: projects/p/subscriptions/errand-submit, principal: b}", "line 2: principals[0]: has neither keys nor tokens"},
		{"http keys", "issuers:\n- name: corp\n  keysUrl: http://login.example.com/keys", "line 3: issuers[0].keysUrl: must be a complete address"},
		{"password in address", "issuers:\n- name: corp\n  issuer: https://a:b@login.example.com", "line 3: issuers[0].issuer: must be"},
		{"no audience", "issuers:\n- name: corp\n  issuer: https://x.example\n  everyone: true", "line 2: issuers[0].audiences: at least one"},
		{"quote in audience", "issuers:\n- name: corp\n  audiences: ['a\"b']", "line 3: issuers[0].audiences[0]: must be one word"},
		{"issuer's name", "issuers:\n- name: bearer", "line 2: issuers[0].name: must be a short word"},
		{"no issuer's name", "issuers:\n- everyone: true", "line 2: issuers[0].name: is required"},
		{"no iss", "issuers:\n- name: corp", "line 2: issuers[0].issuer: is required"},
		{"same name", "issuers:\n- {name: x, issuer: https://x.example, audiences: [a], everyone: true}\n- {name: x, issuer: https://y.example, audiences: [a], everyone: true}", "line 3: issuers[1].name: is the name of another"},
		{"same issuer", "issuers:\n- {name: x, issuer: https://x.example, audiences: [a], everyone: true}\n- {name: y, issuer: https://x.example, audiences: [a], everyone: true}", "line 3: issuers[1].issuer: stands here a second time"},
		{"a secret for a key", "hunter2_" + strings.Repeat("x", 100) + ": 1", "line 1: hunter2_xxxxx"},
	} {
		_, err := auth.Load(write(t, row.text), auth.Options{})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
			continue
		}

		for _, secret := range []string{key, key[20:], strings.Repeat("x", 60)} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error repeats the value: %v", row.name, err)
			}
		}

		if !strings.Contains(err.Error(), "ERRAND_ACCESS") {
			t.Errorf("%s: the error does not name the variable: %v", row.name, err)
		}
	}
}

func TestFileReportsEveryFault(t *testing.T) {
	_, err := auth.Load(write(t, "principals:\n- name: a b\n  key: x\n- keys: [y]\nusers: []\n"), auth.Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"line 2: principals[0].name", "line 3: principals[0].key", "line 4: principals[1].keys[0]", "line 5: users"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from:\n%v", want, err)
		}
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "none"), dir, os.DevNull, write(t, strings.Repeat("#\n", 1<<20))} {
		if _, err := auth.Load(path, auth.Options{}); err == nil || !strings.Contains(err.Error(), "ERRAND_ACCESS") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// The example that people copy works.
func TestDocumentedExample(t *testing.T) {
	document, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml access\n(.*?)```").FindSubmatch(document)
	if m == nil {
		t.Fatal("docs/access.md has no example of an access file")
	}
	if _, err := auth.Load(write(t, string(m[1])), auth.Options{}); err != nil {
		t.Error(err)
	}
}
