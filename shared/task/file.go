package task

import (
	"encoding/json"
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

// NameFile notes that a part, whose content is a URL, names a file.
func NameFile(p *a2a.Part, id string) { p.SetMeta(fileKey, id) }
