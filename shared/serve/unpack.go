package serve

import (
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

// The errors of an Unpacked body, beside those of [http.MaxBytesReader].
var (
	ErrEncoding = errors.New("Content-Encoding must be gzip, or left out")
	ErrNotGzip  = errors.New("the body is not gzip, as its Content-Encoding says")
)

// Packed reports whether the body of r is compressed, so that its length says nothing of what
// is in it.
func Packed(r *http.Request) bool { return coding(r) == "gzip" }

// Unpacked is the body of r without its encoding. Neither what arrives nor what comes out of it
// has more than most bytes.
func Unpacked(w http.ResponseWriter, r *http.Request, most int64) (io.Reader, error) {
	body := http.MaxBytesReader(w, r.Body, most)
	switch coding(r) {
	case "":
		return body, nil
	case "gzip":
		return http.MaxBytesReader(nil, &unpacker{ReadCloser: body}, most), nil
	}
	w.Header().Set("Accept-Encoding", "gzip") // https://www.rfc-editor.org/rfc/rfc7694#section-3
	return nil, ErrEncoding
}

// coding is the encoding of the body of r: gzip, another one, or none.
func coding(r *http.Request) string {
	switch all := strings.ToLower(strings.Join(r.Header["Content-Encoding"], ",")); all {
	case "identity":
		return ""
	case "x-gzip":
		return "gzip"
	default:
		return all
	}
}

// An unpacker reads what a compressed body holds. It reads nothing before it is read.
type unpacker struct {
	io.ReadCloser
	z *gzip.Reader
}

// Read implements io.Reader.
func (u *unpacker) Read(p []byte) (n int, err error) {
	if u.z == nil {
		u.z, err = gzip.NewReader(u.ReadCloser)
	}
	if err == nil {
		n, err = u.z.Read(p)
	}
	if _, corrupt := errors.AsType[flate.CorruptInputError](err); corrupt || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		err = ErrNotGzip
	}
	return n, err
}
