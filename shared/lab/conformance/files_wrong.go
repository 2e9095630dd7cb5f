package conformance

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"errand/shared/files"
)

var errBroken = errors.New("the sender has gone")

// A source returns n bytes of content in reads of up to step bytes, and then err. It calls
// tell with the total after each read.
type source struct {
	content []byte
	n, step int
	tell    func(given int)
	err     error
	given   int
}

func (s *source) Read(p []byte) (int, error) {
	left := min(s.n-s.given, len(p), s.step)
	if left == 0 {
		if s.tell != nil {
			s.tell(s.given)
		}
		return 0, s.err
	}
	copy(p, s.content[s.given:s.given+left])
	s.given += left
	if s.tell != nil {
		s.tell(s.given)
	}
	return left, nil
}

// everyWay runs a put that must change nothing, for free names and for a taken one.
func everyWay(t *testing.T, b FilesBench, attempt func(name string)) {
	t.Helper()
	old := filled(1000, 77)
	putFile(t, b.Files, files.Upload{Name: "d/taken", Owner: "first"}, old)
	before := b.Objects()
	for name, want := range map[string][]byte{"d/free": nil, "d/taken": old, "e/free": nil} {
		attempt(name)
		fileHolds(t, b.Files, name, want)
		unchanged(t, b, before)
	}
}

func putsWholeOrNothing(t *testing.T, b FilesBench) {
	content := filled(slices.Max(sizes), 1)
	everyWay(t, b, func(name string) {
		for _, n := range sizes {
			s := &source{content: content, n: n, step: 1 << 20, err: errBroken}
			if _, err := b.Files.Put(t.Context(), files.Upload{Name: name, Owner: "second"}, s); !errors.Is(err, errBroken) {
				t.Errorf("Put whose content fails after %d bytes = %v, want its error", n, err)
			}
		}
		for n := 0; n < 200; n++ { // in small reads
			s := &source{content: content, n: n, step: 7, err: io.ErrUnexpectedEOF}
			if _, err := b.Files.Put(t.Context(), files.Upload{Name: name}, s); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("Put whose content fails after %d bytes = %v, want its error", n, err)
			}
		}
	})
}

func cancelledPutLeavesNothing(t *testing.T, b FilesBench) {
	content := filled(slices.Max(sizes), 1)
	everyWay(t, b, func(name string) {
		for _, n := range sizes {
			ctx, cancel := context.WithCancel(t.Context())
			s := &source{content: content, n: len(content), step: 1 << 18, err: io.EOF, tell: func(given int) {
				if given >= n {
					cancel()
				}
			}}
			if _, err := b.Files.Put(ctx, files.Upload{Name: name}, s); !errors.Is(err, context.Canceled) {
				t.Errorf("Put that is cancelled after %d bytes = %v, want context.Canceled", n, err)
			}
			if most := (n/s.step + 1) * s.step; s.given > most {
				t.Errorf("Put that is cancelled after %d bytes has read %d, want at most %d", n, s.given, most)
			}
			cancel()
		}
	})
}

func takesWhatWasAnnounced(t *testing.T, b FilesBench) {
	content := filled(100_000, 1)
	size := int64(len(content))
	other := hexSum(content[1:])

	rows := []struct {
		name string
		u    files.Upload
		want error
		says string
	}{
		{"too short", files.Upload{Size: size + 1}, files.ErrMismatch, "100000 bytes, not 100001"},
		{"much too short", files.Upload{Size: 1 << 40}, files.ErrMismatch, "100000 bytes"},
		{"too long", files.Upload{Size: size - 1}, files.ErrMismatch, "more than 99999 bytes"},
		{"much too long", files.Upload{Size: 1}, files.ErrMismatch, "more than 1 bytes"},
		{"another hash", files.Upload{SHA256: other}, files.ErrMismatch, other},
		{"another hash and size", files.Upload{SHA256: other, Size: size}, files.ErrMismatch, other},
		{"no hash", files.Upload{SHA256: "abc"}, files.ErrMismatch, "64 hexadecimal"},
		{"too large", files.Upload{Max: size - 1}, files.ErrTooLarge, "99999 bytes"},
		{"announced too large", files.Upload{Size: size, Max: size - 1}, files.ErrTooLarge, "99999 bytes"},
	}

	everyWay(t, b, func(name string) {
		for _, row := range rows {
			row.u.Name = name
			_, err := b.Files.Put(t.Context(), row.u, bytes.NewReader(content))
			if !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%s: Put = %v, want %v with the text %q", row.name, err, row.want, row.says)
			}
		}

		if _, err := b.Files.Put(t.Context(), files.Upload{Name: name, Size: -1}, bytes.NewReader(content)); err == nil {
			t.Error("Put with a negative size = nil")
		}
	})

	// Put stops reading an endless content.
	endless := &source{content: content, n: len(content), step: 1 << 10, err: errBroken}
	if _, err := b.Files.Put(t.Context(), files.Upload{Name: "d/free", Max: 10}, endless); !errors.Is(err, files.ErrTooLarge) || endless.given > 1<<10 {
		t.Errorf("Put read %d bytes and returned %v, want ErrTooLarge soon", endless.given, err)
	}

	exact := files.Upload{Name: "d/free", Size: size, Max: size, SHA256: hexSum(content)}
	putFile(t, b.Files, exact, content)
	fileHolds(t, b.Files, "d/free", content)
}

