package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"errand/shared/keys"
	"errand/shared/lab/conformance"
	"errand/shared/secret"
	"errand/shared/task"
	"errand/shared/webhook"
)

const document = "../../docs/webhooks.md"

// snippets are the fenced blocks of the document, by the words behind the fence.
func snippets(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, m := range regexp.MustCompile("(?ms)^```(.+?)$\n(.*?)^```$").FindAllSubmatch(text, -1) {
		if _, twice := all[string(m[1])]; twice {
			t.Fatalf("%s has two blocks %s", document, m[1])
		}
		all[string(m[1])] = string(m[2])
	}
	if fences := bytes.Count(text, []byte("```")); fences != 2*len(all) {
		t.Fatalf("%s has %d fences and %d blocks: one has no name", document, fences, len(all))
	}
	return all
}

// A delivery is a request to a receiver, and the verdict that the receiver must reach.
type delivery struct {
	name string
	want bool

	Kind                string // the proof to check: v1, v1a, token
	Secrets, PublicKeys []string
	Issuer, Audience    string
	Subjects            []string
	Headers             map[string]string // names in lower case
	Body                []byte
	Now                 int64
}

// with returns d with one header changed.
func (d delivery) with(header, value string) delivery {
	d.Headers = maps.Clone(d.Headers)
	d.Headers[header] = value
	return d
}

// The snippets that receivers paste from the document run, each language in one process, over
// all deliveries that they have to accept or refuse. Deliveries of another owner are among
// those to refuse.
//
// Shows P20.
func TestSnippetsOfTheDocument(t *testing.T) {
	found := snippets(t)
	all := slices.Concat(exampleDelivery(t), signedDeliveries(t), tokenDeliveries(t), ownersDeliveries(t))
	run := map[string]bool{"http delivery": true}

	file := func(t *testing.T, dir, name, snippet, before string) string {
		t.Helper()
		run[snippet] = true
		if found[snippet] == "" {
			t.Fatalf("%s has no block %s", document, snippet)
		}
		return write(t, filepath.Join(dir, name), before+found[snippet])
	}

	t.Run("go", func(t *testing.T) {
		dir := t.TempDir()
		build := []string{"build", "-o", filepath.Join(dir, "receiver"), copied(t, "main.go.txt", filepath.Join(dir, "main.go"))}
		for _, kind := range []string{"v1", "v1a", "token"} {
			build = append(build, file(t, dir, kind+".go", "go verify-"+kind, "package main\n\n"))
		}

		if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}

		judge(t, all, filepath.Join(dir, "receiver"))
	})

	t.Run("python", func(t *testing.T) {
		dir := t.TempDir()
		for _, kind := range []string{"v1", "v1a", "token"} {
			file(t, dir, "verify_"+kind+".py", "python verify-"+kind, "")
		}

		python, err := exec.LookPath("python3")
		conformance.Require(t, "python3", err == nil, "install Python 3.9 or newer")
		main := copied(t, "main.py", filepath.Join(dir, "main.py"))
		judge(t, of(all, "v1"), python, "-B", main) // with the standard library alone

		python, ok := withPackages()
		conformance.Require(t, "python3-jwt", ok, "install the packages python3-jwt and python3-cryptography, or pyjwt[crypto] with pip")
		judge(t, of(all, "v1a", "token"), python, "-B", main)
	})

	t.Run("js", func(t *testing.T) {
		dir := t.TempDir()
		for _, kind := range []string{"v1", "v1a", "token"} {
			file(t, dir, "verify-"+kind+".mjs", "js verify-"+kind, "")
		}

		node, err := exec.LookPath("node")
		conformance.Require(t, "node", err == nil, "install Node.js 20 or newer")
		judge(t, all, node, copied(t, "main.mjs", filepath.Join(dir, "main.mjs")))
	})

	for name := range found {
		if !run[name] && !strings.HasPrefix(name, "sh ") { // TestCommandsOfTheWebhookDocument runs those
			t.Errorf("the block %s of %s is not run", name, document)
		}
	}

	for _, name := range []string{"go verify-v1", "python verify-v1", "js verify-v1"} {
		if !regexp.MustCompile(`hmac\.Equal|compare_digest|timingSafeEqual`).MatchString(found[name]) {
			t.Errorf("%s does not compare in constant time", name)
		}
	}
}

