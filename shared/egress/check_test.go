package egress_test

import (
	"net/netip"
	"strings"
	"testing"

	"errand/shared/egress"

	"github.com/google/go-cmp/cmp"
)

// client makes a Client with this allow-list.
func client(t testing.TB, allow string, change ...func(*egress.Config)) *egress.Client {
	t.Helper()
	list, err := egress.ParseAllow(allow)
	if err != nil {
		t.Fatal(err)
	}
	cfg := egress.Config{Allow: list}
	for _, f := range change {
		f(&cfg)
	}
	c, err := egress.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestP17P19CheckURLRefuses(t *testing.T) {
	c := client(t, "")
	hosts := []string{
		// Spellings that some resolver takes for 127.0.0.1 or 0.0.0.0.
		"127.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "0", "0x", "127.0.0.1",
		"127.0.0.0x1", "LOCALHOST", "localhost", "localhost.", "a.localhost", "[::1]", "[::]", "[::ffff:7f00:1]",
		"[::ffff:127.0.0.1]", "[::1%25lo]", "[fe80::1%25eth0]", "[127.0.0.1]", "::1",
		"127。0。0。1", "①②⑦.⓪.⓪.①", "127.0.0.1", "%31%32%37.0.0.1", "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1",
		"127.0.0.1%00.example.com", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
		// Who is meant?
		"example.com@127.0.0.1", "127.0.0.1#@example.com", "127.0.0.1?@example.com", `127.0.0.1:80\@example.com`,
		`example.com\@127.0.0.1`, "user:pw@example.com", "user@example.com", "@example.com", ":@example.com",
		// Not hosts.
		"", ":443", "a b.example.com", "a\tb.example.com", "a\r\nb.example.com", "..", "*.", "*.example.com", "xn--",
		"xn--a.example.com", "a..example.com", ".example.com", "example.com..", "-a.example.com", "a_b.example.com",
		strings.Repeat("a", 300) + ".com", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 130) + "com",
		// Names of inner machines.
		"metadata", "intranet", "metadata.google.internal", "metadata.google.internal.", "169.254.169.254",
		"169.254.169.254.", "printer.local", "router.home.arpa", "storage.googleapis.com", "googleapis.com", "8.8.8.8",
		"[2606:4700:4700::1111]",
		// Ports.
		"example.com:0", "example.com:22", "example.com:25", "example.com:80", "example.com:65536", "example.com:0443",
		"example.com:", "example.com:443a", "example.com:-1", "example.com:99999999999999999999",
	}
	urls := []string{
		"", "https:", "https:/127.0.0.1", "https:127.0.0.1", "//127.0.0.1", "//example.com", "https:///", "https://", "example.com", "/path",
		"http://example.com", "http://example.com:443/", "http:/127.0.0.1", "http:127.0.0.1", "http:///",
		"file:///etc/passwd", "gopher://example.com/", "ftp://example.com/", "unix:///run/x", "data:text/plain,a", "javascript:alert(1)",
		"https://example.com/#", "https://example.com/#a", "https://example.com/a b", "https://example.com/\x00", "https://example.com/%zz",
		" https://example.com/", "https://example.com/\n", `https:\\example.com`, "https://example.com/" + strings.Repeat("a", 2048-19),
	}
	for _, host := range hosts {
		urls = append(urls, "https://"+host+"/", "http://"+host+"/", "https://"+host)
	}
	for _, raw := range urls {
		err := c.CheckURL(raw)
		if err == nil {
			t.Errorf("CheckURL(%q) = nil, want an error", raw)
		} else if !strings.HasPrefix(err.Error(), "must ") && !strings.HasPrefix(err.Error(), "is not ") {
			t.Errorf("CheckURL(%q) = %q, want a sentence that goes on after the field's name", raw, err)
		}
	}
}

func TestCheckURLAccepts(t *testing.T) {
	c := client(t, "")
	for _, raw := range []string{
		"https://example.com", "https://example.com/", "https://EXAMPLE.com/Hook?a=b&c=%20", "HTTPS://example.com/",
		"https://example.com:443/", "https://example.com:8443/x", "https://example.com./x", "https://a-b.c1.example.co.uk/",
		"https://bücher.example/", "https://xn--bcher-kva.example/", "https://1.example.com/", "https://127.0.0.1.nip.io/",
		"https://0x7f.example.com/", "https://internal.example.com/", "https://example.com/" + strings.Repeat("a", 2048-20),
	} {
		if err := c.CheckURL(raw); err != nil {
			t.Errorf("CheckURL(%q) = %v, want nil", raw, err)
		}
	}
}

