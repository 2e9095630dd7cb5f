package tools

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// Limits of the reports of one call.
const (
	maxProgress  = 1 << 10 // bytes of a text
	maxReports   = 100     // texts
	maxArtifacts = 16      // artifacts
)

// A Reporter takes the reports of calls. InfoFrom finds the call in ctx. Its methods are
// called from the goroutines of tools, several at once. ctx ends with the call at the latest,
// and a method that waits must end with it: a call that was left behind may still be in one.
// The tool gets the error.
type Reporter interface {
	// Progress takes a text of 1 to 1,024 bytes of UTF-8.
	Progress(ctx context.Context, text string) error

	// Artifact takes the n-th artifact of this begin of the call, from 1. It has a name and at
	// least one part, and no ID: the Reporter gives it one. The Reporter owns the struct, and
	// shares its parts with the tool.
	Artifact(ctx context.Context, n int, a *a2a.Artifact) error
}

type reporterKey struct{}

// WithReporter gives the calls that are made with ctx their Reporter.
func WithReporter(ctx context.Context, r Reporter) context.Context {
	return context.WithValue(ctx, reporterKey{}, r)
}

// Progress tells the client how far the call that ctx belongs to has come: the text becomes
// the status message of the task. A call may report 100 texts of up to 1 KiB. The text need
// not be durable when Progress returns, and a newer one may replace it unseen.
//
// Outside of an executor, as in a test of the tool, Progress does nothing and returns nil.
func Progress(ctx context.Context, text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("the progress has no text")
	case !utf8.ValidString(text):
		return errors.New("the progress is not valid UTF-8")
	case len(text) > maxProgress:
		return fmt.Errorf("the progress has %d bytes, at most %d", len(text), maxProgress)
	}

	r, _ := ctx.Value(reportsKey{}).(*reports)
	if r == nil {
		return nil
	}
	if _, err := r.count(&r.texts, maxReports, "texts of progress"); err != nil {
		return err
	}
	ctx, end := r.untilEnd(ctx)
	defer end()
	return r.to.Progress(ctx, text)
}

// Artifact makes an artifact of the task, which the call that ctx belongs to has produced. A
// call may make 16. An artifact has at least one part. Without a name it gets the tool's. Its
// ID is set for it, and is the same when the call is begun again and makes its artifacts in
// the same order: then they replace those of before. The tool does not change the parts
// afterwards.
//
// Outside of an executor, as in a test of the tool, Artifact does nothing and returns nil.
func Artifact(ctx context.Context, a *a2a.Artifact) error {
	if a == nil || len(a.Parts) == 0 {
		return errors.New("the artifact has no part")
	}
	for _, p := range a.Parts {
		if p == nil || p.Content == nil {
			return errors.New("the artifact has an empty part")
		}
	}

	r, _ := ctx.Value(reportsKey{}).(*reports)
	if r == nil {
		return nil
	}

	own := *a
	own.ID = ""
	if own.Name == "" {
		own.Name = r.tool
	}

	n, err := r.count(&r.artifacts, maxArtifacts, "artifacts")
	if err != nil {
		return err
	}
	ctx, end := r.untilEnd(ctx)
	defer end()
	return r.to.Artifact(ctx, n, &own)
}

type reportsKey struct{}

// reports are the reports of one call.
type reports struct {
	to   Reporter
	tool string
	call context.Context // ends with the call

	mu               sync.Mutex
	texts, artifacts int
}

// beginReports returns the context of a call whose reports are counted, and a function to call
// at its end.
func beginReports(ctx context.Context, tool string) (context.Context, func()) {
	to, _ := ctx.Value(reporterKey{}).(Reporter)
	if to == nil {
		return ctx, func() {}
	}
	ctx, end := context.WithCancel(ctx)
	return context.WithValue(ctx, reportsKey{}, &reports{to: to, tool: tool, call: ctx}), end
}

// count adds one to a count of reports, unless the call has ended or may report no more.
func (r *reports) count(n *int, most int, what string) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.call.Err() != nil {
		return 0, errors.New("the call has ended: it reports nothing more")
	}
	if *n == most {
		return 0, fmt.Errorf("the call has reported %d %s, at most that many", most, what)
	}
	*n++
	return *n, nil
}

// untilEnd makes ctx end with the call at the latest.
func (r *reports) untilEnd(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.call, cancel)
	return ctx, func() { stop(); cancel() }
}
