package uploads

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"errand/shared/files"
	"errand/shared/kv"
)

// An Upload says what is going to be uploaded.
type Upload struct {
	Name      string
	Purpose   string
	MediaType string // empty: application/octet-stream
	Size      int64  // of the content, in bytes; 0: it is not known before
}

// The memory of uploads, of which any number may come at once.
const (
	memoryShare = 16         // of the process
	perUpload   = 2304 << 10 // bytes: a buffer of package files, and what net/http holds
)

// Create reads content until io.EOF and stores it as a new file, or stores nothing. It holds
// 2 MiB of it in memory: share.ErrOwn and share.ErrFull say that there is no memory for another
// upload of the owner, or of anybody. After Within the upload ends in an error.
//
// An owner that sends many files at once, none of which says its size, may store more than
// its limit by those that are on their way.
func (s *Store) Create(ctx context.Context, owner string, u Upload, content io.Reader) (File, error) {
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	charge := s.cfg.Memory.Charge(owner)
	if err := charge.Take(perUpload); err != nil {
		return File{}, err
	}
	defer charge.Settle()
	e, left, err := s.begin(ctx, owner, u, entry{})
	if err != nil {
		return File{}, err
	}

	most := min(left, MaxSize(u.Purpose))
	put := e.upload()
	put.Max = most
	info, err := s.cfg.Files.Put(ctx, put, &roomy{Reader: content, ctx: ctx, room: s.cfg.Room})
	if errors.Is(err, files.ErrTooLarge) && left < MaxSize(u.Purpose) {
		err = &FullError{Left: left}
	}

	if err == nil {
		e.Size, e.SHA256, e.MediaType = info.Size, info.SHA256, info.MediaType
		e, err = s.finish(ctx, e)
	}
	if err != nil {
		s.undo(ctx, e)
		return File{}, err
	}
	return e.file(), nil
}

// begin stores the entry of a file that comes, and returns how many bytes its owner may store.
func (s *Store) begin(ctx context.Context, owner string, u Upload, first entry) (e stored, left int64, err error) {
	if err := check(u.Name, u.Purpose); err != nil {
		return e, 0, err
	}
	if most := MaxSize(u.Purpose); u.Size > most {
		return e, 0, fmt.Errorf("%w: it has %d bytes and may have %d", files.ErrTooLarge, u.Size, most)
	}
	if err := s.cfg.Room(ctx); err != nil {
		return e, 0, err
	}

	first.State, first.Name, first.Purpose, first.MediaType, first.Size = incoming, u.Name, u.Purpose, u.MediaType, u.Size
	first.Created = s.cfg.Now().UTC()
	e = stored{entry: first, kv: kv.Entry{Key: ofFiles + place(owner, newID()), Owner: owner}}
	value, err := e.write()
	if err != nil {
		return e, 0, err
	}
	if e.kv, err = s.cfg.KV.Put(ctx, value); err != nil {
		return e, 0, err
	}

	// The entry is counted too. So of two uploads that exceed a limit together, one is refused.
	left, err = s.left(ctx, e)
	if err != nil {
		e.Until = time.Time{} // no byte was asked for
		s.undo(ctx, e)
	}
	return e, left, err
}

// left returns how many bytes the file may have, by the limits of its owner.
func (s *Store) left(ctx context.Context, e stored) (int64, error) {
	most, err := s.cfg.Limit(ctx, e.kv.Owner)
	if err != nil {
		return 0, err
	}
	held, err := s.Held(ctx, e.kv.Owner)
	if err != nil {
		return 0, err
	}

	left := max(0, most-(held.Bytes-e.Size))
	switch {
	case held.Files > MaxFiles:
		return 0, ErrFiles
	case e.Size > left || left == 0:
		return 0, &FullError{Size: e.Size, Left: left}
	}
	return left, nil
}

// tries bounds the writes of an entry whose outcome is unknown.
const tries = 5

// finish makes the file be there.
func (s *Store) finish(ctx context.Context, e stored) (stored, error) {
	e.State, e.Created = whole, s.cfg.Now().UTC()
	return s.put(ctx, e)
}

// put replaces the entry. ErrNotFound: another process has changed it. After an unknown
// outcome it looks and tries again.
func (s *Store) put(ctx context.Context, e stored) (stored, error) {
	value, err := e.write()
	if err != nil {
		return e, err
	}

	for try := 1; ; try++ {
		after, err := s.cfg.KV.Put(ctx, value)
		if err == nil {
			e.kv = after
			return e, nil
		}

		now, rerr := s.cfg.KV.Get(ctx, value.Key)
		switch {
		case rerr == nil && string(now.Value) == string(value.Value): // an earlier try succeeded
			e.kv = now
			return e, nil
		case rerr == nil && now.Version != value.Version, errors.Is(rerr, kv.ErrNotFound):
			return e, ErrNotFound
		case try == tries:
			return e, errors.Join(err, rerr)
		}
	}
}

