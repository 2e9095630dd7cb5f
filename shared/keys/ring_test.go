package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"errand/shared/keys"
)

// day is the time so many days and hours after the first of the test.
func day(d float64) time.Time {
	return time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(d * 24 * float64(time.Hour)))
}

// key is the nth key of the tests, in base64.
func key(n byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{n, 0xc5}, 16))
}

func line(d float64, n byte) string { return day(d).Format(time.RFC3339) + " " + key(n) + "\n" }

func parse(t testing.TB, text string) keys.Ring {
	t.Helper()
	r, err := keys.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// same compares rings by their results.
func same(a, b keys.Ring) bool {
	return bytes.Equal(a.JWKS(day(0)), b.JWKS(day(0))) && slices.Equal(a.Secrets(day(0), "o", "u"), b.Secrets(day(0), "o", "u"))
}

func TestParseReadsEveryForm(t *testing.T) {
	want := parse(t, line(0, 1)+line(9, 2))
	one, two := strings.TrimSpace(line(0, 1)), strings.TrimSpace(line(9, 2))
	for name, text := range map[string]string{
		"lines":        one + "\n" + two,
		"order":        two + "\n" + one + "\n",
		"commas":       two + "," + one,
		"loose commas": ", " + two + " ,\n," + one + ",",
		"comments":     "# keys, of a kind\n\n" + two + " # the new one, from May\n\t" + one + "\n#" + line(20, 3),
		"Windows":      two + "\r\n" + one + "\r\n",
		"tabs":         strings.ReplaceAll(two, " ", "\t") + "\n" + strings.ReplaceAll(one, " ", "   "),
		"zone":         strings.Replace(two, "T00:00:00Z", "T02:00:00+02:00", 1) + "\n" + one,
	} {
		if got := parse(t, text); !same(got, want) {
			t.Errorf("Parse of %s is another ring", name)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const canary = "CANARYCANARYCANARYCANARYCANARYCANARYCANARYC="
	many := ""
	for i := range 17 {
		many += line(float64(i), byte(i))
	}

	for _, row := range []struct{ text, want string }{
		{"", "no key; cardserver keys makes one"},
		{" \n,\n# " + line(0, 1), "no key; cardserver keys makes one"},
		{line(0, 1) + "CANARY", "line 2: must be FROM KEY"},
		{line(0, 1) + "\n" + canary + " 2026-05-01T00:00:00Z", "line 3: FROM must be a time"},
		{"2026-05-01 " + canary, "line 1: FROM must be a time"},
		{"2026-05-01T00:00:00Z " + canary + " CANARY", "line 1: must be FROM KEY"},
		{"2026-05-01T00:00:00Z " + canary[1:], "line 1: KEY must be 32 random bytes"},
		{"2026-05-01T00:00:00Z " + strings.Trim(canary, "="), "line 1: KEY must be 32 random bytes"},
		{"2026-05-01T00:00:00Z CANARYCANARYCANARYCANARYCANARYCANARYCANARYD=", "line 1: KEY must be 32 random bytes"}, // stray bits
		{"2026-05-01T00:00:00Z whsec_" + canary, "line 1: KEY must be 32 random bytes"},
		{"2026-05-01T00:00:00Z " + base64.StdEncoding.EncodeToString([]byte("CANARY twenty-four bytes")), "line 1: KEY must be 32 random bytes"},
		{"2026-05-01T00:00:00Z " + base64.StdEncoding.EncodeToString(make([]byte, 33)), "line 1: KEY must be 32 random bytes"},
		{line(0, 1) + "\n" + line(5, 1), "line 3: the key of line 1 again"},
		{line(0, 1) + line(5, 2) + strings.Replace(line(5, 3), "T00:00:00Z", "T01:00:00+01:00", 1), "line 3: used from the same time as the key of line 2"},
		{many, "line 17: more than 16 keys"},
	} {
		_, err := keys.Parse(row.text)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("Parse(%s) = %v, want %s", row.text, err, row.want)
			continue
		}

		for _, part := range strings.FieldsFunc(row.text, func(r rune) bool { return strings.ContainsRune(" \n,#", r) }) {
			if strings.Contains(err.Error(), part) && len(part) > 1 {
				t.Errorf("Parse(%s) repeats %s: %v", row.text, part, err)
			}
		}
	}

	if _, err := keys.Parse(strings.TrimSuffix(many, line(16, 16))); err != nil {
		t.Errorf("Parse of 16 keys = %v", err)
	}
}

func TestGenerate(t *testing.T) {
	at := day(0).Add(300 * time.Millisecond)
	first, err := keys.Generate("", at)
	if err != nil || !strings.HasPrefix(first, "#") || !strings.Contains(first, "\n2026-05-01T00:00:00Z ") {
		t.Fatalf("Generate of a new ring = %q, %v", first, err)
	}

	again, err := keys.Generate("", at)
	if err != nil || again == first {
		t.Errorf("Generate twice gives the same key: %v", err)
	}

	// The operator's text stays, and the header does not pile up.
	second, err := keys.Generate(first+"# the one above: from the start\n", day(3))
	if err != nil || strings.Count(second, "# Keys") != 1 || !strings.HasSuffix(second, "# the one above: from the start\n") {
		t.Fatalf("Generate of a second key = %q, %v", second, err)
	}

	r, old := parse(t, second), parse(t, first)
	if got, want := r.Public(day(0), "owner")[0], old.Public(day(0), "owner")[0]; got != want {
		t.Errorf("before the time of the fresh key the current one is %s, want the old one %s", got, want)
	}
	if got := r.Public(day(3), "owner"); len(got) != 2 || got[1] != old.Public(day(0), "owner")[0] {
		t.Errorf("from then on the keys are %v, want the old one second", got)
	}
	if got, err := r.Open("b", old.Seal(day(0), "b", []byte("plain"))); err != nil || string(got) != "plain" {
		t.Errorf("Open of what the old ring sealed = %q, %v", got, err)
	}

	env := strings.Join(strings.Split(strings.TrimSpace(second), "\n")[1:3], ",")
	if third, err := keys.Generate(env, day(9)); err != nil || len(parse(t, third).Public(day(9), "owner")) != 3 {
		t.Errorf("Generate of a ring in a variable = %q, %v", third, err)
	}

	if _, err := keys.Generate(first, day(0)); err == nil || !strings.Contains(err.Error(), "same time") {
		t.Errorf("Generate for the time of another key = %v", err)
	}
	if _, err := keys.Generate("CANARY CANARY", day(0)); err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("Generate of a broken ring = %v", err)
	}

	text := ""
	for i := range 16 {
		if text, err = keys.Generate(text, day(float64(i))); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := keys.Generate(text, day(30)); err == nil || !strings.Contains(err.Error(), "more than 16 keys") {
		t.Errorf("Generate of a 17th key = %v", err)
	}
}

// A key is announced, signs as the current one, signs beside its successor for seven days,
// and then only opens. The first key signs even before its time.
func TestLifeOfAKey(t *testing.T) {
	r := parse(t, line(10, 2)+line(0, 1)+line(20, 3))
	message := []byte("message")
	names := map[string]int{} // the place of each public key in the ring, from 1
	for i := range 3 {
		names[parse(t, line(0, byte(i+1))).Public(day(0), "owner")[0]] = i + 1
	}

	secrets := map[string]int{}
	for i := range 3 {
		secrets[parse(t, line(0, byte(i+1))).Secrets(day(0), "owner", "url")[0]] = i + 1
	}

	subjects := map[string]int{}
	for i := range 3 {
		subjects[parse(t, line(0, byte(i+1))).Subjects(day(0), "owner")[0]] = i + 1
	}

	fileKeys := map[string]int{}
	for i := range 3 {
		fileKeys[string(parse(t, line(0, byte(i+1))).Files(day(0))[0])] = i + 1
	}

	for _, row := range []struct {
		at               time.Time
		sign, all, named []int
	}{
		{day(-100), []int{1}, []int{1, 2, 3}, []int{1, 2, 3}},
		{day(0), []int{1}, []int{1, 2, 3}, []int{1, 2, 3}},
		{day(10).Add(-1), []int{1}, []int{1, 2, 3}, []int{1, 2, 3}},
		{day(10), []int{2, 1}, []int{2, 1, 3}, []int{1, 2, 3}},
		{day(17).Add(-1), []int{2, 1}, []int{2, 1, 3}, []int{1, 2, 3}},
		{day(17), []int{2}, []int{2, 3}, []int{2, 3}},
		{day(20), []int{3, 2}, []int{3, 2}, []int{2, 3}},
		{day(27).Add(-1), []int{3, 2}, []int{3, 2}, []int{2, 3}},
		{day(27), []int{3}, []int{3}, []int{3}},
		{day(9999), []int{3}, []int{3}, []int{3}},
	} {
		var public, v1 []int
		for _, p := range r.Public(row.at, "owner") {
			public = append(public, names[p])
		}

		for _, s := range r.Secrets(row.at, "owner", "url") {
			v1 = append(v1, secrets[s])
		}

		if !slices.Equal(public, row.all) {
			t.Errorf("Public(%v) = %v, want %v", row.at, public, row.all)
		}
		if !slices.Equal(v1, row.sign) {
			t.Errorf("Secrets(%v) = %v, want %v", row.at, v1, row.sign)
		}

		var files []int
		for _, f := range r.Files(row.at) {
			files = append(files, fileKeys[string(f)])
		}

		if !slices.Equal(files, row.sign) {
			t.Errorf("Files(%v) = %v, want %v", row.at, files, row.sign)
		}
		if got := signers(r.SignEd25519(row.at, "owner", message), r.Public(row.at, "owner"), message, names); !slices.Equal(got, row.sign) {
			t.Errorf("SignEd25519(%v) is by %v, want %v", row.at, got, row.sign)
		}

		kids := kidsOf(t, r.JWKS(row.at))
		var want []string

		for _, p := range row.all {
			kid := kidsOf(t, parse(t, line(0, byte(p))).JWKS(day(0)))[0]
			want = append(want, kid)
		}

		both := slices.Clone(want)
		for _, kid := range want {
			both = append(both, kid+"-card")
		}

		if !slices.Equal(kids, both) {
			t.Errorf("JWKS(%v) has %v, want %v", row.at, kids, both)
		}

		var named []int
		for _, s := range r.Subjects(row.at, "owner") {
			named = append(named, subjects[s])
		}

		if !slices.Equal(named, row.named) {
			t.Errorf("Subjects(%v) = %v, want %v", row.at, named, row.named)
		}

		token, err := r.Token(row.at, map[string]string{"iss": "x"})
		if err != nil {
			t.Fatal(err)
		}
		if got := kidOf(t, token); got != want[0] {
			t.Errorf("Token(%v) is by %s, want %s", row.at, got, want[0])
		}
		if kid, _, _ := strings.Cut(r.Seal(row.at, "b", nil), "."); kid != want[0] {
			t.Errorf("Seal(%v) is by %s, want %s", row.at, kid, want[0])
		}
	}

	// Three changes in a week: all sign.
	fast := parse(t, line(0, 1)+line(1, 2)+line(2, 3))
	if got := len(fast.Secrets(day(3), "o", "u")); got != 3 {
		t.Errorf("%d keys sign after three changes in a week, want 3", got)
	}
}

// Derived keys are stored and given to receivers: they must be the same for ever.
func TestDerivedValuesStayWhatTheyAre(t *testing.T) {
	r := parse(t, line(0, 1))
	for name, pair := range map[string][2]string{
		"secret":  {r.Secrets(day(0), "acme/ci", "https://hooks.example.com/a")[0], "whsec_DZL5ZPmqaPH4J4vl8z2wpwoK+V3EDTp6Cq5jXma/l3U="},
		"public":  {r.Public(day(0), "acme/ci")[0], "whpk_GyGwK50gYfcUClEeAdabFHm8FG0VAhNJZGOUWe8jabQ="},
		"subject": {r.Subjects(day(0), "acme/ci")[0], "ykn5igxv43trb5q2elb2f3f5my"},
		"file":    {base64.StdEncoding.EncodeToString(r.Files(day(0))[0]), "p6b5EaH2B/cypaBbyhSbY4zIe56T+ZOxXfFVRmxKaWM="},
		"sealed":  {r.Seal(day(0), "bound", []byte("plain")), "fh27co4igz.r8TeMhDDk3k4iIY1h4fdk438D7PnYbHATdYnJDLWmlF3"},
		"keys": {string(r.JWKS(day(0))), `{"keys":[` +
			`{"use":"sig","kty":"EC","kid":"fh27co4igz","crv":"P-256","alg":"ES256","x":"gME_mGY-piwR0OHvsuprrBVLivlDppZElHHzTMWXnrc","y":"0XM7mW6ZYodQQc5kra6KGCvDieHwpMba2_gPFVpTNRg"},` +
			`{"use":"sig","kty":"EC","kid":"fh27co4igz-card","crv":"P-256","alg":"ES256","x":"3aONmvuxaQdSmrCThhwRsy-URwbIHtzSdmm76HBW_44","y":"_90h_7jgzoMo_jGT9atb8YkY7vmZiCraJ-fajqXekUE"}]}`},
	} {
		if pair[0] != pair[1] {
			t.Errorf("the %s = %s, want %s", name, pair[0], pair[1])
		}
	}
}

func TestSecretsDifferByOwnerAndURL(t *testing.T) {
	r := parse(t, line(0, 1))
	seen := map[string]string{}
	for _, row := range [][2]string{{"a", "b"}, {"b", "a"}, {"ab", ""}, {"", "ab"}, {"a\xff", "b"}, {"a\xfe", "b"}, {"a\",\"b", ""}} {
		s := r.Secrets(day(0), row[0], row[1])[0]
		if first, twice := seen[s]; twice {
			t.Errorf("%q has the secret of %q", row, first)
		}
		seen[s] = fmt.Sprintf("%q", row)
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil || len(raw) != 32 || !strings.HasPrefix(s, "whsec_") {
			t.Errorf("Secrets(%q) = %d bytes, %v, want whsec_ and 32 bytes", row, len(raw), err)
		}
	}
}

// Owners share neither a public key nor an opaque name, and the name does not tell the
// owner's own.
func TestOwnersAreApart(t *testing.T) {
	r := parse(t, line(0, 1))
	seen := map[string]string{}
	for _, owner := range []string{"", "a", "b", "acme/ci", "acme/ci ", "ACME/ci", "a\xff", "a\xfe"} {
		public, subject := r.Public(day(0), owner)[0], r.Subjects(day(0), owner)[0]
		for _, s := range []string{public, subject} {
			if other, twice := seen[s]; twice {
				t.Errorf("%q has %s of %q", owner, s, other)
			}
			seen[s] = owner
		}

		if len(subject) != 26 || owner != "" && strings.Contains(subject, owner) && len(owner) > 1 {
			t.Errorf("the name of %q is %q", owner, subject)
		}

		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
		if err != nil || !ed25519.Verify(raw, []byte("m"), r.SignEd25519(day(0), owner, []byte("m"))[0]) {
			t.Errorf("the public key of %q does not check its signature: %v", owner, err)
		}
	}
}

func TestRingPrintsNothing(t *testing.T) {
	r := parse(t, line(0, 0xab))
	type holder struct {
		Ring   keys.Ring
		hidden keys.Ring
		point  *keys.Ring
	}

	var out strings.Builder
	for _, v := range []any{r, &r, holder{r, r, &r}, &holder{r, r, &r}, []keys.Ring{r}, map[string]keys.Ring{"r": r}} {
		fmt.Fprintf(&out, "%v %+v %#v %s %x %q %d\n", v, v, v, v, v, v, v)
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}

		out.Write(text)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}

	if !strings.Contains(out.String(), "[keys]") {
		t.Errorf("it does not say [keys]: %s", out.String())
	}

	// These are the key, and the text beside every derived one: the name and the time.
	for _, bad := range []string{key(0xab), "abc5abc5", "0xab, 0xc5", "171 197", kidsOf(t, r.JWKS(day(0)))[0], "cipher", "63913190400"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("it prints %q: %s", bad, out.String())
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", line(0, 1), line(0, 1) + line(0, 2), "# c\n" + line(5, 1) + "," + line(0, 2), "x " + key(3), key(3) + " x", line(0, 1) + line(1, 1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := keys.Parse(text)
		if err != nil {
			for _, part := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n,#", r) }) {
				if len(part) > 20 && strings.Contains(err.Error(), part) {
					t.Errorf("the error repeats %q: %v", part, err)
				}
			}
			return
		}
		if got, err := r.Open("b", r.Seal(day(0), "b", []byte("x"))); err != nil || string(got) != "x" {
			t.Errorf("Open of what was sealed = %q, %v", got, err)
		}
		if n := len(r.Secrets(day(0), "o", "u")); n < 1 || n > 16 {
			t.Errorf("%d secrets", n)
		}
	})
}
