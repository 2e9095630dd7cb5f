package egress_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"errand/shared/egress"
)

// BenchmarkPost sends a webhook of usual size to a receiver in the same process, whose work
// is counted too. The kept connection is net/http's own, and shows the cost of a fresh one.
func BenchmarkPost(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 2<<10)
	pair, cert := selfSigned(b, time.Now().Add(time.Hour))
	ecdsa := func(s *httptest.Server) { s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}} }
	plain, secure := newTrap(b, false, nil), newTrap(b, true, nil, ecdsa)
	trust := func(cfg *egress.Config) { cfg.Roots.AddCert(cert) }
	guarded := client(b, plain.addr()+","+secure.addr(), leads(secure, publicIP), trust)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	kept := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}}
	defer kept.CloseIdleConnections()

	for _, bm := range []struct {
		name, url string
		do        func(*http.Request) (*http.Response, error)
	}{
		{"http", plain.URL, guarded.Do},
		{"https", secure.named(), guarded.Do},
		{"https_kept_unguarded", secure.URL, kept.Do},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, bm.url, bytes.NewReader(body))
					if err != nil {
						b.Fatal(err)
					}

					resp, err := bm.do(req)
					if err != nil {
						b.Errorf("Do = %v, want an answer", err)
						return
					}

					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						b.Errorf("the body: %v", err)
					}

					resp.Body.Close()
				}
			})
		})
	}
}
