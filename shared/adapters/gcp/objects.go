package gcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"golang.org/x/time/rate"
	"google.golang.org/api/googleapi"

	"errand/shared/objects"
)

// ObjectsConfig configures the objects of Cloud Storage. Its zero value is usable.
type ObjectsConfig struct {
	Endpoint string        // HOST:PORT; empty: the usual one
	Retry    time.Duration // how long a request is retried; default 30 s
	Stall    time.Duration // how long a reader waits for the next byte before it asks again; default 30 s
	Log      *slog.Logger  // what the program may not read; default: discards
}

// Objects is an objects.Source on Cloud Storage. It makes its client at the first use, because
// most programs read no objects, and one that runs outside of Google Cloud may have no
// credentials.
type Objects struct {
	cfg   ObjectsConfig
	lines *rate.Limiter // of the log

	mu     sync.Mutex
	client *storage.Client // nil until the first use
}

var _ objects.Source = (*Objects)(nil)

const (
	stallFor  = 30 * time.Second // the default of ObjectsConfig.Stall
	maxStalls = 3                // in a row, then a reader fails
)

// NewObjects returns Objects. It calls nothing.
func NewObjects(c ObjectsConfig) (*Objects, error) {
	if _, err := webAt(c.Endpoint); err != nil {
		return nil, err
	}
	c.Retry, c.Stall = cmp.Or(c.Retry, retryFor), cmp.Or(c.Stall, stallFor)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Objects{cfg: c, lines: rate.NewLimiter(rate.Every(time.Second), 10)}, nil
}

// Close ends the client's connections.
func (o *Objects) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.client == nil {
		return nil
	}
	err := o.client.Close()
	o.client = nil
	return err
}

// object finds the handle of an object, and makes the client if there is none.
func (o *Objects) object(ctx context.Context, address string) (*storage.ObjectHandle, error) {
	bucket, name, err := objects.Parse(address)
	if err != nil {
		return nil, err
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	if o.client == nil {
		options, err := webAt(o.cfg.Endpoint)
		if err != nil {
			return nil, err
		}
		client, err := storage.NewClient(context.WithoutCancel(ctx), options...) // which keeps the context
		if err != nil {
			o.tell(ctx, "the client of Cloud Storage cannot be made, and no object is read", "err", err)
			return nil, objects.ErrCredentials
		}
		client.SetRetry(storage.WithBackoff(gax.Backoff{Initial: 100 * time.Millisecond, Max: 5 * time.Second, Multiplier: 2}), storage.WithMaxRetryDuration(o.cfg.Retry))
		o.client = client
	}
	return o.client.Bucket(bucket).Object(name), nil
}

// Stat implements objects.Source.
func (o *Objects) Stat(ctx context.Context, address string) (objects.Object, error) {
	object, err := o.object(ctx, address)
	if err != nil {
		return objects.Object{}, err
	}
	limited, cancel := context.WithTimeout(ctx, o.cfg.Retry)
	defer cancel()
	attrs, err := object.Attrs(limited)

	switch {
	case err != nil:
		return objects.Object{}, o.verdict(ctx, object, err, objects.ErrNotFound)
	case attrs.ContentEncoding != "" && attrs.ContentEncoding != "identity":
		// Cloud Storage would decompress it, and then ignores offsets.
		// https://cloud.google.com/storage/docs/transcoding
		return objects.Object{}, objects.ErrEncoded
	}
	return objects.Object{URL: address, Generation: attrs.Generation, Size: attrs.Size, Modified: attrs.Updated}, nil
}

// verdict is what the error of a request means. gone is the error for an object, or a
// generation of one, that does not exist.
func (o *Objects) verdict(ctx context.Context, object *storage.ObjectHandle, err, gone error) error {
	refused, ok := errors.AsType[*googleapi.Error](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, storage.ErrObjectNotExist), errors.Is(err, storage.ErrBucketNotExist):
		return gone
	case ok && refused.Code == http.StatusTooManyRequests, ok && refused.Code == http.StatusRequestTimeout:
	case ok && refused.Code >= 400 && refused.Code < 500:
		// A program that may not list a bucket is not told either that an object does not exist.
		// https://cloud.google.com/storage/docs/json_api/v1/status-codes#403-forbidden
		o.tell(ctx, "an object is not read: does this program's service account have roles/storage.objectViewer on its bucket?",
			"bucket", object.BucketName(), "status", refused.Code)
		return objects.ErrNotFound
	}
	return fmt.Errorf("reading an object of the bucket %s: %w", object.BucketName(), unnamed(err))
}

