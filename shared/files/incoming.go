package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"gocloud.dev/blob"
)

// Errors of uploads by a signed request.
var (
	ErrNoSigning = errors.New("this place of files takes no signed uploads: put the content")
	ErrNoContent = errors.New("nothing has been uploaded, or the upload has not ended")
)

// A SignedUpload is a request by which anyone who has it uploads the content of a file, once.
// It has exactly these headers.
type SignedUpload struct {
	Content string // names what is uploaded, for Adopt
	Method  string
	URL     string
	Header  http.Header
	Expires time.Time // the request must have begun before
}

// SignUpload returns a request by which the content of a file is uploaded to the service,
// without this program. u.Size is required. The content is no file before Adopt, and has no
// other limit of time than the beginning of the request. DeleteAll of a folder with the file
// removes it. ErrNoSigning: this place has no such service.
func (s *Store) SignUpload(ctx context.Context, u Upload, lifetime time.Duration) (SignedUpload, error) {
	u, err := u.checked()
	switch {
	case err != nil:
		return SignedUpload{}, err
	case u.Size <= 0:
		return SignedUpload{}, errors.New("the size of a file that is uploaded by a signed request must be known")
	case lifetime < time.Second || lifetime > MaxLifetime:
		return SignedUpload{}, fmt.Errorf("a signed request works for a second to %v, not for %v", MaxLifetime, lifetime)
	}

	p, err := s.at(ctx, u.Name)
	if err != nil {
		return SignedUpload{}, err
	}
	if p.Uploading == nil {
		return SignedUpload{}, ErrNoSigning
	}

	out := SignedUpload{Content: rand.Text(), Method: http.MethodPut, Expires: s.now().Add(lifetime).UTC()}
	headers := http.Header{"Content-Type": {u.MediaType}, "Content-Disposition": {attachment(u.Name)}}
	o := &blob.SignedURLOptions{Expiry: lifetime.Truncate(time.Second), Method: out.Method}
	o.BeforeSign, out.Header = p.Uploading(ctx, headers, u.Size)
	if out.URL, err = p.Bucket.SignedURL(ctx, contentKey(u.Name, out.Content), o); err != nil {
		return SignedUpload{}, fmt.Errorf("signing an upload of the file %s: %w", u.Name, err)
	}
	return out, nil
}

// Adopt makes what was uploaded by a signed request the content of the file. It reads the
// content once, to hash it. ErrNoContent: there is none yet. ErrTooLarge and ErrMismatch: it is
// not as announced, and stays until DeleteAll. After any other error Adopt may be called again,
// and again after a success.
//
// The file must not exist with another content, and nothing else may put it meanwhile.
func (s *Store) Adopt(ctx context.Context, u Upload, content string) (Info, error) {
	u, err := u.checked()
	if err != nil {
		return Info{}, err
	}
	if !goodContent.MatchString(content) {
		return Info{}, ErrNoContent
	}

	p, err := s.at(ctx, u.Name)
	if err != nil {
		return Info{}, err
	}
	f := record{Owner: u.Owner, MediaType: u.MediaType, Content: content}
	if f.Size, f.SHA256, err = p.hash(ctx, u, content); err != nil {
		return Info{}, fmt.Errorf("adopting the file %s: %w", u.Name, err)
	}

	f.Modified = s.now().UTC()
	old, generation, err := p.read(ctx, u.Name)
	switch {
	case err == nil && old.Content == content:
		return old.info(u.Name), nil
	case err == nil:
		return Info{}, fmt.Errorf("adopting the file %s: it has another content", u.Name)
	case !errors.Is(err, ErrNotFound):
		return Info{}, err
	}

	if err = p.writeInfo(ctx, u.Name, f, generation); overtaken(err) { // by an earlier or concurrent Adopt
		if old, _, err = p.read(ctx, u.Name); err == nil && old.Content == content {
			return old.info(u.Name), nil
		}
	}
	if err != nil {
		return Info{}, fmt.Errorf("adopting the file %s: %w", u.Name, err)
	}
	return f.info(u.Name), nil
}

// hash reads a content that somebody else has uploaded.
func (p *place) hash(ctx context.Context, u Upload, content string) (size int64, sum string, err error) {
	r, err := p.Bucket.NewReader(ctx, contentKey(u.Name, content), nil)
	if p.missing(err) {
		return 0, "", ErrNoContent
	}
	if err != nil {
		return 0, "", err
	}
	defer r.Close()

	if size = r.Size(); u.Max > 0 && size > u.Max {
		return 0, "", tooLarge(u.Max)
	}
	h := sha256.New()
	read, err := io.Copy(h, whileOpen{ctx, r})
	switch {
	case err != nil:
		return 0, "", err
	case read != size:
		return 0, "", io.ErrUnexpectedEOF
	}
	sum = hexSum(h)
	return size, sum, u.accepts(size, sum)
}
