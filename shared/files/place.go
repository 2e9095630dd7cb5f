package files

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/sync/errgroup"
)

// A Place is an open bucket, with the parts that differ between kinds of buckets. Adapters
// make it.
type Place struct {
	Bucket *blob.Bucket

	// Close closes the bucket and everything opened with it.
	Close func() error

	// Disk is set for a folder on this machine. No other process may write to the folder.
	Disk Disk

	// Generations is set for a service. Many processes may write to the bucket.
	Generations Generations

	// Denied reports whether an error is about rights. Drivers report such errors as "not
	// found".
	Denied func(error) bool

	// Signing returns the BeforeSign hook of a signed URL; nil: there is none.
	Signing func(context.Context) func(as func(any) bool) error

	// Uploading returns the BeforeSign hook of a signed URL by which the content of an object is
	// uploaded, with the headers that the request must have: those of o, and those by which the
	// service stores an object of exactly so many bytes, once. nil: the place takes no such
	// requests.
	Uploading func(ctx context.Context, o http.Header, size int64) (before func(as func(any) bool) error, headers http.Header)

	// Verify returns the key of the object that a signed URL is for, or ErrSignature. It is
	// nil if the service serves the URLs.
	Verify func(context.Context, *url.URL) (key string, err error)
}

// A Disk keeps a folder private and durable, and removes empty folders in it.
type Disk interface {
	// Create makes the folder of the object at key, then calls open for the writer. sync
	// flushes the written bytes to the disk. Closing the writer gives the object its name.
	Create(key string, o *blob.WriterOptions, open func() (*blob.Writer, error)) (w *blob.Writer, sync func() error, err error)

	// Settle flushes the folder of key to the disk, and removes it if it is empty.
	Settle(key string) error

	// Clear removes a folder and everything in it, then settles.
	Clear(folder string) error
}

// Generations make changes conditional. A service gives an object a new generation number
// at each write. Generation 0 means that there is no object.
type Generations interface {
	// Of returns the generation of the object that the reader reads.
	Of(*blob.Reader) int64

	// Write and Delete are called in BeforeWrite and BeforeDelete. The request then applies
	// to this generation, or fails.
	Write(generation int64, as func(any) bool) error
	Delete(generation int64, as func(any) bool) error
}

// A place is an open Place.
type place struct {
	Place
	locks [64]sync.Mutex
}

func (p *place) close() error {
	if p.Close == nil {
		return nil
	}
	return p.Close()
}

// lock serializes the changes of a file within the process, for a place without generations.
func (p *place) lock(name string) (unlock func()) {
	if p.Generations != nil {
		return func() {}
	}
	h := fnv.New32a()
	io.WriteString(h, name)
	l := &p.locks[h.Sum32()%uint32(len(p.locks))]
	l.Lock()
	return l.Unlock
}

// missing reports whether an object does not exist.
func (p *place) missing(err error) bool {
	return gcerrors.Code(err) == gcerrors.NotFound && (p.Denied == nil || !p.Denied(err))
}

// overtaken reports whether another request changed the object first.
func overtaken(err error) bool { return gcerrors.Code(err) == gcerrors.FailedPrecondition }

// A record is the stored form of an Info. Fields may be added. Their names must not change.
type record struct {
	Owner     string    `json:"owner"`
	MediaType string    `json:"mediaType"`
	Size      int64     `json:"size"`
	SHA256    string    `json:"sha256"`
	Modified  time.Time `json:"modified"`
	Content   string    `json:"content"` // the end of the content's key, after the mark
}

func (f record) info(name string) Info {
	return Info{Name: name, Owner: f.Owner, MediaType: f.MediaType, Size: f.Size, SHA256: f.SHA256, Modified: f.Modified}
}

// maxInfo bounds the bytes read as an info. No info is that large.
const maxInfo = 16 << 10

