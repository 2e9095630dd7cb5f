// Package uploads keeps the files that owners send: manifests of batches, and documents and
// images that messages name. It keeps the bytes in package files and what is known of them in
// package kv.
//
// A file is its owner's alone. For everybody else it does not exist. It stays for a day, and
// as long as a task that names it: Keep says that one does. It goes with the last of these
// tasks. It knows owners and tasks as words, and no batches. It checks no rights either: the
// caller says who the owner is.
//
// What belongs to the file ID of an owner whose hash is H:
//
//	kv    file/H/ID            what is known of it
//	kv    filetask/H/ID/TASK   a task that names it; the entry ends when the task may
//	kv    taskfile/TASK/H/ID   the same, to be found by the task
//	files uploads/H/ID/...     its bytes, and what killed uploads left of them
//
// The entry is written before the first byte, and deleted after the last one is. So whatever
// is killed, each byte lies under a name that an entry tells, and Sweep finds it.
package uploads

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"errand/shared/files"
	"errand/shared/kv"
	"errand/shared/memory"
)

// Limits of files.
const (
	MaxFile     = 100 << 20 // bytes of a file
	MaxManifest = 2 << 30   // bytes of a file whose purpose is Batch
	MaxFiles    = 1000      // files of an owner
	MaxName     = 255       // bytes of a file's name
	MaxPurpose  = 32        // bytes of its purpose

	Day    = 24 * time.Hour // how long a file stays that no task names
	Within = time.Hour      // how long an upload may take
)

// Batch is the purpose of the manifest of a batch. Other purposes are words of the owner.
const Batch = "batch"

// Errors. Those of package files may come too: files.ErrTooLarge, ErrMediaType, ErrRange and
// ErrCorrupt.
var (
	// ErrNotFound: the owner has no such file. Nobody learns whether another owner has it.
	ErrNotFound = errors.New("there is no such file: it was never yours, or it is deleted, or a day has passed since its upload and no task names it")

	ErrName    = fmt.Errorf("the name of a file has at most %d bytes of UTF-8 and no control characters", MaxName)
	ErrPurpose = fmt.Errorf("the purpose of a file is %q or another word of at most %d bytes: a-z, 0-9, - and _", Batch, MaxPurpose)
	ErrAwaited = errors.New("the content of this file was not sent, or its upload was not completed: send it, then POST /files/{id}:complete")
	ErrFiles   = fmt.Errorf("you have %d files, and may have no more: delete some with DELETE /files/{id}", MaxFiles)
)

// A FullError says that an owner may not store that much more.
type FullError struct {
	Size, Left int64 // bytes of the file, or 0 if it does not say; and what the owner may still store
}

// Error implements error.
func (e *FullError) Error() string {
	what := fmt.Sprintf("the file has %d bytes", e.Size)
	if e.Size == 0 {
		what = "the file is larger"
	}
	return fmt.Sprintf("%s, and you may store %d bytes more: delete files with DELETE /files/{id}, or tasks with DELETE /tasks/{id}", what, e.Left)
}

// A File is what is known of a file that is there, whole.
type File struct {
	ID        string
	Owner     string
	Name      string // as its owner calls it; may be empty
	Purpose   string // Batch, another word, or empty
	MediaType string
	Size      int64     // bytes
	SHA256    string    // of the content, 64 hexadecimal digits
	Created   time.Time // the end of the upload
}

// MaxSize is how many bytes a file of that purpose may have.
func MaxSize(purpose string) int64 {
	if purpose == Batch {
		return MaxManifest
	}
	return MaxFile
}

// Config is the configuration of a Store. Files and KV have no default.
type Config struct {
	Files *files.Store
	KV    kv.Store

	// Limit returns how many bytes the files of an owner may take together. Default: as many
	// as there is room for.
	Limit func(ctx context.Context, owner string) (int64, error)

	// Room returns an error while there is no room on the disk. It is asked before an upload,
	// and again and again while it goes on. Default: there is.
	Room func(ctx context.Context) error

	Memory *memory.Pool // of all uploads of the process; default: a sixteenth of it

	Now func() time.Time // default: time.Now
}

// A Store keeps files. It is safe for concurrent use by many processes.
//
// A nil error means that the change is durable. After an error that is not one of this package
// or of files, the change may have been made, and the caller may try again.
type Store struct{ cfg Config }

