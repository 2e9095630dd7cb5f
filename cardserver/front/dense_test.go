package front_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/cardserver/push"
	"errand/functions/notify"
	"errand/shared/auth"
	"errand/shared/lab/conformance"
	"errand/shared/lab/dense"
	"errand/shared/memory"
	"errand/shared/queue"
	"errand/shared/task"
)

// A place is where bytes of a caller or of another service are decoded.
type place struct {
	name   string
	most   int                           // bytes that the place takes
	values int                           // that its charge may count
	read   func(list string) (do func()) // prepares the decoding of a list
}

const (
	ofBody   = 1 << 20 // bytes of a request
	ofHeader = 16 << 10
	ofToken  = 8 << 10
	ofValues = 10_000 // of a request
)

// Decoding JSON of any shape allocates at most its charge and 4 MiB, in every place. The
// charge is the bytes, and memory.ValueCost for each value that a request may have.
//
// Other tests judge the places with limits of their own: TestDenseRecordsAreRead the stored
// records, TestTooLarge of package gemini the events of a model, and TestHostileReceivers
// the replies to webhooks.
func TestDenseInputsCostTheirCharge(t *testing.T) {
	w := newWorld(t, func(c *front.Config) {
		c.Push = push.New(push.Config{Store: c.Store.(push.Store), Keys: c.Keys, Access: c.Access, CheckURL: c.CheckURL, Log: c.Log})
	})

	for _, p := range slices.Concat(w.methods(t), w.paths(t), w.services(t)) {
		for _, u := range conformance.Size(dense.Units[:1], dense.Units) {
			for _, limit := range []int{0, ofValues - 100} {
				list := u.List(p.most-1000, limit)
				n := memory.Values([]byte(list))
				most := p.most + 4<<20
				if n <= p.values {
					most += n * memory.ValueCost
				}

				if used := dense.Allocated(p.read(list)); used > most {
					t.Errorf("%s, %s: %d bytes with %d values allocate %d, want at most %d", p.name, u.Name, len(list), n, used, most)
				}
			}
		}
	}
}

// A sink is a client that hangs up after the first bytes of the answer.
type sink struct {
	discard
	status int
	hangUp func()
}

func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { s.hangUp(); return len(b), nil }
func (s *sink) Flush()                      {}

// asking prepares a request. No request may make a handler fail.
func asking(t *testing.T, h http.Handler, r *http.Request) func() {
	ctx, hangUp := context.WithCancel(t.Context())
	s, r := &sink{discard: discard{http.Header{}}, hangUp: hangUp}, r.WithContext(ctx)
	return func() {
		h.ServeHTTP(s, r)
		hangUp()
		if s.status == http.StatusInternalServerError {
			t.Errorf("%s %.100s: HTTP %d", r.Method, r.RequestURI, s.status)
		}
	}
}

// body is the place of a list in a body that is posted to the front door.
func (w *world) body(t *testing.T, name, path string, text func(list string) string) place {
	return place{name, ofBody, ofValues, func(list string) func() { return asking(t, w, newRequest(http.MethodPost, path, text(list))) }}
}

// methods are the places in bodies of JSON-RPC, for each method that the code names.
func (w *world) methods(t *testing.T) []place {
	code, err := os.ReadFile("wire/operations.go")
	if err != nil {
		t.Fatal(err)
	}

	all := []place{
		w.body(t, "a batch", "/", func(l string) string { return l }),
		w.body(t, "beside the params", "/", func(l string) string { return `{"jsonrpc":"2.0","id":1,"method":"SendMessage","x":` + l + `}` }),
	}

	for _, name := range regexp.MustCompile(`\bname(?:03)?: +"(.+?)"`).FindAllStringSubmatch(string(code), -1) {
		params := []string{`{"id":"x","taskId":"x","metadata":{"a":LIST}}`, `{"id":"x","taskId":"x","x":LIST}`, `{"id":"x","taskId":"x","pageToken":"TOKEN"}`}
		switch name[1] {
		case "SendMessage", "SendStreamingMessage":
			params = sends(`"returnImmediately":true`, "ROLE_USER", `"parts":[{"data":{"a":LIST}}]`, `"parts":[{"text":"x"}]`)
		case "message/send", "message/stream":
			params = sends(`"blocking":false`, "user", `"parts":[{"kind":"data","data":{"a":LIST}}]`, `"parts":[{"kind":"text","text":"x"}]`)
		}

		for _, text := range params {
			all = append(all, w.body(t, name[1]+" "+text, "/", func(l string) string { return request(name[1], w.filled(text, l)) }))
		}
	}

	return all
}

// sends are the places in the params of a send.
func sends(now, role, data, text string) (all []string) {
	for _, fields := range []string{data, text + `,"metadata":{"a":LIST}`, text + `,"x":LIST`} {
		all = append(all, `{"configuration":{`+now+`},"message":{"messageId":"ID","role":"`+role+`",`+fields+`}}`)
	}
	return all
}

