package batch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"errand/shared/batch"
	"errand/shared/lab/conformance"
)

// lines reads all lines of a text from an offset on.
func lines(t *testing.T, r io.Reader, offset int64, n int) []batch.RawLine {
	t.Helper()
	var all []batch.RawLine
	for line, err := range batch.Lines(r, offset, n) {
		if err != nil {
			t.Fatal(err)
		}
		line.Text = bytes.Clone(line.Text)
		all = append(all, line)
	}
	return all
}

func TestLinesSplitsAManifest(t *testing.T) {
	for _, row := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"a", []string{"a"}},
		{"a\n", []string{"a"}},
		{"a\r\nb\r\n", []string{"a", "b"}},
		{"a\rb\n", []string{"a\rb"}},
		{"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", []string{"a", "\xef\xbb\xbfb"}},
		{"\n\na\n \r\n\nb\n\n \t\n", []string{"", "", "a", "", "", "b"}},
		{"\n \n", nil},
		{"\xef\xbb\xbf", nil},
		{"\xef\xbb\xbf\na", []string{"", "a"}},
	} {
		for _, r := range []io.Reader{strings.NewReader(row.text), iotest.OneByteReader(strings.NewReader(row.text)), iotest.DataErrReader(strings.NewReader(row.text))} {
			var got []string
			for i, line := range lines(t, r, 0, 1) {
				got = append(got, string(line.Text))
				if line.N != i+1 || line.Long {
					t.Errorf("%q: line %d is %+v", row.text, i+1, line)
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", row.text, diff)
			}
		}
	}
}

// Wherever a reader begins, it finds the same lines, with the same numbers and offsets.
func TestLinesAreTheSameFromEveryOffset(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.SampledFrom([]string{"", " ", "a", "\r", "é", strings.Repeat("x", 70<<10), "\xef\xbb\xbf"})
		end := rapid.SampledFrom([]string{"\n", "\r\n"})
		var b strings.Builder
		for range rapid.IntRange(0, 12).Draw(rt, "lines") {
			b.WriteString(word.Draw(rt, "text") + end.Draw(rt, "end"))
		}
		b.WriteString(word.Draw(rt, "last"))
		text := b.String()

		all := lines(t, strings.NewReader(text), 0, 1)
		for i, line := range all {
			if i > 0 && line.Start != all[i-1].Next {
				rt.Fatalf("line %d begins at %d, and the one before ends at %d", line.N, line.Start, all[i-1].Next)
			}
			if got := strings.TrimRight(text[line.Start:line.Next], "\r\n"); strings.TrimPrefix(got, "\xef\xbb\xbf") != strings.TrimPrefix(strings.TrimRight(string(line.Text), "\r"), "\xef\xbb\xbf") && strings.TrimSpace(got) != "" {
				rt.Fatalf("line %d is %.20q, and the text has %.20q there", line.N, line.Text, got)
			}
			rest := lines(t, strings.NewReader(text[line.Start:]), line.Start, line.N)
			if !slices.EqualFunc(all[i:], rest, func(a, b batch.RawLine) bool {
				return a.N == b.N && a.Start == b.Start && a.Next == b.Next && a.Long == b.Long && bytes.Equal(a.Text, b.Text)
			}) {
				rt.Fatalf("from line %d on the lines are others", line.N)
			}
		}
	})
}

