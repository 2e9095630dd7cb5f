package front

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/cardserver/front/wire"
	"errand/shared/task"
	"errand/shared/uploads"
)

// This file has what the operations know of files: a part of a message may name one of the
// sender's, by its URL or its id.

// maxFiles is how many files a message may name.
const maxFiles = 20

// fileURL matches the end of the path of a file's URL.
var fileURL = regexp.MustCompile(`/files/(file-[a-z2-7]{26})(/content)?$`)

// A named is a part of a message that names a file.
type named struct {
	part int
	id   string
}

// field is the name of the part in the request.
func (n named) field() string { return fmt.Sprintf("message.parts[%d]", n.part) }

// filesIn finds the parts of a message that name files, and notes the ids in those that do it
// by URL.
func (o *operations) filesIn(ctx context.Context, m *a2a.Message) (list []named, err error) {
	if o.cfg.Uploads == nil {
		return nil, nil
	}

	for i, p := range m.Parts {
		id, ok := task.FileIn(p)
		if raw, is := p.Content.(a2a.URL); is {
			if own := o.fileAt(ctx, string(raw)); own != "" {
				if ok && id != own {
					return nil, wire.Invalid(named{part: i}.field(), "names one file by its URL and another one in its metadata")
				}
				task.NameFile(p, own)
				id, ok = own, true
			}
		}
		if ok {
			list = append(list, named{i, id})
		}
	}

	if len(list) > maxFiles {
		return nil, wire.Invalid("message.parts", fmt.Sprintf("name %d files, and may name %d", len(list), maxFiles))
	}
	return list, nil
}

// fileAt returns the id of the file at a URL of this agent, or "".
func (o *operations) fileAt(ctx context.Context, raw string) string {
	found := fileURL.FindStringSubmatch(raw)
	if found == nil {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.RawQuery != "" || u.Fragment != "" {
		return ""
	}
	if own, err := url.Parse(o.cfg.URL); err == nil && own.Host != "" && strings.EqualFold(own.Host, u.Host) {
		return found[1]
	}
	if asked, _ := ctx.Value(hostKey{}).(string); strings.EqualFold(asked, u.Host) {
		return found[1]
	}
	return ""
}

type hostKey struct{}

// withHost notes the address that a request was sent to.
func withHost(ctx context.Context, r *http.Request) context.Context {
	return context.WithValue(ctx, hostKey{}, r.Host)
}

// typesOf returns the media types of the files that parts name without a type of their own. A
// file that is not there has none: keepFiles refuses it, unless the message was accepted before.
func (o *operations) typesOf(ctx context.Context, owner string, m *a2a.Message, list []named) (map[int]string, error) {
	types := map[int]string{}
	for _, n := range list {
		p := m.Parts[n.part]
		if _, byURL := p.Content.(a2a.URL); byURL && p.MediaType != "" {
			types[n.part] = p.MediaType
			continue
		}
		f, err := o.cfg.Uploads.Named(ctx, owner, n.id)
		if err != nil && !errors.Is(err, uploads.ErrNotFound) && !errors.Is(err, uploads.ErrAwaited) {
			return nil, err
		}
		types[n.part] = f.MediaType
	}
	return types, nil
}

// keepFiles keeps the files of a message for the task that it becomes a part of.
func (o *operations) keepFiles(ctx context.Context, owner, id string, list []named) error {
	for _, n := range list {
		_, err := o.cfg.Uploads.Keep(ctx, owner, n.id, id, time.Time{})
		switch {
		case errors.Is(err, uploads.ErrNotFound):
			return &noFile{n, "names no file of yours: upload it with POST /files"}
		case errors.Is(err, uploads.ErrAwaited):
			return &noFile{n, "names a file whose content was not sent: send it to the URL that you were given"}
		case err != nil:
			return err
		}
	}
	return nil
}

// A noFile is a part of a message that names a file which is not there.
type noFile struct {
	named
	why string
}

// Error implements error.
func (e *noFile) Error() string { return e.field() + " " + e.why }