// damageIsNoticed changes stored objects behind the store's back.
func damageIsNoticed(t *testing.T, b FilesBench) {
	content := filled(100_000, 1)
	putFile(t, b.Files, files.Upload{Name: "f"}, content)
	i := slices.IndexFunc(b.Objects(), func(o string) bool { return !strings.HasSuffix(o, "info") })
	object := b.Objects()[i]

	for _, at := range []int{0, 50_000, len(content) - 1} {
		damaged := slices.Clone(content)
		damaged[at] ^= 1
		b.Write(object, damaged)
		got, _, err := get(t.Context(), b.Files, "f")
		if !errors.Is(err, files.ErrCorrupt) || len(got) == len(content) {
			t.Errorf("with byte %d changed Get = %d bytes, %v, want ErrCorrupt before the last", at, len(got), err)
		}

		// A reader of exactly the known size gets the error too.
		_, r, err := b.Files.Get(t.Context(), "f")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(r, make([]byte, len(content))); !errors.Is(err, files.ErrCorrupt) {
			t.Errorf("with byte %d changed ReadFull = %d, %v, want ErrCorrupt", at, n, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, files.ErrCorrupt) {
			t.Errorf("the next Read = %d, %v, want ErrCorrupt again", n, err)
		}

		r.Close()
	}

	for _, damaged := range [][]byte{nil, content[:99_999], append(slices.Clone(content), 0)} {
		b.Write(object, damaged)
		if _, _, err := b.Files.Get(t.Context(), "f"); !errors.Is(err, files.ErrCorrupt) {
			t.Errorf("with %d bytes Get = %v, want ErrCorrupt", len(damaged), err)
		}
		if _, _, err := b.Files.GetRange(t.Context(), "f", 5, 10); !errors.Is(err, files.ErrCorrupt) && (err == nil || len(damaged) > 15) {
			t.Errorf("with %d bytes GetRange = %v, want ErrCorrupt, or an error because the part does not exist", len(damaged), err)
		}
	}

	b.Write(object, content)
	fileHolds(t, b.Files, "f", content)

	good := b.Read("f+info")
	for _, info := range []string{"", "{}", "null", "[1]", string(good[:len(good)/2]), strings.Replace(string(good), `"content":"`, `"content":"../`, 1), strings.Replace(string(good), `"size":`, `"size":-`, 1)} {
		b.Write("f+info", []byte(info))
		if _, err := b.Files.Stat(t.Context(), "f"); !errors.Is(err, files.ErrCorrupt) {
			t.Errorf("with the info %q Stat = %v, want ErrCorrupt", info, err)
		}
		if _, _, err := b.Files.Get(t.Context(), "f"); !errors.Is(err, files.ErrCorrupt) {
			t.Errorf("with the info %q Get = %v, want ErrCorrupt", info, err)
		}
	}

	putFile(t, b.Files, files.Upload{Name: "f"}, content[:10]) // as the error says
	fileHolds(t, b.Files, "f", content[:10])
	b.Write("f+info", nil)
	if err := b.Files.Delete(t.Context(), "f"); err != nil {
		t.Errorf("Delete of a damaged file = %v", err)
	}

	unchanged(t, b, nil)
}
