package front_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/auth"
	"errand/shared/objects"
)

// A lender is the front door of an agent whose access file gives some callers buckets. It
// counts how often an object is looked for.
type lender struct {
	*world
	path string            // of the access file
	keys map[string]string // by principal
	asks *int
	lost bool // nobody may have anything read any more
}

// asks is a source of objects that counts.
type asks int

func (n *asks) Stat(context.Context, string) (objects.Object, error) {
	*n++
	return objects.Object{}, objects.ErrNotFound
}

func (n *asks) Open(context.Context, string, int64, int64) (io.ReadCloser, error) {
	*n++
	return nil, objects.ErrNotFound
}

// newLender gives acme/ci the bucket acme-in and a folder of shared, and acme/bob nothing.
func newLender(t *testing.T) *lender {
	t.Helper()
	l := &lender{path: filepath.Join(t.TempDir(), "access.yaml"), keys: map[string]string{}}
	ci, ciHash := auth.NewKey()
	bob, bobHash := auth.NewKey()
	l.keys["acme/ci"], l.keys["acme/bob"] = ci, bob
	text := "limits: {requests: none}\nprincipals:\n" +
		"  - {name: acme/ci, keys: [" + ciHash + "], buckets: [gs://acme-in/, gs://shared/acme/]}\n" +
		"  - {name: acme/bob, keys: [" + bobHash + "]}\n"
	if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	access, err := auth.Load(l.path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l.asks = new(int)
	l.world = newWorld(t, reads("*/*"), func(c *front.Config) {
		c.Access, c.Objects = access, objects.Guarded{Source: (*asks)(l.asks), May: func(owner, url string) bool {
			return !l.lost && access.MayRead(owner, url)
		}}
	})
	return l
}

// as is a request with the key of a principal.
func (l *lender) as(principal string, r *http.Request) *http.Request {
	r.Header.Set("X-API-Key", l.keys[principal])
	return r
}

// stored counts the tasks of the principals.
func (l *lender) stored(t *testing.T) (n int) {
	t.Helper()
	for principal := range l.keys {
		n += len(into[page](l.do(t, l.as(principal, rpcRequest("ListTasks", `{}`)))).Tasks)
	}
	return n
}

// link is a part that names a file by its URL, as a way writes it.
func (y way) link(url string) string {
	switch y.name {
	case "0.3 JSON-RPC":
		return `{"kind":"file","file":{"uri":"` + url + `","mimeType":"application/pdf"}}`
	case "0.3 HTTP+JSON":
		return `{"file":{"fileWithUri":"` + url + `","mimeType":"application/pdf"}}`
	}
	return `{"url":"` + url + `","mediaType":"application/pdf"}`
}

// An agent may be sent an object of a bucket that the access file gives to the sender. The
// address is kept as it was sent.
//
// Shows M34.
func TestClientsRow14(t *testing.T) {
	const url = "gs://acme-in/2026/a.pdf"
	everyWay(t, func(t *testing.T, y way) {
		l := newLender(t)
		l.via = y.via
		got := l.do(t, l.as("acme/ci", y.request("m", y.link(url), "")))
		if got.code() != 0 || !strings.Contains(got.body, `"`+url+`"`) {
			t.Errorf("an object of the sender's is answered %s", got.body)
		}
		if *l.asks != 0 {
			t.Errorf("it was looked for %d times", *l.asks)
		}
	})
}

// Whether the model may be sent a URL is decided by its name and its sender alone: nothing is
// looked up, so that the answer about an object that is there is the one about an object that
// is not. A refused message leaves nothing behind. The address must have one spelling only.
//
// Shows M34.
func TestFilesACallerNames(t *testing.T) {
	const right, plain, kept = "names an object that you may not have read", "must be gs://BUCKET/NAME as it stands", "names a file that the Gemini API keeps"
	const scheme = "must be an absolute http or https URL, or gs://BUCKET/NAME"
	rows := []struct{ url, ci, bob string }{ // what each is told; empty: accepted
		{"gs://acme-in/a.pdf", "", right},
		{"gs://acme-in/Bericht für Jörg 2026 (1)+2.pdf", "", right},
		{"gs://shared/acme/a.pdf", "", right},
		{"gs://shared/other/a.pdf", right, right},
		{"gs://shared/acme-2/a.pdf", right, right},
		{"gs://shared/acme", right, right},
		{"gs://acme-in-2/a.pdf", right, right},
		{"gs://acme-inn/a.pdf", right, right},

		{"gs://acme-in", plain, plain}, {"gs://acme-in/", plain, plain}, {"gs://", plain, plain}, {"gs:///a.pdf", plain, plain},
		{"gs://acme-in/../shared/other/a.pdf", plain, plain}, {"gs://shared/acme/../other/a.pdf", plain, plain}, {"gs://shared/acme/./a.pdf", plain, plain},
		{"gs://shared/acme/%2e%2e/other/a.pdf", plain, plain}, {"gs://shared/acme%2F..%2Fother", plain, plain}, {"gs://shared/acme/..%2fother/a.pdf", plain, plain},
		{"gs://acme-in//a.pdf", plain, plain}, {"gs://acme-in/a/", plain, plain}, {`gs://shared/acme/..\\other`, plain, plain},
		{"gs://shared/acme/．．/other", plain, plain}, {"gs://shared/acme/‥/other", plain, plain}, {"gs://shared/acme∕..∕other", plain, plain},
		{"gs://user@acme-in/a.pdf", plain, plain}, {"gs://acme-in:443/a.pdf", plain, plain}, {"gs://acme-in/a.pdf?generation=1", plain, plain},
		{"gs://acme-in/a.pdf#1", plain, plain}, {"gs://acme-in/*", plain, plain}, {"gs://acme-in/a[1].pdf", plain, plain},
		{`gs://acme-in/a\n.pdf`, "has a control character", "has a control character"}, {"gs://acme-in/\u202efdp.a", plain, plain}, {"gs://Acme-in/a.pdf", plain, plain}, {"gs://acme-in%2f/a.pdf", plain, plain},

		{"GS://acme-in/a.pdf", scheme, scheme}, {"Gs://acme-in/a.pdf", scheme, scheme}, {"gs:/acme-in/a.pdf", scheme, scheme}, {"gs:acme-in/a.pdf", scheme, scheme},
		{" gs://acme-in/a.pdf", scheme, scheme}, {"s3://acme-in/a.pdf", scheme, scheme}, {"file:///etc/passwd", scheme, scheme},

		{"https://example.com/a.pdf", "", ""}, {"http://example.com/gs://acme-in/a.pdf", "", ""}, {"https://storage.googleapis.com/acme-out/a.pdf?X-Goog-Signature=1", "", ""},
		{"https://generativelanguage.googleapis.com/v1beta/files/abc", kept, kept}, {"https://GenerativeLanguage.googleapis.com:443/v1beta/files/abc", kept, kept},
	}

	everyWay(t, func(t *testing.T, y way) {
		l := newLender(t)
		l.via = y.via
		told := map[string]string{} // what senders are told, without names
		accepted := 0
		for i, row := range rows {
			for principal, want := range map[string]string{"acme/ci": row.ci, "acme/bob": row.bob} {
				got := l.do(t, l.as(principal, y.request(fmt.Sprint("m", i), y.link(row.url), "")))
				if want == "" {
					accepted++
					if got.code() != 0 {
						t.Errorf("%s may send %q, and is told %s", principal, row.url, got.body)
					}
					continue
				}

				if got.code() != -32602 || !strings.Contains(got.Error.Message, want) {
					t.Errorf("%s sends %q, and is answered %s, want %q", principal, row.url, got.body, want)
					continue
				}
				if want == right && !strings.Contains(got.Error.Message, "under buckets in the access file") {
					t.Errorf("the refusal has no remedy: %s", got.Error.Message)
				}
				if said, known := told[want]; known && said != got.Error.Message {
					t.Errorf("%q is refused with %q, another one with %q", row.url, got.Error.Message, said)
				}
				told[want] = got.Error.Message
			}
		}

		l.via = jsonrpc
		if n := l.stored(t); n != accepted || *l.asks != 0 {
			t.Errorf("%d tasks for %d messages, and %d objects were looked for", n, accepted, *l.asks)
		}
	})
}

// A message to a task is judged as a first one is, and a whole message is refused for one of its
// parts. A message that was accepted before finds its task, though the right is gone since.
//
// Shows M34.
func TestObjectsOfFurtherMessages(t *testing.T) {
	l := newLender(t)
	sent := func(principal, id, fields, url string) reply {
		return l.do(t, l.as(principal, rpcRequest(send, sending(message(id, fields+`"parts":[{"text":"look"},{"url":"`+url+`"}]`)))))
	}
	first := sent("acme/ci", "m1", "", "gs://acme-in/a.pdf").task().ID
	at := `"taskId":"` + first + `",`
	before := l.Load(first).Version
	if got := sent("acme/ci", "m2", at, "gs://acme-out/a.pdf"); got.code() != -32602 || got.field() != "message.parts[1]" {
		t.Errorf("a further message is answered %s", got.body)
	}
	if now := l.Load(first).Version; now != before {
		t.Errorf("the task was changed by it")
	}
	if got := sent("acme/ci", "m2", at, "gs://acme-in/b.pdf").task().ID; got != first {
		t.Errorf("the further message has the task %s", got)
	}

	l.lost = true
	if got := sent("acme/ci", "m1", "", "gs://acme-in/a.pdf").task().ID; got != first {
		t.Errorf("the repeated message has the task %s", got)
	}
	if got := sent("acme/ci", "m3", "", "gs://acme-in/a.pdf"); got.code() != -32602 {
		t.Errorf("a new message is answered %s", got.body)
	}
	if got := l.do(t, l.as("acme/ci", rpcRequest("GetTask", byID(first)))).task(); got.ID != first || got.Status.State != a2a.TaskStateSubmitted.String() {
		t.Errorf("the task is %+v", got)
	}
}
