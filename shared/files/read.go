package files

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"gocloud.dev/blob"
)

// Get opens a file for reading. If the content is not the one that was put, the last Read
// returns ErrCorrupt and no bytes. The caller must close the reader.
func (s *Store) Get(ctx context.Context, name string) (Info, io.ReadCloser, error) {
	return s.GetRange(ctx, name, 0, -1)
}

// attempts bounds how often a reader looks for a file that is being replaced.
const attempts = 20

// GetRange opens length bytes of a file, from offset. A negative length, and one beyond the
// end, means up to the end. An offset beyond the end is ErrRange. Only a range that covers
// the whole file is checked by its hash.
func (s *Store) GetRange(ctx context.Context, name string, offset, length int64) (Info, io.ReadCloser, error) {
	p, err := s.at(ctx, name)
	if err != nil {
		return Info{}, nil, err
	}
	for tried, try := "", 0; try < attempts; try++ {
		f, _, err := p.read(ctx, name)
		if err != nil {
			return Info{}, nil, err
		}
		if f.Content == tried { // Delete has removed the content and not yet the info
			return Info{}, nil, fmt.Errorf("%w: %s", ErrNotFound, name)
		}
		r, err := p.openContent(ctx, name, f, offset, length)
		if p.missing(err) { // the file was replaced or deleted
			tried = f.Content
			continue
		}
		if err != nil {
			return Info{}, nil, err
		}
		return f.info(name), r, nil
	}
	return Info{}, nil, fmt.Errorf("reading the file %s: it is replaced again and again: try later", name)
}

// openContent opens a part of the content of f.
func (p *place) openContent(ctx context.Context, name string, f record, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || offset > f.Size {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrRange, name, f.Size)
	}
	if length < 0 || length > f.Size-offset {
		length = f.Size - offset
	}

	part := length
	switch length {
	case f.Size:
		part = -1 // read without a range, so that a shorter content is no range error
	case 0:
		offset = 0 // services refuse an offset at the end
	}

	body, err := p.Bucket.NewRangeReader(ctx, contentKey(name, f.Content), offset, part, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the file %s: %w", name, err)
	}

	r := &reader{body: body, name: name, left: length}
	if length == f.Size {
		r.hash, r.sum = sha256.New(), f.SHA256
	}

	if body.Size() != f.Size || length == 0 && !r.good() {
		_ = body.Close()
		return nil, fmt.Errorf("%w: %s", ErrCorrupt, name)
	}

	return r, nil
}

// A reader reads a content and checks its hash before it returns the last bytes.
type reader struct {
	body *blob.Reader
	name string
	left int64     // bytes
	hash hash.Hash // of the bytes read so far; nil for a part
	sum  string
	err  error
}

// good reports whether the bytes read have the right hash.
func (r *reader) good() bool { return r.hash == nil || hexSum(r.hash) == r.sum }

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.err == nil && r.left == 0 {
		r.err = io.EOF
	}
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
	if r.hash != nil {
		r.hash.Write(p[:n])
	}
	r.left -= int64(n)
	switch {
	case r.left == 0 && !r.good(), r.left > 0 && err == io.EOF:
		r.err = fmt.Errorf("%w: %s", ErrCorrupt, r.name)
		return 0, r.err
	case r.left == 0 || err == nil:
		return n, nil
	}
	r.err = fmt.Errorf("reading the file %s: %w", r.name, err)
	return n, r.err
}

// Close implements io.Closer.
func (r *reader) Close() error { return r.body.Close() }
