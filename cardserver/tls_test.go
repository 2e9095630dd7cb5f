package main_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/shared/auth"
	"errand/shared/card"
	"errand/shared/lab/pki"
)

// Shows D21, D25. With a certificate of its own the program tells callers by theirs, for the card and
// for calls: a card for known callers is read with the right one, and with no, a wrong or an expired one
// it is not, whatever the headers say. A caller sees its own tasks alone.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	server, clients := pki.New(t), pki.New(t)
	folder := t.TempDir()
	server.Folder(folder, server.Server(), clients)
	hour := time.Now().Add(time.Hour)
	alice, bob := clients.Client("", hour), clients.Client("spiffe://acme.example/bob", hour)
	stranger, expired, wrong := clients.Client("", hour), clients.Client("", time.Now().Add(-time.Minute)), server.Client("", hour)

	digest := sha256.Sum256(alice.Certificate[0])
	key, hash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	text := fmt.Sprintf("card: known\nprincipals: [{name: alice, certificates: ['sha256:%x']}, {name: bob, certificates: ['spiffe://acme.example/bob'], keys: [%s]}]", digest, hash)
	if err := os.WriteFile(access, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "ERRAND_TLS="+folder, "ERRAND_ACCESS="+access)
	base := fmt.Sprintf("https://127.0.0.1:%d", p.port)
	spoofed := http.Header{
		"X-Client-Cert-Chain-Verified": {"true"}, "X-Client-Cert-Hash": {base64.StdEncoding.EncodeToString(digest[:])},
	}

	ask := func(c *tls.Certificate, header http.Header, method, path, body string) (status int, answer string) {
		t.Helper()
		cfg := &tls.Config{RootCAs: server.Pool()}
		if c != nil {
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
		}
		transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range header {
			req.Header[name] = values
		}
		req.Header.Set("Content-Type", "application/json")

		res, err := transport.RoundTrip(req)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		out, err := io.ReadAll(res.Body)
		if err != nil {
			return 0, err.Error() // TLS 1.3 refuses after the client's last word
		}
		return res.StatusCode, string(out)
	}

	for name, row := range map[string]struct {
		cert   *tls.Certificate
		header http.Header
		want   int // 0: the connection is refused
	}{
		"right": {&alice, nil, 200}, "by SPIFFE ID": {&bob, nil, 200}, "none": {nil, nil, 401}, "of nobody": {&stranger, nil, 403},
		"expired": {&expired, nil, 0}, "wrong": {&wrong, nil, 0},
		"none, and headers": {nil, spoofed, 401}, "of nobody, and headers": {&stranger, spoofed, 403},
		"none, and a key": {nil, http.Header{"X-Api-Key": {key}}, 200},
	} {
		if status, text := ask(row.cert, row.header, "GET", card.Path, ""); status != row.want {
			t.Errorf("%s: the card is answered %d %s", name, status, text)
		} else if status == 200 && (!strings.Contains(text, `"mtlsSecurityScheme"`) || !strings.Contains(text, `"mutualTLS"`) || !strings.Contains(text, base)) {
			t.Errorf("%s: the card is %s", name, text)
		}
	}

	message := `{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"text":"hello"}]}}`
	status, text := ask(&alice, nil, "POST", "/message:send", message)
	var sent struct {
		Task struct{ ID string }
	}
	if err := json.Unmarshal([]byte(text), &sent); err != nil || status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	for name, row := range map[string]struct {
		cert *tls.Certificate
		want int
	}{"its own": {&alice, 200}, "another's": {&bob, 404}, "nobody's": {nil, 401}} {
		if status, text := ask(row.cert, nil, "GET", "/tasks/"+sent.Task.ID, ""); status != row.want {
			t.Errorf("%s task is answered %d %s", name, status, text)
		}
	}
	if said := p.logged(); !strings.Contains(said, `via="certificate `+hex.EncodeToString(digest[:6])+`"`) {
		t.Errorf("the log does not say how alice came: %s", said)
	}
}

// Behind a load balancer that checks certificates, its headers stand for callers.
func TestMutualTLSOfALoadBalancer(t *testing.T) {
	t.Parallel()
	digest := bytes.Repeat([]byte{7}, sha256.Size)
	access := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(access, fmt.Appendf(nil, "card: known\nprincipals: [{name: alice, certificates: ['sha256:%x']}]", digest), 0o600); err != nil {
		t.Fatal(err)
	}
	for by, want := range map[string]int{"": 401, "loadbalancer": 200} {
		p := start(t, "ERRAND_ACCESS="+access, "ERRAND_CHECKED_BY="+by)
		req, err := http.NewRequestWithContext(t.Context(), "GET", p.url()+card.Path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Client-Cert-Chain-Verified", "true")
		req.Header.Set("X-Client-Cert-Hash", base64.StdEncoding.EncodeToString(digest))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("with ERRAND_CHECKED_BY=%q the headers are answered %d", by, res.StatusCode)
		}
	}
}
