package wire

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzValue compares decoded values with encoding/json's.
func FuzzValue(f *testing.F) {
	for _, s := range []string{
		`null`, `true`, `-0`, `1E+5`, `1e400`, `-1.5e-3`, `"\ud83d\ude00"`, `"\/\b\f\n\r\t\\\""`, `"é"`, `[]`, `[[],[[]],{}]`,
		` {"a":{"b":[1,{"c":null}]},"":false,"d\u0065":{}} `, strings.Repeat("[", 110) + strings.Repeat("]", 110), `{"a":1,"a":2}`, `[1}`, `{}{}`, `-`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newCursor(b)
		got := c.value()
		c.end()
		if c.err != nil || len(c.bad) > 0 {
			return // no JSON, a number out of range, too deep
		}
		var want any
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("value(%q) = %v, encoding/json says %v", b, got, err)
		}
		if !reflect.DeepEqual(want, got) { // cmp takes exponential time for depth
			t.Errorf("value(%q) = %v, want %v", b, got, want)
		}
	})
}
