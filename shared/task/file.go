package task

import "github.com/a2aproject/a2a-go/v2/a2a"

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
		if data, is := c.Value.(map[string]any); is && len(data) == 1 {
			id, ok = data[fileKey].(string)
		}
	}
	return id, ok && id != ""
}

// NameFile notes that a part, whose content is a URL, names a file.
func NameFile(p *a2a.Part, id string) {
	if p.Metadata == nil {
		p.Metadata = map[string]any{}
	}
	p.Metadata[fileKey] = id
}
