package keys_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"errand/shared/keys"
)

func TestSealIsDeterministic(t *testing.T) {
	r := parse(t, line(0, 1))
	a := r.Seal(day(0), "bound", []byte("plain"))
	if b := parse(t, line(0, 1)).Seal(day(5), "bound", []byte("plain")); a != b {
		t.Errorf("Seal twice = %s and %s", a, b)
	}
	// If one input differs, all of the text differs: a repeated nonce would give the key
	// away.
	_, body, _ := strings.Cut(a, ".")
	for _, row := range [][2]string{{"bound", "plaim"}, {"bounc", "plain"}, {"boundp", "lain"}, {"", "boundplain"}} {
		_, other, _ := strings.Cut(r.Seal(day(0), row[0], []byte(row[1])), ".")
		if other[:16] == body[:16] {
			t.Errorf("Seal(%q) has the nonce of another", row)
		}
	}
	if strings.Contains(a, "plain") || strings.Trim(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		t.Errorf("Seal = %s, want KID.BASE64URL", a)
	}
}

func TestOpen(t *testing.T) {
	r := parse(t, line(0, 1))
	for _, plain := range []string{"", "x", "a password\x00\xff", strings.Repeat("long ", 10000)} {
		sealed := r.Seal(day(0), "owner and URL", []byte(plain))
		if got, err := r.Open("owner and URL", sealed); err != nil || string(got) != plain {
			t.Errorf("Open of %d bytes = %d bytes, %v", len(plain), len(got), err)
		}
	}

	sealed := r.Seal(day(0), "here", []byte("CANARY"))
	rotated := parse(t, line(0, 1)+line(5, 2)+line(50, 3))
	if got, err := rotated.Open("here", sealed); err != nil || string(got) != "CANARY" {
		t.Errorf("Open under a ring that has changed twice = %q, %v", got, err)
	}
	if rotated.Seal(day(5), "here", []byte("CANARY")) == sealed {
		t.Error("after a change the old key still seals")
	}

	kid, rest, _ := strings.Cut(sealed, ".")
	for _, row := range []struct {
		ring          keys.Ring
		bound, sealed string
		want          string
	}{
		{r, "there", sealed, "damaged, or sealed for something else"},
		{r, "", sealed, "damaged, or sealed for something else"},
		{parse(t, line(0, 2)), "here", sealed, "the key " + kid + ", which is not in the secret errand-keys any more"},
		{r, "here", kid + ".", "damaged"},
		{r, "here", kid + "." + rest[:15], "damaged"},
		{r, "here", kid + "." + rest[:16], "damaged"},
		{r, "here", sealed + "\n", "damaged"},
		{r, "here", sealed + "=", "damaged"},
		{r, "here", "", "never sealed"},
		{r, "here", "CANARY", "never sealed"},
		{r, "here", "canarycanary." + rest, "never sealed"},
	} {
		got, err := row.ring.Open(row.bound, row.sealed)
		if !errors.Is(err, keys.ErrSealed) || !strings.Contains(err.Error(), row.want) || got != nil {
			t.Errorf("Open(%q, %q) = %q, %v, want ErrSealed with %q", row.bound, row.sealed, got, err, row.want)
		}
		if err != nil && strings.Contains(strings.ToUpper(err.Error()), "CANARY") {
			t.Errorf("Open(%q, %q) repeats what it got: %v", row.bound, row.sealed, err)
		}
	}

	for i := range sealed {
		for bit := range 8 {
			damaged := []byte(sealed)
			damaged[i] ^= 1 << bit
			if got, err := r.Open("here", string(damaged)); !errors.Is(err, keys.ErrSealed) || bytes.Equal(got, []byte("CANARY")) {
				t.Errorf("Open with bit %d of byte %d changed = %q, %v", bit, i, got, err)
			}
		}
	}
}
