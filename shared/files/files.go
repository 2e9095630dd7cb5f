// Package files stores bytes by name: large replies, batch results, uploaded and produced
// files. A task's record or a small value cannot hold those. Each file has an owner, a size,
// a media type and a SHA-256. A file exists whole or not at all.
//
// The package does not check rights. It stores the owner and returns it, and the caller
// decides who may read or write. It also keeps no index of names: the caller knows the name
// of each file, or the folder to delete.
//
// A file consists of two objects in a bucket. Put writes the content first, under a random
// name, then the info: a few hundred bytes of JSON that name the content. The info is the
// commit. Writing it replaces the file atomically for every reader, and until then the old
// file stays intact.
//
//	tasks/7f/report.pdf+info          the info of tasks/7f/report.pdf
//	tasks/7f/report.pdf+K2J...        its content
//
// Requests to the bucket: Put makes 1 read and 2 writes, and 1 delete if it replaces a file.
// When another process commits first, Put adds a read, a copy, a delete and a write. Get
// makes 2 reads, Stat and Sign 1, Delete 1 read and 2 deletes. DeleteAll makes a delete per
// object, a list per 1,000 objects, and a last list that finds none.
//
// A nil error means that the change is durable: it survives a killed process, and a power
// loss if the disk honors fsync. Of two concurrent puts of one name, one wins, whole. A
// killed put can leave its content behind. No reader sees such an orphan, and DeleteAll
// removes it. The clients of services retry requests for half a minute. After an error the
// caller may retry any method.
package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"gocloud.dev/blob"
)

// An Info describes a stored file.
type Info struct {
	Name      string
	Owner     string // as given to Put
	MediaType string
	Size      int64     // bytes
	SHA256    string    // of the content, 64 hexadecimal digits
	Modified  time.Time // the time of Put
}

// An Upload describes a file to put, and the content to expect.
type Upload struct {
	Name      string
	Owner     string // at most 1 KiB
	MediaType string // empty: application/octet-stream
	Size      int64  // expected length of the content, in bytes; 0: any
	SHA256    string // expected hash of the content, in hexadecimal; empty: any
	Max       int64  // largest length of the content, in bytes; 0: no limit
}

// A Store keeps files in a place. It is safe for concurrent use.
type Store struct {
	open func(context.Context) (Place, error)
	now  func() time.Time

	mu    sync.Mutex
	place *place // nil until the first use
}

// New returns a Store. Its first use calls open, and after an error the next use calls open
// again.
func New(open func(context.Context) (Place, error), now func() time.Time) *Store {
	return &Store{open: open, now: now}
}

// Close closes the place, if it was opened.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.place == nil {
		return nil
	}
	p := s.place
	s.place = nil
	return p.close()
}

// at checks the name and returns the open place.
func (s *Store) at(ctx context.Context, name string) (*place, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return s.opened(ctx)
}

func (s *Store) opened(ctx context.Context) (*place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.place == nil {
		opened, err := s.open(ctx)
		if err != nil {
			return nil, fmt.Errorf("opening the place of files: %w", err)
		}
		s.place = &place{Place: opened}
	}
	return s.place, nil
}

// Put reads content until io.EOF and stores it under a name, or stores nothing. It holds at
// most 2 MiB of the content in memory. The error is ErrTooLarge or ErrMismatch if the content
// is not as announced, or wraps the error of content or of ctx. After any other error the
// file may exist, because the bucket's answer can get lost. Putting it again is safe.
//
// Put replaces an existing file of that name. A reader of the old file reads it to the end
// or gets an error, and never sees parts of both.
func (s *Store) Put(ctx context.Context, u Upload, content io.Reader) (Info, error) {
	u, err := u.checked()
	if err != nil {
		return Info{}, err
	}

	p, err := s.at(ctx, u.Name)
	if err != nil {
		return Info{}, err
	}

	f := record{Owner: u.Owner, MediaType: u.MediaType, Content: rand.Text()}

	size, sum, err := p.upload(ctx, u, contentKey(u.Name, f.Content), content)
	if err == nil {
		err = ctx.Err() // the last look: a commit is not cancelled
	}

	if err != nil {
		p.undo(ctx, u.Name, f.Content)
		return Info{}, fmt.Errorf("putting the file %s: %w", u.Name, err)
	}

	f.Size, f.SHA256, f.Modified = size, sum, s.now().UTC()
	if err := p.commit(ctx, u.Name, f); err != nil {
		return Info{}, fmt.Errorf("putting the file %s: %w", u.Name, err)
	}

	return f.info(u.Name), nil
}

// upload writes the content of u and returns its size and hash.
func (p *place) upload(ctx context.Context, u Upload, key string, content io.Reader) (size int64, sum string, err error) {
	options := blob.WriterOptions{
		ContentType:        u.MediaType,
		ContentDisposition: attachment(u.Name),
		BufferSize:         u.buffer(),
		IfNotExist:         true, // makes retries safe
	}
	err = p.write(ctx, key, options, func(w io.Writer) error {
		h := sha256.New()
		in := io.Reader(whileOpen{ctx, content})
		if end := u.end(); end > 0 {
			in = io.LimitReader(in, end+1)
		}
		if size, err = io.Copy(io.MultiWriter(w, h), in); err != nil {
			return err
		}
		sum = hexSum(h)
		return u.accepts(size, sum)
	})
	if sum != "" && overtaken(err) {
		err = nil // the random name is ours: an earlier attempt succeeded, and its answer got lost
	}
	return size, sum, err
}

