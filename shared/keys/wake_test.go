package keys_test

import (
	"strings"
	"testing"

	"errand/shared/keys"
)

// A wake URL is good for one call of one life of a task, and for nothing else.
func TestWakeURL(t *testing.T) {
	r := parse(t, line(0, 1))
	const life, call = "1abc/k3", "1abc/k3/7.2"
	url := keys.WakeURL("https://agent.example.com/", r.WakeKey(day(0), life), call)
	signature, ok := strings.CutPrefix(url, "https://agent.example.com/wake/"+call+"?s=")
	if !ok || len(signature) != 22 || strings.Trim(signature, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		t.Fatalf("WakeURL = %s", url)
	}
	if !r.Wakes(call, signature) {
		t.Error("the signature is refused")
	}

	for _, other := range []string{"1abc/k3/7.1", "1abc/k3/7.20", "1abc/k4/7.2", "1abd/k3/7.2", "1abc/k3", "1abc", "", "/", call + "/"} {
		if r.Wakes(other, signature) {
			t.Errorf("the signature of %s wakes %q", call, other)
		}
	}
	flipped := "A" + signature[1:]
	if signature[0] == 'A' {
		flipped = "B" + signature[1:]
	}
	for _, forged := range []string{"", signature[1:], signature + "A", flipped, r.WakeKey(day(0), life)} {
		if r.Wakes(call, forged) {
			t.Errorf("%q wakes the call", forged)
		}
	}
}

// A URL that is given away works until its key leaves the ring: a call may wait for 30 days.
func TestWakeURLOutlivesItsKey(t *testing.T) {
	const life, call = "1abc/k3", "1abc/k3/7.2"
	signed := func(text string, at float64) string {
		url := keys.WakeURL("", parse(t, text).WakeKey(day(at), life), call)
		_, signature, _ := strings.Cut(url, "?s=")
		return signature
	}

	old, both, fresh := line(0, 1), line(0, 1)+line(5, 2), line(5, 2)
	first := signed(old, 1)
	if signed(both, 4) != first || signed(both, 5) == first || signed(fresh, 6) == first {
		t.Error("a key signs before its time, or after that of the next one")
	}
	if !parse(t, both).Wakes(call, first) || parse(t, fresh).Wakes(call, first) {
		t.Error("want the signature of an old key while it is in the ring, and not longer")
	}
	if !parse(t, both).Wakes(call, signed(fresh, 6)) {
		t.Error("the signature of the new key is refused")
	}
}

// The calls of the items of a batch are signed with the batch's key, each with a signature of
// its own.
func TestWakeURLOfAnItem(t *testing.T) {
	r := parse(t, line(0, 1))
	const batch, call = "1abc-b", "h8-1abc-b-7/k3/7.2"
	_, signature, _ := strings.Cut(keys.WakeURL("", r.WakeKey(day(0), batch+"/k3"), call), "?s=")
	if !r.WakesItem(batch, call, signature) {
		t.Error("the signature is refused")
	}
	if r.Wakes(call, signature) {
		t.Error("the signature is taken for one of a task of its own")
	}
	for _, other := range []string{"h8-1abc-b-8/k3/7.2", "h8-1abc-b-7/k4/7.2", "h8-1abc-b-7/k3/7.3", "h8-1abc-b-7/k3", "", "//"} {
		if r.WakesItem(batch, other, signature) {
			t.Errorf("the signature of %s wakes %q", call, other)
		}
	}
	if r.WakesItem("1abd-b", call, signature) {
		t.Error("the signature wakes a call of another batch")
	}
}
