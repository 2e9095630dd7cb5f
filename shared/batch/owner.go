package batch

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	"errand/shared/task"
)

// This file has what an owner's batches have in common: the list of them, and the few that
// have not ended.

// An Entry is the place of a batch in the list of its owner. It is written before the record,
// so an entry without a record of that time is none.
type Entry struct {
	ID string
	At time.Time // of the submission: Spec.At
}

// Entry returns the place of the batch of a spec.
func (s Spec) Entry(owner string) Entry { return Entry{ID: task.BatchID(owner, s.Name), At: s.At} }

// latest is the largest time of an entry in milliseconds. Keys count down from it, so that
// the newest batch comes first.
const latest = 9_999_999_999_999

// ListFolder returns the beginning of the keys of an owner's entries, the newest of which
// comes first.
func ListFolder(owner string) string { return ownerFolder(owner) + "at/" }

// Key returns the key of the entry.
func (e Entry) Key(owner string) string {
	return fmt.Sprintf("%s%013d/%s", ListFolder(owner), latest-e.At.UnixMilli(), e.ID)
}

// EntryOf returns the entry that has a key. Only what [Entry.Key] writes is one.
func EntryOf(owner, key string) (Entry, bool) {
	rest, ok := strings.CutPrefix(key, ListFolder(owner))
	at, id, _ := strings.Cut(rest, "/")
	n, err := strconv.ParseInt(at, 10, 64)
	e := Entry{ID: id, At: time.UnixMilli(latest - n).UTC()}
	return e, ok && err == nil && task.IsBatch(id) && !task.Foreign(owner, id) && e.Key(owner) == key
}

// ActiveKey returns the key of the value that names the batches of an owner that have not
// ended.
func ActiveKey(owner string) string { return ownerFolder(owner) + "active" }

// ownerFolder is the beginning of an owner's keys. The owner is a hash in it, because names
// have other characters than keys.
func ownerFolder(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	hash := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16])
	return "batches/" + strings.ToLower(hash) + "/"
}

// An Active is a value that names batches which may not have ended. Its names are persisted.
type Active struct {
	Batches []Entered `json:"batches"`
}

// An Entered is a batch in it.
type Entered struct {
	ID string    `json:"id"`
	At time.Time `json:"at"` // when it was last entered
}

// Times of the rule that no owner has more than MaxActive batches: a record is made within
// MakeWithin after its batch was entered, and a batch without a record is dropped when it was
// entered Reserved ago. Between the two is room for clocks that differ.
const (
	MakeWithin = 30 * time.Second
	Reserved   = 3 * time.Minute
)

// Enter adds a batch, or notes that it is entered once more. Then it may be made. ok is false
// if as many others are entered as may be: one of them has to be dropped first.
func (a Active) Enter(id string, now time.Time) (next Active, ok bool) {
	for _, e := range a.Batches {
		if e.ID != id {
			next.Batches = append(next.Batches, e)
		}
	}
	if len(next.Batches) >= MaxActive {
		return a, false
	}
	next.Batches = append(next.Batches, Entered{ID: id, At: now.UTC()})
	return next, true
}

// Drop removes the batches that drop says have ended, or are not there. A batch that is not
// there stays for a while, because it may be about to be made.
func (a Active) Drop(now time.Time, ended, missing func(id string) bool) (next Active) {
	for _, e := range a.Batches {
		if ended(e.ID) || missing(e.ID) && now.Sub(e.At) >= Reserved {
			continue
		}
		next.Batches = append(next.Batches, e)
	}
	return next
}

// Differs compares a spec with that of an earlier submission under the same name, and returns
// the first field that tells that they are two batches. It is empty for the same batch, which
// may have another deadline or another file of the same bytes.
func (s Spec) Differs(earlier Spec) (field string) {
	switch {
	case !s.Input.Same(earlier.Input):
		return "input"
	case s.onBad() != earlier.onBad():
		return "onBadLine"
	case !s.Budget.Equal(earlier.Budget):
		return "budget"
	case s.Retry != earlier.Retry:
		return "name" // of a retry
	case s.Endpoint != earlier.Endpoint:
		return "endpoint"
	case !maps.Equal(s.Metadata, earlier.Metadata):
		return "metadata"
	}
	return ""
}

// identity tells manifests apart: files by their content, and objects, whose content nobody
// has read yet, by their generation.
func (i Input) identity() string {
	if i.File != "" {
		return i.SHA256
	}
	return i.Object + "#" + strconv.FormatInt(i.Generation, 10)
}

// Same reports whether two inputs have the same content, as far as anyone can tell.
func (i Input) Same(other Input) bool { return i.identity() == other.identity() }

// DefaultName returns the name of a batch whose submitter gives it none: the SHA-256 of the
// manifest or, of an object, that of its name and generation.
func (i Input) DefaultName() string {
	if i.File != "" {
		return i.SHA256
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(i.identity())))
}

func (s Spec) onBad() string {
	if s.OnBad == "" {
		return Refuse
	}
	return s.OnBad
}

// MaxName is the longest name of a batch, in bytes.
const MaxName = 128

// retryMark stands between the name of a batch and the number of its retry.
const retryMark = "~"

var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// CheckName returns an error about a name that no submitter may give: it says what a name is.
// Names with a ~ are those of retries.
func CheckName(name string) error {
	if len(name) > MaxName || !names.MatchString(name) {
		return fmt.Errorf("must be 1 to %d letters, digits, points, - and _, and begin with a letter or a digit", MaxName)
	}
	return nil
}

// RetryName returns the name of the batch that runs the failed lines of a batch again: NAME~1
// after NAME, NAME~2 after NAME~1. So a retry that is asked for twice is one.
func RetryName(name string) string {
	first, count, _ := strings.Cut(name, retryMark)
	n, _ := strconv.Atoi(count)
	return first + retryMark + strconv.Itoa(n+1)
}