// A whileOpen is a reader that fails once its context is done. Disk writes ignore contexts.
type whileOpen struct {
	ctx context.Context
	io.Reader
}

func (r whileOpen) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// Limits of a commit. The caller's context does not cancel a commit, because the outcome of
// a cancelled request is unknown.
const (
	commitFor  = time.Minute
	commitWait = 100 * time.Millisecond // largest random backoff after a lost race
)

// commit makes f the file of that name and removes the replaced content. On failure it
// removes the content of f, unless an info may name it.
func (p *place) commit(ctx context.Context, name string, f record) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitFor)
	defer cancel()
	defer p.lock(name)()
	var replaced string
	defer func() {
		if err == nil {
			p.drop(ctx, name, replaced)
		}
	}()

	for try := 0; ; try++ {
		old, generation, err := p.read(ctx, name)
		switch {
		case old.Content == f.Content: // an earlier attempt succeeded, and its answer got lost
			return nil
		case err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt):
			if try == 0 { // later an earlier attempt may have succeeded
				p.undo(ctx, name, f.Content)
			}
			return err
		}

		if try > 0 {
			content, err := p.renew(ctx, name, f.Content)
			if p.missing(err) { // an earlier attempt succeeded, and another put replaced f since
				return nil
			}
			if err != nil {
				return err
			}

			f.Content = content
		}

		replaced = old.Content
		err = p.writeInfo(ctx, name, f, generation)
		if err != nil && !overtaken(err) {
			p.giveUp(ctx, name, f)
		}
		if !overtaken(err) {
			return err
		}

		time.Sleep(mathrand.N(commitWait))
	}
}

// renew moves a content to a new name after a refused commit. That commit may have
// succeeded before its retry was refused. Another put may then have replaced it, and deletes
// the content under the old name.
func (p *place) renew(ctx context.Context, name, content string) (string, error) {
	fresh := rand.Text()
	err := p.Bucket.Copy(ctx, contentKey(name, fresh), contentKey(name, content), nil)
	p.drop(ctx, name, content)
	return fresh, err
}

// giveUp removes the content of f after a failed commit to a disk, unless the info names it.
// It removes nothing from a service: a delayed request could still write the info.
func (p *place) giveUp(ctx context.Context, name string, f record) {
	if p.Generations != nil {
		return
	}
	if now, _, err := p.read(ctx, name); now.Content != f.Content && (err == nil || errors.Is(err, ErrNotFound)) {
		p.undo(ctx, name, f.Content)
	}
}

// Stat returns the Info of a file, or ErrNotFound.
func (s *Store) Stat(ctx context.Context, name string) (Info, error) {
	p, err := s.at(ctx, name)
	if err != nil {
		return Info{}, err
	}
	f, _, err := p.read(ctx, name)
	if err != nil {
		return Info{}, err
	}
	return f.info(name), nil
}

// Delete deletes a file. A missing file is no error. During Delete, Stat may find the file
// while Get does not. After an error the caller must call Delete again.
func (s *Store) Delete(ctx context.Context, name string) error {
	p, err := s.at(ctx, name)
	if err != nil {
		return err
	}
	defer p.lock(name)()
	f, generation, err := p.read(ctx, name)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrCorrupt): // the name of the content is lost
		err = p.removeAll(ctx, name+mark)
	case err == nil:
		err = p.removeFile(ctx, name, f, generation)
	}
	if err == nil && p.Disk != nil {
		err = p.Disk.Settle(infoKey(name))
	}
	if err != nil {
		return fmt.Errorf("deleting the file %s: %w", name, err)
	}
	return nil
}

// removeFile removes the content first. Without its info the content could not be found
// after an error in between.
func (p *place) removeFile(ctx context.Context, name string, f record, generation int64) error {
	if err := p.remove(ctx, contentKey(name, f.Content), 0); err != nil {
		return err
	}
	return p.remove(ctx, infoKey(name), generation)
}

// DeleteAll deletes all files below a folder, such as tasks/7f/... for tasks/7f, and the
// orphans of killed puts. A missing folder is no error. The caller must end all puts into
// the folder first: a concurrent put may get lost, or leave a file that Stat finds and Get
// does not.
func (s *Store) DeleteAll(ctx context.Context, folder string) error {
	p, err := s.at(ctx, folder)
	if err != nil {
		return err
	}
	err = p.removeAll(ctx, folder+"/")
	if err == nil && p.Disk != nil {
		err = p.Disk.Clear(folder)
	}
	if err != nil {
		return fmt.Errorf("deleting the files in %s: %w", folder, err)
	}
	return nil
}
