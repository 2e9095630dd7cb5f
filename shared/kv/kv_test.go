package kv_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"errand/shared/kv"
)

func TestCheckKey(t *testing.T) {
	long := "use/" + strings.Repeat("x", kv.LimitKey-4)
	for _, key := range []string{
		"use/a", "step/a7/0/0001", "batch/b.1_x-y/state", "0/-", "./..", "__a__/__", "-/.", "_/_/_", long,
	} {
		if err := kv.CheckKey(key); err != nil {
			t.Errorf("CheckKey(%.40q) = %v, want nil", key, err)
		}
	}
	for _, key := range []string{
		"", "use", "/", "use/", "/a", "use//a", "use/a/", "Use/a", "use/ä", "use/a b", "use/a\n", "\nuse/a", "use/a\x00", "use/\xff",
		"use/a+", "use/a,", "use/~", long + "x",
	} {
		if err := kv.CheckKey(key); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("CheckKey(%.40q) = %v, want ErrInvalid", key, err)
		}
	}
}

func TestStored(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*kv.Entry)
		want   error
	}{
		"plain":             {func(*kv.Entry) {}, nil},
		"the longest owner": {func(e *kv.Entry) { e.Owner = strings.Repeat("o", kv.LimitOwner) }, nil},
		"a longer owner":    {func(e *kv.Entry) { e.Owner = strings.Repeat("o", kv.LimitOwner+1) }, kv.ErrInvalid},
		"an owner in bytes": {func(e *kv.Entry) { e.Owner = "\xff" }, kv.ErrInvalid},
		"a bad key":         {func(e *kv.Entry) { e.Key = "use" }, kv.ErrInvalid},
		"the first time":    {func(e *kv.Entry) { e.Expires = time.Unix(0, 0).UTC() }, nil},
		"a time elsewhere":  {func(e *kv.Entry) { e.Expires = time.Unix(0, 0).In(time.FixedZone("", -3600)) }, nil},
		"a time before":     {func(e *kv.Entry) { e.Expires = time.Unix(0, -1).UTC() }, kv.ErrInvalid},
		"the last year":     {func(e *kv.Entry) { e.Expires = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) }, nil},
		"a year after":      {func(e *kv.Entry) { e.Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, kv.ErrInvalid},
		"the largest value": {func(e *kv.Entry) { e.Value = make([]byte, kv.LimitValue) }, nil},
		"a larger value":    {func(e *kv.Entry) { e.Value = make([]byte, kv.LimitValue+1) }, kv.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			e := kv.Entry{Key: "use/a"}
			tt.change(&e)
			if _, err := e.Stored(); !errors.Is(err, tt.want) {
				t.Errorf("Stored: %v, want %v", err, tt.want)
			}
		})
	}
}

// Times are kept in milliseconds, and an entry is absent from its last one on.
func TestExpiryIsInMilliseconds(t *testing.T) {
	end := time.Date(2031, 5, 6, 7, 8, 9, int(10*time.Millisecond), time.UTC)
	e, err := kv.Entry{Key: "use/a", Expires: end.Add(999_999).In(time.FixedZone("", 3600))}.Stored()
	if err != nil || e.Expires != end {
		t.Fatalf("Stored expires %v, %v; want %v", e.Expires, err, end)
	}
	for now, want := range map[time.Time]bool{end.Add(-1): false, end: true, end.Add(1): true} {
		if got := e.Expired(now); got != want {
			t.Errorf("Expired %v after the time = %t, want %t", now.Sub(end), got, want)
		}
	}
	if (kv.Entry{}).Expired(end) {
		t.Error("an entry without a time has expired")
	}
}

// A range holds the keys that a list asks for, and no others.
func TestRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[az09._/-]{0,5}`)
		key := rapid.StringMatching(`[az09._-]{1,3}(/[az09._-]{1,2}){1,2}`).Draw(t, "key")
		prefix, after := text.Draw(t, "prefix"), text.Draw(t, "after")
		if rapid.Bool().Draw(t, "of the key") {
			prefix, after = key[:min(len(prefix), len(key))], key[:min(len(after), len(key))]
		}

		from, to, err := kv.Range(prefix, after)
		if err != nil {
			t.Fatal(err)
		}

		want := strings.HasPrefix(key, prefix) && key > after
		if got := from <= key && key < to; got != want {
			t.Fatalf("Range(%q, %q) = %q, %q, which holds %q: %t, want %t", prefix, after, from, to, key, got, want)
		}
	})

	for _, bad := range []string{"A", "a b", "ä", "~", "\x00", strings.Repeat("x", kv.LimitKey+1)} {
		if _, _, err := kv.Range(bad, ""); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("Range of the prefix %.10q: %v, want ErrInvalid", bad, err)
		}
		if _, _, err := kv.Range("", bad); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("Range after %.10q: %v, want ErrInvalid", bad, err)
		}
	}
}
