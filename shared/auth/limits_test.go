package auth_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"errand/shared/auth"
)

// A caller has the limits of its own, else those of all callers, else the defaults.
func TestLimits(t *testing.T) {
	const all = "limits:\n  waiting: 5\n  stored: 3MiB\n  tokensPerDay: 100\n"
	_, hash := auth.NewKey()
	own := func(limits string) string { return "principals:\n  - name: a\n    keys: [" + hash + "]\n" + limits }

	defaults := auth.Limits{Turns: auth.None, Waiting: 1000, Requests: 200, Streams: 500, Stored: 2 << 30, TokensPerDay: auth.None}
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