// of returns the deliveries with a proof of one of the kinds.
func of(all []delivery, kinds ...string) []delivery {
	return slices.DeleteFunc(slices.Clone(all), func(d delivery) bool { return !slices.Contains(kinds, d.Kind) })
}

// withPackages finds a Python with the packages that the document names: the first one, or the
// system's own, for which Debian has them.
func withPackages() (python string, ok bool) {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import cryptography, jwt").Run() == nil {
			return python, true
		}
	}
	return "", false
}

// judge compares a receiver's verdicts about all deliveries.
func judge(t *testing.T, all []delivery, program string, args ...string) {
	t.Helper()
	in, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, errs.String())
	}
	var verdicts []bool
	if err := json.Unmarshal(out.Bytes(), &verdicts); err != nil || len(verdicts) != len(all) {
		t.Fatalf("%d deliveries have %d verdicts, %v: %s", len(all), len(verdicts), err, out.String())
	}
	for i, d := range all {
		if verdicts[i] != d.want {
			t.Errorf("%s: %s: accepted = %v, want %v", d.Kind, d.name, verdicts[i], d.want)
		}
	}
}

// write writes a file and returns its path.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// copied copies a file of testdata.
func copied(t *testing.T, name, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return write(t, path, string(text))
}

// lower is a header with its names in lower case.
func lower(h http.Header) map[string]string {
	out := map[string]string{}
	for name := range h {
		out[strings.ToLower(name)] = h.Get(name)
	}
	return out
}