// undoFor bounds the removal of an upload that failed.
const undoFor = 10 * time.Second

// undo removes an upload that failed, even if its sender has gone. Otherwise Sweep does.
func (s *Store) undo(ctx context.Context, e stored) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoFor)
	defer cancel()
	_ = s.remove(ctx, e)
}

// roomEvery is how many bytes are read between two looks at the disk.
const roomEvery = 8 << 20

// A roomy reader ends when the disk has no room left.
type roomy struct {
	io.Reader
	ctx  context.Context
	room func(context.Context) error
	read int64 // since the last look
}

// Read implements io.Reader.
func (r *roomy) Read(p []byte) (int, error) {
	if r.read >= roomEvery {
		r.read = 0
		if err := r.room(r.ctx); err != nil {
			return 0, err
		}
	}
	n, err := r.Reader.Read(p)
	r.read += int64(n)
	return n, err
}

// Open opens length bytes of a file for reading, from offset on. A negative length means up to
// the end. Only a whole file is checked by its hash. The caller closes the reader.
func (s *Store) Open(ctx context.Context, owner, id string, offset, length int64) (File, io.ReadCloser, error) {
	e, err := s.find(ctx, owner, id)
	if err != nil {
		return File{}, nil, err
	}
	_, content, err := s.cfg.Files.GetRange(ctx, inFolder+e.at()+ofContent, offset, length)
	if errors.Is(err, files.ErrNotFound) { // it is deleted just now
		err = ErrNotFound
	}
	return e.file(), content, err
}

// A Holding is what the files of an owner take.
type Holding struct {
	Files int
	Bytes int64
}

// Held counts the files of an owner that take room: those that come or go included.
func (s *Store) Held(ctx context.Context, owner string) (h Holding, err error) {
	err = s.each(ctx, owner, "", kv.LimitCount, func(e stored) (more bool) {
		h.Files++
		h.Bytes += e.Size
		return true
	})
	return h, err
}

// MaxList is how many files a list has at most.
const MaxList = 100

// List returns the files of an owner by their ids, which are in no order of time, beginning
// behind the id after. It returns 1 to MaxList files, and fewer than limit at the end only.
func (s *Store) List(ctx context.Context, owner, after string, limit int) (list []File, err error) {
	limit = min(max(limit, 1), MaxList)
	var failed error
	err = s.each(ctx, owner, after, limit, func(e stored) (more bool) {
		there, err := s.there(ctx, e)
		if failed = err; err != nil {
			return false
		}
		if there {
			list = append(list, e.file())
		}
		return len(list) < limit
	})
	return list, errors.Join(err, failed)
}

// each calls f with the entries of an owner, in the order of their ids, until it returns
// false.
func (s *Store) each(ctx context.Context, owner, after string, page int, f func(stored) (more bool)) error {
	prefix := ofFiles + ownerMark(owner) + "/"
	if after != "" {
		after = prefix + after
	}

	for {
		list, err := s.cfg.KV.List(ctx, prefix, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, v := range list {
			after = v.Key
			e, err := read(v)
			if err != nil {
				return err
			}
			if v.Owner == owner && !f(e) {
				return nil
			}
		}
	}
}

// Delete deletes a file, whether tasks name it or not, and also one whose content is not there
// yet. ErrNotFound: there is none.
func (s *Store) Delete(ctx context.Context, owner, id string) error {
	e, err := s.get(ctx, owner, id)
	if err == nil && !e.awaited() {
		e, err = s.find(ctx, owner, id)
	}
	if err != nil {
		return err
	}
	return s.remove(ctx, e)
}

// remove deletes everything of a file, the entry last. If it is broken off, the entry says
// that the file is going, and Sweep does the rest.
func (s *Store) remove(ctx context.Context, e stored) error {
	if e.State != going {
		e.State = going
		var err error
		if e, err = s.put(ctx, e); err != nil {
			return err
		}
	}

	if err := s.cfg.Files.DeleteAll(ctx, inFolder+e.at()); err != nil {
		return err
	}
	if err := s.unname(ctx, e); err != nil {
		return err
	}
	if s.cfg.Now().Before(e.Until) { // more may arrive
		return nil
	}
	if err := s.cfg.KV.Delete(ctx, e.kv.Key, e.kv.Version); !errors.Is(err, kv.ErrConflict) {
		return err
	}
	return nil // another process is at it
}

// unname deletes the entries of the tasks that name a file.
func (s *Store) unname(ctx context.Context, e stored) error {
	prefix := ofTasks + e.at() + "/"
	for {
		list, err := s.cfg.KV.List(ctx, prefix, "", kv.LimitCount)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, k := range list {
			task := strings.TrimPrefix(k.Key, prefix)
			if err := s.cfg.KV.Delete(ctx, byTask+task+"/"+e.at(), 0); err != nil {
				return err
			}
			if err := s.cfg.KV.Delete(ctx, k.Key, 0); err != nil {
				return err
			}
		}
	}
}
