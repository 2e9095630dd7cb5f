// Package objects is the port to objects that others keep in buckets, gs://BUCKET/NAME: the
// manifests of batches that pipelines have there. It reads one generation of an object, so that
// nobody changes what is read while it is read.
//
// It writes nothing, lists nothing and keeps no files of ours (shared/files does). An object is
// read by a right of its caller ([Guarded]), which the access file gives. The same right decides
// which objects a model is sent the addresses of ([Guarded.Pass]).
package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Source reads objects by the rights of the program. It is safe for concurrent use. It
// retries by itself for half a minute what may go away, such as an outage of the network.
type Source interface {
	// Stat returns the object as it is now. Errors: ErrNotFound, ErrEncoded, ErrURL,
	// ErrCredentials. After any other error the service did not answer, and the caller may ask
	// again.
	Stat(ctx context.Context, url string) (Object, error)

	// Open reads a generation of an object from an offset on, to its end. The reader goes on at
	// the same byte of the same generation if its connection breaks, and ctx ends it. An offset
	// at or behind the end is the end. Errors, of the reader too: ErrChanged, ErrNotFound,
	// ErrURL, ErrCredentials, and any other as for Stat.
	Open(ctx context.Context, url string, generation, offset int64) (io.ReadCloser, error)
}

// An Object is one generation of an object. Its content never changes.
type Object struct {
	URL        string // gs://BUCKET/NAME
	Generation int64  // above 0
	Size       int64  // bytes
	Modified   time.Time
}

// Errors of a Source. Their texts are the same for each object, so they tell nothing of it.
var (
	// ErrNotFound says that there is no such object, or that the program may not read it, or
	// that the caller may not. Nobody learns from it which of the three it is. The program's
	// log names a permission that the program lacks.
	ErrNotFound = errors.New("objects: there is no such object, or it may not be read")

	// ErrChanged says that the generation is gone: the object was replaced or deleted.
	ErrChanged = errors.New("objects: the object was replaced or deleted while it was in use")

	// ErrEncoded says that the object is stored with a Content-Encoding. Its bytes could not be
	// read from an offset on.
	ErrEncoded = errors.New("objects: the object has a Content-Encoding: store it without compression and without that header")

	// ErrCredentials says that the program has no credentials to read objects with.
	ErrCredentials = errors.New("objects: this program has no Google credentials, and reads no objects: " +
		"upload the file instead, or have the operator run it with a service account, or after gcloud auth application-default login")

	// ErrURL says that an address is not that of an object. The wrapping error has the remedy.
	ErrURL = errors.New("objects: not the address of an object")
)

// Scheme begins the addresses of objects.
const Scheme = "gs://"

// maxName is the number of bytes of an object's name.
// https://cloud.google.com/storage/docs/objects#naming
const maxName = 1024

// https://cloud.google.com/storage/docs/buckets#naming
var bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)

// Parse splits an address. A name is taken as it stands, without escapes, wildcards or
// generations. It may not have a segment . or .., which Cloud Storage takes literally and
// others on the way might not.
func Parse(url string) (bucket, name string, err error) {
	rest, ok := strings.CutPrefix(url, Scheme)
	bucket, name, slash := strings.Cut(rest, "/")
	switch {
	case !ok || !slash || name == "":
		return "", "", fmt.Errorf("%w: it must be %sBUCKET/NAME", ErrURL, Scheme)
	case !bucketForm.MatchString(bucket):
		return "", "", fmt.Errorf("%w: it must be %sBUCKET/NAME with the name of a bucket", ErrURL, Scheme)
	case !namable(name):
		return "", "", fmt.Errorf("%w: the name must be UTF-8 of at most %d bytes without line ends, and no segment of it may be . or .. alone", ErrURL, maxName)
	}
	return bucket, name, nil
}

// CheckPrefix returns an error unless a text is the beginning of addresses, up to a slash:
// gs://BUCKET/ or gs://BUCKET/FOLDER/. The slash keeps a bucket or a folder apart from others
// whose names begin alike.
func CheckPrefix(prefix string) error {
	if folder, ok := strings.CutSuffix(prefix, "/"); ok {
		if !strings.Contains(strings.TrimPrefix(folder, Scheme), "/") {
			folder += "/all"
		}
		if _, _, err := Parse(folder); err == nil {
			return nil
		}
	}
	return fmt.Errorf("must be %sBUCKET/ or %[1]sBUCKET/FOLDER/: a bucket or a folder in one, with a slash at the end", Scheme)
}

func namable(name string) bool {
	segments := strings.Split(name, "/")
	return len(name) <= maxName && utf8.ValidString(name) && !strings.ContainsAny(name, "\r\n") &&
		!slices.Contains(segments, ".") && !slices.Contains(segments, "..")
}

// A Guarded reads objects for callers.
type Guarded struct {
	Source Source
	May    func(owner, url string) bool // whether an owner may read an address, in the form of Parse
}

// Stat is [Source.Stat] for an owner. What the owner may not read does not exist: nothing is
// asked about it.
func (g Guarded) Stat(ctx context.Context, owner, url string) (Object, error) {
	if err := g.check(owner, url); err != nil {
		return Object{}, err
	}
	return g.Source.Stat(ctx, url)
}

// Open is [Source.Open] for an owner.
func (g Guarded) Open(ctx context.Context, owner, url string, generation, offset int64) (io.ReadCloser, error) {
	if err := g.check(owner, url); err != nil {
		return nil, err
	}
	return g.Source.Open(ctx, url, generation, offset)
}

func (g Guarded) check(owner, url string) error {
	if _, _, err := Parse(url); err != nil {
		return err
	}
	if !g.May(owner, url) {
		return ErrNotFound
	}
	return nil
}

// Reasons not to pass a URL on, in words for those who sent it. None tells whether there is
// anything at the URL.
var (
	errPlain = errors.New("must be gs://BUCKET/NAME as it stands in the bucket: its name may have letters, digits, spaces and most signs, " +
		"but none of % ? # * [ ] \\ and no segment that is empty, . or .. alone")
	errRight = errors.New("names an object that you may not have read: the operator lists the buckets and folders that you may under buckets in the access file")
	errKept  = errors.New("names a file that the Gemini API keeps for this agent: send its content, or another URL")
)

// Pass returns nil if the model may be sent a URL that an owner names in a message. It decides by
// the name alone and looks nothing up. The error goes on after the name of a field.
//
// The model's service reads an object by the rights of the program's project, and so by a right
// of the owner. Such an address must have one spelling only, because others on its way may
// take it for a URL. The service fetches http and https URLs as anybody could, but for the files
// that the Gemini API keeps for the program's key.
//
//	https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference#filedata
//	https://ai.google.dev/gemini-api/docs/files
func (g Guarded) Pass(owner, raw string) error {
	if u, err := url.Parse(raw); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		if strings.Contains(strings.ToLower(u.Host), "generativelanguage") {
			return errKept
		}
		return nil
	}

	_, name, err := Parse(raw)
	switch {
	case err != nil, slices.Contains(strings.Split(name, "/"), ""), strings.ContainsFunc(name, unplain):
		return errPlain
	case g.May == nil || !g.May(owner, raw):
		return errRight
	}
	return nil
}

// unplain reports whether a character of a name may mean something else to others: an escape, a
// part of a URL, a wildcard, or a sign that looks like a dot or a slash.
func unplain(r rune) bool {
	if r <= unicode.MaxASCII {
		return !unicode.IsPrint(r) || strings.ContainsRune(`%?#*[]\`, r)
	}
	return !unicode.In(r, unicode.L, unicode.M, unicode.Nd)
}
