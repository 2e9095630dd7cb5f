package dialect_test

import (
	"bytes"
	"encoding/base64"
	"mime"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"errand/shared/dialect"
)

func TestDataURL(t *testing.T) {
	const plain = "text/plain;charset=US-ASCII"
	for s, want := range map[string]struct{ data, kind, fault string }{
		"data:,A%20brief%20note":                                  {"A brief note", plain, ""}, // of RFC 2397
		"data:text/plain;charset=iso-8859-7,%be%fg":               {"", "", "escaped"},
		"data:text/plain;charset=iso-8859-7,%be%d3%be":            {"\xbe\xd3\xbe", "text/plain;charset=iso-8859-7", ""},
		"data:IMAGE/PNG;A=B;base64,iVBOR+/8=":                     {"\x89PN\x47\xef\xfc", "image/png;A=B", ""},
		"data:image/png;base64,iVBOR+/8=":                         {"\x89PN\x47\xef\xfc", "image/png", ""},
		"data:image/png;base64,iVBOR-_8":                          {"\x89PN\x47\xef\xfc", "image/png", ""},
		"data:image/png;base64,iVBOR%2B%2F8%3D":                   {"\x89PN\x47\xef\xfc", "image/png", ""},
		"DATA:image/svg+xml;BASE64,PHN2Zy8+":                      {"<svg/>", "image/svg+xml", ""},
		"data:image/svg+xml,<svg/>":                               {"<svg/>", "image/svg+xml", ""},
		"data:image/svg+xml;utf8,<svg/>":                          {"", "", "media type"},
		"data:image/svg+xml,<svg fill='#fff'/>":                   {"", "", "escaped"},
		"data:text/plain,a\nb":                                    {"", "", "escaped"},
		"data:text/plain,a%0Ab,c":                                 {"a\nb,c", "text/plain", ""},
		"data:text/plain,100%":                                    {"", "", "escaped"},
		"data:;base64,YQ==":                                       {"a", plain, ""},
		"data:;charset=utf-8,%C3%A9":                              {"é", "text/plain;charset=utf-8", ""},
		"data:text/plain;charset=%22utf-8%22,a":                   {"a", `text/plain;charset="utf-8"`, ""},
		"data:base64,YQ==":                                        {"", "", "media type"},
		"data:png;base64,YQ==":                                    {"", "", "media type"},
		"data:image/png;base64;base64,YQ==":                       {"", "", "media type"},
		"data:image/png%0d%0a;base64,YQ==":                        {"", "", "media type"},
		"data:image/" + strings.Repeat("x", 300) + ";base64,YQ==": {"", "", "media type"},
		"data:image/png;base64,a":                                 {"", "", "base64"},
		"data:image/png;base64,<svg/>":                            {"", "", "base64"},
		"data:image/png;base64":                                   {"", "", "comma"},
		"data:":                                                   {"", "", "comma"},
		"data:,":                                                  {"", plain, ""},
	} {
		if !dialect.IsDataURL(s) {
			t.Errorf("%.60q is no data URL", s)
		}
		data, kind, err := dialect.DataURL(s)
		if want.fault != "" {
			if err == nil || !strings.Contains(err.Error(), want.fault) || data != nil || kind != "" {
				t.Errorf("%.60q is %q of %s, %v, want a fault about %s", s, data, kind, err, want.fault)
			}
			continue
		}
		if string(data) != want.data || kind != want.kind || err != nil {
			t.Errorf("%.60q is %q of %s, %v, want %q of %s", s, data, kind, err, want.data, want.kind)
		}
	}

	for _, s := range []string{"", "data", "dat:,x", "https://example.com/?data:,", " data:,x"} {
		if dialect.IsDataURL(s) {
			t.Errorf("%q is a data URL", s)
		}
	}
}

// FuzzDataURL: what is read is no larger than its text and has a media type, and what is written
// in either form is read back.
func FuzzDataURL(f *testing.F) {
	for _, s := range []string{",", "image/png;base64,YQ==", ";charset=utf-8,%C3%A9", "a/b;c=%22d%22;base64,-_8", "text/plain,100%", ";;base64,", "a/b;base64;base64,#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if data, kind, err := dialect.DataURL("data:" + s); err == nil {
			if _, _, err := mime.ParseMediaType(kind); err != nil || strings.ContainsFunc(kind, unicode.IsControl) || len(data) > len(s) {
				t.Errorf("%q is %d bytes of %q", s, len(data), kind)
			}
		}
		for _, written := range []string{"data:a/b;base64," + base64.StdEncoding.EncodeToString([]byte(s)), "data:a/b," + url.PathEscape(s)} {
			if data, kind, err := dialect.DataURL(written); err != nil || kind != "a/b" || !bytes.Equal(data, []byte(s)) {
				t.Errorf("%q is %q of %q, %v", written, data, kind, err)
			}
		}
	})
}

func TestFilename(t *testing.T) {
	for path, want := range map[string]string{
		"q1.png": "q1.png", "reports/2026/q1.png": "q1.png", `C:\fakepath\q1.png`: "q1.png", "a/b\\c": "c", "../../x": "x",
		"": "", ".": "", "..": "", "../..": "", "a/": "", `a\`: "", "a/ ": "", "/": "", ".env": ".env", "a b": "a b",
	} {
		if name, ok := dialect.Filename(path); name != want || !ok {
			t.Errorf("%q has the name %q, %v, want %q", path, name, ok, want)
		}
	}
	if name, ok := dialect.Filename("reports/a\u202egpj.exe"); ok {
		t.Errorf("%q is a name", name)
	}
	if name, ok := dialect.Filename("a\u202e/b.exe"); name != "b.exe" || !ok {
		t.Errorf("the name is %q, %v", name, ok)
	}
}