// signedDeliveries are the deliveries that a receiver judges by their signatures.
func signedDeliveries(t *testing.T) (all []delivery) {
	const day = 24 * time.Hour
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	before, during := ring(t, now, -90*day), ring(t, now, -90*day, -day)
	after := ring(t, now, -90*day, -8*day)
	stranger, err := keys.Parse(now.Add(-day).Format(time.RFC3339) + " " + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32)))
	if err != nil {
		t.Fatal(err)
	}

	for _, kind := range []string{"v1", "v1a"} {
		// signed is signed by one ring, for a receiver that knows the secrets and public
		// keys of another.
		signed := func(name string, want bool, by, known keys.Ring) delivery {
			return delivery{name: name, want: want, Kind: kind, Headers: lower(deliver(t, by, now)), Body: body, Now: now.Unix(),
				Secrets: known.Secrets(now, owner, hook), PublicKeys: known.Public(now, owner)}
		}

		add := func(d ...delivery) { all = append(all, d...) }
		at := func(name string, want bool, off time.Duration) delivery {
			d := signed(name, want, before, before)
			d.Now = now.Add(off).Unix()
			return d
		}

		good := signed("good", true, before, before)
		own := good.Headers["webhook-signature"]
		moved, elsewhere, whole := good, good, good
		moved.name, moved.want, moved.Body = "another body", false, append([]byte(" "), body...)
		elsewhere.name, elsewhere.want = "signed for another URL", kind == "v1a"
		elsewhere.Secrets = before.Secrets(now, owner, hook+"/b")
		whole.name, whole.want, whole.Body = "no body", false, []byte{}

		add(good, moved, elsewhere, whole,
			signed("while keys change, known is the old one", true, during, before),
			signed("while keys change, known are both", true, during, during),
			signed("before, known are both", true, before, during),
			signed("afterwards, known is the old one", false, after, before),
			signed("afterwards, known are both", true, after, during),
			signed("a stranger's", false, stranger, during),
			at("5m later", true, 5*time.Minute), at("5m01s later", false, 5*time.Minute+time.Second),
			at("5m before", true, -5*time.Minute), at("5m01s before", false, -5*time.Minute-time.Second))

		during1 := signed("while keys change, known is the new one", true, during, during)
		during1.Secrets, during1.PublicKeys = during1.Secrets[:1], during1.PublicKeys[:1]
		add(during1)

		for _, c := range []struct {
			name, header, value string
			want                bool
		}{
			{"another id", "webhook-id", id + "0", false},
			{"no id", "webhook-id", "", false},
			{"an id beyond ASCII", "webhook-id", "ä", false},
			{"another time", "webhook-timestamp", fmt.Sprint(now.Unix() + 1), false},
			{"no time", "webhook-timestamp", "", false},
			{"a time that is none", "webhook-timestamp", "now", false},
			{"a time without end", "webhook-timestamp", strings.Repeat("9", 400), false},
			{"no signature", "webhook-signature", "", false},
			{"versions without signatures", "webhook-signature", "v1, v1a, v1 v1a", false},
			{"signatures that are none", "webhook-signature", "v1,AAAA v1a,AAAA v2,ä junk", false},
			{"junk first", "webhook-signature", "v1,AAAA v1a,AAAA v9,x " + own, true},
			{"signatures under each other's names", "webhook-signature", strings.NewReplacer("v1,", "v1a,", "v1a,", "v1,").Replace(own), false},
			{"signatures cut off", "webhook-signature", regexp.MustCompile(`.{8}( |$)`).ReplaceAllString(own, "$1"), false},
		} {
			d := good.with(c.header, c.value)
			d.name, d.want = c.name, c.want
			add(d)
		}

		// The webhooks of another owner to the same URL.
		for _, by := range []keys.Ring{before, during, after} {
			_, signatures, err := webhook.Sign(by, now, "acme/mallory", hook, id, body)
			if err != nil {
				t.Fatal(err)
			}
			add(signed("of another owner", false, by, during).with("webhook-signature", signatures))
		}

		nothing := good
		nothing.name, nothing.want, nothing.Secrets, nothing.PublicKeys = "nothing is known", false, []string{}, []string{}
		add(nothing)
	}

	// A receiver that forgot to set its secret.
	mac := hmac.New(sha256.New, nil)
	mac.Write([]byte(id + "." + fmt.Sprint(now.Unix()) + "." + string(body)))
	empty := delivery{name: "the secret is empty", Kind: "v1", Secrets: []string{"", "whsec_"}, PublicKeys: []string{}, Body: body, Now: now.Unix(), Headers: map[string]string{
		"webhook-id": id, "webhook-timestamp": fmt.Sprint(now.Unix()), "webhook-signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	}}

	return append(all, empty)
}

// tokenDeliveries are the deliveries that a receiver judges by their bearer token. The
// receiver fetches the key set from the agent.
func tokenDeliveries(t *testing.T) (all []delivery) {
	now := time.Now().Truncate(time.Second)
	const origin = "https://hooks.example.com"
	r := ring(t, now, -time.Hour*24*90, -time.Hour)
	agent := publishing(t, ringText(now, -time.Hour*24*90, -time.Hour))
	tokenOf := func(owner string, r keys.Ring, at time.Time, issuer, url, id string) string {
		text, err := webhook.Token(r, at, issuer, owner, url, id, "t1")
		if err != nil {
			t.Fatal(err)
		}
		return text
	}

	token := func(r keys.Ring, at time.Time, issuer, url, id string) string {
		return tokenOf(owner, r, at, issuer, url, id)
	}

	add := func(name string, want bool, authorization string) {
		all = append(all, delivery{name: name, want: want, Kind: "token", Issuer: agent, Audience: origin, Subjects: r.Subjects(now, owner), Body: []byte{}, Now: now.Unix(),
			Headers: map[string]string{"webhook-id": id, "authorization": authorization}})
	}

	good := token(r, now, agent, hook, id)
	add("good", true, "Bearer "+good)
	add("of the key that is on its way out", true, "Bearer "+token(ring(t, now, -time.Hour*24*90), now, agent, hook, id))
	add("of another owner", false, "Bearer "+tokenOf("acme/mallory", r, now, agent, hook, id))
	add("of an owner without a name", false, "Bearer "+tokenOf("", r, now, agent, hook, id))
	for _, subjects := range [][]string{nil, {""}, {owner}} {
		add(fmt.Sprintf("known are the subjects %q", subjects), false, "Bearer "+good)
		all[len(all)-1].Subjects = subjects
	}

	// The receiver asked for its subjects before the ring was changed, then, and meanwhile a
	// week has passed.
	before, after := ring(t, now, -time.Hour*24*90), ring(t, now, -time.Hour*24*90, -time.Hour*24*8)
	for _, row := range []struct {
		name  string
		want  bool
		by    keys.Ring
		known keys.Ring
	}{
		{"while keys change, known is the old subject", true, r, before},
		{"before, known are both subjects", true, before, r},
		{"afterwards, known are both subjects", true, after, r},
		{"afterwards, known is the new subject", true, after, after},
		{"afterwards, known is the old subject", false, after, before},
	} {
		add(row.name, row.want, "Bearer "+token(row.by, now, agent, hook, id))
		all[len(all)-1].Subjects = row.known.Subjects(now, owner)
	}

	add("of another owner, of the key that is on its way out", false, "Bearer "+tokenOf("acme/mallory", before, now, agent, hook, id))
	unnamed, err := r.Token(now, map[string]any{"iss": agent, "aud": origin, "iat": now.Unix(), "exp": now.Unix() + 300, "jti": id})
	if err != nil {
		t.Fatal(err)
	}
	add("without an owner", false, "Bearer "+unnamed)
	all[len(all)-1].Subjects = []string{""}

	add("for another receiver", false, "Bearer "+token(r, now, agent, "https://other.example.com/", id))
	add("of another agent", false, "Bearer "+token(r, now, "https://agent.example.com", hook, id))
	add("of another delivery", false, "Bearer "+token(r, now, agent, hook, id+"0"))
	add("expired a little ago", true, "Bearer "+token(r, now.Add(-webhook.TokenAge-50*time.Second), agent, hook, id))
	add("expired", false, "Bearer "+token(r, now.Add(-webhook.TokenAge-61*time.Second), agent, hook, id))
	add("of the future", false, "Bearer "+token(r, now.Add(62*time.Second), agent, hook, id))

	add("another scheme", false, "Basic "+good)
	add("no scheme", false, good)
	add("nothing", false, "")
	add("no token", false, "Bearer junk")
	add("three parts of nothing", false, "Bearer ..")
	parts := strings.Split(good, ".")
	add("without a signature", false, "Bearer "+parts[0]+"."+parts[1]+".")
	add("with the signature of another", false, "Bearer "+parts[0]+"."+parts[1]+"."+strings.Split(token(r, now, agent, hook, id+"0"), ".")[2])
	add("unsigned by its own word", false, "Bearer "+base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))+"."+parts[1]+".")

	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	var header struct{ Kid string }
	text, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err == nil {
		err = json.Unmarshal(text, &header)
	}
	if err != nil || header.Kid == "" {
		t.Fatalf("the token names the key %q, %v", header.Kid, err)
	}

	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}

	for name, kid := range map[string]string{"a foreign key": "foreign", "a foreign key under the name of ours": header.Kid, "a key without a name": ""} {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: foreign, KeyID: kid}}, nil)
		if err != nil {
			t.Fatal(err)
		}

		signed, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}

		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}

		add(name, false, "Bearer "+compact)
	}

	return all
}

