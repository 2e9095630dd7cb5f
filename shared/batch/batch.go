// Package batch decides about batches (R19): what a line of a manifest means, which lines are
// fed when, what a segment of results looks like, and when a batch has ended. It holds data and
// pure functions. It reads no store and runs nothing: worker/batches acts on its decisions,
// and cardserver/batches shows them.
//
// A batch is a task in the lane batches. Each line of its manifest is an item: an ordinary
// task in the lane bulk, whose record is made when it is about to run. So the manifest is the
// queue of the batch, and few of its lines are open at a time.
//
// What belongs to the batch B:
//
//	kv    batch/B/state              the cursor and the counts (State)
//	kv    batches/OWNER/at/TIME/B    its place in the list of its owner
//	kv    batches/OWNER/active       the owner's batches that have not ended
//	files batches/B/index            the offset of each 1,000th line
//	files batches/B/bad              the lines that cannot run, in the order of lines
//	files batches/B/results/NNNNNN   answers of a segment of 1,000 lines, until the batch has ended
//	files batches/B/errors/NNNNNN    errors of a segment
//	files batches/B/copies/NNNNNN    answers of the batch whose failed lines run again, until the batch has ended
//	files batches/B/results          all answers, once the batch has ended
//	files batches/B/errors           all errors
//
// The manifest itself is a file of its owner, or an object in a bucket.
package batch

import (
	"fmt"
	"time"

	"errand/shared/task"
)

// Limits of a batch.
const (
	MaxLines    = 1_000_000   // lines of a manifest
	MaxManifest = 2 << 30     // bytes of a manifest
	MaxLine     = 384 << 10   // bytes of a line: its item's record has room for an answer
	MaxBad      = 10_000      // bad lines that are kept; a file with more is no manifest
	MaxOpen     = 2000        // items of a batch that are open at a time
	MaxActive   = 4           // batches of an owner that have not ended
	MinDeadline = time.Minute // from the submission
	MaxDeadline = 7 * 24 * time.Hour
	Deadline    = 24 * time.Hour // the default
	PerSegment  = 1000           // lines of a segment
)

// What to do about lines that cannot run.
const (
	Refuse = "refuse" // the batch does not begin: the default
	Skip   = "skip"   // they are in the errors file, and the others run
)

// A Dialect is the form of the lines of a manifest, and of its results.
type Dialect string

// The dialects.
const (
	Errand Dialect = "errand" // {"id", "text" | "message", "skill", "metadata"}
	OpenAI Dialect = "openai" // {"custom_id", "method", "url", "body"}
)

// A Spec is what a submitter asked for. It is the data part of the first message of the
// batch's task, under the key batch. Later messages change Budget.
type Spec struct {
	Name     string    `json:"name"`
	At       time.Time `json:"at"` // of the submission, in whole milliseconds
	Input    Input     `json:"input"`
	Deadline time.Time `json:"deadline"`
	Budget   *Budget   `json:"budget,omitempty"`
	OnBad    string    `json:"onBadLine,omitempty"` // Refuse or Skip; empty: Refuse
	Retry    string    `json:"retry,omitempty"`     // id of the batch whose failed lines run again

	// Of OpenAI's interface, which shows them again.
	Endpoint string            `json:"endpoint,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// An Input is a manifest that does not change any more. Exactly one of File and Object is set.
type Input struct {
	File       string `json:"file,omitempty"`       // id of a file of the owner
	Object     string `json:"object,omitempty"`     // gs://BUCKET/NAME
	Generation int64  `json:"generation,omitempty"` // of the object
	SHA256     string `json:"sha256,omitempty"`     // of the file, in hexadecimal
	Size       int64  `json:"size"`                 // bytes
}

// A Budget bounds what the items of a batch may cost. One of its fields is set.
type Budget struct {
	Tokens   int64   `json:"tokens,omitempty"`
	Price    float64 `json:"price,omitempty"`    // in units of Currency
	Currency string  `json:"currency,omitempty"` // three letters, as in the operator's prices
}

// A State is the progress of a batch, as it is stored. Its names are persisted.
type State struct {
	Epoch   int64     `json:"epoch"`             // of the claim that wrote it: a lower one may not write
	Dialect Dialect   `json:"dialect,omitempty"` // of the manifest, by its first line
	Lines   int       `json:"lines"`             // of the manifest; 0: it has not been scanned to its end
	Bad     int       `json:"bad,omitempty"`     // lines that cannot run
	Fed     int       `json:"fed"`               // items up to this line have been made
	Offset  int64     `json:"offset"`            // of the line after Fed, in bytes
	Open    int       `json:"open"`              // items that had not ended at the last look
	Segs    int       `json:"segments"`          // segments that are whole
	Counts  Counts    `json:"counts"`            // of the lines in them
	Began   time.Time `json:"began,omitzero"`    // when the first item was made
	At      time.Time `json:"at,omitzero"`       // of the last look
	Rate    float64   `json:"rate,omitempty"`    // items that end in a second, lately
	Error   string    `json:"error,omitempty"`   // why the batch cannot go on by itself
	Closed  bool      `json:"closed,omitempty"`  // no line behind Fed begins any more
	Whole   bool      `json:"whole,omitempty"`   // the files of all answers and errors are there

	Estimate Estimate `json:"estimate,omitzero"` // of the cost, since Lines is known
}

// Counts are the outcomes of lines and their cost.
type Counts struct {
	Completed int        `json:"completed"`
	Failed    int        `json:"failed"`          // refused lines and canceled items included
	Items     int        `json:"items,omitempty"` // lines that became tasks
	Spent     task.Spent `json:"spent,omitzero"`
}

// Lines is the number of lines that the counts are of.
func (c Counts) Lines() int { return c.Completed + c.Failed }

// Ended is the number of lines whose outcome is known, collected or not.
func (s State) Ended() int { return max(s.Fed-s.Open, s.Counts.Lines()) }

// Names of what belongs to a batch. Segments count from 0: segment n has the lines
// n*PerSegment+1 to (n+1)*PerSegment.

// StateKey is the key of the [State] of a batch in kv.
func StateKey(id string) string { return "batch/" + id + "/state" }

// Folder has all files of a batch.
func Folder(id string) string { return "batches/" + id }

// IndexFile has the offset of each line that begins a segment ([Index]).
func IndexFile(id string) string { return Folder(id) + "/index" }

// BadFile has the lines that cannot run ([Bad]), in the order of lines.
func BadFile(id string) string { return Folder(id) + "/bad" }

// ResultsFile has the answers of all lines.
func ResultsFile(id string) string { return Folder(id) + "/results" }

// ErrorsFile has the errors of all lines.
func ErrorsFile(id string) string { return Folder(id) + "/errors" }

// ResultsSegment has the answers of segment n.
func ResultsSegment(id string, n int) string { return fmt.Sprintf("%s/results/%06d", Folder(id), n) }

// ErrorsSegment has the errors of segment n.
func ErrorsSegment(id string, n int) string { return fmt.Sprintf("%s/errors/%06d", Folder(id), n) }

// CopiesSegment has the answers of segment n that a batch takes over from the one before it.
func CopiesSegment(id string, n int) string { return fmt.Sprintf("%s/copies/%06d", Folder(id), n) }

// Name returns the name by which a submitter named the manifest.
func (i Input) Name() string {
	if i.File != "" {
		return i.File
	}
	return i.Object
}
