package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// ScanOptions are the differences between scans. Their zero value is usual.
type ScanOptions struct {
	Dialect  Dialect // that the manifest must have; empty: any
	MaxLines int     // 0: MaxLines
	MaxBad   int     // 0: MaxBad
}

// Scanned is what a scan has found.
type Scanned struct {
	Dialect Dialect
	Lines   int
	Bytes   int64
	SHA256  string // of all bytes, in hexadecimal
	Index   Index
	Bad     []Bad // in the order of lines

	// For an estimate of the cost.
	Text   int64    // bytes of the texts of all lines that can run
	Files  int      // other contents of these lines
	Sample []string // texts of some of these lines, drawn at random, always the same ones
}

// An Index has the offset of each line that begins a segment: of the lines 1, PerSegment+1 and
// so on. The index file has it as JSON.
type Index []int64

// At returns the offset from which Lines reads up to the line, and the number of the line that
// begins there.
func (x Index) At(line int) (offset int64, first int) {
	n := min(max(line-1, 0)/PerSegment, len(x)-1)
	if n < 0 {
		return 0, 1
	}
	return x[n], n*PerSegment + 1
}

// A Refusal says why a manifest or a request is no batch. Its text is for the client, and
// trying again does not help.
type Refusal struct {
	Code   string // one of the codes of this package
	Reason string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason }

func refusal(code, format string, args ...any) error {
	return &Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// Scan reads a manifest from its beginning to its end and checks every line: that it can run,
// and that no other line has its id. With a [Refusal] the manifest is no batch at all, and the
// result has the bad lines so far. An error of r or ctx says nothing of the manifest. A line
// that cannot run is no error.
//
// It keeps a hash of each id, a few lines as a sample, and the bad lines.
func Scan(ctx context.Context, r io.Reader, f Form, o ScanOptions) (Scanned, error) {
	sum := sha256.New()
	s := &scan{form: f, options: o, seen: map[[16]byte]uint32{}, draw: rand.New(rand.NewPCG(1, 2))}
	if s.options.MaxLines == 0 {
		s.options.MaxLines = MaxLines
	}
	if s.options.MaxBad == 0 {
		s.options.MaxBad = MaxBad
	}

	counted := &counter{r: r, sum: sum}
	for line, err := range Lines(counted, 0, 1) {
		if err == nil {
			err = s.line(line)
		}
		if err == nil && line.N%256 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return s.found, err
		}
	}

	s.found.Bytes, s.found.SHA256 = counted.n, hex.EncodeToString(sum.Sum(nil))
	switch {
	case s.found.Lines == 0:
		return s.found, refusal(CodeEmpty, "the manifest is empty: write one JSON object on each line")
	case s.found.Dialect == "":
		return s.found, refusal(s.found.Bad[0].Code, "no line of the manifest can be read; %s", s.found.Bad[0])
	}
	return s.found, ctx.Err()
}

// A scan is the state of Scan between two lines.
type scan struct {
	form    Form
	options ScanOptions
	found   Scanned
	seen    map[[16]byte]uint32 // the line of each id, by a hash that has no collisions
	draw    *rand.Rand
	fit     int // lines that fit into the sample
}

func (s *scan) line(line RawLine) error {
	if line.N > s.options.MaxLines {
		return refusal(CodeMany, "the manifest has more than %d lines: split it into several batches", s.options.MaxLines)
	}
	s.found.Lines = line.N
	if (line.N-1)%PerSegment == 0 {
		s.found.Index = append(s.found.Index, line.Start)
	}

	it, bad, err := s.read(line)
	if err != nil {
		return err
	}
	id := it.ID
	if bad != nil {
		id = bad.ID
	}
	if again := s.again(line.N, id); again != nil && bad == nil {
		bad = again
	}

	if bad == nil {
		s.measure(it)
		return nil
	}
	s.found.Bad = append(s.found.Bad, *bad)
	if len(s.found.Bad) > s.options.MaxBad {
		return refusal(s.found.Bad[0].Code, "more than %d lines cannot run; the first of them: %s", s.options.MaxBad, s.found.Bad[0])
	}
	return nil
}

// read finds out what a line is. The first line of a known form decides the dialect.
func (s *scan) read(line RawLine) (Item, *Bad, error) {
	if s.found.Dialect == "" {
		d, bad := Detect(line.N, line.Text)
		if bad != nil {
			return Item{}, bad, nil
		}
		if want := s.options.Dialect; want != "" && want != d {
			return Item{}, nil, refusal(CodeFile, "line %d is in the form of %s, and not of %s, which this interface reads", line.N, d.name(), want.name())
		}
		s.found.Dialect = d
	}
	if line.Long {
		return Item{}, long(s.found.Dialect, line), nil
	}
	it, bad := s.form.Parse(s.found.Dialect, line.N, line.Text)
	return it, bad, nil
}

