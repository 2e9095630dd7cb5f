package dialect

import (
	"encoding/base64"
	"errors"
	"mime"
	"net/url"
	"strings"
	"unicode"
)

// Base64 decodes bytes in the standard or the URL alphabet, padded or not: the JSON form of
// the proto allows all four.
func Base64(text string) (data []byte, ok bool) {
	for range 2 {
		text = strings.TrimSuffix(text, "=")
	}
	alphabet := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		alphabet = base64.RawURLEncoding
	}
	data, err := alphabet.DecodeString(text)
	return data, err == nil
}

const (
	plainType = "text/plain;charset=US-ASCII" // of a data URL that names no type
	maxType   = 256                           // bytes of a media type
)

// Faults of data URLs, for the client.
var (
	errNoComma = errors.New("is a data URL without a comma before its content: write data:image/png;base64,CONTENT")
	errNoType  = errors.New("is a data URL whose type is no media type: write data:image/png;base64,CONTENT")
	errCoded   = errors.New("is a data URL whose content is not base64: encode it, or leave ;base64 out")
	errEscaped = errors.New("is a data URL whose content has a character that must be escaped (%, # or a control character): write it as %25, %23 and so on, or in base64")
)

// IsDataURL reports whether a URL holds its content itself.
func IsDataURL(s string) bool {
	const scheme = "data:"
	return len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme)
}

// DataURL returns the content of a URL of which IsDataURL is true, and its media type. The error
// is for the client: it says what the URL is, and quotes nothing of it.
// https://www.rfc-editor.org/rfc/rfc2397
func DataURL(s string) (data []byte, mediaType string, err error) {
	_, s, _ = strings.Cut(s, ":")
	head, body, found := strings.Cut(s, ",")
	if !found {
		return nil, "", errNoComma
	}

	coded := false
	if i := strings.LastIndexByte(head, ';'); i >= 0 && strings.EqualFold(head[i+1:], "base64") {
		head, coded = head[:i], true
	}
	mediaType, ok := typeOf(head)
	if !ok {
		return nil, "", errNoType
	}

	text, err := url.PathUnescape(body)
	if coded && err == nil {
		if data, ok = Base64(text); !ok {
			return nil, "", errCoded
		}
		return data, mediaType, nil
	}
	if err != nil || strings.ContainsFunc(body, func(r rune) bool { return r == '#' || unicode.IsControl(r) }) {
		return nil, "", errEscaped
	}
	return []byte(text), mediaType, nil
}

// typeOf reads the type of a data URL. Without a name it is text, perhaps with parameters.
func typeOf(head string) (mediaType string, ok bool) {
	mediaType, err := url.PathUnescape(head)
	switch {
	case err != nil || len(mediaType) > maxType || strings.ContainsFunc(mediaType, unicode.IsControl):
		return "", false
	case mediaType == "":
		return plainType, true
	case mediaType[0] == ';':
		mediaType = "text/plain" + mediaType
	}
	name, _, err := mime.ParseMediaType(mediaType)
	if err != nil || !strings.Contains(name, "/") {
		return "", false
	}
	if i := strings.IndexByte(mediaType, ';'); i >= 0 {
		return name + mediaType[i:], true
	}
	return name, true // in lower case, as modes are
}

// Filename returns the last name of a path: scripts send a path where a file's name is asked
// for, and browsers send C:\fakepath\NAME. It is empty if the path ends with no name. ok is false
// if the name changes the direction of text.
// https://html.spec.whatwg.org/multipage/input.html#fakepath-srsly
func Filename(path string) (name string, ok bool) {
	name = path[strings.LastIndexAny(path, `/\`)+1:]
	switch strings.TrimSpace(name) {
	case "", ".", "..":
		return "", true
	}
	return name, !strings.ContainsFunc(name, Reorders)
}

// Reorders reports whether r opens or closes a run of reordered text (UAX 9), with which
// "gpj.exe" is shown as "exe.jpg".
func Reorders(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}
