package task

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Encoded is the stored form of a record: two JSON texts without HTML escaping. Head is
// small and enough for a list. Body holds history, artifacts, inbox and log. The keys that
// stores index are columns of their own and repeat parts of Head.
type Encoded struct {
	Head []byte
	Body []byte
}

// Size is the number of bytes that counts against the limits of R14.
func (e *Encoded) Size() int { return len(e.Head) + len(e.Body) }

// head and body are the persisted names. Add or remove fields, never rename one.
type head struct {
	Schema        int            `json:"schema"`
	ID            a2a.TaskID     `json:"id"`
	Context       string         `json:"context"`
	Status        storedStatus   `json:"status"`
	Metadata      Object         `json:"metadata,omitempty"`
	Owner         string         `json:"owner,omitempty"`
	Lane          string         `json:"lane"`
	Seen          []Request      `json:"seen"`
	Turn          int            `json:"turn"`
	Since         time.Time      `json:"since"`
	Made          []Made         `json:"made,omitempty"`
	Webhooks      []Webhook      `json:"hooks,omitempty"`
	Gens          int64          `json:"gens,omitempty"`
	Seq           int64          `json:"seq,omitempty"`
	Notifications []Notification `json:"notes,omitempty"`
	Published     int            `json:"told,omitempty"`
	Epoch         int64          `json:"epoch,omitempty"`
	Attempt       int            `json:"attempt,omitempty"`
	Deaths        int            `json:"deaths,omitempty"`
	Blamed        int            `json:"blamed,omitempty"`
	Lease         *Lease         `json:"lease,omitempty"`
	Wake          *time.Time     `json:"wake,omitempty"`
	Asked         time.Time      `json:"asked"`
	Asks          []Ask          `json:"asks,omitempty"`
	Expires       *time.Time     `json:"expires,omitempty"`
	Due           *time.Time     `json:"due,omitempty"`
	DueLane       string         `json:"dueLane,omitempty"`
	Deleted       bool           `json:"deleted,omitempty"`
	Life          string         `json:"life,omitempty"`
	WakeKey       string         `json:"wakeKey,omitempty"`
	Steps         int            `json:"steps,omitempty"`
	First         int            `json:"first,omitempty"`
	Told          bool           `json:"wakeTold,omitempty"`
	Paused        *time.Time     `json:"paused,omitempty"`
	Broke         int            `json:"broke,omitempty"`
	Turned        Spent          `json:"turnSpent,omitzero"`
	Spent         Spent          `json:"spent,omitzero"`
	Held          int            `json:"held,omitempty"`
	Ends          *time.Time     `json:"ends,omitempty"`
	Settled       bool           `json:"settled,omitempty"`
	Origins       []Origin       `json:"origins,omitempty"`
}

type body struct {
	History   []*storedMessage  `json:"history,omitempty"`
	Artifacts []*storedArtifact `json:"artifacts,omitempty"`
	Inbox     []*storedMessage  `json:"inbox,omitempty"`
	Log       []storedEntry     `json:"log,omitempty"`
	Step      *Step             `json:"step,omitempty"`
	Marks     []Mark            `json:"marks,omitempty"`
	Asked     []Object          `json:"requestMetadata,omitempty"` // of head.Seen, one for each; none: no request has any
}

type storedStatus struct {
	State   a2a.TaskState  `json:"state"`
	At      *time.Time     `json:"at,omitempty"`
	Message *storedMessage `json:"message,omitempty"`
}

type storedMessage struct {
	ID         string          `json:"id"`
	Context    string          `json:"context,omitempty"`
	Task       a2a.TaskID      `json:"task,omitempty"`
	Role       a2a.MessageRole `json:"role"`
	Parts      []storedPart    `json:"parts"`
	Extensions []string        `json:"extensions,omitempty"`
	References []a2a.TaskID    `json:"references,omitempty"`
	Metadata   Object          `json:"metadata,omitempty"`
}

type storedArtifact struct {
	ID          a2a.ArtifactID `json:"id"`
	Name        string         `json:"name,omitempty"`
	Description string         `json:"description,omitempty"`
	Parts       []storedPart   `json:"parts"`
	Extensions  []string       `json:"extensions,omitempty"`
	Metadata    Object         `json:"metadata,omitempty"`
}

