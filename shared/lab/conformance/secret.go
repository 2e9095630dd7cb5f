package conformance

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"errand/shared/secret"
)

// A SecretBench is a source of secrets that a test may fill.
type SecretBench struct {
	Source secret.Source

	// Set makes content the newest version of the secret. It also stores contents that are too
	// large.
	Set func(name string, content []byte)

	// Seen is how long after Set the source may still return the version before.
	Seen time.Duration
}

// Secret runs the laws of secret.Source. open returns an empty source.
func Secret(t *testing.T, open func(t *testing.T) SecretBench) {
	for _, law := range []struct {
		name string
		run  func(*testing.T, SecretBench)
	}{
		{"GivesWhatWasSet", givesWhatWasSet},
		{"RotationIsSeen", rotationIsSeen},
		{"MissingIsNotFound", missingIsNotFound},
		{"EmptyIsNotFound", emptyIsNotFound},
		{"NamesAreChecked", namesAreChecked},
		{"SizeIsBounded", sizeIsBounded},
		{"ValueDoesNotShow", valueDoesNotShow},
		{"ManyMayAsk", manyMayAsk},
	} {
		t.Run(law.name, func(t *testing.T) { law.run(t, open(t)) })
	}
}

// canary is a content that must appear only in the result of Reveal.
const canary = "canary-5f0c7a"

func givesWhatWasSet(t *testing.T, b SecretBench) {
	for name, content := range map[string]string{
		"api-key":                      canary,
		"UPPER_and_lower-7":            "ends in a newline\n",
		"x":                            "ä\xff\x01\t\r\n",
		"n" + strings.Repeat("0", 254): " ",
	} {
		b.Set(name, []byte(content))
		got, err := b.Source.Get(t.Context(), secret.Ref{Name: name})
		if err != nil || got.Reveal() != content {
			t.Errorf("Get(%.20s) = %q, %v; want %q", name, got.Reveal(), err, content)
		}
	}
}

func rotationIsSeen(t *testing.T, b SecretBench) {
	ref := secret.Ref{Name: "key"}
	b.Set(ref.Name, []byte("old"))
	if got, err := b.Source.Get(t.Context(), ref); err != nil || got.Reveal() != "old" {
		t.Fatalf("Get = %q, %v; want the old value", got.Reveal(), err)
	}
	b.Set(ref.Name, []byte("new"))
	deadline := time.Now().Add(b.Seen)
	for {
		asked := time.Now()
		got, err := b.Source.Get(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if got.Reveal() == "new" {
			return
		}
		if asked.After(deadline) {
			t.Fatalf("%v after the change Get still returns %q", b.Seen, got.Reveal())
		}
		time.Sleep(time.Millisecond) // a source does not report changes
	}
}

func missingIsNotFound(t *testing.T, b SecretBench) {
	_, err := b.Source.Get(t.Context(), secret.Ref{Name: "missing"})
	if !errors.Is(err, secret.ErrNotFound) {
		t.Fatalf("Get = %v, want ErrNotFound", err)
	}
	if !strings.Contains(strings.ToLower(err.Error()), "missing") {
		t.Errorf("%q does not name the secret", err)
	}
	b.Set("missing", []byte("there"))
	if got, err := b.Source.Get(t.Context(), secret.Ref{Name: "missing"}); err != nil || got.Reveal() != "there" {
		t.Errorf("Get after Set = %q, %v", got.Reveal(), err)
	}
}

func emptyIsNotFound(t *testing.T, b SecretBench) {
	b.Set("empty", nil)
	if _, err := b.Source.Get(t.Context(), secret.Ref{Name: "empty"}); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
}

func namesAreChecked(t *testing.T, b SecretBench) {
	for _, ref := range []secret.Ref{
		{}, {Name: "."}, {Name: ".."}, {Name: "../key"}, {Name: "a/b"}, {Name: `a\b`}, {Name: "a b"}, {Name: "ä"},
		{Name: "-a"}, {Name: "7a"}, {Name: "_a"}, {Name: "a\n"}, {Name: "a\x00"}, {Name: "a=b"},
		{Name: "n" + strings.Repeat("0", 255)},
	} {
		if _, err := b.Source.Get(t.Context(), ref); !errors.Is(err, secret.ErrName) {
			t.Errorf("Get(%.20q) = %v, want ErrName", ref.Name, err)
		}
	}
}

func sizeIsBounded(t *testing.T, b SecretBench) {
	largest := bytes.Repeat([]byte("x"), secret.MaxSize)
	b.Set("largest", largest)
	if got, err := b.Source.Get(t.Context(), secret.Ref{Name: "largest"}); err != nil || got.Reveal() != string(largest) {
		t.Errorf("Get of the largest = %d bytes, %v", len(got.Reveal()), err)
	}
	b.Set("larger", append(largest, canary...))
	_, err := b.Source.Get(t.Context(), secret.Ref{Name: "larger"})
	if !errors.Is(err, secret.ErrTooLarge) {
		t.Fatalf("Get of a larger one = %v, want ErrTooLarge", err)
	}
	if len(err.Error()) > 500 || strings.Contains(err.Error(), canary) {
		t.Error("the error quotes the value")
	}
}

func valueDoesNotShow(t *testing.T, b SecretBench) {
	b.Set("key", []byte(canary))
	v, err := b.Source.Get(t.Context(), secret.Ref{Name: "key"})
	if err != nil {
		t.Fatal(err)
	}

	holder := struct {
		Open   secret.Value
		hidden secret.Value
		deep   map[string]*secret.Value
	}{v, v, map[string]*secret.Value{"key": &v}}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", v, &v, holder)
	}

	if err := json.NewEncoder(&out).Encode(holder); err != nil {
		t.Error(err)
	}

	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "value", v, "holder", holder)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "value", v, "holder", holder)

	for _, form := range []string{canary, hex.EncodeToString([]byte(canary)), fmt.Sprint([]byte(canary))} {
		if strings.Contains(strings.ToLower(out.String()), form) {
			t.Errorf("this text contains the value:\n%s", out.String())
		}
	}
}

func manyMayAsk(t *testing.T, b SecretBench) {
	b.Set("key", []byte(canary))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if got, err := b.Source.Get(ctx, secret.Ref{Name: "key"}); err != nil || got.Reveal() != canary {
				t.Errorf("Get = %q, %v", got.Reveal(), err)
			}
		})
	}
	all.Wait()
}
