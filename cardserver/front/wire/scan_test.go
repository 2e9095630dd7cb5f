package wire

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// texts are JSON and near-JSON, the seeds of both fuzz targets.
var texts = []string{
	``, ` `, `null`, `true`, `tru`, `nulll`, `0`, `-0`, `-`, `01`, `1.`, `.5`, `1e5`, `1E+5`, `1e`, `1e400`, `-1.5e-3`,
	`"`, `""`, `"\"`, `"\u12"`, `"\u12aG"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ud83d\ud83d"`, `"\x"`, "\"\n\"", `"\/\b\f\n\r\t\\\""`,
	`[]`, `[ ]`, `[1,]`, `[,1]`, `[1 2]`, `[1,2]`, `[[],[[]],{}]`, `[}`, `{]`, `{}`, `{ }`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`,
	`{"a":1 "b":2}`, `{"a":{"b":[1,{"c":null}]},"d":false}`, `{"a":1,"a":2}`, " {\t\"a\" :\r\n1 } ", `[1]x`, `{}{}`, `"é"`, "\"\xff\"", `[1}`, `{"a":1]`,
	strings.Repeat("[", 70) + strings.Repeat("]", 70), strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70),
}

// valid is the decision of parseEnvelope about a text.
func valid(b []byte) bool {
	end, _, ok := scan(b, 0)
	return ok && space(b, end) == len(b)
}

func FuzzScan(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end, depth, ok := scan(b, 0)
		if end < 0 || end > len(b) {
			t.Fatalf("scan(%q) ends at %d", b, end)
		}
		if depth > 10_000 {
			return // encoding/json gives up there
		}
		if got := ok && space(b, end) == len(b); got != json.Valid(b) {
			t.Errorf("scan(%q) = %v, encoding/json says %v", b, got, !got)
		}
	})
}

// FuzzValue compares decoded values with encoding/json's, where both accept them.
func FuzzValue(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, depth, _ := scan(b, 0); !valid(b) || !utf8.Valid(b) || depth > maxDepth {
			return
		}
		c := newCursor(b)
		got := c.value()
		var want any
		err := json.Unmarshal(b, &want)
		if len(c.bad) > 0 {
			return // a number out of range, half a surrogate pair, a key twice
		}
		if err != nil {
			t.Fatalf("value(%q) = %v, encoding/json says %v", b, got, err)
		}
		if !reflect.DeepEqual(want, got) { // cmp takes exponential time for depth
			t.Errorf("value(%q) = %v, want %v", b, got, want)
		}
		if space(b, c.i) != len(b) || len(c.steps) != 0 {
			t.Errorf("value(%q) stops at %d inside %d containers", b, c.i, len(c.steps))
		}
	})
}

// FuzzString checks that what the encoder writes reads back as it was.
func FuzzString(f *testing.F) {
	for _, s := range append(texts, "\x00\x1f\x7f\u2028<>&", "a\xffb\xc3") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := &encoder{}
		e.string(s)
		var got string
		if err := json.Unmarshal(e.b, &got); err != nil || !valid(e.b) {
			t.Fatalf("string(%q) wrote %q: %v", s, e.b, err)
		}
		want := s
		if !utf8.ValidString(s) {
			want = string([]rune(s)) // one U+FFFD for each bad byte
		}
		if got != want {
			t.Errorf("string(%q) reads back as %q", s, got)
		}
	})
}