func TestCheckURLWithAllowList(t *testing.T) {
	tests := []struct {
		allow, url string
		ok         bool
	}{
		{"127.0.0.1:8888", "http://127.0.0.1:8888/", true},
		{"127.0.0.1:8888", "https://127.0.0.1:8888/", true},
		{"127.0.0.1:8888", "http://localhost:8888/", true},
		{"127.0.0.1:8888", "http://LocalHost.:8888/", true},
		{"127.0.0.1:8888", "http://[::ffff:7f00:1]:8888/", true},
		{"127.0.0.1:8888", "http://127.0.0.1:8889/", false},
		{"127.0.0.1:8888", "http://127.0.0.2:8888/", false},
		{"127.0.0.1:8888", "http://localhost/", false},
		{"127.0.0.1:8888", "http://2130706433:8888/", false},
		{"127.0.0.1:8888", "http://127.0.0.1.:8888/", false},
		{"127.0.0.1:8888", "http://example.com:8888/", false},
		{"127.0.0.1:8888", "https://example.com:8888/", true}, // the address decides
		{"127.0.0.1:8888", "https://a.internal/", false},
		{"127.0.0.1:8888", "https://a.internal:8888/", true},
		{"127.0.0.1:8888", "https://receiver:8888/", false},
		{"[::1]:80", "http://localhost/", true},
		{"[::1]:80", "http://[::1]/", true},
		{"[::1]:80", "http://[::1%25lo]/", false},
		{"10.0.0.0/8:*", "http://10.1.2.3/", true},
		{"10.0.0.0/8:*", "http://10.1.2.3:1/", true},
		{"10.0.0.0/8:*", "http://11.1.2.3/", false},
		{"10.0.0.0/8:*", "http://localhost/", false},
		{"8.8.8.8:443, 9.9.9.9:443", "https://9.9.9.9/", true},
	}
	for _, tt := range tests {
		if err := client(t, tt.allow).CheckURL(tt.url); (err == nil) != tt.ok {
			t.Errorf("CheckURL(%q) with %q = %v, want ok %v", tt.url, tt.allow, err, tt.ok)
		}
	}
}

func TestCheckURLNeverRepeatsTheURL(t *testing.T) {
	for _, raw := range []string{"https://example.com/%zzhunter2", "https://user:hunter2@example.com/", "http://example.com/hunter2", "https://example.com:x/hunter2"} {
		if err := client(t, "").CheckURL(raw); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("CheckURL(%q) = %v, want an error without the URL", raw, err)
		}
	}
}

func TestParseAllow(t *testing.T) {
	got, err := egress.ParseAllow(" 127.0.0.1/32:8888,10.0.0.0/8:*, 192.168.1.7:443 ,[fd00::/8]:443,[::1]:* ")
	if err != nil {
		t.Fatal(err)
	}
	want := []egress.Destination{
		{Prefix: netip.MustParsePrefix("127.0.0.1/32"), Port: 8888},
		{Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		{Prefix: netip.MustParsePrefix("192.168.1.7/32"), Port: 443},
		{Prefix: netip.MustParsePrefix("fd00::/8"), Port: 443},
		{Prefix: netip.MustParsePrefix("::1/128")},
	}
	same := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("ParseAllow (-want +got):\n%s", diff)
	}
	for _, list := range []string{"", "  "} {
		if got, err := egress.ParseAllow(list); got != nil || err != nil {
			t.Errorf("ParseAllow(%q) = %v, %v, want nothing", list, got, err)
		}
	}
	for list, want := range map[string]string{
		"10.0.0.0/8":                "write PREFIX:PORT",
		"10.0.0.0/8:443,":           "write PREFIX:PORT",
		"fd00::/8:443":              "write PREFIX:PORT",
		"10.0.0.0/8:":               "the port must be a number",
		"10.0.0.0/8:0":              "the port must be a number",
		"10.0.0.0/8:65536":          "the port must be a number",
		"10.0.0.0/8:080":            "the port must be a number",
		"10.0.0.0/8:http":           "the port must be a number",
		"10.0.0.0/33:443":           "neither an address nor a prefix",
		"localhost:8888":            `"localhost:8888": "localhost" is neither`,
		"*:443":                     "neither an address nor a prefix",
		":443":                      "neither an address nor a prefix",
		"[fe80::1%eth0]:443":        "neither an address nor a prefix",
		"10.1.2.3/8:443":            "write 10.0.0.0/8",
		"[::ffff:127.0.0.1]:443":    "write the IPv4 form",
		"[::ffff:10.0.0.0/104]:443": "write the IPv4 form",
	} {
		if got, err := egress.ParseAllow(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseAllow(%q) = %v, %v, want an error with %q", list, got, err, want)
		}
	}
}

func TestNewRefusesDestinationsThatCannotMatch(t *testing.T) {
	for _, d := range []egress.Destination{{}, {Prefix: netip.MustParsePrefix("10.1.2.3/8")}, {Prefix: netip.MustParsePrefix("::ffff:0.0.0.0/96")}} {
		if _, err := egress.New(egress.Config{Allow: []egress.Destination{d}}); err == nil {
			t.Errorf("New accepted %v", d)
		}
	}
}
