package uploads

import (
	"context"
	"errors"
	"time"

	"errand/shared/files"
)

// Lifetime is how long a signed upload may begin.
const Lifetime = time.Hour

// Begin makes a new file whose content its owner sends to the service of the files, by the
// request that Begin returns. The file is there after Complete. u.Size is required, and the
// service takes a content of no other size. files.ErrNoSigning: there is no such service, and
// the content is for Create.
func (s *Store) Begin(ctx context.Context, owner string, u Upload) (id string, signed files.SignedUpload, err error) {
	e, _, err := s.begin(ctx, owner, u, entry{Until: s.cfg.Now().Add(Lifetime + Day).UTC()})
	if err != nil {
		return "", files.SignedUpload{}, err
	}

	signed, err = s.cfg.Files.SignUpload(ctx, e.upload(), Lifetime)
	if err == nil {
		e.Content = signed.Content
		e, err = s.put(ctx, e)
	}
	if err != nil {
		e.Until = time.Time{} // nobody has the request
		s.undo(ctx, e)
		return "", files.SignedUpload{}, err
	}
	return e.id(), signed, nil
}

// upload is the entry as package files takes it.
func (s stored) upload() files.Upload {
	return files.Upload{Name: inFolder + s.at() + ofContent, Owner: s.kv.Owner, MediaType: s.MediaType, Size: s.Size, Max: MaxSize(s.Purpose)}
}

// Complete makes the file be there whose content was sent, and returns it; and so it does for
// a file that is there. It reads the content once, to hash it. files.ErrNoContent: it has not
// been sent.
func (s *Store) Complete(ctx context.Context, owner, id string) (File, error) {
	e, err := s.get(ctx, owner, id)
	if err != nil {
		return File{}, err
	}
	if !e.awaited() {
		return s.Find(ctx, owner, id)
	}

	info, err := s.cfg.Files.Adopt(ctx, e.upload(), e.Content)
	if err != nil {
		return File{}, err
	}

	e.Size, e.SHA256, e.MediaType = info.Size, info.SHA256, info.MediaType
	done, err := s.finish(ctx, e)
	if errors.Is(err, ErrNotFound) { // a concurrent Complete was faster, or a deletion, which takes what was adopted
		return s.Find(ctx, owner, id)
	}
	return done.file(), err
}

// Named returns a file that its owner names, in a message or as the manifest of a batch. One
// whose content was sent is completed by that. ErrAwaited: it was not sent.
func (s *Store) Named(ctx context.Context, owner, id string) (File, error) {
	e, err := s.findNamed(ctx, owner, id)
	return e.file(), err
}

func (s *Store) findNamed(ctx context.Context, owner, id string) (stored, error) {
	e, err := s.find(ctx, owner, id)
	if !errors.Is(err, ErrAwaited) {
		return e, err
	}

	_, err = s.Complete(ctx, owner, id)
	switch {
	case errors.Is(err, files.ErrNoContent):
		return stored{}, ErrAwaited
	case err != nil:
		return stored{}, err
	}
	return s.find(ctx, owner, id)
}

// awaited reports whether the content comes by a signed request.
func (e entry) awaited() bool { return e.State == incoming && e.Content != "" }
