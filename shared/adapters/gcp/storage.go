package gcp

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/compute/metadata"
	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iamcredentials/v1"
	"google.golang.org/api/option"

	"errand/shared/files"
	"errand/shared/loopback"
)

// BucketConfig configures a bucket of Cloud Storage for files. Bucket is required.
type BucketConfig struct {
	Bucket string
	Prefix string // of the names of all objects, without the slash after it; may be empty

	Retry time.Duration // how long the client retries a request; default 30 s

	Endpoint string                // HOST:PORT; empty: the usual one
	Signing  []option.ClientOption // for the client of IAM, which signs URLs
}

// https://cloud.google.com/storage/docs/buckets#naming
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)

// Check returns an error if c cannot work.
func (c BucketConfig) Check() error {
	_, err := webAt(c.Endpoint)
	if !bucketName.MatchString(c.Bucket) {
		err = errors.Join(fmt.Errorf("the files need the name of a bucket, not %q", c.Bucket), err)
	}
	if c.Prefix != "" && files.CheckName(c.Prefix) != nil {
		err = errors.Join(fmt.Errorf("the prefix of the files must be segments of a-z, 0-9, dots, hyphens and underscores with / between them, not %q", c.Prefix), err)
	}
	return err
}

// webAt is the variant of at for clients without gRPC.
func webAt(endpoint string) ([]option.ClientOption, error) {
	if endpoint == "" {
		return nil, nil
	}
	emulator, err := isEmulator(endpoint)
	switch {
	case err != nil:
		return nil, err
	case emulator:
		return []option.ClientOption{option.WithEndpoint("http://" + endpoint + "/storage/v1/"), option.WithoutAuthentication()}, nil
	}
	return []option.ClientOption{option.WithEndpoint("https://" + endpoint + "/storage/v1/")}, nil
}

// retryFor is the default of BucketConfig.Retry. Without a limit the client retries until
// the context is done.
const retryFor = 30 * time.Second

// OpenBucket opens a bucket as the place of a files.Store. It does not call Cloud Storage,
// but it may ask the metadata server for the program's credentials.
//
// The program needs roles/storage.objectUser on the bucket. To sign URLs, it needs
// iam.serviceAccounts.signBlob on its own service account.
func OpenBucket(ctx context.Context, c BucketConfig) (files.Place, error) {
	if err := c.Check(); err != nil {
		return files.Place{}, err
	}

	options, err := webAt(c.Endpoint)
	if err != nil {
		return files.Place{}, err
	}

	ctx = context.WithoutCancel(ctx) // the client keeps it
	client, err := storage.NewClient(ctx, options...)
	if err != nil {
		return files.Place{}, fmt.Errorf("making the client of Cloud Storage: %w", err)
	}

	// All requests may be retried: a write names the generation that it replaces, the name of
	// a deleted content is never used again, and DeleteAll excludes concurrent puts.
	client.SetRetry(storage.WithPolicy(storage.RetryAlways), storage.WithBackoff(gax.Backoff{Initial: 100 * time.Millisecond, Max: 5 * time.Second, Multiplier: 2}),
		storage.WithMaxRetryDuration(cmp.Or(c.Retry, retryFor)))
	signer := &blobSigner{endpoint: c.Endpoint, options: c.Signing}
	bucket, err := gcsblob.OpenBucket(ctx, nil, c.Bucket, &gcsblob.Options{Client: client, GoogleAccessID: eachTime, MakeSignBytes: signer.bytes})
	if err != nil {
		return files.Place{}, errors.Join(fmt.Errorf("opening the bucket of files: %w", err), client.Close())
	}
	if c.Prefix != "" {
		bucket = blob.PrefixedBucket(bucket, c.Prefix+"/")
	}

	return files.Place{
		Bucket:      bucket,
		Close:       func() error { return errors.Join(bucket.Close(), client.Close()) },
		Generations: generations{},
		Denied:      denied,
		Signing:     signer.before,
		Uploading:   signer.uploading,
	}, nil
}

// denied reports whether an error is about permissions. gcsblob reports 403 as "not found".
func denied(err error) bool {
	e, ok := errors.AsType[*googleapi.Error](err)
	return ok && (e.Code == http.StatusForbidden || e.Code == http.StatusUnauthorized)
}

// generations implements files.Generations with the preconditions of Cloud Storage.
// https://cloud.google.com/storage/docs/request-preconditions
type generations struct{}

var _ files.Generations = generations{}

var errDriver = errors.New("the driver of the bucket does not expose its own types")

