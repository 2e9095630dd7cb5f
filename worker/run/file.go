package run

import (
	"github.com/a2aproject/a2a-go/v2/a2a"

	"errand/shared/task"
)

// A part of a message may name a file of the task's owner in place of a content. The executor
// gets the content instead, with the type and the name of the file. A file that is too large,
// or gone, stays as it was named, with the reason. The URL of an object that the owner may not have
// read is taken out of its part, and the reason is there.

// faultKey is the key of a part's metadata that holds the reason. It is never stored.
const faultKey = "fileFault"

// FileOf reports whether a part names, or named, a file. fault is the reason why its content is
// not in it, as a sentence for the client.
func FileOf(p *a2a.Part) (fault string, ok bool) {
	if p == nil {
		return "", false
	}
	if _, raw := p.Content.(a2a.Raw); raw {
		_, ok = p.Metadata[contentKey].(bool)
		return "", ok
	}
	fault, noted := p.Metadata[faultKey].(string)
	_, url := p.Content.(a2a.URL)
	if _, ok = task.FileIn(p); ok || url && noted {
		return fault, true
	}
	return "", false
}

// contentKey is the key of a part's metadata that says that its content is that of a file.
const contentKey = "fileContent"

// FillFile puts the content of a file in the place of its name. An empty media type or name of
// the part becomes that of the file.
func FillFile(p *a2a.Part, content []byte, mediaType, name string) {
	if _, byURL := p.Content.(a2a.URL); !byURL || p.MediaType == "" {
		p.MediaType = mediaType
	}
	if p.Filename == "" {
		p.Filename = name
	}
	p.Content = a2a.Raw(content)
	p.SetMeta(contentKey, true)
}

// MissFile notes why the content of a file is not in its part.
func MissFile(p *a2a.Part, fault string) { p.SetMeta(faultKey, fault) }

// MissURL takes a URL that may not be passed on for the owner out of its part, and notes why.
func MissURL(p *a2a.Part, fault string) {
	p.Content = a2a.URL("")
	MissFile(p, fault)
}
