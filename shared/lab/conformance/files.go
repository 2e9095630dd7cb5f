package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"errand/shared/files"
)

// A FilesBench is a store of files, with access to the objects behind it.
type FilesBench struct {
	Files *files.Store
	Other *files.Store // the same place in another process; nil: the place allows only one

	Objects func() []string                          // the keys of all objects, sorted
	Read    func(object string) []byte               // returns an object
	Write   func(object string, content []byte)      // creates or replaces an object
	Fetch   func(url string) (*http.Response, error) // gets a URL without credentials
	Arrived func() int64                             // bytes received by the place so far

	Hidden []string // strings that no error for clients may contain
}

// Files runs the laws of files.Store. open returns an empty store.
func Files(t *testing.T, open func(t *testing.T) FilesBench) {
	for _, law := range []struct {
		name string
		run  func(*testing.T, FilesBench)
	}{
		{"GivesWhatWasPut", givesWhatWasPut},
		{"GivesParts", givesParts},
		{"PutsWholeOrNothing", putsWholeOrNothing},
		{"CancelledPutLeavesNothing", cancelledPutLeavesNothing},
		{"TakesWhatWasAnnounced", takesWhatWasAnnounced},
		{"PutDoesNotHoldTheContent", putDoesNotHoldTheContent},
		{"GetDoesNotHoldTheContent", getDoesNotHoldTheContent},
		{"OneOfManyPutsWins", oneOfManyPutsWins},
		{"PutsAndDeletesAtOnce", putsAndDeletesAtOnce},
		{"ReadingGoesOnOrFails", readingGoesOnOrFails},
		{"DamageIsNoticed", damageIsNoticed},
		{"Deletes", deletes},
		{"DeletesFoldersWhole", deletesFoldersWhole},
		{"NamesOfFilesAreChecked", namesOfFilesAreChecked},
		{"MediaTypesAreChecked", mediaTypesAreChecked},
		{"ErrorsHideThePlace", errorsHideThePlace},
		{"SignedURLGivesTheFile", signedURLGivesTheFile},
		{"SignedURLEnds", signedURLEnds},
		{"SignedURLIsForNothingElse", signedURLIsForNothingElse},
		{"SignedUploadIsAdopted", signedUploadIsAdopted},
		{"SignedUploadIsForNothingElse", signedUploadIsForNothingElse},
	} {
		t.Run(law.name, func(t *testing.T) { law.run(t, open(t)) })
	}
}

// sizes lie around the sizes of the buffers on the way.
var sizes = []int{0, 1, 511, 513, 32<<10 - 1, 32 << 10, 32<<10 + 1, 256 << 10, 2<<20 - 1, 2 << 20, 2<<20 + 1, 5<<20 + 7}

// filled returns n bytes with a long period, different for each seed.
func filled(n int, seed byte) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*17 ^ seed
	}
	return out
}

func hexSum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func putFile(t *testing.T, s *files.Store, u files.Upload, content []byte) files.Info {
	t.Helper()
	info, err := s.Put(t.Context(), u, bytes.NewReader(content))
	if err != nil {
		t.Fatalf("Put(%s) of %d bytes = %v", u.Name, len(content), err)
	}
	return info
}

// get reads a whole file.
func get(ctx context.Context, s *files.Store, name string) ([]byte, files.Info, error) {
	info, r, err := s.Get(ctx, name)
	if err != nil {
		return nil, info, err
	}
	content, err := io.ReadAll(r)
	return content, info, errors.Join(err, r.Close())
}

// fileHolds checks that a file has this content, or that there is no file if want is nil.
func fileHolds(t *testing.T, s *files.Store, name string, want []byte) {
	t.Helper()
	got, _, err := get(t.Context(), s, name)
	if want == nil {
		if !errors.Is(err, files.ErrNotFound) {
			t.Errorf("Get(%s) = %d bytes, %v, want ErrNotFound", name, len(got), err)
		}
		return
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("Get(%s) = %d bytes, %v, want the %d bytes of the put", name, len(got), err, len(want))
	}
}

// unchanged checks that the place holds the same objects as before.
func unchanged(t *testing.T, b FilesBench, before []string) {
	t.Helper()
	if now := b.Objects(); !slices.Equal(now, before) {
		t.Errorf("there is %q, want only %q", now, before)
	}
}