// Of implements files.Generations.
func (generations) Of(r *blob.Reader) int64 {
	var inner *storage.Reader
	if !r.As(&inner) {
		return 0
	}
	return inner.Attrs.Generation
}

// Write implements files.Generations.
func (generations) Write(generation int64, as func(any) bool) error {
	var object **storage.ObjectHandle
	if !as(&object) {
		return errDriver
	}
	if generation == 0 {
		*object = (*object).If(storage.Conditions{DoesNotExist: true})
	} else {
		*object = (*object).If(storage.Conditions{GenerationMatch: generation})
	}
	return nil
}

// Delete implements files.Generations.
func (generations) Delete(generation int64, as func(any) bool) error {
	var object **storage.ObjectHandle
	if !as(&object) {
		return errDriver
	}
	*object = (*object).Generation(generation)
	return nil
}

// eachTime is a placeholder for the signer's name. The driver requires a name at the start,
// and the method before replaces it for each signature.
const eachTime = "-"

// A blobSigner signs URLs as the program's service account. IAM holds the private key and
// signs.
type blobSigner struct {
	endpoint string
	options  []option.ClientOption

	mu    sync.Mutex
	iam   *iamcredentials.Service
	email string
}

// before selects the V4 signature, the signer and the lifetime. gcsblob would use V2.
func (s *blobSigner) before(ctx context.Context) func(as func(any) bool) error {
	return func(as func(any) bool) error {
		var o *storage.SignedURLOptions
		if !as(&o) {
			return errDriver
		}
		lifetime := time.Until(o.Expires).Round(time.Second)
		email, _, err := s.account(ctx)
		if err != nil {
			return err
		}
		o.Scheme, o.GoogleAccessID = storage.SigningSchemeV4, email
		o.Expires = time.Now().Add(lifetime + time.Second/2) // the client rounds down to seconds
		if loopback.Is(s.endpoint) {
			o.Hostname, o.Insecure = s.endpoint, true
		}
		return nil
	}
}

// uploading adds the headers of an upload to what before selects. Cloud Storage creates the object
// once, with exactly so many bytes, and refuses any other request. The size is in the header of
// a range, because net/http takes no Content-Length from a list of headers.
// https://cloud.google.com/storage/docs/xml-api/reference-headers
func (s *blobSigner) uploading(ctx context.Context, o http.Header, size int64) (func(as func(any) bool) error, http.Header) {
	headers := o.Clone()
	headers.Set("X-Goog-If-Generation-Match", "0")
	headers.Set("X-Goog-Content-Length-Range", fmt.Sprintf("%d,%d", size, size))

	usual := s.before(ctx)
	return func(as func(any) bool) error {
		if err := usual(as); err != nil {
			return err
		}
		var o *storage.SignedURLOptions
		if !as(&o) {
			return errDriver
		}
		for name, values := range headers {
			if name == "Content-Type" { // it has a field of its own
				o.ContentType = values[0]
				continue
			}
			o.Headers = append(o.Headers, strings.ToLower(name)+":"+values[0])
		}
		return nil
	}, headers
}

// bytes signs through IAM, with the account's key.
// https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob
func (s *blobSigner) bytes(ctx context.Context) gcsblob.SignBytesFunc {
	return func(text []byte) ([]byte, error) {
		email, iam, err := s.account(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := iam.Projects.ServiceAccounts.SignBlob("projects/-/serviceAccounts/"+email,
			&iamcredentials.SignBlobRequest{Payload: base64.StdEncoding.EncodeToString(text)}).Context(ctx).Do()
		if denied(err) {
			return nil, fmt.Errorf("%w; the program's service account needs iam.serviceAccounts.signBlob on itself", err)
		}
		if err != nil {
			return nil, fmt.Errorf("signing through IAM: %w", err)
		}
		return base64.StdEncoding.DecodeString(resp.SignedBlob)
	}
}

// account returns the e-mail address of the program's service account and the client of IAM.
func (s *blobSigner) account(ctx context.Context) (email string, iam *iamcredentials.Service, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.email == "" {
		ctx, cancel := context.WithTimeout(ctx, metadataFor)
		defer cancel()
		if s.email, err = metadata.EmailWithContext(ctx, ""); err != nil {
			return "", nil, fmt.Errorf("reading the service account that signs URLs from the metadata server: %w", err)
		}
	}
	if s.iam == nil {
		if s.iam, err = iamcredentials.NewService(context.WithoutCancel(ctx), s.options...); err != nil {
			return "", nil, fmt.Errorf("making the client of IAM: %w", err)
		}
	}
	return s.email, s.iam, nil
}