// New returns a Store.
func New(c Config) *Store {
	if c.Limit == nil {
		c.Limit = func(context.Context, string) (int64, error) { return math.MaxInt64, nil }
	}
	if c.Room == nil {
		c.Room = func(context.Context) error { return nil }
	}
	if c.Memory == nil {
		c.Memory = memory.Share(memoryShare)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Store{c}
}

// The states of an entry.
const (
	whole    = ""         // the file is there
	incoming = "incoming" // its bytes are on their way, or were when a process was killed
	dropping = "dropping" // it goes, unless a task names it
	going    = "going"    // its bytes are being deleted
)

// An entry is the value of file/H/ID. Its names are persisted.
type entry struct {
	State     string    `json:"state,omitempty"`
	Name      string    `json:"name,omitempty"`
	Purpose   string    `json:"purpose,omitempty"`
	MediaType string    `json:"mediaType"`
	Size      int64     `json:"size"` // while incoming: as announced, or 0
	SHA256    string    `json:"sha256,omitempty"`
	Created   time.Time `json:"created"` // while incoming: the beginning

	Content string `json:"content,omitempty"` // of a signed upload: its name in package files

	// Until is when no byte can arrive any more, whatever happened to the entry. It is deleted
	// after that. Zero: none can.
	Until time.Time `json:"until,omitzero"`
}

// A stored is an entry as it was read.
type stored struct {
	entry
	kv kv.Entry
}

func read(e kv.Entry) (stored, error) {
	s := stored{kv: e}
	if err := json.Unmarshal(e.Value, &s.entry); err != nil {
		return s, fmt.Errorf("reading about the file %s: %w", e.Key, err)
	}
	return s, nil
}

// write returns what kv keeps of s.
func (s stored) write() (kv.Entry, error) {
	text, err := json.Marshal(s.entry)
	s.kv.Value = text
	return s.kv, err
}

func (s stored) id() string { return s.kv.Key[strings.LastIndexByte(s.kv.Key, '/')+1:] }

func (s stored) file() File {
	return File{
		ID: s.id(), Owner: s.kv.Owner, Name: s.Name, Purpose: s.Purpose, MediaType: s.MediaType,
		Size: s.Size, SHA256: s.SHA256, Created: s.Created,
	}
}

// The keys and names of a file. at is H/ID.
const (
	ofFiles   = "file/"
	ofTasks   = "filetask/"
	byTask    = "taskfile/"
	inFolder  = "uploads/"
	ofContent = "/content"
)

func place(owner, id string) (at string) { return ownerMark(owner) + "/" + id }

// at is the place of the file.
func (s stored) at() string { return strings.TrimPrefix(s.kv.Key, ofFiles) }

// ownerMark is the owner in a key, which allows fewer characters than a name.
func ownerMark(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

var goodID = regexp.MustCompile(`^file-[a-z2-7]{26}$`)

// IsID reports whether a text has the form of a file's id.
func IsID(id string) bool { return goodID.MatchString(id) }

func newID() string { return "file-" + strings.ToLower(rand.Text()) }

var goodPurpose = regexp.MustCompile(`^[a-z0-9_-]{0,32}$`)

// check returns an error about a field that no file can have.
func check(name, purpose string) error {
	switch {
	case len(name) > MaxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return ErrName
	case !goodPurpose.MatchString(purpose):
		return ErrPurpose
	}
	return nil
}

// Find returns what is known of a file, or ErrNotFound. ErrAwaited: the owner has begun it, and
// its content is not there.
func (s *Store) Find(ctx context.Context, owner, id string) (File, error) {
	e, err := s.find(ctx, owner, id)
	return e.file(), err
}

func (s *Store) find(ctx context.Context, owner, id string) (stored, error) {
	e, err := s.get(ctx, owner, id)
	if err != nil {
		return stored{}, err
	}
	if e.awaited() {
		return stored{}, ErrAwaited
	}
	there, err := s.there(ctx, e)
	if err == nil && !there {
		err = ErrNotFound
	}
	if err != nil {
		return stored{}, err
	}
	return e, nil
}

// get reads the entry of a file in any state.
func (s *Store) get(ctx context.Context, owner, id string) (stored, error) {
	if !IsID(id) {
		return stored{}, ErrNotFound
	}
	e, err := s.cfg.KV.Get(ctx, ofFiles+place(owner, id))
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return stored{}, ErrNotFound
	case err != nil:
		return stored{}, err
	case e.Owner != owner: // two owners with one hash
		return stored{}, ErrNotFound
	}
	return read(e)
}

// there reports whether the file is there for its owner: after a day only if a task names it.
func (s *Store) there(ctx context.Context, e stored) (bool, error) {
	if e.State != whole {
		return false, nil
	}
	if s.cfg.Now().Before(e.Created.Add(Day)) {
		return true, nil
	}
	keeps, err := s.cfg.KV.List(ctx, ofTasks+e.at()+"/", "", 1)
	return len(keeps) > 0, err
}