// publishing serves the key set of a ring, and returns the address of its agent.
func publishing(t *testing.T, ring string) string {
	agent := httptest.NewServer(http.HandlerFunc(keys.New(keys.Config{Read: func(context.Context) (secret.Value, error) {
		return secret.NewValue([]byte(ring))
	}}).ServeJWKS))
	t.Cleanup(agent.Close)
	return agent.URL
}

// ownersDeliveries are the events of two owners whose webhooks have one URL, as they are sent.
// By each of its proofs an event is accepted with what its own owner knows, and with nothing
// that the other one knows.
func ownersDeliveries(t *testing.T) (all []delivery) {
	now := time.Now().Truncate(time.Second)
	r, agent := ring(t, now, -time.Hour), publishing(t, ringText(now, -time.Hour))
	owners := []string{"", owner, "acme/mallory", "acme"}
	for _, by := range owners {
		h := task.Webhook{ID: "h", URL: hook, Scheme: "Bearer"}
		sent, err := webhook.Prepare(r, agent, now, task.Record{
			Owner: by, Seq: 1, Webhooks: []task.Webhook{h}, Notifications: []task.Notification{{At: now, Seq: 1, State: a2a.TaskStateCompleted}},
			Task: &a2a.Task{ID: "t1", ContextID: "c", Status: a2a.TaskStatus{State: a2a.TaskStateCompleted, Timestamp: &now}},
		}, h)
		if err != nil {
			t.Fatal(err)
		}

		for _, at := range owners {
			for _, kind := range []string{"v1", "v1a", "token"} {
				all = append(all, delivery{
					name: fmt.Sprintf("an event of %q at the receiver of %q", by, at), want: by == at, Kind: kind,
					Secrets: r.Secrets(now, at, hook), PublicKeys: r.Public(now, at), Subjects: r.Subjects(now, at),
					Issuer: agent, Audience: "https://hooks.example.com", Headers: lower(sent.Header), Body: sent.Body, Now: now.Unix(),
				})
			}
		}
	}
	return all
}