// filled puts a list, or a token that decodes to one, into a text. Each message is a new one.
func (w *world) filled(text, list string) string {
	return strings.NewReplacer("LIST", list, "TOKEN", token(list), "ID", fmt.Sprint(w.clock.Add(1))).Replace(text)
}

func token(list string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list))[:len(list)/4*4]
}

// paths are the places in the bodies, queries and headers of all paths.
func (w *world) paths(t *testing.T) (all []place) {
	for _, path := range served(t, w) {
		texts := []string{`{"x":LIST}`}
		switch {
		case strings.HasPrefix(path, "/v1/message:"):
			texts = sends(`"blocking":false`, "ROLE_USER", `"content":[{"data":{"data":{"a":LIST}}}]`, `"content":[{"text":"x"}]`)
		case strings.HasPrefix(path, "/message:"):
			texts = sends(`"returnImmediately":true`, "ROLE_USER", `"parts":[{"data":{"a":LIST}}]`, `"parts":[{"text":"x"}]`)
		}
		for _, text := range texts {
			all = append(all, w.body(t, path+" "+text, path, func(l string) string { return w.filled(text, l) }))
		}

		for _, query := range []string{"pageToken=TOKEN", "status=TOKEN&TOKEN", "MANY"} {
			all = append(all, place{path + "?" + query, ofHeader, 0, func(l string) func() {
				many := strings.Repeat("a=&", len(l)/3)
				r := newRequest(http.MethodGet, path+"?"+strings.ReplaceAll(w.filled(query, l), "MANY", many), "")
				r.Header.Set("A2A-Extensions", l)
				r.Header.Set("Authorization", "Bearer "+token(l))
				return asking(t, w, r)
			}})
		}
	}
	return all
}

// services are the places in what queue, bus and issuers send, and in what the executor gets.
func (w *world) services(t *testing.T) []place {
	functions := notify.New(notify.Config{Desk: w.Desk(w.Store), Store: w.Store, Keys: w.keys})
	posted := func(h http.HandlerFunc, text string) func(string) func() {
		return func(l string) func() {
			return asking(t, h, newRequest(http.MethodPost, "/", strings.ReplaceAll(text, "LIST", l)))
		}
	}
	job := func(rw http.ResponseWriter, r *http.Request) { _, _ = queue.Read(rw, r) }

	return []place{
		{"a job", 64 << 10, 0, posted(job, `{"id":LIST,"sweep":LIST}`)},
		{"a delivery job", 64 << 10, 0, posted(functions.ServeDelivery, `{"x":LIST}`)},
		{"a push of the bus", 1 << 20, 0, posted(functions.ServeEvent, `{"x":LIST}`)},
		{"attributes of the bus", 1 << 20, 0, posted(functions.ServeEvent, `{"message":{"attributes":{"x":LIST}}}`)},
		{"the header of a token", ofToken, 0, func(l string) func() { return bearing(t, `,"x":`+l, "", "") }},
		{"the claims of a token", ofToken, 0, func(l string) func() { return bearing(t, "", `,"x":`+l, "") }},
		{"the audiences of a token", ofToken, 0, func(l string) func() { return bearing(t, "", `,"aud":`+l, "") }},
		{"the keys of an issuer", 256 << 10, 0, func(l string) func() { return bearing(t, "", "", `{"keys":`+l+`}`) }},
		{"beside the keys of an issuer", 256 << 10, 0, func(l string) func() { return bearing(t, "", "", `{"x":`+l+`}`) }},
		{"data for the executor", 1 << 20, math.MaxInt, func(l string) func() {
			whole := &a2a.Task{Metadata: map[string]any{"a": json.RawMessage(l)}}
			return func() { task.Clone(whole) }
		}},
	}
}

// bearing prepares a request with a token at a door of the worker. The issuer answers with a
// set of keys.
func bearing(t *testing.T, header, claims, set string) func() {
	const issuer = "https://issuer.example.com"
	asked := 0
	door, err := auth.NewDoor(auth.DoorConfig{
		Issuer: issuer, Audience: issuer, Emails: []string{"a@b.iam.gserviceaccount.com"}, Log: slog.New(slog.DiscardHandler),
		Keys: auth.NewKeys(auth.KeysConfig{Issuer: issuer, URL: issuer, Client: doer(func(*http.Request) (*http.Response, error) {
			asked++
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(set))}, nil
		})}),
	})
	if err != nil {
		t.Fatal(err)
	}

	now := time.Now().Unix()
	part := base64.RawURLEncoding.EncodeToString
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Authorization", "Bearer "+part([]byte(`{"alg":"RS256","kid":"k"`+header+`}`))+"."+
		part(fmt.Appendf(nil, `{"iss":%q,"aud":%q,"iat":%d,"exp":%d%s}`, issuer, issuer, now, now+60, claims))+".c2ln")
	do := asking(t, door(http.NotFoundHandler()), r)

	return func() {
		if do(); set != "" && asked == 0 {
			t.Error("no key is asked for")
		}
	}
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }
