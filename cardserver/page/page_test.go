package page_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/cardserver/page"
)

func token(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// Clients in the middle of a list keep their tokens when the program is updated, so the
// encoding never changes.
func TestTokensKeepTheirForm(t *testing.T) {
	five := 5
	at := time.Date(2026, 3, 4, 5, 6, 7, 891e6, time.UTC)
	for _, row := range []struct {
		text, list string
		want       page.Token
	}{
		{`{"a":1772600767891,"i":"t1"}`, "", page.Token{At: at.UnixMilli(), ID: "t1"}},
		{`{"a":1772600767891,"i":"t1","l":"abc"}`, "abc", page.Token{At: at.UnixMilli(), ID: "t1", List: "abc"}},
		{`{"a":1772600767891,"i":"t1","n":5,"l":"abc"}`, "abc", page.Token{At: at.UnixMilli(), ID: "t1", Total: &five, List: "abc"}},
	} {
		got, err := page.Parse(token(row.text), row.list)
		if diff := cmp.Diff(row.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", row.text, err, diff)
		}
		if got.String() != token(row.text) || !got.Ref().At.Equal(at) || got.Ref().ID != "t1" {
			t.Errorf("%s is written as %s and stands for %v", row.text, got, got.Ref())
		}
	}
}

func TestOtherTokensAreRefused(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":              "",
		"not base64":           "%",
		"padded":               token(`{"a":1,"i":"t1","l":"abc"}`) + "=",
		"not JSON":             token(`{`),
		"another list":         token(`{"a":1,"i":"t1","l":"xyz"}`),
		"no list":              token(`{"a":1,"i":"t1"}`),
		"no task":              token(`{"a":1,"i":"","l":"abc"}`),
		"another spelling":     token(`{"A":1,"i":"t1","l":"abc"}`),
		"another order":        token(`{"i":"t1","a":1,"l":"abc"}`),
		"a year beyond 9999":   token(`{"a":253402300800000,"i":"t1","l":"abc"}`),
		"a year before 1":      token(`{"a":-62135596800001,"i":"t1","l":"abc"}`),
		"a total that is none": token(`{"a":1,"i":"t1","n":-1,"l":"abc"}`),
	} {
		if got, err := page.Parse(s, "abc"); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
