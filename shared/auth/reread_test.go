package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"errand/shared/auth"
)

// A changing is an access file that changes while it is in use, with a clock that only the
// test moves.
type changing struct {
	*testing.T
	path   string
	access *auth.Access
	log    *journal
}

func newChanging(t *testing.T, text string) *changing {
	t.Helper()
	c := &changing{T: t, path: write(t, text), log: &journal{}}
	a, err := auth.Load(c.path, auth.Options{Log: c.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	c.access = a
	return c
}

func (c *changing) write(text string) {
	c.Helper()
	if err := os.WriteFile(c.path, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
}

func (c *changing) identify(key string) (auth.Principal, *auth.Refusal) {
	r := httptest.NewRequest("POST", "/", nil)
	r.Header.Set("X-API-Key", key)
	p, err := c.access.Identify(r)
	no, _ := errors.AsType[*auth.Refusal](err)
	return p, no
}

// hold begins a long call with the key.
func (c *changing) hold(key string) context.Context {
	c.Helper()
	p, no := c.identify(key)
	if no != nil {
		c.Fatal(no)
	}
	ctx, cancel := c.access.Hold(auth.With(c.Context(), p))
	c.Cleanup(cancel)
	return ctx
}

func list(hashes ...string) string {
	text := "principals:\n"
	for i, h := range hashes {
		text += fmt.Sprintf("  - {name: p%d, keys: [%s]}\n", i, h)
	}
	return text
}

// A key that was removed is refused 30 s after the last reading, not before, and one that
// was added is let in. That also holds for a program that served nobody meanwhile.
//
// Shows AU9.
func TestFileIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, oldHash := auth.NewKey()
		fresh, freshHash := auth.NewKey()
		c := newChanging(t, list(oldHash))
		c.write(list(freshHash))

		time.Sleep(30*time.Second - 1)
		if _, no := c.identify(old); no != nil {
			t.Error("the file was read before its time")
		}
		time.Sleep(time.Nanosecond)
		if _, no := c.identify(old); no == nil || no.Status != http.StatusUnauthorized {
			t.Errorf("the removed key after 30 s: %+v", no)
		}
		if p, no := c.identify(fresh); no != nil || p.Owner != "p0" {
			t.Errorf("the new key after 30 s: %q, %v", p.Owner, no)
		}

		c.write(list(oldHash))
		time.Sleep(time.Hour)
		if _, no := c.identify(fresh); no == nil {
			t.Error("after an hour without a call the first one goes by the old file")
		}
	})
}

// All parts of the file are read again: operators, the origins of ID tokens, schemes.
func TestAllOfTheFileIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, hash := auth.NewKey()
		c := newChanging(t, list(hash))
		c.write(`principals: [{name: p0, operator: true, keys: [` + hash + `], idTokens: ['https://hooks.example.com'], tokens: [{issuer: corp, subject: s}]}]
issuers: [{name: corp, issuer: https://login.example.com, audiences: [a]}]`)
		time.Sleep(30 * time.Second)
		if !c.access.IDTokens("p0", "https://hooks.example.com") {
			t.Error("idTokens are those of the old file")
		}
		if p, _ := c.identify(key); !p.Operator {
			t.Error("operator is that of the old file")
		}
		if s, _ := c.access.Schemes(); len(s) != 3 {
			t.Errorf("the schemes are those of the old file: %v", s)
		}
	})
}

// A file with a fault, or none, changes nothing. It is reported once, with line and remedy,
// and so is the end of the trouble.
func TestFaultyFileKeepsTheLastGoodOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, hash := auth.NewKey()
		c := newChanging(t, list(hash))
		count := func(text string) int { return strings.Count(c.log.String(), text) }
		try := func() {
			t.Helper()
			time.Sleep(31 * time.Second)
			if p, no := c.identify(key); no != nil || p.Owner != "p0" {
				t.Errorf("the key of the last good file: %v", no)
			}
		}

		c.write(list(hash) + "user: []\n")
		try()
		try()
		if n := count(`"alert":true`); n != 1 || count("line 3: user: unknown key") != 1 {
			t.Errorf("%d alerts after two looks at one fault:\n%s", n, c.log)
		}

		if err := os.Remove(c.path); err != nil {
			t.Fatal(err)
		}
		try()
		try()
		if n := count(`"alert":true`); n != 2 {
			t.Errorf("%d alerts, want one more for another fault:\n%s", n, c.log)
		}

		c.write(list(hash))
		try()
		try()
		if n := count("in use again"); n != 1 {
			t.Errorf("the end of the trouble was reported %d times:\n%s", n, c.log)
		}
		if strings.Contains(c.log.String(), hash[len("sha256:abcdefgh:"):]) {
			t.Error("the log has a hash")
		}
	})
}

