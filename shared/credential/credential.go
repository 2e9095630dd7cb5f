// Package credential keeps the credentials that tasks are given while they run, such as the
// token of a repository: each sealed, for one task, and for a day at most. It makes and checks
// the URLs that take them.
//
// It is not shared/secret, which has the secrets of the installation. It knows no caller: the URL
// is the right to give a credential, and nothing but the agent's own code reads one.
package credential

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/keys"
	"errand/shared/kv"
	"errand/shared/loopback"
	"errand/shared/secret"
	"errand/shared/task"
)

// Limits.
const (
	MaxSize = 8 << 10        // bytes of a credential
	Keep    = 24 * time.Hour // how long a credential is kept, unless its task ends before
)

// A URL takes a credential for 12 to 24 hours. Runs of a turn ask with the same URL, because it
// changes only twice a day.
const (
	urlFor   = 24 * time.Hour
	urlEvery = 12 * time.Hour
)

// Errors.
var (
	// ErrURL says that the agent cannot name a URL that takes credentials.
	ErrURL = errors.New("no URL can take a credential")

	// ErrName says that no credential can have the name.
	ErrName = errors.New("not the name of a credential: use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter")

	// ErrValue says that a text cannot be a credential.
	ErrValue = fmt.Errorf("a credential is a text of 1 to %d bytes", MaxSize)

	// ErrNotAsked says that a task does not ask for the credential, or no longer.
	ErrNotAsked = errors.New("the task does not ask for this credential")
)