func TestLinesCutsALineThatIsTooLong(t *testing.T) {
	for _, row := range []struct {
		size int
		long bool
	}{{batch.MaxLine - 1, false}, {batch.MaxLine, false}, {batch.MaxLine + 1, true}, {3 * batch.MaxLine, true}} {
		for _, end := range []string{"\n", "\r\n"} {
			text := "\xef\xbb\xbf" + strings.Repeat("x", row.size) + end + "b"
			all := lines(t, strings.NewReader(text), 0, 1)
			if len(all) != 2 || all[0].Long != row.long || len(all[0].Text) != min(row.size, batch.MaxLine) || string(all[1].Text) != "b" || all[0].Next != int64(len(text)-1) {
				t.Errorf("%d bytes and %q: %d lines, the first with %d bytes, long: %v", row.size, end, len(all), len(all[0].Text), all[0].Long)
			}
		}
	}

	endless := io.MultiReader(strings.NewReader(`{"id":"a","text":"`), io.LimitReader(zeros{}, 100<<20))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := len(lines(t, endless, 0, 1))
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; n != 1 || taken > 8<<20 {
		t.Errorf("a line of 100 MiB is %d lines and took %d MB", n, taken>>20)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

// An error of the reader is not the end of the manifest.
func TestLinesPassAnErrorOn(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("{\"text\":\"a\"}\n{\"text\":\"b"), iotest.ErrReader(broken))
	var n int
	var last error
	for _, err := range batch.Lines(r, 0, 1) {
		if last = err; err == nil {
			n++
		}
	}
	if n != 1 || !errors.Is(last, broken) {
		t.Errorf("%d lines and then %v", n, last)
	}

	r = io.MultiReader(strings.NewReader("{\"text\":\"a\"}\n{\"text\":\"b"), iotest.ErrReader(broken))
	if s, err := batch.Scan(t.Context(), r, form(), batch.ScanOptions{}); !errors.Is(err, broken) || errors.As(err, new(*batch.Refusal)) {
		t.Errorf("Scan = %+v, %v", s, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := batch.Scan(ctx, strings.NewReader(`{"text":"a"}`), form(), batch.ScanOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled Scan = %v", err)
	}
}

func TestScanFindsEveryLine(t *testing.T) {
	const manifest = "\xef\xbb\xbf" + `not JSON
{"id":"a","text":"One"}
{"id":"b","text":"Two"}

{"id":"a","text":"Three"}
{"id":"c","text":""}
{"id":"c","text":"Four"}
{"text":"Five"}
{"id":"8","text":"Six"}
{"custom_id":"d"}

`
	got, err := batch.Scan(t.Context(), strings.NewReader(manifest), form(), batch.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var bad []string
	for _, b := range got.Bad {
		bad = append(bad, fmt.Sprintf("%s [%s %s]", b, b.ID, b.Code))
	}
	want := []string{
		"line 1: the line is not JSON from byte 2 on: write one JSON object on each line [ invalid_json_line]",
		"line 4: the line is blank: remove it [ invalid_request]",
		"line 5: id: is that of line 2 too: give each line an id of its own [a duplicate_custom_id]",
		"line 6: text: holds nothing to answer: write a text [c invalid_request]",
		"line 7: id: is that of line 6 too: give each line an id of its own [c duplicate_custom_id]",
		"line 9: id: is that of line 8 too: give each line an id of its own [8 duplicate_custom_id]",
		"line 10: custom_id: is a field of OpenAI's lines, and the file begins with a line of Errand's: write all lines in one form [ invalid_request]",
	}
	if diff := cmp.Diff(want, bad); diff != "" {
		t.Errorf("bad lines (-want +got):\n%s", diff)
	}

	sum := sha256.Sum256([]byte(manifest))
	if got.Lines != 10 || got.Bytes != int64(len(manifest)) || got.Dialect != batch.Errand || got.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("lines %d, bytes %d, dialect %s, SHA-256 %s", got.Lines, got.Bytes, got.Dialect, got.SHA256)
	}
	if got.Text != int64(len("OneTwoFive")) || got.Files != 0 {
		t.Errorf("text %d, files %d", got.Text, got.Files)
	}
	if diff := cmp.Diff([]string{"One", "Two", "Five"}, got.Sample); diff != "" {
		t.Errorf("the sample (-want +got):\n%s", diff)
	}
	if got := got.Prompt(7, 5); got != 3*7+5 {
		t.Errorf("3 lines that can run are estimated as %d tokens", got)
	}
}

// The sample is small whatever the manifest, and stands for all of it: its texts have about the
// tokens of the others for each byte. A file counts for itself.
func TestSampleStandsForTheManifest(t *testing.T) {
	var manifest strings.Builder
	long := strings.Repeat("é", 40<<10)
	for i := range 1000 {
		text := fmt.Sprint("prompt ", i)
		if i%2 == 1 {
			text = long
		}
		fmt.Fprintf(&manifest, `{"text":"%s"}`+"\n", text)
	}
	manifest.WriteString(`{"message":{"parts":[{"url":"https://example.com/a.png","mediaType":"image/png"}]}}` + "\n")

	f := batch.Form{Input: []string{"text/plain", "image/png"}}
	got, err := batch.Scan(t.Context(), strings.NewReader(manifest.String()), f, batch.ScanOptions{})
	if err != nil || len(got.Bad) > 0 {
		t.Fatal(err, got.Bad)
	}
	again, err := batch.Scan(t.Context(), strings.NewReader(manifest.String()), f, batch.ScanOptions{})
	if diff := cmp.Diff(got.Sample, again.Sample); err != nil || diff != "" {
		t.Errorf("a second scan draws another sample (%v):\n%s", err, diff)
	}

	size, clipped := 0, 0
	for _, text := range got.Sample {
		size += len(text)
		if len(text) > 16<<10 || !utf8.ValidString(text) {
			t.Errorf("a text of the sample has %d bytes", len(text))
		}
		if strings.HasPrefix(text, "é") {
			clipped++
		}
	}
	if len(got.Sample) != 16 || clipped == 0 || clipped == 16 {
		t.Errorf("the sample has %d texts, %d of them of the long lines", len(got.Sample), clipped)
	}
	const each, picture = 100, 258
	if tokens, want := got.Prompt(each, int64(size)), each*1001+got.Text+picture; tokens != want {
		t.Errorf("with a token for each byte the estimate is %d, want %d", tokens, want)
	}
}

func TestScanRefusesWhatIsNoManifest(t *testing.T) {
	good := `{"id":"%d","text":"x"}` + "\n"
	var three string
	for i := range 3 {
		three += fmt.Sprintf(good, i)
	}
	for _, row := range []struct {
		name, text string
		options    batch.ScanOptions
		code, want string
	}{
		{"empty", "", batch.ScanOptions{}, batch.CodeEmpty, "is empty"},
		{"blank", "\n \r\n", batch.ScanOptions{}, batch.CodeEmpty, "is empty"},
		{"an array", "[\n]", batch.ScanOptions{}, batch.CodeJSON, "line 1: the line begins a JSON array"},
		{"a table", "id,text\na,b\n", batch.ScanOptions{}, batch.CodeJSON, "no line of the manifest can be read; line 1: the line is not JSON"},
		{"compressed", "\x1f\x8b\x08\x00", batch.ScanOptions{}, batch.CodeJSON, "is compressed"},
		{"many lines", three, batch.ScanOptions{MaxLines: 2}, batch.CodeMany, "more than 2 lines: split it"},
		{"many bad lines", three + "x\ny\nz\n", batch.ScanOptions{MaxBad: 2}, batch.CodeJSON, "more than 2 lines cannot run; the first of them: line 4: "},
		{"another form", three, batch.ScanOptions{Dialect: batch.OpenAI}, batch.CodeFile, "line 1 is in the form of Errand, and not of OpenAI"},
	} {
		got, err := batch.Scan(t.Context(), strings.NewReader(row.text), form(), row.options)

		var no *batch.Refusal
		if !errors.As(err, &no) || no.Code != row.code || !strings.Contains(no.Reason, row.want) {
			t.Errorf("%s: %+v, %v", row.name, got, err)
		}
	}
	if got, err := batch.Scan(t.Context(), strings.NewReader(three), form(), batch.ScanOptions{MaxLines: 3}); err != nil || got.Lines != 3 {
		t.Errorf("at the limit: %d lines, %v", got.Lines, err)
	}
}

// The id of a line that is too long is told if it can be read.
func TestScanTellsALongLine(t *testing.T) {
	long := strings.Repeat("x", batch.MaxLine)
	text := `{"id":"first","text":"x"}` + "\n" + `{"id":"a","text":"` + long + "\"}\n" + `{"text":"` + long + `","id":"b"}` + "\n" + `{"id":"a","text":"x"}`
	got, err := batch.Scan(t.Context(), strings.NewReader(text), form(), batch.ScanOptions{})
	if err != nil || got.Lines != 4 || len(got.Bad) != 3 {
		t.Fatalf("%d lines, %d bad, %v", got.Lines, len(got.Bad), err)
	}
	for i, id := range []string{"a", "", "a"} {
		if got.Bad[i].ID != id || got.Bad[i].Line != i+2 {
			t.Errorf("%+v, want the id %q", got.Bad[i], id)
		}
	}
	if !strings.Contains(got.Bad[0].Reason, "more than 384 KiB: shorten it") || got.Bad[2].Code != batch.CodeDuplicate {
		t.Errorf("reasons: %v", got.Bad)
	}
}

// The index leads to every line.
func TestIndexLeadsToEveryLine(t *testing.T) {
	const n = 2*batch.PerSegment + 5
	var b bytes.Buffer
	manifest(&b, n)
	got, err := batch.Scan(t.Context(), bytes.NewReader(b.Bytes()), form(), batch.ScanOptions{})
	if err != nil || len(got.Bad) > 0 || got.Lines != n || len(got.Index) != 3 {
		t.Fatalf("%d lines, %d bad, %d in the index, %v", got.Lines, len(got.Bad), len(got.Index), err)
	}

	for _, want := range []int{1, 2, batch.PerSegment, batch.PerSegment + 1, batch.PerSegment + 2, n} {
		offset, first := got.Index.At(want)
		if first > want || want-first >= batch.PerSegment {
			t.Errorf("line %d is looked for from line %d on", want, first)
		}
		for line, err := range batch.Lines(bytes.NewReader(b.Bytes()[offset:]), offset, first) {
			if err != nil || line.N < want {
				continue
			}
			if it, bad := form().Parse(got.Dialect, line.N, line.Text); bad != nil || it.ID != fmt.Sprint("item-", want) {
				t.Errorf("line %d has %q, %v", want, it.ID, bad)
			}
			break
		}
	}
	if offset, first := (batch.Index)(nil).At(9); offset != 0 || first != 1 {
		t.Errorf("an empty index leads to %d, %d", offset, first)
	}
}

// manifest writes lines of about 200 bytes.
func manifest(w io.Writer, n int) {
	filler := strings.Repeat("Summarize the report for the board, please. ", 3)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(w, `{"id":"item-%d","text":"%s No. %d","metadata":{"source":"crm"}}`+"\n", i, filler, i)
	}
}

// A scan of a million lines holds 60 MiB at most, so that a process with it stays below 120 MiB.
// A small scan holds as much for each line. What it holds is looked at while it reads the end.
func TestScanHoldsLittle(t *testing.T) {
	n := conformance.Size(100_000, batch.MaxLines)
	var b bytes.Buffer
	manifest(&b, n)
	look := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := look()
	var held int64
	last := readerFunc(func([]byte) (int, error) {
		held = look() - before
		return 0, io.EOF
	})

	got, err := batch.Scan(t.Context(), io.MultiReader(bytes.NewReader(b.Bytes()), last), form(), batch.ScanOptions{})
	if err != nil || got.Lines != n {
		t.Fatal(got.Lines, err)
	}
	t.Logf("%d KiB for %d lines", held>>10, n)
	if held > 60<<20*int64(n)/batch.MaxLines {
		t.Errorf("the scan of %d lines holds %d KiB", n, held>>10)
	}
	runtime.KeepAlive(b)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// FuzzScan checks that a scan and the readers after it agree on every line.
func FuzzScan(f *testing.F) {
	for _, s := range []string{"", "{\"id\":\"a\",\"text\":\"x\"}\n", "\xef\xbb\xbf{\"text\":\"x\"}\r\n\r\n{\"id\":\"1\",\"text\":\"y\"}\n\n", chat(hello) + "\nx"} {
		f.Add(s)
	}
	all := form()
	f.Fuzz(func(t *testing.T, text string) {
		got, err := batch.Scan(t.Context(), strings.NewReader(text), all, batch.ScanOptions{})
		if err != nil {
			return
		}

		good := map[string]int{}
		n, next := 0, 0
		for line, err := range batch.Lines(strings.NewReader(text), 0, 1) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if next < len(got.Bad) && got.Bad[next].Line == line.N {
				next++
				continue
			}

			it, bad := all.Parse(got.Dialect, line.N, line.Text)
			if bad != nil {
				t.Errorf("line %d was good and is %v", line.N, bad)
			}
			if before, twice := good[it.ID]; twice {
				t.Errorf("lines %d and %d have the id %q", before, line.N, it.ID)
			}
			good[it.ID] = line.N
		}
		if n != got.Lines || next != len(got.Bad) {
			t.Errorf("%d lines and %d bad, and the scan says %d and %d", n, next, got.Lines, len(got.Bad))
		}
	})
}

// BenchmarkScan has lines of about 200 bytes, all with an id of their own.
func BenchmarkScan(b *testing.B) {
	const n = 100_000
	line := `{"custom_id":"item-%d","method":"POST","url":"/v1/chat/completions","body":{"model":"errand","temperature":0,"messages":[{"role":"user","content":"Summarize the report %d for the board."}]}}` + "\n"
	var ours, theirs bytes.Buffer
	manifest(&ours, n)
	for i := range n {
		fmt.Fprintf(&theirs, line, i, i)
	}
	for name, text := range map[string][]byte{"errand": ours.Bytes(), "openai": theirs.Bytes()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if got, err := batch.Scan(b.Context(), bytes.NewReader(text), form(), batch.ScanOptions{}); err != nil || len(got.Bad) > 0 || got.Lines != n {
					b.Fatal(got.Bad, err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