// storedPart tells its kinds apart by the field that is present. Data is raw so that a JSON
// null stays one.
type storedPart struct {
	Text     *string         `json:"text,omitempty"`
	Raw      *[]byte         `json:"raw,omitempty"`
	URL      string          `json:"url,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	Filename string          `json:"filename,omitempty"`
	Media    string          `json:"media,omitempty"`
	Metadata Object          `json:"metadata,omitempty"`
}

type storedEntry struct {
	Seq      int64           `json:"seq"`
	Status   *storedStatus   `json:"status,omitempty"`
	Artifact a2a.ArtifactID  `json:"artifact,omitempty"`
	Append   bool            `json:"append,omitempty"`
	Last     bool            `json:"last,omitempty"`
	Part     int             `json:"part,omitempty"`
	From     int             `json:"from,omitempty"`
	To       int             `json:"to,omitempty"`
	Inline   *storedArtifact `json:"inline,omitempty"`
	Metadata Object          `json:"metadata,omitempty"`
}

// Encode returns the stored form of the record. It is deterministic and does not hold
// Version. A record that was decoded without its body has only a head. ErrNewer: the
// record's schema is newer than this program's.
func (r Record) Encode() (*Encoded, error) {
	if r.encoded != nil {
		return r.encoded, nil
	}
	if r.Schema > Schema {
		return nil, fmt.Errorf("encoding task %s: %w", r.Task.ID, ErrNewer)
	}

	t := r.Task
	h := head{
		Schema: max(r.Schema, beforeSteps), ID: t.ID, Context: t.ContextID, Status: storeStatus(t.Status), Metadata: t.Metadata,
		Owner: r.Owner, Lane: r.Lane, Seen: r.Requests, Turn: r.Turn, Since: r.Since, Made: r.Made,
		Webhooks: r.Webhooks, Gens: r.Gens, Seq: r.Seq, Notifications: r.Notifications, Published: r.Published, Epoch: r.Epoch,
		Attempt: r.Attempt, Deaths: r.Deaths, Blamed: r.Blamed, Wake: timeOrNil(r.Wake), Asked: r.Asked, Asks: r.Asks, Expires: timeOrNil(r.Expires),
		Due: timeOrNil(r.Due.At), DueLane: r.Due.Lane, Deleted: r.Deleted,
		Life: r.Life, WakeKey: r.WakeKey, Steps: r.Steps, First: r.First, Told: r.Told, Paused: timeOrNil(r.Paused),
		Broke: r.Broke, Turned: r.Turned, Spent: r.Spent, Held: r.Held,
		Ends: timeOrNil(r.Ends), Settled: r.Settled, Origins: r.Origins,
	}

	if r.Lease != (Lease{}) {
		h.Lease = &r.Lease
	}

	b := body{
		History: mapSlice(t.History, storeMessage), Artifacts: mapSlice(t.Artifacts, storeArtifact),
		Inbox: mapSlice(r.Inbox, storeMessage), Log: mapSlice(r.Log, storeEntry), Step: r.Step, Marks: r.Marks,
	}
	if !r.headOnly {
		h.Seen, b.Asked = splitRequests(r.Requests)
	}

	headText, err := marshal(&h)
	if err != nil {
		return nil, fmt.Errorf("encoding task %s: %w", t.ID, err)
	}

	if len(r.extra) > 0 {
		if headText, err = withExtra(headText, r.extra); err != nil {
			return nil, fmt.Errorf("encoding task %s: %w", t.ID, err)
		}
	}

	if r.headOnly {
		return &Encoded{Head: headText}, nil
	}

	bodyText, err := marshal(&b)
	if err != nil {
		return nil, fmt.Errorf("encoding task %s: %w", t.ID, err)
	}

	return &Encoded{Head: headText, Body: bodyText}, nil
}

// splitRequests moves the metadata of requests out of the head, which lists read.
func splitRequests(all []Request) (seen []Request, metadata []Object) {
	if !slices.ContainsFunc(all, func(q Request) bool { return len(q.Metadata) > 0 }) {
		return all, nil
	}
	seen, metadata = slices.Clone(all), make([]Object, len(all))
	for i, q := range all {
		seen[i].Metadata, metadata[i] = nil, q.Metadata
	}
	return seen, metadata
}

// Decode reads a stored record. With a nil body, history, artifacts, inbox, log and the
// metadata of requests are left out, as for a list. Unknown fields are kept for the next
// Encode.
func Decode(headText, bodyText []byte, version int64) (Record, error) {
	var h head
	extra, err := unmarshalKeeping(headText, &h)
	if err != nil {
		return Record{}, unreadable("head", err)
	}

	var b body
	if bodyText != nil {
		if err := json.Unmarshal(bodyText, &b); err != nil {
			return Record{}, unreadable("body", err)
		}
	}

	status, err := loadStatus(h.Status)
	if err != nil {
		return Record{}, unreadable("status", err)
	}

	r := Record{
		Schema: h.Schema, Owner: h.Owner, Lane: h.Lane, Requests: h.Seen, Turn: h.Turn, Since: h.Since,
		Made: h.Made, Webhooks: h.Webhooks, Gens: h.Gens, Seq: h.Seq, Notifications: h.Notifications, Published: h.Published,
		Epoch: h.Epoch, Attempt: h.Attempt, Deaths: h.Deaths, Blamed: h.Blamed, Wake: timeOrZero(h.Wake), Asked: h.Asked, Asks: h.Asks,
		Due: Due{At: timeOrZero(h.Due), Lane: h.DueLane}, Expires: timeOrZero(h.Expires),
		Life: h.Life, WakeKey: h.WakeKey, Steps: h.Steps, First: h.First, Told: h.Told, Paused: timeOrZero(h.Paused),
		Broke: h.Broke, Turned: h.Turned, Spent: h.Spent, Step: b.Step, Marks: b.Marks,
		Deleted: h.Deleted, Held: h.Held, Ends: timeOrZero(h.Ends), Settled: h.Settled, Origins: h.Origins, Version: version, extra: extra, headOnly: bodyText == nil,
		Task: &a2a.Task{ID: h.ID, ContextID: h.Context, Status: status, Metadata: h.Metadata},
	}

	if h.Lease != nil {
		r.Lease = *h.Lease
	}

	for i, m := range b.Asked {
		if i < len(r.Requests) && m != nil {
			r.Requests[i].Metadata = m
		}
	}

	if r.Task.History, err = loadSlice(b.History, loadMessage); err == nil {
		if r.Task.Artifacts, err = loadSlice(b.Artifacts, loadArtifact); err == nil {
			if r.Inbox, err = loadSlice(b.Inbox, loadMessage); err == nil {
				r.Log, err = loadSlice(b.Log, loadEntry)
			}
		}
	}

	if err != nil {
		return Record{}, unreadable("body", err)
	}
	if bodyText != nil && h.Schema <= Schema {
		r.encoded = &Encoded{Head: headText, Body: bodyText}
	}

	return r, nil
}

// marshal is json.Marshal without the escaping of <, > and &, which would make a
// record of markup up to six times as large.
func marshal(v any) ([]byte, error) {
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// buffers are scratch space, because a record is encoded at every commit.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// unmarshalKeeping decodes strictly first, which costs nothing extra. Only a text with
// unknown fields is decoded a second time to keep them.
func unmarshalKeeping(text []byte, h *head) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if dec.Decode(h) == nil {
		return nil, nil
	}

	*h = head{}
	if err := json.Unmarshal(text, h); err != nil {
		return nil, err
	}

	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}

	for _, f := range reflect.VisibleFields(reflect.TypeFor[head]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		delete(all, name)
	}

	return all, nil
}

func withExtra(text []byte, extra map[string]json.RawMessage) ([]byte, error) {
	more, err := marshal(extra)
	if err != nil {
		return nil, err
	}
	return append(append(text[:len(text)-1:len(text)-1], ','), more[1:]...), nil
}

func mapSlice[A, B any](in []A, f func(A) B) []B {
	if in == nil {
		return nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

func loadSlice[A, B any](in []A, f func(A) (B, error)) ([]B, error) {
	if in == nil {
		return nil, nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		var err error
		if out[i], err = f(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func timeOrZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
