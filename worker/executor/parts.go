package executor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/model"
	"errand/worker/run"
)

// convert returns the parts of a message or artifact in the form that the model reads. It
// leaves out empty parts. The name of a file comes before it as a text, because
// displayName is for tools of the service: https://pkg.go.dev/google.golang.org/genai#Blob
//
// objects says that the model reads objects of buckets.
func convert(role string, parts a2a.ContentParts, objects bool) []model.Part {
	out := make([]model.Part, 0, len(parts))
	for _, p := range parts {
		if p == nil {
			continue
		}
		c, ok := convertPart(role, p, objects)
		if !ok {
			continue
		}
		if named(p, c) {
			out = append(out, model.Part{Text: "(the file " + quoted(p.Filename) + ":)"})
		}
		out = append(out, c)
	}
	return out
}

// named reports whether a part has a file name that its converted form does not tell.
func named(p *a2a.Part, c model.Part) bool {
	switch p.Content.(type) {
	case a2a.Text, a2a.Data:
		return p.Filename != ""
	}
	_, file := run.FileOf(p)
	return p.Filename != "" && (c.Text == "" || file && len(p.Raw()) > 0)
}

func convertPart(role string, p *a2a.Part, objects bool) (model.Part, bool) {
	switch c := p.Content.(type) {
	case a2a.Text:
		return model.Part{Text: string(c)}, c != ""
	case a2a.Data:
		if _, file := run.FileOf(p); file {
			return model.Part{Text: fmt.Sprintf("(a file that cannot be read: %s)", label(p))}, true
		}
		return model.Part{Text: asJSON(c.Value)}, true

	case a2a.Raw:
		if role == model.RoleModel {
			// The models accept files only from users.
			return model.Part{Text: fmt.Sprintf("(a file: %s, %d bytes)", label(p), len(c))}, true
		}
		if _, file := run.FileOf(p); file && isText(p.MediaType) && utf8.Valid(c) {
			return model.Part{Text: string(c)}, len(c) > 0
		}
		return model.Part{Data: c, MIME: mediaType(p, c)}, len(c) > 0
	case a2a.URL:
		// URLs are never fetched here. The model's service may be able to read them, but not
		// those of files of the owner, nor those that the owner may not have read.
		_, file := run.FileOf(p)
		if !file && role == model.RoleUser && (fetched(c) || objects && isObject(p)) {
			return model.Part{URI: string(c), MIME: p.MediaType}, true
		}
		return model.Part{Text: fmt.Sprintf("(a file that cannot be read: %s)", label(p))}, true
	}
	return model.Part{}, false
}

// fetched reports whether a URL is one that the model's service fetches as anybody could.
func fetched(raw a2a.URL) bool {
	u, err := url.Parse(string(raw))
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}

// isObject reports whether a part names an object of a bucket.
func isObject(p *a2a.Part) bool {
	c, ok := p.Content.(a2a.URL)
	return ok && strings.HasPrefix(string(c), "gs://")
}

// missed returns why a file that the parts name cannot be read, or "".
func missed(parts a2a.ContentParts, objects bool) string {
	for _, p := range parts {
		if p != nil && !objects && isObject(p) {
			return "The message names an object in a bucket, and the model of this agent reads none: send the file itself, or an https URL."
		}
		fault, file := run.FileOf(p)
		if !file {
			continue
		}
		if _, read := p.Content.(a2a.Raw); !read {
			return cmp.Or(fault, "The message names a file, and this agent keeps none.")
		}
	}
	return ""
}

// fileBytes counts the bytes of the files in parts.
func fileBytes(parts a2a.ContentParts) (n int) {
	for _, p := range parts {
		if _, file := run.FileOf(p); file {
			n += len(p.Raw())
		}
	}
	return n
}

// isText reports whether the model reads a media type as text.
func isText(mediaType string) bool {
	kind, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return false
	}
	switch kind {
	case "application/json", "application/jsonl", "application/x-ndjson", "application/xml", "application/yaml":
		return true
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml")
}

// label names a file for the model. Its name comes from a stranger, so it stands in quotes.
func label(p *a2a.Part) string {
	name, kind := "", believed(p.MediaType)
	if p.Filename != "" {
		name = quoted(p.Filename)
	}
	return cmp.Or(strings.TrimSpace(name+" "+kind), "unnamed")
}

func quoted(name string) string { return fmt.Sprintf("%.255q", name) }

// mediaType is the type of bytes for the model. Types of text are sent without parameters such
// as charset, because the service knows the types of its list alone.
// https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
func mediaType(p *a2a.Part, data []byte) string {
	kind, _, _ := strings.Cut(p.MediaType, ";")
	switch {
	case strings.HasPrefix(kind, "text/"):
		return strings.TrimSpace(kind)
	case p.MediaType != "":
		return p.MediaType
	case utf8.Valid(data):
		return "text/plain"
	}
	return "application/octet-stream"
}

func asJSON(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Only a value that did not come as JSON fails here.
		return "(data that cannot be shown)"
	}
	return strings.TrimSpace(b.String())
}