var names = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,63}$`)

// An Ask is the question of one turn for one credential.
type Ask struct {
	Task, Life string
	Turn       int
	Name       string
	Until      time.Time // when its URL ends
}

// AskOf is the question of the record's present turn.
func AskOf(r task.Record, name string, now time.Time) Ask {
	life := strings.Split(r.StepPrefix(), "/")[2]
	return Ask{Task: r.ID(), Life: life, Turn: r.Turn, Name: name, Until: now.UTC().Truncate(urlEvery).Add(urlFor)}
}

// path is the path of the URL without its beginning.
func (a Ask) path() string {
	return fmt.Sprintf("%s/%s/%d/%s/%d", a.Task, a.Life, a.Turn, a.Name, a.Until.Unix())
}

// parse reads a path. ok is false for what path does not write.
func parse(path string) (a Ask, ok bool) {
	p := strings.Split(path, "/")
	if len(p) != 5 {
		return Ask{}, false
	}
	turn, _ := strconv.Atoi(p[2])
	until, _ := strconv.ParseInt(p[4], 10, 64)
	a = Ask{Task: p[0], Life: p[1], Turn: turn, Name: p[3], Until: time.Unix(until, 0).UTC()}
	return a, a.path() == path
}

// key is the key of the credential in package kv.
func (a Ask) key(r task.Record) string {
	return fmt.Sprintf("%s%s/t%06d", r.CredentialPrefix(), a.Name, a.Turn)
}

// bound is what a sealed credential is bound to: moved elsewhere, it does not open.
func bound(owner, key string) string { return fmt.Sprintf("%q %q", owner, key) }

// Of reports whether the task of the record still asks the question.
func (a Ask) Of(r task.Record) bool {
	return r.State() == a2a.TaskStateAuthRequired && AskOf(r, a.Name, a.Until.Add(-urlFor)) == a
}

// messageID begins the ids of the messages that say that a credential was given.
const messageID = "credential."

// Given reports whether the record was told of a credential, so that some may be stored.
func Given(r task.Record) bool {
	return slices.ContainsFunc(r.Requests, func(q task.Request) bool { return strings.HasPrefix(q.ID, messageID) })
}

// Tell is the decision by which the task goes on: a message of its owner says that the
// credential was given, and not what it is. It changes nothing if the task was told before.
// ErrNotAsked: the task does not ask any more.
func (a Ask) Tell(r task.Record, now task.Moment) (next task.Record, changed bool, err error) {
	msg := &a2a.Message{
		ID: fmt.Sprintf("%s%s.%d.%s", messageID, a.Life, a.Turn, a.Name), Role: a2a.MessageRoleUser,
		TaskID: r.Task.ID, ContextID: r.Task.ContextID,
		Parts: a2a.ContentParts{a2a.NewTextPart("The credential " + a.Name + " was given.")},
	}
	print, err := task.Fingerprint(msg, msg.TaskID, msg.ContextID)
	if err != nil {
		return r, false, err
	}

	if known, err := r.Accepted(msg.ID, print); known {
		return r, false, err
	}
	if !a.Of(r) {
		return r, false, ErrNotAsked
	}
	return r.FollowUp(now, msg, task.Request{ID: msg.ID, Fingerprint: print, Extensions: r.Request().Extensions})
}

// Config holds the parts of a Store. All fields are required.
type Config struct {
	KV   kv.Store // of the database of the records
	Ring func(context.Context) (keys.Ring, error)
	Base func() string // the address of the agent; empty: it is not known
	Now  func() time.Time
}

// A Store keeps credentials. It is safe for concurrent use. Its errors hold none.
type Store struct{ cfg Config }

// New makes a Store.
func New(c Config) *Store { return &Store{c} }

// URL is the URL that takes the credential that is asked for. Errors: ErrURL, ErrName, or that
// the keys cannot be read.
func (s *Store) URL(ctx context.Context, a Ask) (string, error) {
	if !names.MatchString(a.Name) {
		return "", ErrName
	}
	base := s.cfg.Base()
	u, err := url.Parse(base)
	switch {
	case base == "":
		return "", fmt.Errorf("%w: set ERRAND_URL to the https address that clients use", ErrURL)
	case err != nil, u.Scheme != "https" && !(u.Scheme == "http" && loopback.Is(u.Host)):
		return "", fmt.Errorf("%w: ERRAND_URL must begin with https://, because only this machine may send credentials by plain HTTP", ErrURL)
	}

	ring, err := s.cfg.Ring(ctx)
	if err != nil {
		return "", err
	}
	signature := ring.SignCredentialURL(a.Until.Add(-urlFor), a.path())
	return strings.TrimSuffix(base, "/") + Path + "/" + a.path() + "?s=" + signature, nil
}

// Path begins the path of every URL that takes a credential.
const Path = "/credentials"

// Read returns the question of a URL. ok is false if the agent has not made the URL, or its time
// is over. The store is not asked.
func (s *Store) Read(ctx context.Context, path, signature string) (a Ask, ok bool, err error) {
	ring, err := s.cfg.Ring(ctx)
	if err != nil {
		return Ask{}, false, err
	}
	path = strings.TrimPrefix(path, Path+"/")
	genuine := ring.SignedCredentialURL(path, signature)
	a, formed := parse(path)
	return a, genuine && formed && s.cfg.Now().Before(a.Until), nil
}

// Give stores the credential that the task of the record asks for. The first one counts: first is
// false if there is one.
func (s *Store) Give(ctx context.Context, r task.Record, a Ask, value string) (first bool, err error) {
	if value == "" || len(value) > MaxSize || !utf8.ValidString(value) {
		return false, ErrValue
	}
	ring, err := s.cfg.Ring(ctx)
	if err != nil {
		return false, err
	}

	now, key := s.cfg.Now(), a.key(r)
	_, err = s.cfg.KV.Put(ctx, kv.Entry{
		Key: key, Owner: r.Owner, Expires: now.Add(Keep),
		Value: []byte(ring.SealCredential(now, bound(r.Owner, key), []byte(value))),
	})
	if errors.Is(err, kv.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// Withdraw deletes the credential that a question brought.
func (s *Store) Withdraw(ctx context.Context, r task.Record, a Ask) error {
	return s.cfg.KV.Delete(ctx, a.key(r), 0)
}

// Find returns the newest credential with the name that the task was given. ok is false if there
// is none. An error beside ok false is keys.ErrSealed: there is one, and it does not open.
func (s *Store) Find(ctx context.Context, r task.Record, name string) (v secret.Value, ok bool, err error) {
	if !names.MatchString(name) {
		return v, false, ErrName
	}
	list, err := s.cfg.KV.List(ctx, r.CredentialPrefix()+name+"/", "", kv.LimitCount)
	if err != nil || len(list) == 0 {
		return v, false, err
	}
	ring, err := s.cfg.Ring(ctx)
	if err != nil {
		return v, false, err
	}

	newest := list[len(list)-1]
	plain, err := ring.OpenCredential(bound(r.Owner, newest.Key), string(newest.Value))
	if err != nil {
		return v, false, err
	}
	v, err = secret.NewValue(plain)
	return v, err == nil, err
}

// Drop deletes the credentials of the task with the name; without a name, all.
func (s *Store) Drop(ctx context.Context, r task.Record, name string) error {
	prefix := r.CredentialPrefix()
	if name != "" {
		prefix += name + "/"
	}
	for {
		list, err := s.cfg.KV.List(ctx, prefix, "", kv.LimitCount)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, e := range list {
			if err := s.cfg.KV.Delete(ctx, e.Key, 0); err != nil {
				return err
			}
		}
	}
}
