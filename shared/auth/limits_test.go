package auth_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/auth"
)

// A caller has the limits of its own, else those of all callers, else the defaults.
func TestLimits(t *testing.T) {
	const all = "limits:\n  waiting: 5\n  stored: 3MiB\n  tokensPerDay: 100\n"
	_, hash := auth.NewKey()
	own := func(limits string) string { return "principals:\n  - name: a\n    keys: [" + hash + "]\n" + limits }

	defaults := auth.Limits{Turns: auth.None, Waiting: 1000, Requests: 200, Streams: 500, Stored: 8 << 30, TokensPerDay: auth.None}
	forAll := defaults
	forAll.Waiting, forAll.Stored, forAll.TokensPerDay = 5, 3<<20, 100
	mixed := forAll
	mixed.Turns, mixed.Waiting, mixed.Requests, mixed.TokensPerDay = 8, auth.None, 7, auth.None

	for _, row := range []struct {
		text string
		want auth.Limits
	}{
		{own(""), defaults},
		{all + own(""), forAll},
		{all + own("    limits: {turns: 8, waiting: none, requests: 7/s, tokensPerDay: none}\n"), mixed},
	} {
		a, err := auth.Load(write(t, row.text), auth.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(row.want, a.Limits("a")); diff != "" {
			t.Errorf("%s\nlimits (-want +got):\n%s", row.text, diff)
		}
	}

	anonymous, err := auth.Load("", auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if l := anonymous.Limits(auth.Anonymous); l.Waiting != auth.None || l.Requests != auth.None {
		t.Errorf("anonymous callers have %+v", l)
	}
}

// Limits are returned at once, even while a reading of the file hangs. Those of a changed
// file are known after the reading.
func TestLimitsDoNotWaitForTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hash := auth.NewKey()
		text := func(turns string) string { return list(hash) + "limits: {turns: " + turns + "}\n" }
		c := newChanging(t, text("7"))
		c.write(text("8"))
		until := make(chan struct{})
		auth.Hang(c.access, until)
		time.Sleep(time.Minute)

		begin := time.Now()
		for range 3 {
			if n := c.access.Limits("p0").Turns; n != 7 || time.Since(begin) != 0 {
				t.Errorf("%d turns after %v, want 7 at once", n, time.Since(begin))
			}
		}

		close(until)
		synctest.Wait()
		if n := c.access.Limits("p0").Turns; n != 8 {
			t.Errorf("%d turns after the reading, want 8", n)
		}
	})
}

// A limit that cannot be read is refused with its line and a remedy.
func TestLimitsThatCannotBeRead(t *testing.T) {
	_, hash := auth.NewKey()
	for limit, remedy := range map[string]string{
		"turns: none": "or fair", "waiting: -1": "such as 1000", "waiting: 1.5": "such as 1000", "requests: 200": "200/s", "requests: 0/s": "200/s",
		"streams: many": "such as 500", "stored: 2GB": "2GiB", "stored: 99999999999999999GiB": "2GiB", `stored: ""`: "is empty", "tokensPerDay: 0": "such as 1000000",
		"token: 5": "tokensPerDay",
	} {
		_, err := auth.Load(write(t, "limits:\n  "+limit+"\nprincipals:\n  - name: a\n    keys: ["+hash+"]\n"), auth.Options{})
		if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%s: %v, want line 2 and %q", limit, err, remedy)
		}
	}
}

// A caller may send the requests of a second at once, and then so many in a second. Another
// caller is not held up, and a changed file counts at once.
func TestRequestsAreRated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flood, floodHash := auth.NewKey()
		quiet, quietHash := auth.NewKey()
		text := func(rate string) string { return list(floodHash, quietHash) + "limits: {requests: " + rate + "}\n" }
		c := newChanging(t, text("20/s"))

		admitted := func(sent int) (n int) {
			for range sent {
				p, no := c.identify(flood)
				switch {
				case no == nil:
					n++
				case no.Status != http.StatusTooManyRequests || no.After != time.Second || no.By != "limit requests" || p.Owner != "p0":
					t.Errorf("refused with %+v of %s", no, p.Owner)
				}
			}
			return n
		}

		if n := admitted(100); n != 20 {
			t.Errorf("%d of 100 requests at once were let in, want 20", n)
		}
		if _, no := c.identify(quiet); no != nil {
			t.Errorf("another caller: %v", no)
		}
		time.Sleep(time.Second / 2)
		if n := admitted(100); n != 10 {
			t.Errorf("%d requests were let in after half a second, want 10", n)
		}

		c.write(text("none"))
		time.Sleep(30 * time.Second)
		if n := admitted(100); n != 100 {
			t.Errorf("%d of 100 requests were let in without a limit", n)
		}
		c.write(text("5/s"))
		time.Sleep(30 * time.Second)
		if n := admitted(100); n != 5 {
			t.Errorf("%d requests were let in, want the 5 of the changed file", n)
		}
	})
}