// A long call ends when its caller is gone, within 30 s, whether others call or not. The
// calls of others go on.
func TestLongCallsOfRemovedKeysEnd(t *testing.T) {
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			gone, goneHash := auth.NewKey()
			stays, staysHash := auth.NewKey()
			c := newChanging(t, list(staysHash, goneHash))
			time.Sleep(10 * time.Second)
			ends, goes := c.hold(gone), c.hold(stays)
			if busy {
				go func() {
					for range 80 {
						time.Sleep(time.Second)
						c.identify(stays)
					}
				}()
			}

			time.Sleep(45 * time.Second)
			if auth.Gone(ends) != nil {
				t.Fatal("the call ended before its key was removed")
			}
			c.write(list(staysHash))
			time.Sleep(30*time.Second + 1)
			no, ok := errors.AsType[*auth.Refusal](auth.Gone(ends))
			if !ok || no.Status != http.StatusUnauthorized || !strings.Contains(no.Message, "no longer in the access file") {
				t.Errorf("busy %v: the call of the removed key: %v", busy, auth.Gone(ends))
			}
			if goes.Err() != nil {
				t.Errorf("busy %v: another's call ended too: %v", busy, context.Cause(goes))
			}
			time.Sleep(10 * time.Second) // the caller beside it is done
		})
	}
}

// A call that begins by an old reading, while the file is read again, is ended at once.
func TestLongCallBegunByAnOldReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, goneHash := auth.NewKey()
		_, staysHash := auth.NewKey()
		c := newChanging(t, list(staysHash, goneHash))
		p, _ := c.identify(gone)
		c.write(list(staysHash))
		time.Sleep(30 * time.Second)
		c.identify(gone)
		ctx, cancel := c.access.Hold(auth.With(t.Context(), p))
		defer cancel()
		if auth.Gone(ctx) == nil {
			t.Error("the call goes on")
		}
	})
}

// What ends a long call of a key, and what does not.
func TestChangesThatEndLongCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, hash := auth.NewKey()
		_, other := auth.NewKey()
		entry := func(name, fields string) string {
			return "principals: [{name: " + name + ", keys: [{hash: " + hash + fields + "}, " + other + "]}]"
		}
		for _, row := range []struct {
			name, before, after string
			status              int
		}{
			{"nothing", entry("a", ""), entry("a", ""), 0},
			{"an end later", entry("a", ""), entry("a", ", expires: 2099-01-01"), 0},
			{"an end that is over", entry("a", ""), entry("a", ", expires: 1999-01-01"), 401},
			{"another principal", entry("a", ""), entry("b", ""), 401},
			{"fewer rights", entry("a", ""), entry("a", ", may: [read]"), 403},
			{"more rights", entry("a", ", may: [read]"), entry("a", ", may: [read, send]"), 0},
			{"all rights", entry("a", ", may: [read]"), entry("a", ""), 0},
			{"other rights", entry("a", ", may: [read]"), entry("a", ", may: [send]"), 403},
		} {
			c := newChanging(t, row.before)
			ctx := c.hold(key)
			c.write(row.after)
			time.Sleep(31 * time.Second)
			no, _ := errors.AsType[*auth.Refusal](auth.Gone(ctx))
			if (no == nil) != (row.status == 0) || no != nil && no.Status != row.status {
				t.Errorf("%s: %+v, want %d", row.name, no, row.status)
			}
		}
	})
}

// The end of a key comes without a change of the file.
func TestExpiryEndsLongCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, hash := auth.NewKey()
		end := time.Now().Add(40 * time.Second)
		c := newChanging(t, "principals: [{name: a, keys: [{hash: "+hash+", expires: '"+end.Format(time.RFC3339)+"'}]}]")
		ctx := c.hold(key)
		time.Sleep(40*time.Second - 1)
		if _, no := c.identify(key); no != nil || ctx.Err() != nil {
			t.Errorf("before its end: %v, %v", no, ctx.Err())
		}
		time.Sleep(time.Nanosecond)
		if _, no := c.identify(key); no == nil || no.Status != 401 || !strings.Contains(no.Message, "expired") || no.Claimed != "a" {
			t.Errorf("at its end: %+v", no)
		}
		time.Sleep(30 * time.Second)
		if no := auth.Gone(ctx); no == nil || !strings.Contains(no.Error(), "expired") {
			t.Errorf("the long call: %v", no)
		}
	})
}

// A date is the last day of a key, in UTC.
func TestExpiryByDate(t *testing.T) {
	w := newAccessWorld(t)
	key, hash := auth.NewKey()
	today := w.clock.Now().UTC().Format(time.DateOnly)
	w.load("principals: [{name: a, keys: [{hash: " + hash + ", expires: " + today + "}]}]")
	midnight, err := time.Parse(time.DateOnly, today)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.move(midnight.AddDate(0, 0, 1).Add(-time.Second).Sub(w.clock.Now()))
	if _, no := w.identify(authorization, "Bearer "+key); no != nil {
		t.Errorf("in the last second of its day: %+v", no)
	}
	w.clock.move(time.Second)
	if _, no := w.identify(authorization, "Bearer "+key); no == nil || no.Status != 401 {
		t.Errorf("after its day: %+v", no)
	}
}