// exampleDelivery is the delivery that the document shows, which is exactly the one sent.
func exampleDelivery(t *testing.T) []delivery {
	t.Helper()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	const url, id = "https://hooks.example.com/errand", "1n4ympjgsr5u6zv5ps6mlf6guaqw2wsmdq"
	r, err := keys.Parse("2026-01-01T00:00:00Z " + base64.StdEncoding.EncodeToString([]byte("an example, known to everybody..")))
	if err != nil {
		t.Fatal(err)
	}

	h := task.Webhook{ID: "h", URL: url, Cursor: 1, Sealed: webhook.Secrets{Token: "from-the-config"}.Seal(r, now, owner, url)}
	record := task.Record{Owner: owner, Seq: 5, Webhooks: []task.Webhook{h},
		Notifications: []task.Notification{{Artifact: "answer"}, {At: now, Seq: 5, State: a2a.TaskStateCompleted}},
		Task:          &a2a.Task{ID: id, ContextID: "c-1", Status: a2a.TaskStatus{State: a2a.TaskStateCompleted, Timestamp: &now}},
	}

	sent, err := webhook.Prepare(r, "", now, record, h)
	if err != nil {
		t.Fatal(err)
	}

	known := r.Secrets(now, owner, url)
	sent.Header.Set("Content-Length", fmt.Sprint(len(sent.Body)))

	var want strings.Builder
	fmt.Fprintf(&want, "POST /errand HTTP/1.1\nHost: hooks.example.com\n")
	for _, name := range slices.Sorted(maps.Keys(sent.Header)) {
		fmt.Fprintf(&want, "%s: %s\n", name, sent.Header.Get(name))
	}

	fmt.Fprintf(&want, "\n%s\n", sent.Body)
	text := snippets(t)["http delivery"]
	if diff := cmp.Diff(want.String(), text); diff != "" {
		t.Errorf("delivery (-sent +in %s):\n%s", document, diff)
	}

	whole, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(whole), known[0]) {
		t.Errorf("the secret of the example is %s, and %s does not name it", known[0], document)
	}

	shown, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatalf("the delivery of %s: %v", document, err)
	}

	got, err := io.ReadAll(shown.Body)
	if err != nil {
		t.Fatalf("the delivery of %s: %v", document, err)
	}

	out := delivery{name: "the document's own", want: true, Headers: lower(shown.Header), Body: got, Now: now.Unix(),
		Secrets: known, PublicKeys: r.Public(now, owner)}
	v1, v1a := out, out
	v1.Kind, v1a.Kind = "v1", "v1a"

	return []delivery{v1, v1a}
}

// The receiver of the tour verifies with the snippet of the document.
func TestReceiverIsTheSnippet(t *testing.T) {
	text, err := os.ReadFile("../../docs/receiver/verify.go")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("package main\n\n"+snippets(t)["go verify-v1"], string(text)); diff != "" {
		t.Errorf("verifier (-snippet +docs/receiver/verify.go):\n%s", diff)
	}
}