func givesWhatWasPut(t *testing.T, b FilesBench) {
	for i, n := range sizes {
		name := fmt.Sprintf("tasks/7f/part-%d.bin", i)
		content := filled(n, byte(i))
		info := putFile(t, b.Files, files.Upload{Name: name, Owner: "acme/ci \"ä\"", MediaType: "Text/Plain; charset=utf-8", Size: int64(n), SHA256: strings.ToUpper(hexSum(content)), Max: int64(n)}, content)
		want := files.Info{Name: name, Owner: "acme/ci \"ä\"", MediaType: "text/plain; charset=utf-8", Size: int64(n), SHA256: hexSum(content), Modified: info.Modified}
		if info != want || info.Modified.IsZero() {
			t.Errorf("Put = %+v, want %+v and a time", info, want)
		}
		if got, err := b.Files.Stat(t.Context(), name); err != nil || got != info {
			t.Errorf("Stat = %+v, %v, want %+v", got, err, info)
		}

		_, got, err := get(t.Context(), b.Files, name)
		if err != nil || got != info {
			t.Errorf("Get = %+v, %v, want %+v", got, err, info)
		}

		fileHolds(t, b.Files, name, content)
	}

	// A file and a folder may share a name, and names may share a prefix.
	alike := []string{"a", "a/b", "a/b/c", "a-b", "a.b", "ab", "a/info", "a/b.tmp", "a.attrs"}
	for i, name := range alike {
		putFile(t, b.Files, files.Upload{Name: name}, filled(10+i, 0))
	}

	for i, name := range alike {
		fileHolds(t, b.Files, name, filled(10+i, 0))
	}

	if info, err := b.Files.Stat(t.Context(), "a"); err != nil || info.MediaType != "application/octet-stream" || info.Owner != "" {
		t.Errorf("Stat of a file without a type = %+v, %v", info, err)
	}
}

