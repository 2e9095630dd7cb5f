package egress_test

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
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

// The spellings of the catalogue. HOST becomes https and http with and without a path, and
// with the port of a trap to which every name leads: no name is looked up and the trap is not
// reached.
//
// Shows P17, P19.
func TestCheckURLRefuses(t *testing.T) {
	tr := newTrap(t, true, nil)
	_, port, _ := strings.Cut(tr.addr(), ":")
	var asked atomic.Int32
	c := client(t, tr.elsewhere(), leads(tr), func(cfg *egress.Config) {
		cfg.Resolver = egress.Answering(func(string) []netip.Addr {
			asked.Add(1)
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		})
	})

	long := strings.Repeat("a", 2048-len("https://example.com/"))
	for _, row := range []struct {
		row         string
		hosts, urls []string
	}{
		{"49 127.1", []string{"127.1", "127.0.1"}, nil},
		{"50 octal", []string{"0177.0.0.1", "127.0.0.01"}, nil},
		{"51 hexadecimal", []string{"0x7f.0.0.1", "127.0.0.0x1", "0x7F.0.0.1"}, nil},
		{"52 one hexadecimal number", []string{"0x7f000001", "0x", "0X7F000001"}, nil},
		{"53 one number", []string{"2130706433", "a.2130706433"}, nil},
		{"54 one octal number", []string{"017700000001"}, nil},
		{"55 nought", []string{"0", "00", "0.0.0.0"}, nil},
		{"56 LOCALHOST", []string{"LOCALHOST", "localhost", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"}, nil},
		{"57 localhost with a dot", []string{"localhost.", "localhost。", "localhost.."}, nil},
		{"59 IPv6", []string{"[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[::1]", "[::]", "[2606:4700:4700::1111]"}, nil},
		{"60 zone", []string{"[::1%25lo]", "[fe80::1%25eth0]"}, nil},
		{"61 IPv4 in brackets", []string{"[127.0.0.1]", "[example.com]"}, nil},
		{"62 IPv6 without brackets", []string{"::1", "fe80::1"}, nil},
		{"63 @", []string{"example.com@127.0.0.1", "@example.com", ":@example.com"}, nil},
		{"64 #", []string{"127.0.0.1#@example.com"}, []string{"https://example.com/#", "https://example.com/#a", "https://example.com#"}},
		{"65 ?", []string{"127.0.0.1?@example.com"}, nil},
		{"66 backslash", []string{`127.0.0.1:80\@example.com`, `example.com\@127.0.0.1`}, []string{`https:\\example.com`}},
		{"67 other dots", []string{"127。0。0。1", "127.0.0.1"}, nil},
		{"68 other digits", []string{"①②⑦.⓪.⓪.①", "１２７.0.0.1"}, nil},
		{"69 percent", []string{"%31%32%37.0.0.1", "%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1", "%65xample.com"}, []string{"https://example.com/%zz"}},
		{"70 NUL", []string{"127.0.0.1%00.example.com", "127.0.0.1\x00.example.com"}, []string{"https://example.com/\x00"}},
		{"71 white space", []string{"a b.example.com", "a\tb.example.com", "a\r\nb.example.com"}, []string{"https://example.com/a b", " https://example.com/", "https://example.com/\n"}},
		{"72 no host", []string{"", ":443"}, []string{"", "https:", "https:/127.0.0.1", "https:127.0.0.1", "//127.0.0.1", "//example.com", "https:///", "https://",
			"http:/127.0.0.1", "http:127.0.0.1", "http:///", "example.com", "/path"}},
		{"73 other schemes", nil, []string{"file:///etc/passwd", "gopher://example.com/", "ftp://example.com/", "unix:///run/x", "data:text/plain,a",
			"javascript:alert(1)", "ws://example.com/", "http://example.com", "http://example.com:443/"}},
		{"74 ports", []string{"example.com:0", "example.com:22", "example.com:25", "example.com:80", "example.com:65536", "example.com:0443", "example.com:080",
			"example.com:", "example.com:443a", "example.com:-1", "example.com:+443", "example.com:99999999999999999999"}, nil},
		{"75 no names", []string{strings.Repeat("a", 300) + ".com", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 130) + "com", "..", "*.", "*.example.com",
			"xn--", "xn--a.example.com", "a..example.com", ".example.com", "example.com..", "-a.example.com", "a_b.example.com"}, nil},
		{"76 inner names", []string{"metadata", "intranet", "metadata.google.internal", "metadata.google.internal.", "169.254.169.254.", "169.254.169.254",
			"printer.local", "a.localhost", "router.home.arpa", "storage.googleapis.com", "googleapis.com", "STORAGE.GoogleAPIs.com."}, nil},
		{"77 user", []string{"user:pw@example.com", "user@example.com", "user:hunter2@hunter2.example.com"}, nil},
		{"2,049 bytes", nil, []string{"https://example.com/" + long + "a"}},
	} {
		t.Run(row.row, func(t *testing.T) {
			urls := row.urls
			for _, host := range row.hosts {
				urls = append(urls, "https://"+host+"/", "http://"+host+"/", "https://"+host)
				if !slices.Contains([]string{"63", "64", "65", "72", "74"}, row.row[:2]) && row.row[:2] != "76" {
					urls = append(urls, "https://"+host+":"+port+"/hunter2", "http://"+host+":"+port+"/?hunter2")
				}
			}

			for _, raw := range urls {
				if err := c.CheckURL(raw); err == nil || !slices.Contains(egress.Sentences, err.Error()) {
					t.Errorf("CheckURL(%q) = %v, want one of its sentences", raw, err)
				}

				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, raw, nil)
				if err != nil {
					continue // not even a request
				}
				if resp, err := c.Do(req); !errors.Is(err, egress.ErrRefused) {
					t.Errorf("Do(%q) = %v, %v, want ErrRefused", raw, resp, err)
				}
			}
		})
	}

	t.Run("58 a name with an address in it", func(t *testing.T) {
		if err := c.CheckURL("https://127.0.0.1.nip.io:" + port + "/"); err != nil {
			t.Errorf("CheckURL = %v, want nil: it is a name like any other", err)
		}
		if resp, err := post(t, c, "https://127.0.0.1.nip.io:"+port+"/"); !errors.Is(err, egress.ErrRefused) || asked.Swap(0) == 0 {
			t.Errorf("Do = %v, %v, want ErrRefused after a look-up", resp, err)
		}
	})

	if got := tr.conns.Load(); got != 0 {
		t.Errorf("the trap had %d connections, want 0", got)
	}
	if got := asked.Load(); got != 0 {
		t.Errorf("%d names were looked up, want 0", got)
	}

	t.Run("control", func(t *testing.T) {
		c := client(t, tr.addr(), leads(tr, "127.0.0.1"))
		if resp, err := post(t, c, tr.named()); err != nil || resp.StatusCode != http.StatusOK || tr.conns.Load() != 1 {
			t.Errorf("Do = %v, %v, and %d connections, want 200 by one", resp, err, tr.conns.Load())
		}
	})
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
		{"127.0.0.1:8888", "http://example.com:8888/", true}, // the address decides
		{"127.0.0.1:8888", "http://receiver:8888/", true},
		{"127.0.0.1:8888", "http://receiver/", false},
		{"127.0.0.1:8888", "http://example.com/", false},
		{"127.0.0.1:8888", "http://storage.googleapis.com:8888/", false},
		{"127.0.0.1:8888", "https://example.com:8888/", true}, // the address decides
		{"127.0.0.1:8888", "https://a.internal/", false},
		{"127.0.0.1:8888", "https://a.internal:8888/", true},
		{"127.0.0.1:8888", "https://receiver:8888/", true},
		{"127.0.0.1:8888", "https://receiver/", false},
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

// An own URL is refused in any spelling, at its port and only there, even if it is allowed.
func TestOwnIsRefused(t *testing.T) {
	c := client(t, "127.0.0.1:*,[::1]:*,10.0.0.0/8:*", func(cfg *egress.Config) {
		cfg.Own = []string{
			"https://Agent.example.com/a2a", "https://worker.example.com:8443", "http://bücher.example:443", "http://127.0.0.1:8080", "http://10.0.0.1",
			"http://no_name:8080", "http://10.0.0.2:0", // these cannot be written in a URL that is accepted
		}
	})

	for raw, own := range map[string]bool{
		"https://agent.example.com/":              true,
		"https://AGENT.example.com.:443/":         true,
		"https://agent.example.com:8443/":         false,
		"https://other.example.com/":              false,
		"https://agent.example.com.evil.example/": false,
		"https://worker.example.com/":             false,
		"https://worker.example.com:8443/":        true,
		"https://xn--bcher-kva.example/":          true,
		"http://127.0.0.1:8080/":                  true,
		"http://[::ffff:127.0.0.1]:8080/":         true,
		"http://[::1]:8080/":                      true,
		"http://localhost:8080/":                  true,
		"http://LOCALHOST.:8080/":                 true,
		"http://127.0.0.1:9099/":                  false,
		"http://localhost:9099/":                  false,
		"http://10.0.0.1/":                        true,
		"http://10.0.0.1:80/":                     true,
		"http://10.0.0.2/":                        false,
	} {
		err := c.CheckURL(raw)
		if got := err != nil && err.Error() == "must not be this agent itself: name the host that receives the webhook"; got != own || !own && err != nil {
			t.Errorf("CheckURL(%s) = %v, want own %v", raw, err, own)
		}
	}

	for _, own := range []string{"", "agent.example.com", "https://", "https://%zz"} {
		if _, err := egress.New(egress.Config{Own: []string{own}}); err == nil || !strings.Contains(err.Error(), "write it as https://host") {
			t.Errorf("New(Own: %q) = %v, want an error with the form of one", own, err)
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
		"0.0.0.0/0:*":               "nearly every address",
		"0.0.0.0/0:443":             "nearly every address",
		"128.0.0.0/1:443":           "nearly every address",
		"[::/0]:443":                "nearly every address",
		"[fc00::/6]:443":            "nearly every address",
		"169.254.0.0/16:80":         "the metadata server 169.254.169.254 at port 80",
		"169.254.169.254:*":         "the metadata server 169.254.169.254",
		"169.254.170.2:80":          "the metadata server 169.254.170.2",
		"[fd00::/8]:*":              "the metadata server fd20:ce::254",
		"[fd00:ec2::/32]:80":        "the metadata server fd00:ec2::254",
	} {
		if got, err := egress.ParseAllow(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseAllow(%q) = %v, %v, want an error with %q", list, got, err, want)
		}
	}
}

// Prefixes that only look like the refused ones are allowed.
func TestParseAllowTakesPrivateNetworks(t *testing.T) {
	for _, list := range []string{"10.0.0.0/8:*", "100.64.0.0/10:*", "169.254.0.0/16:443", "169.254.1.0/24:80", "[fc00::/7]:443", "[fd00:1::/32]:*"} {
		if _, err := egress.ParseAllow(list); err != nil {
			t.Errorf("ParseAllow(%q): %v", list, err)
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
