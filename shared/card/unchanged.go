package card

import (
	"net/http"
	"strings"
)

// unchanged reports whether the client has this document already (RFC 9110, section
// 13.2.2): If-None-Match decides alone if it is present.
func (d *document) unchanged(header http.Header) bool {
	if tags, ok := header["If-None-Match"]; ok {
		for _, list := range tags {
			if d.listed(list) {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(header.Get("If-Modified-Since"))
	return err == nil && !d.modified.After(since)
}

// listed looks for the document's tag in one If-None-Match value by weak comparison: W/"x"
// matches "x". Tags are hexadecimal, so a comma inside a foreign quoted tag cannot make a
// false match.
func (d *document) listed(list string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == d.etag {
			return true
		}
	}
	return false
}