// unnamed is an error without the name of the object, which is part of the request's URL.
func unnamed(err error) error {
	refused, answered := errors.AsType[*googleapi.Error](err)
	u, sent := errors.AsType[*url.Error](err)
	switch {
	case answered:
		return fmt.Errorf("the service answered %d", refused.Code)
	case sent:
		return u.Err
	}
	return err
}

// tell logs for the operator, at most about once a second.
func (o *Objects) tell(ctx context.Context, message string, args ...any) {
	if o.lines.Allow() {
		o.cfg.Log.WarnContext(ctx, message, args...)
	}
}

// Open implements objects.Source.
func (o *Objects) Open(ctx context.Context, address string, generation, offset int64) (io.ReadCloser, error) {
	object, err := o.object(ctx, address)
	if err != nil {
		return nil, err
	}
	if generation < 1 || offset < 0 {
		return nil, fmt.Errorf("reading an object: generation %d and offset %d", generation, offset)
	}

	// Accept-Encoding: gzip has the bytes come as they are stored.
	ctx, cancel := context.WithCancel(ctx)
	r := &objectReader{o: o, ctx: ctx, cancel: cancel, object: object.Generation(generation).ReadCompressed(true), at: offset}
	if err := r.open(); err != nil {
		cancel()
		return nil, err
	}
	return r, nil
}

// An objectReader reads one generation of an object. The client's own reader goes on after a
// broken connection. This one also asks again if nothing comes any more.
type objectReader struct {
	o      *Objects
	ctx    context.Context
	cancel context.CancelFunc
	object *storage.ObjectHandle
	at     int64 // where the next byte stands
	stalls int   // in a row

	inner   io.ReadCloser
	request context.Context         // of inner
	stop    context.CancelCauseFunc // ends it
}

var errStalled = errors.New("the service does not go on")

// open asks for the rest of the object.
func (r *objectReader) open() error {
	r.request, r.stop = context.WithCancelCause(r.ctx)
	stop := r.stop
	watch := time.AfterFunc(r.o.cfg.Retry, func() { stop(errStalled) })
	defer watch.Stop()

	inner, err := r.object.NewRangeReader(r.request, r.at, -1)
	switch refused, ok := errors.AsType[*googleapi.Error](err); {
	case err == nil:
		r.inner = inner
	case ok && refused.Code == http.StatusRequestedRangeNotSatisfiable:
		r.inner = io.NopCloser(eof{}) // the offset is at or behind the end
	default:
		stop(nil)
		return r.o.verdict(r.ctx, r.object, err, objects.ErrChanged)
	}
	return nil
}

// Read implements io.Reader.
func (r *objectReader) Read(p []byte) (int, error) {
	for {
		n, err := r.read(p)
		r.at += int64(n)
		if n > 0 {
			r.stalls = 0
		}

		switch {
		case err == nil || err == io.EOF:
			return n, err
		case !errors.Is(err, errStalled):
			return n, r.o.verdict(r.ctx, r.object, err, objects.ErrChanged)
		}

		if r.stalls++; r.stalls > maxStalls {
			return n, fmt.Errorf("reading an object of the bucket %s: %w", r.object.BucketName(), err)
		}
		_ = r.inner.Close() // its request has ended
		if err := r.open(); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// read reads once, and stops the request if no byte comes in time.
func (r *objectReader) read(p []byte) (int, error) {
	stop := r.stop
	watch := time.AfterFunc(r.o.cfg.Stall, func() { stop(errStalled) })
	defer watch.Stop()
	n, err := r.inner.Read(p)
	if err != nil && err != io.EOF && errors.Is(context.Cause(r.request), errStalled) {
		err = errStalled
	}
	return n, err
}

// Close implements io.Closer.
func (r *objectReader) Close() error {
	err := r.inner.Close()
	r.cancel()
	return err
}

// eof is at its end.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