// long is the fault of a line that is too long. Its id is known if it comes first.
func long(d Dialect, line RawLine) *Bad {
	p := newParser(Form{}, d, line.N, line.Text)
	defer p.free()
	for name := range p.fields() {
		switch name {
		case "id", "key", "custom_id":
			if id := p.label(MaxID); p.bad == nil {
				p.id = id
			}
		default:
			p.syntax(p.d.SkipValue())
		}
	}
	p.bad = nil
	p.fail(CodeLine, "", fmt.Sprintf("the line has more than %d KiB: shorten it, or name large files by their URLs", MaxLine>>10))
	return p.bad
}

// again notes an id and reports a fault if another line has it. Two ids of a manifest have the
// same 128 bits of SHA-256 once in 10^26 manifests, so no good line is refused.
func (s *scan) again(n int, id string) *Bad {
	if id == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(id))
	key := [16]byte(sum[:16])
	if first, ok := s.seen[key]; ok {
		field := s.found.Dialect.idField()
		return &Bad{Line: n, ID: id, Code: CodeDuplicate, Field: field,
			Reason: fmt.Sprintf("%s: is that of line %d too: give each line an id of its own", field, first)}
	}
	s.seen[key] = uint32(n)
	return nil
}

// A sample has the texts of at most sampled lines, and at most sampleText bytes of each.
const (
	sampled    = 16
	sampleText = 16 << 10
)

// measure counts the contents of a line that can run, and draws the sample: each line with a
// text has the same chance.
func (s *scan) measure(it Item) {
	text, files := it.weigh()
	s.found.Text += text
	s.found.Files += files
	if text == 0 {
		return
	}
	s.fit++
	if len(s.found.Sample) < sampled {
		s.found.Sample = append(s.found.Sample, it.text(sampleText))
	} else if i := s.draw.IntN(s.fit); i < sampled {
		s.found.Sample[i] = it.text(sampleText)
	}
}

// weigh returns the bytes of the texts of a line, and the number of its other contents.
func (it Item) weigh() (text int64, files int) {
	for _, p := range it.Message.Parts {
		if t, ok := textOf(p); ok {
			text += int64(len(t))
		} else {
			files++
		}
	}
	return text, files
}

// text returns the texts of a line, and of them at most the first so many bytes.
func (it Item) text(most int) string {
	var all strings.Builder
	for _, p := range it.Message.Parts {
		t, _ := textOf(p)
		left := most - all.Len()
		if len(t) > left {
			for left > 0 && !utf8.RuneStart(t[left]) {
				left--
			}
			t = t[:left]
		}
		all.WriteString(t)
	}
	return all.String()
}

// textOf is the text that the model reads of a part; data is JSON. ok is false for a file.
func textOf(p *a2a.Part) (text string, ok bool) {
	switch c := p.Content.(type) {
	case a2a.Text:
		return string(c), true
	case a2a.Data:
		b, err := json.Marshal(c.Value)
		return string(b), err == nil
	}
	return "", false
}

// fileTokens is what a file counts for, as a small picture does. Nobody reads it before its line
// runs. https://ai.google.dev/gemini-api/docs/tokens
const fileTokens = 258

// Prompt estimates the tokens that a model reads as it begins the lines that can run. each is
// what it reads beside any message, and sample what it reads of the texts of the sample.
func (s Scanned) Prompt(each, sample int64) int64 {
	size, text := 0, 0.0
	for _, t := range s.Sample {
		size += len(t)
	}
	if size > 0 {
		text = float64(s.Text) * float64(sample) / float64(size)
	}
	return each*int64(s.Lines-len(s.Bad)) + int64(math.Round(text)) + fileTokens*int64(s.Files)
}

// idField is the field that has the id of a line.
func (d Dialect) idField() string {
	if d == OpenAI {
		return "custom_id"
	}
	return "id"
}

// name is a dialect's name for people.
func (d Dialect) name() string {
	if d == OpenAI {
		return "OpenAI"
	}
	return "Errand"
}

// A counter counts and hashes what is read.
type counter struct {
	r   io.Reader
	n   int64
	sum hash.Hash
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.sum.Write(b[:n])
	return n, err
}