func givesParts(t *testing.T, b FilesBench) {
	whole := filled(100_000, 3)
	putFile(t, b.Files, files.Upload{Name: "f"}, whole)
	putFile(t, b.Files, files.Upload{Name: "empty"}, nil)

	for _, row := range []struct {
		name           string
		offset, length int64
		want           []byte // nil: ErrRange
	}{
		{"f", 0, -1, whole}, {"f", 0, 100_000, whole}, {"f", 0, 1 << 40, whole}, {"f", 0, 1, whole[:1]}, {"f", 0, 0, whole[:0]},
		{"f", 1, -1, whole[1:]}, {"f", 50_000, 10, whole[50_000:50_010]}, {"f", 99_999, 1, whole[99_999:]}, {"f", 99_999, 5, whole[99_999:]},
		{"f", 100_000, -1, whole[:0]}, {"f", 100_000, 7, whole[:0]}, {"f", 100_001, 1, nil}, {"f", -1, 1, nil},
		{"empty", 0, -1, whole[:0]}, {"empty", 0, 5, whole[:0]}, {"empty", 1, -1, nil},
	} {
		info, r, err := b.Files.GetRange(t.Context(), row.name, row.offset, row.length)
		if row.want == nil {
			if !errors.Is(err, files.ErrRange) {
				t.Errorf("GetRange(%s, %d, %d) = %v, want ErrRange", row.name, row.offset, row.length, err)
			}
			continue
		}

		if err != nil {
			t.Errorf("GetRange(%s, %d, %d) = %v", row.name, row.offset, row.length, err)
			continue
		}

		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, row.want) || info.Size != int64(len(whole)) && row.name == "f" {
			t.Errorf("GetRange(%s, %d, %d) = %d bytes of %d, %v, want %d", row.name, row.offset, row.length, len(got), info.Size, err, len(row.want))
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}

func deletes(t *testing.T, b FilesBench) {
	putFile(t, b.Files, files.Upload{Name: "a/b"}, filled(10, 1))
	putFile(t, b.Files, files.Upload{Name: "a/bc"}, filled(10, 2))
	for range 2 { // the second time the file is missing
		if err := b.Files.Delete(t.Context(), "a/b"); err != nil {
			t.Errorf("Delete = %v", err)
		}
		fileHolds(t, b.Files, "a/b", nil)
	}
	if _, err := b.Files.Stat(t.Context(), "a/b"); !errors.Is(err, files.ErrNotFound) {
		t.Errorf("Stat of a deleted file = %v, want ErrNotFound", err)
	}
	if err := b.Files.Delete(t.Context(), "never/was"); err != nil {
		t.Errorf("Delete of a file that never existed = %v", err)
	}
	fileHolds(t, b.Files, "a/bc", filled(10, 2))
	if err := b.Files.Delete(t.Context(), "a/bc"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	unchanged(t, b, nil)
	putFile(t, b.Files, files.Upload{Name: "a/b"}, filled(5, 3))
	fileHolds(t, b.Files, "a/b", filled(5, 3))
}

func deletesFoldersWhole(t *testing.T, b FilesBench) {
	for _, name := range []string{"tasks/1", "tasks/10/f", "tasks/1-a/f", "tasks/1.b/f", "tasks/2"} {
		putFile(t, b.Files, files.Upload{Name: name}, filled(10, 0))
	}
	others := b.Objects()
	for i := range 30 {
		putFile(t, b.Files, files.Upload{Name: fmt.Sprintf("tasks/1/%d/f-%d", i%3, i)}, filled(i, 0))
	}
	// Orphans of killed puts: a content without an info, and a temporary file of the driver.
	b.Write("tasks/1/0/lost+ABCDEFGHIJKLMNOPQRSTUVWXYZ", filled(100, 0))
	b.Write("tasks/1/lost+ABCDEFGHIJKLMNOPQRSTUVWXYZ.18f2.tmp", filled(50, 0))
	for range 2 {
		if err := b.Files.DeleteAll(t.Context(), "tasks/1"); err != nil {
			t.Fatalf("DeleteAll = %v", err)
		}
		unchanged(t, b, others)
	}
	fileHolds(t, b.Files, "tasks/1", filled(10, 0))
	if err := b.Files.DeleteAll(t.Context(), "tasks"); err != nil {
		t.Errorf("DeleteAll = %v", err)
	}
	unchanged(t, b, nil)
}

func namesOfFilesAreChecked(t *testing.T, b FilesBench) {
	long := strings.Repeat("a", files.MaxSegment)
	for _, name := range []string{
		"", ".", "..", "/", "a/", "/a", "a//b", "a/./b", "a/../b", "../a", "a/..", "a.", "a./b", "A", "a b", "a+b", "a+info", "ä", "a\\b", "a\x00", "a\n",
		"a:b", "a*", "~a", "a%2fb", long + "a", strings.Repeat(long+"/", 4) + "a",
	} {
		_, err := b.Files.Put(t.Context(), files.Upload{Name: name}, strings.NewReader("x"))
		_, stat := b.Files.Stat(t.Context(), name)
		_, _, read := b.Files.Get(t.Context(), name)
		_, sign := b.Files.Sign(t.Context(), name, files.MaxLifetime)
		for call, err := range map[string]error{"Put": err, "Stat": stat, "Get": read, "Sign": sign, "Delete": b.Files.Delete(t.Context(), name), "DeleteAll": b.Files.DeleteAll(t.Context(), name)} {
			if !errors.Is(err, files.ErrName) {
				t.Errorf("%s(%.40q) = %v, want ErrName", call, name, err)
			}
		}
	}
	unchanged(t, b, nil)
	for _, name := range []string{"a", "0", "-", "_", "...a", ".a", "a..b", "a-b_c.d/e", long, strings.Repeat(long[1:]+"/", 3) + long[1:]} {
		putFile(t, b.Files, files.Upload{Name: name}, []byte(name))
		fileHolds(t, b.Files, name, []byte(name))
	}
}

func mediaTypesAreChecked(t *testing.T, b FilesBench) {
	for _, typ := range []string{"text", "text/", "/plain", "text/plain; charset", "text/plain\nX-Evil: 1", "text/plain, text/html", strings.Repeat("a", 300) + "/b", " ", "a/b; x=\x00"} {
		if _, err := b.Files.Put(t.Context(), files.Upload{Name: "a", MediaType: typ}, strings.NewReader("x")); !errors.Is(err, files.ErrMediaType) {
			t.Errorf("Put with the type %.40q = %v, want ErrMediaType", typ, err)
		}
	}
	for _, owner := range []string{"\xff", strings.Repeat("o", 1025)} {
		if _, err := b.Files.Put(t.Context(), files.Upload{Name: "a", Owner: owner}, strings.NewReader("x")); err == nil {
			t.Errorf("Put with the owner %.10q = nil", owner)
		}
	}
	unchanged(t, b, nil)
}

func errorsHideThePlace(t *testing.T, b FilesBench) {
	putFile(t, b.Files, files.Upload{Name: "damaged"}, filled(10, 0))
	for _, o := range b.Objects() {
		b.Write(o, nil)
	}

	_, missing := b.Files.Stat(t.Context(), "missing")
	_, _, corrupt := b.Files.Get(t.Context(), "damaged")
	putFile(t, b.Files, files.Upload{Name: "short"}, filled(10, 0))
	_, _, part := b.Files.GetRange(t.Context(), "short", 11, 1)
	_, large := b.Files.Put(t.Context(), files.Upload{Name: "a", Max: 3}, strings.NewReader("four"))
	_, other := b.Files.Put(t.Context(), files.Upload{Name: "a", Size: 3}, strings.NewReader("four"))
	_, name := b.Files.Put(t.Context(), files.Upload{Name: ".."}, strings.NewReader("x"))
	_, typ := b.Files.Put(t.Context(), files.Upload{Name: "a", MediaType: "x"}, strings.NewReader("x"))
	for want, err := range map[error]error{
		files.ErrNotFound: missing, files.ErrCorrupt: corrupt, files.ErrRange: part, files.ErrTooLarge: large, files.ErrMismatch: other, files.ErrName: name, files.ErrMediaType: typ,
	} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
			continue
		}

		for _, hidden := range append(b.Hidden, "+", "info") {
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("the error contains %q: %v", hidden, err)
			}
		}
	}
}
