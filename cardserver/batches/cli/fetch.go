package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// A sinkError is one of the user's output, which no other try mends.
type sinkError struct{ err error }

func (s *sinkError) Error() string { return s.err.Error() }
func (s *sinkError) Unwrap() error { return s.err }

// A sink counts what an output has taken.
type sink struct {
	w     io.Writer
	bytes int64
	lines int
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.bytes += int64(n)
	for _, b := range p[:n] {
		if b == '\n' {
			s.lines++
		}
	}
	if err != nil {
		err = &sinkError{err}
	}
	return n, err
}

// fetch writes a file of the agent's to an output, once: after a connection that broke it goes
// on with the byte at which it broke. The file must not change any more.
func (c *client) fetch(ctx context.Context, url string, out *sink) error {
	began, version := out.bytes, ""
	r := request{method: http.MethodGet, url: url, header: func(h http.Header) {
		if have := out.bytes - began; have > 0 {
			h.Set("Range", fmt.Sprintf("bytes=%d-", have))
			if version != "" {
				h.Set("If-Range", version)
			}
		}
	}}

	return c.do(ctx, r, func(resp *http.Response) error {
		again, err := begins(resp, out.bytes-began, version)
		if err != nil || again < 0 {
			return err
		}
		version = resp.Header.Get("ETag")
		if _, err := io.CopyN(io.Discard, resp.Body, again); err != nil {
			return broken(err)
		}
		_, err = io.Copy(out, resp.Body)
		return broken(err)
	})
}

// errChanged says that a file has become another one.
var errChanged = errors.New("the file has changed while it was read; run the command again")

// begins returns how many bytes of an answer are there already, when have bytes of the file are.
// It is negative if that is the whole file.
func begins(resp *http.Response, have int64, version string) (again int64, err error) {
	at := resp.Header.Get("Content-Range")
	var n int64

	switch resp.StatusCode {
	case http.StatusRequestedRangeNotSatisfiable:
		if _, err := fmt.Sscanf(at, "bytes */%d", &n); err != nil || n != have {
			return 0, errChanged
		}
		return -1, nil // the connection broke behind the last byte
	case http.StatusPartialContent:
		if _, err := fmt.Sscanf(at, "bytes %d-", &n); err != nil || n != have {
			return 0, errChanged
		}
		return 0, nil
	}
	if version != "" && resp.Header.Get("ETag") != version {
		return 0, errChanged
	}
	return have, nil
}

// broken makes an error of a connection one that is worth another try.
func broken(err error) error {
	if _, ours := errors.AsType[*sinkError](err); err == nil || ours {
		return err
	}
	return &busy{err: fmt.Errorf("the answer broke off: %w", err)}
}
