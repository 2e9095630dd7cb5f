package turn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
	"errand/shared/uploads"
	"errand/worker/run"
)

// The files that a turn reads into its memory, because the model takes them in its request. A
// request to Vertex AI may have files of 7 MB each, and with Firebase's limit 20 MB together,
// encoded in base64; the Gemini API takes more.
//
//	https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/image-understanding
//	https://firebase.google.com/docs/ai-logic/input-file-requirements
//	https://ai.google.dev/gemini-api/docs/file-input-methods
const (
	MaxFile  = 7_000_000  // bytes of one
	MaxFiles = 14_000_000 // bytes of those in one run
	maxNamed = 100        // files of a conversation that are looked for
)

// Files are the files of owners: an *uploads.Store, of which a turn needs these methods.
type Files interface {
	Find(ctx context.Context, owner, id string) (uploads.File, error)
	Open(ctx context.Context, owner, id string, offset, length int64) (uploads.File, io.ReadCloser, error)
}

// A plan says what becomes of the parts that name files, in the order of eachFile.
type plan struct {
	parts []planned
	bytes int64 // of the contents
	found map[string]uploads.File
}

// A planned is a part that names a file.
type planned struct {
	file  uploads.File
	fault string // why it gets no content; empty: it gets one
}

// eachFile calls f for each part of messages that names a file: those of the message to answer
// first, and then from the newest to the oldest.
func eachFile(own *a2a.Task, related []*a2a.Task, f func(p *a2a.Part, id string)) {
	tasks := append(slices.Clone(related), own)
	for _, t := range slices.Backward(tasks) {
		for _, m := range slices.Backward(t.History) {
			if m == nil {
				continue
			}
			for _, p := range m.Parts {
				if id, ok := task.FileIn(p); ok {
					f(p, id)
				}
			}
		}
	}
}

// planFiles looks for the files that the messages of a run name.
func (w *Worker) planFiles(ctx context.Context, r task.Record, related []task.Record) (plan, error) {
	p := plan{found: map[string]uploads.File{}}
	if w.cfg.Files == nil {
		return p, nil
	}

	tasks := make([]*a2a.Task, len(related))
	for i, f := range related {
		tasks[i] = f.Task
	}
	var failed error
	eachFile(r.Task, tasks, func(_ *a2a.Part, id string) {
		if failed == nil {
			var one planned
			one, failed = w.planFile(ctx, &p, r.Owner, id)
			p.parts = append(p.parts, one)
		}
	})
	return p, failed
}

// planFile decides about one part.
func (w *Worker) planFile(ctx context.Context, p *plan, owner, id string) (planned, error) {
	if len(p.parts) >= maxNamed {
		return planned{fault: "The conversation names too many files."}, nil
	}
	f, known := p.found[id]
	if !known {
		var err error
		f, err = w.cfg.Files.Find(ctx, owner, id)
		switch {
		case errors.Is(err, uploads.ErrNotFound), errors.Is(err, uploads.ErrAwaited):
			return planned{fault: gone(id)}, nil
		case err != nil:
			return planned{}, fmt.Errorf("looking for the file %s: %w", id, err)
		}
		p.found[id] = f
	}

	switch {
	case f.Size > MaxFile:
		return planned{fault: fmt.Sprintf("The file %s has %d bytes, and the agent reads files of %d at most. Send a smaller one, or a part of it.", id, f.Size, MaxFile)}, nil
	case p.bytes+f.Size > MaxFiles:
		return planned{fault: fmt.Sprintf("The files of the message, with %s, have more than the %d bytes that the agent reads at once. Send fewer in one message.", id, MaxFiles)}, nil
	}
	p.bytes += f.Size
	return planned{file: f}, nil
}

func gone(id string) string {
	return fmt.Sprintf("The file %s is gone: it was deleted. Upload it again, and send another message.", id)
}

// fill puts the contents of files into the parts of copied tasks. A file that vanishes meanwhile
// is gone.
func (w *Worker) fill(ctx context.Context, p plan, owner string, own *a2a.Task, related []*a2a.Task) error {
	n := 0
	var failed error
	eachFile(own, related, func(part *a2a.Part, id string) {
		if n >= len(p.parts) || failed != nil {
			return
		}

		one := p.parts[n]
		n++
		var content []byte
		if one.fault == "" {
			var err error
			content, err = w.readFile(ctx, owner, one.file)
			switch {
			case errors.Is(err, uploads.ErrNotFound):
				one.fault = gone(id)
			case err != nil:
				failed = fmt.Errorf("reading the file %s: %w", id, err)
				return
			}
		}
		if one.fault != "" {
			run.MissFile(part, one.fault)
			return
		}
		run.FillFile(part, content, one.file.MediaType, one.file.Name)
	})

	return failed
}

// missURLs takes the URLs out of copied tasks that no executor may pass on for the owner. The
// front door has refused such URLs, so these are objects to which the owner has lost the right
// since.
func (w *Worker) missURLs(owner string, tasks []*a2a.Task) {
	for _, t := range tasks {
		for _, m := range t.History {
			if m == nil || m.Role == a2a.MessageRoleAgent {
				continue
			}
			for _, p := range m.Parts {
				c, ok := p.Content.(a2a.URL)
				if !ok {
					continue
				}
				if err := w.cfg.Objects.Pass(owner, string(c)); err != nil {
					run.MissURL(p, "The message "+err.Error()+".")
				}
			}
		}
	}
}

// readFile reads a file whole, which checks its hash.
func (w *Worker) readFile(ctx context.Context, owner string, f uploads.File) ([]byte, error) {
	_, r, err := w.cfg.Files.Open(ctx, owner, f.ID, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content := make([]byte, f.Size)
	_, err = io.ReadFull(r, content)
	return content, err
}
