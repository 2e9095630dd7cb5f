package batches

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/batch"
	"errand/shared/files"
)

// scan checks every line before anything runs (R19a). There is no checkpoint: a scan that is
// broken off begins again. An event ends the batch.
func (w *work) scan(ctx context.Context) (a2a.Event, error) {
	found, err := w.check(ctx)
	if r, refused := errors.AsType[*batch.Refusal](err); refused {
		return w.reject(ctx, found, r.Reason)
	}
	if err != nil {
		return nil, err
	}
	if n := len(found.Bad); n > 0 && w.spec.OnBad != batch.Skip {
		return w.reject(ctx, found, fmt.Sprintf("%d of %d lines cannot run, so none was begun. Correct them, or submit the batch with onBadLine=skip. %s", n, found.Lines, first(found.Bad)))
	}

	if err := w.keepScan(ctx, found); err != nil {
		return nil, err
	}
	copied := 0
	if w.spec.Retry != "" {
		if copied, err = w.keepCopies(ctx, found.Dialect); err != nil {
			return nil, err
		}
	}

	w.st.Dialect, w.st.Lines, w.st.Bad = found.Dialect, found.Lines, len(found.Bad)
	w.st.Estimate = w.estimate(ctx, found, copied)
	if err := w.save(ctx); err != nil {
		return nil, err
	}
	return nil, w.sayNow(ctx)
}

// check reads the manifest from its beginning to its end.
func (w *work) check(ctx context.Context) (batch.Scanned, error) {
	in, err := w.cfg.Manifests.Open(ctx, w.r.Owner, w.spec.Input, 0)
	if err != nil {
		return batch.Scanned{}, err
	}
	defer in.Close()
	var options batch.ScanOptions
	if w.spec.Endpoint != "" { // of OpenAI's interface, whose clients read results in its form
		options.Dialect = batch.OpenAI
	}
	found, err := batch.Scan(ctx, in, w.cfg.Form, options)
	if err == nil && w.spec.Input.SHA256 != "" && found.SHA256 != w.spec.Input.SHA256 {
		err = ErrGone
	}
	return found, err
}

const (
	toldBad  = 10   // bad lines that the status of a batch tells; the errors have all
	toldSize = 1200 // bytes of them
)

// first tells the first bad lines.
func first(bad []batch.Bad) string {
	var s strings.Builder
	for i, b := range bad {
		if i == toldBad || s.Len() > toldSize {
			fmt.Fprintf(&s, "and %d more: see the errors.", len(bad)-i)
			break
		}
		fmt.Fprintf(&s, "%s. ", b)
	}
	return strings.TrimSpace(s.String())
}

// reject ends a batch of which nothing runs. Its errors are the lines that cannot run.
func (w *work) reject(ctx context.Context, found batch.Scanned, why string) (a2a.Event, error) {
	w.st.Dialect, w.st.Lines, w.st.Bad, w.st.Error = found.Dialect, found.Lines, len(found.Bad), why
	to := w.sink(ctx, batch.ErrorsFile(w.id))
	var err error
	for _, b := range found.Bad {
		if err == nil {
			err = to.write(w.fault(b.Line, b.ID, b.Fault()).text)
		}
	}
	if err := to.end(err); err != nil {
		return nil, err
	}
	if err := w.putFile(ctx, batch.ResultsFile(w.id), linesType, strings.NewReader("")); err != nil {
		return nil, err
	}

	w.st.Closed, w.st.Whole = true, true
	if err := w.save(ctx); err != nil {
		return nil, err
	}
	return w.rejected(), nil
}

// rejected is the last event of a batch of which nothing runs.
func (w *work) rejected() a2a.Event {
	return w.end(a2a.TaskStateRejected, w.st.Error, batch.ErrorsFile(w.id))
}

// keepScan stores the index and the bad lines.
func (w *work) keepScan(ctx context.Context, found batch.Scanned) error {
	index, err := json.Marshal(found.Index)
	if err != nil {
		return err
	}
	var bad bytes.Buffer
	for _, b := range found.Bad {
		text, err := json.Marshal(b)
		if err != nil {
			return err
		}
		bad.Write(append(text, '\n'))
	}

	if err := w.putFile(ctx, batch.IndexFile(w.id), "application/json", bytes.NewReader(index)); err != nil {
		return err
	}
	if err := w.putFile(ctx, batch.BadFile(w.id), linesType, &bad); err != nil {
		return err
	}
	w.learn(found.Index, found.Bad)
	return nil
}

func (w *work) putFile(ctx context.Context, name, kind string, content io.Reader) error {
	_, err := w.cfg.Files.Put(ctx, files.Upload{Name: name, Owner: w.r.Owner, MediaType: kind}, content)
	return err
}

// learn remembers what a scan has found.
func (w *work) learn(index batch.Index, bad []batch.Bad) {
	w.scanned, w.index, w.bad = true, index, make(map[int]batch.Bad, len(bad))
	for _, b := range bad {
		w.bad[b.Line] = b
	}
}

// understand reads what the scan has found, unless this run knows it. If it is gone, the
// manifest is scanned again, which finds the same.
func (w *work) understand(ctx context.Context) error {
	if w.scanned {
		return nil
	}

	var index batch.Index
	var bad []batch.Bad
	err := w.readJSON(ctx, batch.IndexFile(w.id), func(d *json.Decoder) error { return d.Decode(&index) })
	if err == nil {
		err = w.readJSON(ctx, batch.BadFile(w.id), func(d *json.Decoder) (err error) {
			bad, err = badLines(d)
			return err
		})
	}

	switch {
	case errors.Is(err, files.ErrNotFound):
		found, err := w.check(ctx)
		if err != nil {
			return err
		}
		return w.keepScan(ctx, found)
	case err != nil:
		return fmt.Errorf("reading what the scan of the batch %s has found: %w", w.id, err)
	}
	w.learn(index, bad)
	return nil
}

// badLines reads the file of bad lines.
func badLines(d *json.Decoder) (bad []batch.Bad, err error) {
	for {
		var b batch.Bad
		err := d.Decode(&b)
		if errors.Is(err, io.EOF) {
			return bad, nil
		}
		if err != nil {
			return nil, err
		}
		bad = append(bad, b)
	}
}

func (w *work) readJSON(ctx context.Context, name string, decode func(*json.Decoder) error) error {
	_, in, err := w.cfg.Files.Get(ctx, name)
	if err != nil {
		return err
	}
	defer in.Close()
	return decode(json.NewDecoder(in))
}