// The callers of tokens end like those of keys. An expired token does not end a call.
func TestLongCallsOfTokens(t *testing.T) {
	w := newAccessWorld(t)
	path := write(t, "")
	file := func(principals, audience string) {
		text := principals + "\nissuers: [{name: idp, issuer: " + w.idp.URL + ", audiences: [" + audience + "], keysUrl: " + w.idp.URL + "/keys}]"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	alice := "principals: [{name: acme/alice, tokens: [{issuer: idp, email: alice@acme.example}]}]"
	_, hash := auth.NewKey()

	for _, row := range []struct {
		name, principals, audience string
		ends                       bool
	}{
		{"nothing", alice, clientAudience, false},
		{"another person", "principals: [{name: acme/alice, tokens: [{issuer: idp, email: bob@acme.example}]}]", clientAudience, true},
		{"another name", "principals: [{name: acme/bob, tokens: [{issuer: idp, email: alice@acme.example}]}]", clientAudience, true},
		{"another audience", alice, "https://other.example.com", true},
		{"no issuer", "principals: [{name: acme/alice, keys: [" + hash + "]}]", "", true},
	} {
		file(alice, clientAudience)
		a, err := auth.Load(path, auth.Options{Now: w.clock.Now, Log: w.log.logger()})
		if err != nil {
			t.Fatal(err)
		}

		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set(authorization, "Bearer "+w.token())
		p, err := a.Identify(r)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := a.Hold(auth.With(t.Context(), p))
		defer cancel()

		if row.audience == "" {
			err = os.WriteFile(path, []byte(row.principals), 0o600)
		} else {
			file(row.principals, row.audience)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.clock.move(2 * time.Hour)
		a.Schemes() // as any request does, it reads the file again
		if (auth.Gone(ctx) != nil) != row.ends {
			t.Errorf("%s: %v", row.name, auth.Gone(ctx))
		}
	}
}

// An issuer whose place did not change keeps the keys that were fetched.
func TestReadingAgainFetchesNoKeys(t *testing.T) {
	w := newAccessWorld(t)
	text := "principals: [{name: acme/alice, tokens: [{issuer: idp, email: alice@acme.example}]}]\nissuers: [{name: idp, issuer: " +
		w.idp.URL + ", audiences: [" + clientAudience + "], keysUrl: " + w.idp.URL + "/keys}]\n"
	path := write(t, text)
	a, err := auth.Load(path, auth.Options{Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.access = a
	if _, no := w.identify(authorization, "Bearer "+w.token()); no != nil {
		t.Fatal(no)
	}
	before := w.idp.asked()
	if err := os.WriteFile(path, []byte(text+"# changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.clock.move(time.Minute)
	if _, no := w.identify(authorization, "Bearer "+w.token()); no != nil || w.idp.asked() != before {
		t.Errorf("%v, %d fetches instead of %d", no, w.idp.asked(), before)
	}
}

// A key has the rights of its entry, and all without one.
func TestRights(t *testing.T) {
	w := newAccessWorld(t)
	for _, row := range []struct {
		may string
		has []auth.Right
	}{
		{"", auth.Rights()},
		{", may: [read]", []auth.Right{auth.Read}},
		{", may: [push, send]", []auth.Right{auth.Send, auth.Push}},
		{", may: [read, send, cancel, webhooks, push]", auth.Rights()},
	} {
		key, hash := auth.NewKey()
		w.load("principals: [{name: a, keys: [{hash: " + hash + row.may + "}]}]")
		p, no := w.identify(authorization, "Bearer "+key)
		if no != nil {
			t.Fatal(no)
		}

		var has []auth.Right
		for _, r := range auth.Rights() {
			err := p.May(r)
			if err == nil {
				has = append(has, r)
				continue
			}
			if no, ok := errors.AsType[*auth.Refusal](err); !ok || no.Status != 403 || no.By != "right "+string(r) || !strings.Contains(no.Message, `"`+string(r)+`"`) {
				t.Errorf("without %s: %+v", r, err)
			}
		}
		if fmt.Sprint(has) != fmt.Sprint(row.has) {
			t.Errorf("%q gives %v, want %v", row.may, has, row.has)
		}
	}
}

// A file whose reading hangs delays the first request by 5 s and no other one. It is in use
// again after the reading has ended.
func TestReadingThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, hash := auth.NewKey()
		_, other := auth.NewKey()
		c := newChanging(t, list(hash))
		until := make(chan struct{})
		auth.Hang(c.access, until)
		time.Sleep(30 * time.Second)

		for _, call := range []struct{ after, want time.Duration }{{0, 5 * time.Second}, {0, 0}, {0, 0}, {30 * time.Second, 0}, {time.Hour, 0}} {
			time.Sleep(call.after)
			begin := time.Now()
			if _, no := c.identify(key); no != nil || time.Since(begin) != call.want {
				t.Errorf("after %v, want %v: %v", time.Since(begin), call.want, no)
			}
		}
		if !strings.Contains(c.log.String(), "was not read within 5s") {
			t.Errorf("the log:\n%s", c.log)
		}

		close(until)
		synctest.Wait()
		c.write(list(other))
		time.Sleep(30 * time.Second)
		if _, no := c.identify(key); no == nil {
			t.Error("the file is not read again after the reading that hung")
		}
	})
}
