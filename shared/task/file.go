package task

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// fileKey is the key of a part's metadata under which the front door notes that the part names
// a file of the task's owner.
const fileKey = "file"

// FileIn returns the id of the file that a part of a message names in place of a content, and
// reports whether it names one: by its metadata, or as data with nothing but the id.
func FileIn(p *a2a.Part) (id string, ok bool) {
	if p == nil {
		return "", false
	}
	switch c := p.Content.(type) {
	case a2a.URL:
		id, ok = p.Metadata[fileKey].(string)
	case a2a.Data:
		if data := object(c.Value); len(data) == 1 {
			id, ok = data[fileKey].(string)
		}
	}
	return id, ok && isFile(id)
}

// object returns a small JSON object, which a stored record has as text; nil if the value is
// another one.
func object(v any) (fields map[string]any) {
	const small = 128 // bytes
	switch v := v.(type) {
	case map[string]any:
		fields = v
	case json.RawMessage:
		if len(v) > small || json.Unmarshal(v, &fields) != nil {
			return nil
		}
	}
	return fields
}

// isFile reports whether a text has the form of a file's id.
func isFile(id string) bool {
	const mark, size = "file-", 26
	rest, ok := strings.CutPrefix(id, mark)
	return ok && len(rest) == size && strings.Trim(rest, alphabet) == ""
}

// MaxFiles is how many files a message may name.
const MaxFiles = 20

// fileURL matches the end of the path of a file's URL.
var fileURL = regexp.MustCompile(`/files/(file-[a-z2-7]{26})(/content)?$`)

// A NamedFile is a part of a message that names a file.
type NamedFile struct {
	Part int
	ID   string
	Type string // the media type that the part says itself; empty: the file's
}

// A FileFault says why the parts of a message cannot name files as they do.
type FileFault struct {
	Part  int // -1: all of them
	Fault string
}

// Error implements error.
func (e *FileFault) Error() string { return e.Fault }

// FilesIn finds the parts of a message that name files of an agent which is reached at these
// hosts, and notes the ids in those that do it by URL. The error is a *FileFault.
func FilesIn(m *a2a.Message, hosts ...string) (list []NamedFile, err error) {
	for i, p := range m.Parts {
		id, ok := FileIn(p)
		n := NamedFile{Part: i}
		if raw, is := p.Content.(a2a.URL); is {
			n.Type = p.MediaType
			if own := fileAt(string(raw), hosts); own != "" {
				if ok && id != own {
					return nil, &FileFault{i, "names one file by its URL and another one in its metadata"}
				}
				NameFile(p, own)
				id, ok = own, true
			}
		}
		if n.ID = id; ok {
			list = append(list, n)
		}
	}

	if len(list) > MaxFiles {
		return nil, &FileFault{-1, fmt.Sprintf("name %d files, and may name %d", len(list), MaxFiles)}
	}
	return list, nil
}

// NameFile notes that a part, whose content is a URL, names a file.
func NameFile(p *a2a.Part, id string) { p.SetMeta(fileKey, id) }

// fileAt returns the id of the file at a URL, or "".
func fileAt(raw string, hosts []string) string {
	found := fileURL.FindStringSubmatch(raw)
	if found == nil {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.RawQuery != "" || u.Fragment != "" || u.Host == "" {
		return ""
	}
	if !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, u.Host) }) {
		return ""
	}
	return found[1]
}
