package batch

import (
	"bufio"
	"bytes"
	"io"
	"iter"
)

// A RawLine is a line of a manifest as it stands there.
type RawLine struct {
	N     int    // its number, from 1
	Text  []byte // without the end of the line; valid until the next one is read
	Start int64  // its offset in the manifest
	Next  int64  // the offset behind it and its end
	Long  bool   // it has more than MaxLine bytes, and Text is only its beginning
}

// maxHeld is the number of blank lines that are held back, because they may be the last ones.
const maxHeld = MaxBad

// Lines yields the lines of a manifest from an offset on, with which r begins and where the
// line with number n begins. Scan, feeder and collector split a manifest by it, so they agree on
// every number. An error of r is the last thing that it yields.
//
// A line ends with \n or \r\n, and the last one may lack it. Blank lines at the end of the
// manifest do not count, and a byte order mark at its beginning belongs to no line. The memory
// that it takes does not depend on the lengths of lines.
func Lines(r io.Reader, offset int64, n int) iter.Seq2[RawLine, error] {
	return func(yield func(RawLine, error) bool) {
		s := splitter{r: bufio.NewReaderSize(r, 64<<10), offset: offset, n: n}
		var held []RawLine
		for {
			line, err := s.next()
			switch {
			case err == io.EOF:
				return
			case err != nil:
				yield(RawLine{}, err)
				return
			case blank(line.Text) && !line.Long && len(held) < maxHeld:
				line.Text = nil
				held = append(held, line)
				continue
			}

			for _, before := range held {
				if !yield(before, nil) {
					return
				}
			}
			held = held[:0]
			if !yield(line, nil) {
				return
			}
		}
	}
}

// A splitter reads lines.
type splitter struct {
	r      *bufio.Reader
	offset int64
	n      int
	buf    []byte // of a line that is longer than the reader's own
}

var mark3 = []byte("\xef\xbb\xbf") // the byte order mark of UTF-8

// next reads a line, which is valid until the next call. A line before an error other than
// io.EOF is no line, because its end is unknown.
func (s *splitter) next() (RawLine, error) {
	line := RawLine{N: s.n, Start: s.offset}

	part, err := s.r.ReadSlice('\n')
	size := int64(len(part))
	line.Text = part
	if err == bufio.ErrBufferFull {
		s.buf = s.buf[:0]
		for err == bufio.ErrBufferFull {
			s.keep(part)
			part, err = s.r.ReadSlice('\n')
			size += int64(len(part))
		}
		s.keep(part)
		line.Text = s.buf
	}
	if err != nil && (err != io.EOF || size == 0) {
		return RawLine{}, err
	}

	s.n++
	s.offset += size
	line.Next = s.offset
	line.Text = bytes.TrimSuffix(line.Text, []byte("\n"))
	line.Text = bytes.TrimSuffix(line.Text, []byte("\r"))
	if line.Start == 0 {
		line.Text = bytes.TrimPrefix(line.Text, mark3)
	}
	if len(line.Text) > MaxLine {
		line.Long, line.Text = true, line.Text[:MaxLine]
	}
	return line, nil
}

// keep adds a piece of a line, but no more than is needed to find the line too long, whatever
// is removed from it.
func (s *splitter) keep(part []byte) {
	room := MaxLine + len("\r\n") + len(mark3) + 1 - len(s.buf)
	s.buf = append(s.buf, part[:min(len(part), room)]...)
}
