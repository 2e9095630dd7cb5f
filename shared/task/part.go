package task

import "github.com/a2aproject/a2a-go/v2/a2a"

// plainType is the media type of the texts that Errand itself makes.
const plainType = "text/plain"

// TextPart is a part with a text that Errand makes. It has a media type: clients that choose
// by it need no rule for its absence. The parts of clients and other executors stay as they
// came.
func TextPart(s string) *a2a.Part {
	p := a2a.NewTextPart(s)
	p.MediaType = plainType
	return p
}

// plainText reports whether a part holds nothing but text, so that text can be added to it.
func plainText(p *a2a.Part) bool {
	_, ok := p.Content.(a2a.Text)
	return ok && p.Filename == "" && (p.MediaType == "" || p.MediaType == plainType) && len(p.Metadata) == 0
}

// continues reports whether a text can be added to one before it.
func continues(before, p *a2a.Part) bool {
	return plainText(before) && plainText(p) && before.MediaType == p.MediaType
}

// added is a plain text with more at its end.
func added(p *a2a.Part, more string) *a2a.Part {
	out := *p
	out.Content = a2a.Text(p.Text() + more)
	return &out
}
