package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"testing/synctest"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"errand/shared/lab/dense"
	"errand/shared/share"
)

// The count of a JSON text is the number of its values, and no value before a fault is
// missed.
func TestCountValues(t *testing.T) {
	for _, u := range dense.Units {
		text := []byte(u.List(100_000, 0))
		if got, want := Values(text), decoded(t, text); got != want || Values([]byte(u.Text)) != u.Values {
			t.Errorf("%s: counted %d values, want %d; and %d in one unit", u.Name, got, want, u.Values)
		}
	}

	value := rapid.Custom(func(t *rapid.T) any { return anyValue(t, 4) })
	rapid.Check(t, func(t *rapid.T) {
		v := value.Draw(t, "value")
		text, err := json.MarshalIndent(v, "", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := Values(text), sizeOf(v); got != want {
			t.Errorf("counted %d values in %s, want %d", got, text, want)
		}
		cut := text[:rapid.IntRange(0, len(text)).Draw(t, "cut")]
		if got, want := Values(cut), decoded(t, cut); got < want {
			t.Errorf("counted %d values in %s, want %d or more", got, cut, want)
		}
	})
}

func anyValue(t *rapid.T, depth int) any {
	kinds := []string{"string", "number", "null"}
	if depth > 0 {
		kinds = append(kinds, "array", "object")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "string":
		return rapid.SampledFrom([]string{"", `"`, `\`, `\"`, "a,b", "[{", "]}", "é", "\n"}).Draw(t, "s")
	case "number":
		return float64(rapid.IntRange(-9, 9).Draw(t, "n"))
	case "array":
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) any { return anyValue(t, depth-1) }), 0, 4).Draw(t, "array")
	case "object":
		return rapid.MapOfN(rapid.SampledFrom([]string{"", ",", "{", `"`, "a"}), rapid.Custom(func(t *rapid.T) any { return anyValue(t, depth-1) }), 0, 4).Draw(t, "object")
	}
	return nil
}

func sizeOf(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += sizeOf(e)
		}
	case map[string]any:
		for _, e := range v {
			n += sizeOf(e)
		}
	}
	return n
}

// decoded counts the values that a decoder finds before the end or a fault.
func decoded(t interface{ Helper() }, text []byte) int {
	t.Helper()
	d := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true))
	n := 0
	for {
		token, err := d.ReadToken()
		if err != nil {
			return n
		}
		in, length := d.StackIndex(d.StackDepth())
		name := in == jsontext.KindBeginObject && token.Kind() == jsontext.KindString && length%2 == 1
		if !name && token.Kind() != jsontext.KindEndArray && token.Kind() != jsontext.KindEndObject {
			n++
		}
	}
}

// A pool is a share of the runtime's memory limit, and one request of the largest charge
// always fits.
func TestShare(t *testing.T) {
	for _, tt := range []struct{ limit, share, want int64 }{
		{math.MaxInt64, 16, 64 << 20},
		{460 << 20, 16, 460 << 20 / 16},
		{460 << 20, 4, 115 << 20},
		{1 << 20, 4, 5 << 20},
	} {
		if got := shareOf(tt.limit, tt.share); got != tt.want {
			t.Errorf("1/%d of a limit of %d: %d bytes, want %d", tt.share, tt.limit, got, tt.want)
		}
	}
}

// A charge takes what is there, gives back what it took, and settles once.
func TestCharge(t *testing.T) {
	p := Sized(100)
	a, b := p.Charge(""), p.Charge("")
	if err := a.Take(60); err != nil {
		t.Fatal(err)
	}
	if err := b.Take(41); !errors.Is(err, share.ErrFull) {
		t.Errorf("Take(41) of 40 = %v, want ErrFull", err)
	}
	a.Give(1)
	if err := b.Take(41); err != nil {
		t.Errorf("Take(41) of 41 = %v", err)
	}

	a.Settle()
	a.Settle()
	b.Settle()
	if err := a.Take(100); err != nil {
		t.Errorf("after all have settled: %v", err)
	}
}

// A charge that waits gets its turn, also the largest one and while small ones come, and a
// charge above the pool is the whole pool. A wait that ends early takes nothing.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Sized(100)
		first := p.Charge("")
		if err := first.Take(1); err != nil {
			t.Fatal(err)
		}

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Charge("").Wait(ended, 100); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait after the end = %v", err)
		}

		large := make(chan *Charge)
		go func() {
			c := p.Charge("")
			if err := c.Wait(t.Context(), 1000); err != nil {
				t.Error(err)
			}
			large <- c
		}()
		synctest.Wait()

		small := make(chan error)
		go func() { small <- p.Charge("").Wait(t.Context(), 1) }()
		synctest.Wait()
		select {
		case <-small:
			t.Error("a later charge came before the large one")
		default:
		}

		first.Settle()
		(<-large).Settle()
		if err := <-small; err != nil {
			t.Error(err)
		}
	})
}
