package files

import (
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Errors of a Store. They name the file, and neither the bucket nor a path.
var (
	ErrNotFound  = errors.New("there is no such file")
	ErrTooLarge  = errors.New("the file is too large")
	ErrMismatch  = errors.New("the content is not what was announced")
	ErrCorrupt   = errors.New("the file is damaged: put it again")
	ErrRange     = errors.New("the file has no such part")
	ErrName      = errors.New("not a file's name: use segments of a-z, 0-9, dots, hyphens and underscores that do not end in a dot, with / between them, such as tasks/7f/report.pdf")
	ErrMediaType = errors.New("not a media type: use TYPE/SUBTYPE, such as application/pdf")
	ErrSignature = errors.New("the URL is not signed, or not any more: ask for another one")
)

// Limits of names, in bytes. They leave room for prefix and suffix within the 255 bytes of a
// file's name and the 1,024 of an object's.
const (
	MaxName    = 512
	MaxSegment = 128
)

// A segment must not end in a dot: "." and ".." are other folders, and Windows drops a
// final dot.
var goodName = regexp.MustCompile(`^[a-z0-9._-]{0,127}[a-z0-9_-](/[a-z0-9._-]{0,127}[a-z0-9_-])*$`)

// CheckName returns ErrName if no file or folder can have this name.
func CheckName(name string) error {
	switch {
	case len(name) > MaxName:
		return fmt.Errorf("%w; %d bytes are more than %d", ErrName, len(name), MaxName)
	case !goodName.MatchString(name):
		return fmt.Errorf("%w; segments have at most %d bytes", ErrName, MaxSegment)
	}
	return nil
}

// mark ends the file's name within an object's key. No file's name contains it.
const mark = "+"

func infoKey(name string) string             { return name + mark + "info" }
func contentKey(name, content string) string { return name + mark + content }

// goodContent matches the results of rand.Text.
var goodContent = regexp.MustCompile(`^[A-Z2-7]{26,}$`)

const (
	unknownType = "application/octet-stream"
	maxOwner    = 1 << 10
	maxType     = 255
)

// checked returns u with its media type and hash normalized, or an error.
func (u Upload) checked() (Upload, error) {
	if err := CheckName(u.Name); err != nil {
		return u, err
	}
	if u.MediaType == "" {
		u.MediaType = unknownType
	}

	typ, params, err := mime.ParseMediaType(u.MediaType)
	if u.MediaType = mime.FormatMediaType(typ, params); err != nil || !strings.Contains(typ, "/") || u.MediaType == "" || len(u.MediaType) > maxType {
		return u, ErrMediaType
	}
	if len(u.Owner) > maxOwner || !utf8.ValidString(u.Owner) {
		return u, fmt.Errorf("the owner of a file must be UTF-8 of at most %d bytes", maxOwner)
	}
	if sum, err := hex.DecodeString(u.SHA256); err != nil || len(sum) != 32 && len(sum) != 0 {
		return u, fmt.Errorf("%w: its SHA-256 must be 64 hexadecimal digits", ErrMismatch)
	}

	if u.Size < 0 || u.Max < 0 {
		return u, errors.New("the size and the limit of a file must not be negative")
	}

	u.SHA256 = strings.ToLower(u.SHA256)
	if u.Max > 0 && u.Size > u.Max {
		return u, tooLarge(u.Max)
	}

	return u, nil
}

// end is the largest length that can be right, in bytes; 0: no limit.
func (u Upload) end() int64 {
	if u.Size > 0 {
		return u.Size
	}
	return u.Max
}

// accepts returns an error unless the content is as announced.
func (u Upload) accepts(size int64, sum string) error {
	switch {
	case u.Max > 0 && size > u.Max:
		return tooLarge(u.Max)
	case u.Size > 0 && size > u.Size:
		return fmt.Errorf("%w: it has more than %d bytes", ErrMismatch, u.Size)
	case u.Size > 0 && size < u.Size:
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrMismatch, size, u.Size)
	case u.SHA256 != "" && sum != u.SHA256:
		return fmt.Errorf("%w: its SHA-256 is %s, not %s", ErrMismatch, sum, u.SHA256)
	}
	return nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("%w: it may have %d bytes", ErrTooLarge, limit)
}

// Sizes of upload buffers, in bytes. A service's client sends one buffer per request and
// retries from it.
const (
	largeBuffer = 2 << 20
	smallBuffer = 256 << 10 // the minimum of Cloud Storage
)

func (u Upload) buffer() int {
	if u.Size > 0 && u.Size < smallBuffer {
		return smallBuffer
	}
	return largeBuffer
}

// attachment is the Content-Disposition that makes browsers save a file instead of showing
// it.
func attachment(name string) string {
	return mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(name)})
}