// read returns the info of a file and its generation. The error is ErrNotFound, ErrCorrupt
// (with a generation), or the bucket's.
func (p *place) read(ctx context.Context, name string) (record, int64, error) {
	r, err := p.Bucket.NewReader(ctx, infoKey(name), nil)
	if p.missing(err) {
		return record{}, 0, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return record{}, 0, fmt.Errorf("reading about the file %s: %w", name, err)
	}
	defer r.Close()
	var generation int64
	if p.Generations != nil {
		generation = p.Generations.Of(r)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxInfo))
	if err != nil {
		return record{}, 0, fmt.Errorf("reading about the file %s: %w", name, err)
	}
	var f record
	if err := json.Unmarshal(text, &f); err != nil || !goodContent.MatchString(f.Content) || len(f.SHA256) != 64 || f.Size < 0 {
		return record{}, generation, fmt.Errorf("%w: %s", ErrCorrupt, name)
	}
	return f, generation, nil
}

// writeInfo writes f as the info of a file, in place of this generation.
func (p *place) writeInfo(ctx context.Context, name string, f record, generation int64) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	o := blob.WriterOptions{ContentType: "application/json", BufferSize: smallBuffer}
	if p.Generations != nil {
		o.BeforeWrite = func(as func(any) bool) error { return p.Generations.Write(generation, as) }
	}
	return p.write(ctx, infoKey(name), o, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// write creates or replaces an object with the bytes that fill writes, or changes nothing.
func (p *place) write(ctx context.Context, key string, o blob.WriterOptions, fill func(io.Writer) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, sync, err := p.create(ctx, key, &o)
	if err != nil {
		return err
	}
	if err = fill(w); err == nil {
		err = sync()
	}
	if err != nil {
		cancel() // makes Close discard the object
		_ = w.Close()
		return err
	}
	if err := w.Close(); err != nil || p.Disk == nil {
		return err
	}
	return p.Disk.Settle(key)
}

func (p *place) create(ctx context.Context, key string, o *blob.WriterOptions) (w *blob.Writer, sync func() error, err error) {
	open := func() (*blob.Writer, error) { return p.Bucket.NewWriter(ctx, key, o) }
	if p.Disk != nil {
		return p.Disk.Create(key, o, open)
	}
	w, err = open()
	return w, func() error { return nil }, err
}

// remove removes an object, or only this generation of it if that is not 0. A missing or
// newer object is no error.
func (p *place) remove(ctx context.Context, key string, generation int64) error {
	var o blob.DeleteOptions
	if generation != 0 {
		o.BeforeDelete = func(as func(any) bool) error { return p.Generations.Delete(generation, as) }
	}
	if err := p.Bucket.DeleteWithOptions(ctx, key, &o); err != nil && !p.missing(err) && !overtaken(err) {
		return err
	}
	return nil
}

// How removeAll goes about it.
const (
	listed  = 1000 // objects in a list, the most that services give
	removed = 16   // concurrent deletes
)

// removeAll removes all objects whose keys begin with prefix. It lists the first page until
// that is empty, because the driver for folders skips some keys between two pages.
func (p *place) removeAll(ctx context.Context, prefix string) error {
	for {
		objects, _, err := p.Bucket.ListPage(ctx, blob.FirstPageToken, listed, &blob.ListOptions{Prefix: prefix})
		if err != nil || len(objects) == 0 {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(removed)
		for _, o := range objects {
			group.Go(func() error { return p.remove(ctx, o.Key, 0) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
}

// dropFor bounds the removal of an orphan.
const dropFor = 10 * time.Second

// drop removes a content that no info names. On failure the orphan stays until DeleteAll.
func (p *place) drop(ctx context.Context, name, content string) {
	if content == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropFor)
	defer cancel()
	_ = p.remove(ctx, contentKey(name, content), 0)
}

// undo removes the content of a failed put, and the folders made for it.
func (p *place) undo(ctx context.Context, name, content string) {
	p.drop(ctx, name, content)
	if p.Disk != nil {
		_ = p.Disk.Settle(infoKey(name))
	}
}
