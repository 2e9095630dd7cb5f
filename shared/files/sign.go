package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"gocloud.dev/blob"
)

// MaxLifetime is the longest lifetime of a signed URL, by the limit of Cloud Storage.
// https://cloud.google.com/storage/docs/access-control/signed-urls#expiration
const MaxLifetime = 7 * 24 * time.Hour

// Path is the path to mount Handler at.
const Path = "/files/signed"

// Sign returns a URL that gives the file to anyone by GET. The URL stops working after the
// lifetime, in whole seconds, or once the file is replaced or deleted.
func (s *Store) Sign(ctx context.Context, name string, lifetime time.Duration) (string, error) {
	if lifetime < time.Second || lifetime > MaxLifetime {
		return "", fmt.Errorf("a signed URL works for a second to %v, not for %v", MaxLifetime, lifetime)
	}
	p, err := s.at(ctx, name)
	if err != nil {
		return "", err
	}
	f, _, err := p.read(ctx, name)
	if err != nil {
		return "", err
	}
	o := &blob.SignedURLOptions{Expiry: lifetime.Truncate(time.Second), Method: http.MethodGet}
	if p.Signing != nil {
		o.BeforeSign = p.Signing(ctx)
	}
	url, err := p.Bucket.SignedURL(ctx, contentKey(name, f.Content), o)
	if err != nil {
		return "", fmt.Errorf("signing a URL of the file %s: %w", name, err)
	}
	return url, nil
}

// Handler serves signed URLs, for a place whose service does not. Every request needs a
// valid signature, and there are no listings. Files are served with their media type, as
// attachments, and browsers must not sniff the content.
func (s *Store) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Store) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "files are read with GET", http.StatusMethodNotAllowed)
		return
	}

	name, f, content, err := s.signed(r)
	switch {
	case errors.Is(err, ErrSignature):
		http.Error(w, ErrSignature.Error(), http.StatusForbidden)
		return

	case errors.Is(err, ErrNotFound):
		http.Error(w, ErrNotFound.Error(), http.StatusNotFound)
		return

	case err != nil:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "the file cannot be read now; try again later", http.StatusServiceUnavailable)
		return
	}

	defer content.Close()

	h := w.Header()
	h.Set("Content-Type", f.MediaType)
	h.Set("Content-Disposition", attachment(name))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", `"`+f.SHA256+`"`)
	http.ServeContent(w, r, "", f.Modified, content)
}

// signed opens the file that the URL of r is signed for.
func (s *Store) signed(r *http.Request) (name string, f record, content *seeker, err error) {
	p, err := s.opened(r.Context())
	if err != nil {
		return "", f, nil, err
	}
	if p.Verify == nil {
		return "", f, nil, ErrNotFound
	}

	key, err := p.Verify(r.Context(), r.URL)
	if err != nil {
		return "", f, nil, err
	}

	name, signed, _ := strings.Cut(key, mark)
	f, _, err = p.read(r.Context(), name)
	if err == nil && f.Content != signed {
		err = ErrNotFound // the file was replaced
	}
	if err != nil {
		return "", f, nil, err
	}

	content = &seeker{size: f.Size, open: func(offset int64) (io.ReadCloser, error) {
		body, err := p.openContent(r.Context(), name, f, offset, -1)
		if p.missing(err) {
			err = ErrNotFound
		}
		return body, err
	}}

	content.body, err = content.open(0) // finds out now whether the content exists
	return name, f, content, err
}

// Seek returns a content of so many bytes for http.ServeContent, which seeks to the requested
// ranges. open opens it at an offset, when it is read there.
func Seek(size int64, open func(offset int64) (io.ReadCloser, error)) io.ReadSeekCloser {
	return &seeker{size: size, open: open}
}

// A seeker is a content that is opened where it is read.
type seeker struct {
	open  func(offset int64) (io.ReadCloser, error)
	size  int64         // bytes
	at    int64         // position of the next read
	body  io.ReadCloser // nil: not open
	stood int64         // position of body
}

// Seek implements io.Seeker.
func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return s.at, errors.New("seeking before the beginning")
	}
	s.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (s *seeker) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	if s.body == nil || s.stood != s.at {
		if err := s.Close(); err != nil {
			return 0, err
		}
		body, err := s.open(s.at)
		if err != nil {
			return 0, err
		}
		s.body, s.stood = body, s.at
	}
	n, err := s.body.Read(p)
	s.at += int64(n)
	s.stood = s.at
	return n, err
}

// Close implements io.Closer.
func (s *seeker) Close() error {
	if s.body == nil {
		return nil
	}
	err := s.body.Close()
	s.body = nil
	return err
}
