package front_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front"
	"errand/shared/card"
)

// The tests in the files a2a_*.go show the requirements of docs/conformance.md.

// code runs any operation and returns the code of its error, or 0. The answer may be a
// stream, which must end by itself; its error is its first event.
func (w *world) code(t testing.TB, operation, params string, edit ...func(*http.Request)) int {
	t.Helper()
	r := w.via.request(operation, params)
	for _, f := range edit {
		f(r)
	}
	return w.answerCode(t, r)
}

func (w *world) answerCode(t testing.TB, r *http.Request) int {
	t.Helper()
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	if rec.Result().Header.Get("Content-Type") == "text/event-stream" {
		first, _, _ := strings.Cut(rec.Body.String(), "\n")
		_, code, err := w.via.event([]byte(strings.TrimPrefix(first, "data: ")))
		if err != nil {
			t.Fatalf("%s: %s begins with no event: %v", w.via.name, rec.Body, err)
		}
		return code
	}
	out := reply{t: t, status: rec.Code, header: rec.Result().Header, body: rec.Body.String()}
	if err := w.via.reply(&out, rec.Body.Bytes()); err != nil {
		t.Fatalf("%s: %d %s is no answer: %v", w.via.name, rec.Code, rec.Body, err)
	}
	return out.code()
}

// short streams end by themselves.
func shortStreams(c *front.Config) { c.StreamAge = time.Millisecond }

func (w *world) card(t testing.TB) a2a.AgentCard {
	t.Helper()
	_, body := get(w, "GET", card.Path)
	var c a2a.AgentCard
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return c
}

// The card is at both well-known paths, for clients of every version.
//
// Shows D1, D2, D3.
func TestCardIsServedAtBothPaths(t *testing.T) {
	w := newWorld(t)
	_, want := get(w, "GET", card.Path)
	for _, path := range []string{card.Path, card.OldPath} {
		for _, version := range []string{"", "0.3", "1.0"} {
			res, body := get(w, "GET", path, with("A2A-Version", version))
			if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" || body != want || !strings.Contains(body, `"supportedInterfaces"`) {
				t.Errorf("%s to a client of %q: %d %s", path, version, res.StatusCode, body)
			}
		}
	}
}

// Every interface on the card answers at its address and in its version, for clients that
// append the paths of HTTP+JSON to the address as it is.
//
// Shows D5, V7.
func TestEveryInterfaceIsServed(t *testing.T) {
	const body03 = `{"message":{"messageId":"m","role":"user","parts":[{"kind":"text","text":"hi"}]},"configuration":{"blocking":false}}`
	const rest03 = `{"message":{"messageId":"n","role":"ROLE_USER","content":[{"text":"hi"}]},"configuration":{"blocking":false}}`
	w := newWorld(t)
	all := w.card(t).SupportedInterfaces
	for _, i := range all {
		at, ours := strings.CutPrefix(i.URL, "http://"+host)
		if !ours {
			t.Fatalf("the card leads to %s", i.URL)
		}

		var r *http.Request
		says := ""

		switch string(i.ProtocolBinding) + " " + string(i.ProtocolVersion) {
		case "JSONRPC 1.0":
			r, says = newRequest("POST", at, request("ListTasks", "{}")), `"result":{"tasks":[`
		case "HTTP+JSON 1.0":
			r, says = newRequest("GET", at+"/tasks", ""), `{"tasks":[`
		case "JSONRPC 0.3":
			r, says = newRequest("POST", at, request("message/send", body03)), `"state":"submitted"`
		case "HTTP+JSON 0.3":
			r, says = newRequest("POST", at+"/v1/message:send", rest03), `{"task":{`
		default:
			t.Fatalf("the card declares %+v, which no test knows", i)
		}

		r.Header.Set("A2A-Version", string(i.ProtocolVersion))
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%+v answers %d %s", i, rec.Code, rec.Body)
		}
	}

	if len(all) != 4 {
		t.Errorf("%d interfaces are declared", len(all))
	}
}

// Every capability on the card works, and all others are refused as unsupported.
//
// Shows D7, S1, P1.
func TestCapabilitiesAreKept(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t, shortStreams)
		id := w.insert(anonymous, "task", a2a.TaskStateSubmitted).ID()
		to := `{"taskId":"` + id + `"`
		caps := w.card(t).Capabilities

		for _, row := range []struct {
			declared bool
			refused  int
			calls    [][2]string
		}{
			{caps.Streaming, -32004, [][2]string{{streaming, `{"message":` + message("s", "") + `}`}, {subscribe, byID(id)}}},
			{caps.PushNotifications, -32003, [][2]string{
				{createWebhook, to + `,"id":"h","url":"` + hookURL + `"}`}, {getWebhook, to + `,"id":"h"}`}, {listWebhooks, to + `}`}, {deleteWebhook, to + `,"id":"h"}`},
				{send, configured(message("p", ""), `"returnImmediately":true,"taskPushNotificationConfig":{"url":"`+hookURL+`"}`)},
			}},
			{caps.ExtendedAgentCard, -32004, [][2]string{{"GetExtendedAgentCard", "{}"}}},
		} {
			for _, c := range row.calls {
				want := row.refused
				if row.declared {
					want = 0
				}

				if got := w.code(t, c[0], c[1]); got != want {
					t.Errorf("declared %v: %s answers %d, want %d", row.declared, c[0], got, want)
				}
			}
		}
	})
}

// There is no extended card, and the card does not promise one.
//
// Shows D14.
func TestThereIsNoExtendedCard(t *testing.T) {
	via(t, func(t *testing.T, b binding) {
		w := b.world(t)
		if got := w.call(t, "GetExtendedAgentCard", "{}"); got.code() != -32004 || w.card(t).Capabilities.ExtendedAgentCard {
			t.Errorf("answered %s", got.body)
		}
	})
	w := newWorld(t)
	if got := w.send(t, `{"jsonrpc":"2.0","id":1,"method":"GetExtendedAgentCard"}`); got.code() != -32004 {
		t.Errorf("without params it is answered %s", got.body)
	}
}
