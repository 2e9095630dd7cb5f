package auth_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"errand/shared/auth"
	"errand/shared/lab/pki"
)

// Certificates of clients: by fingerprint, by SPIFFE ID, one that the file does not know, and one that
// has expired.
type clients struct{ byHash, byID, unknown, old tls.Certificate }

func newClients(t *testing.T) clients {
	a := pki.New(t)
	ends := time.Now().Add(time.Hour)
	return clients{a.Client("", ends), a.Client("spiffe://acme.example/agent", ends), a.Client("spiffe://acme.example/other", ends), a.Client("spiffe://acme.example/agent", ends.Add(-2*time.Hour))}
}

func fingerprint(c tls.Certificate) []byte {
	digest := sha256.Sum256(c.Certificate[0])
	return digest[:]
}

func (c clients) file(t *testing.T) string {
	t.Helper()
	_, hash := auth.NewKey()
	return write(t, `
principals:
  - {name: alice, certificates: ["sha256:`+hex.EncodeToString(fingerprint(c.byHash))+`"]}
  - {name: bob, certificates: ["spiffe://acme.example/agent"]}
  - {name: carol, keys: [`+hash+`]}
`)
}

// headers are those of a load balancer for a certificate.
func headers(c tls.Certificate, spiffe string) http.Header {
	return http.Header{
		"X-Client-Cert-Chain-Verified": {"true"},
		"X-Client-Cert-Hash":           {base64.StdEncoding.EncodeToString(fingerprint(c))},
		"X-Client-Cert-Spiffe":         {spiffe},
	}
}

// A certificate stands for a principal, as its connection has it, or in the headers of a load
// balancer where these are believed, and nowhere else.
func TestCertificatesStandForPrincipals(t *testing.T) {
	c := newClients(t)
	path := c.file(t)
	direct, err := auth.Load(path, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	balanced, err := auth.Load(path, auth.Options{Balanced: true})
	if err != nil {
		t.Fatal(err)
	}

	connected := func(c tls.Certificate) *tls.ConnectionState {
		return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{c.Leaf}}}
	}
	changed := func(change func(http.Header)) http.Header {
		h := headers(c.byHash, "")
		change(h)
		return h
	}

	for name, row := range map[string]struct {
		access *auth.Access
		tls    *tls.ConnectionState
		header http.Header
		want   string // empty: refused
		status int
	}{
		"by fingerprint":                 {direct, connected(c.byHash), nil, "alice", 0},
		"by SPIFFE ID":                   {direct, connected(c.byID), nil, "bob", 0},
		"one that nobody knows":          {direct, connected(c.unknown), nil, "", 403},
		"none":                           {direct, &tls.ConnectionState{}, nil, "", 401},
		"one that has expired since":     {direct, connected(c.old), nil, "", 401},
		"one that was not verified":      {direct, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.byHash.Leaf}}, nil, "", 401},
		"headers, without a balancer":    {direct, nil, headers(c.byHash, ""), "", 401},
		"headers beside a certificate":   {direct, connected(c.unknown), headers(c.byHash, ""), "", 403},
		"balancer, by fingerprint":       {balanced, nil, headers(c.byHash, ""), "alice", 0},
		"balancer, by SPIFFE ID":         {balanced, nil, headers(c.byID, "spiffe://acme.example/agent"), "bob", 0},
		"balancer, nobody knows it":      {balanced, nil, headers(c.unknown, "spiffe://acme.example/other"), "", 403},
		"balancer, no certificate":       {balanced, nil, http.Header{"X-Client-Cert-Chain-Verified": {"false"}}, "", 401},
		"balancer, not verified":         {balanced, nil, changed(func(h http.Header) { h.Set("X-Client-Cert-Chain-Verified", "false") }), "", 401},
		"balancer, a header twice":       {balanced, nil, changed(func(h http.Header) { h.Add("X-Client-Cert-Hash", "x") }), "", 401},
		"balancer, verified twice":       {balanced, nil, changed(func(h http.Header) { h.Add("X-Client-Cert-Chain-Verified", "true") }), "", 401},
		"balancer, no fingerprint":       {balanced, nil, changed(func(h http.Header) { h.Del("X-Client-Cert-Hash") }), "", 401},
		"balancer, half a fingerprint":   {balanced, nil, changed(func(h http.Header) { h.Set("X-Client-Cert-Hash", "AAAA") }), "", 401},
		"balancer, no padding":           {balanced, nil, changed(func(h http.Header) { h.Set("X-Client-Cert-Hash", strings.TrimRight(h.Get("X-Client-Cert-Hash"), "=")) }), "alice", 0},
		"a wrong key beside it":          {direct, connected(c.byHash), http.Header{"X-Api-Key": {"errand_wrong"}}, "", 401},
		"balancer, a wrong key besides ": {balanced, nil, changed(func(h http.Header) { h.Set("X-API-Key", "errand_wrong") }), "", 401},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.TLS = row.tls
		if row.header != nil {
			r.Header = row.header
		}
		p, err := row.access.Identify(r)
		refusal, _ := errors.AsType[*auth.Refusal](err)
		if p.Owner != row.want || (refusal == nil) != (row.want != "") || refusal != nil && refusal.Status != row.status {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// A principal whose certificate is removed from the file is refused, and so are its open calls.
func TestCertificateIsRemoved(t *testing.T) {
	c := newClients(t)
	path := c.file(t)
	now := time.Now()
	a, err := auth.Load(path, auth.Options{Balanced: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = headers(c.byHash, "")
	p, err := a.Identify(r)
	if err != nil || !strings.HasPrefix(p.Via, "certificate ") {
		t.Fatalf("%+v, %v", p, err)
	}

	_, hash := auth.NewKey()
	if err := os.WriteFile(path, []byte("principals: [{name: alice, keys: ["+hash+"]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(31 * time.Second)
	if _, err := a.Identify(r); err == nil {
		t.Error("it still stands for alice")
	}
	held, cancel := a.Hold(auth.With(t.Context(), p))
	defer cancel()
	if auth.Gone(held) == nil {
		t.Error("its open calls go on")
	}
}
