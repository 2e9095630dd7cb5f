package front

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
	"errand/shared/task"
	"errand/shared/uploads"
)

// This file has what the operations know of files: a part of a message may name one of the
// sender's, by its URL or its id.

// field is the name of a part in the request.
func field(part int) string { return fmt.Sprintf("message.parts[%d]", part) }

// filesIn finds the parts of a message that name files, and notes the ids in those that do it
// by URL.
func (o *operations) filesIn(ctx context.Context, m *a2a.Message) ([]task.NamedFile, error) {
	if o.cfg.Uploads == nil {
		return nil, nil
	}
	asked, _ := ctx.Value(hostKey{}).(string)
	hosts := []string{asked}
	if own, err := url.Parse(o.cfg.URL); err == nil {
		hosts = append(hosts, own.Host)
	}

	list, err := task.FilesIn(m, hosts...)
	if f, ok := errors.AsType[*task.FileFault](err); ok {
		if f.Part < 0 {
			return nil, wire.Invalid("message.parts", f.Fault)
		}
		return nil, wire.Invalid(field(f.Part), f.Fault)
	}
	return list, err
}

type hostKey struct{}

// withHost notes the address that a request was sent to.
func withHost(ctx context.Context, r *http.Request) context.Context {
	return context.WithValue(ctx, hostKey{}, r.Host)
}

// typesOf returns the media types of the files that parts name without a type of their own. A
// file that is not there has none: keepFiles refuses it, unless the message was accepted before.
func (o *operations) typesOf(ctx context.Context, owner string, list []task.NamedFile) (map[int]string, error) {
	types := map[int]string{}
	for _, n := range list {
		if n.Type != "" {
			types[n.Part] = n.Type
			continue
		}
		f, err := o.cfg.Uploads.Named(ctx, owner, n.ID)
		if err != nil && !errors.Is(err, uploads.ErrNotFound) && !errors.Is(err, uploads.ErrAwaited) {
			return nil, err
		}
		types[n.Part] = f.MediaType
	}
	return types, nil
}

// keepFiles keeps the files of a message for the task that it becomes a part of.
func (o *operations) keepFiles(ctx context.Context, owner, id string, list []task.NamedFile) error {
	for _, n := range list {
		_, err := o.cfg.Uploads.Keep(ctx, owner, n.ID, id, time.Time{})
		switch {
		case errors.Is(err, uploads.ErrNotFound):
			return &noFile{n.Part, "names no file of yours: upload it with POST /files"}
		case errors.Is(err, uploads.ErrAwaited):
			return &noFile{n.Part, "names a file whose content was not sent: send it to the URL that you were given"}
		case err != nil:
			return err
		}
	}
	return nil
}

// passURLs refuses a URL that the model may not be sent for the owner.
func (o *operations) passURLs(owner string, parts a2a.ContentParts) error {
	for i, p := range parts {
		if c, ok := p.Content.(a2a.URL); ok {
			if err := o.cfg.Objects.Pass(owner, string(c)); err != nil {
				return &noFile{i, err.Error()}
			}
		}
	}
	return nil
}

// A noFile is a part of a message that names a file which is not there, or may not be read.
type noFile struct {
	part int
	why  string
}

// Error implements error.
func (e *noFile) Error() string { return field(e.part) + " " + e.why }
