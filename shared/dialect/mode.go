package dialect

import "strings"

// MediaType is the media type that a word means. The examples of 0.3 named the kinds of their
// parts where the specification asks for media types, and many clients still do. Any other
// word is what it says.
func MediaType(word string) string {
	switch {
	case strings.EqualFold(word, "text"):
		return "text/plain"
	case strings.EqualFold(word, "json"), strings.EqualFold(word, "data"):
		return "application/json"
	}
	return word
}
