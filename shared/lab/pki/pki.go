// Package pki makes certificate authorities and certificates for tests. It is no authority for
// anything else: its keys are in memory.
package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Authority issues certificates.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	PEM []byte // its own certificate
}

// New makes an authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t}
	a.cert, a.key, a.PEM = a.make(&x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// Server issues the certificate of a server at 127.0.0.1.
func (a *Authority) Server() tls.Certificate {
	return a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// Client issues the certificate of a client, which ends at a time. spiffe is its SPIFFE ID; empty: it
// has none.
func (a *Authority) Client(spiffe string, ends time.Time) tls.Certificate {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "client"}, NotAfter: ends, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if spiffe != "" {
		id, err := url.Parse(spiffe)
		if err != nil {
			a.t.Fatal(err)
		}
		c.URIs = []*url.URL{id}
	}
	return a.issue(c)
}

// Pool is the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Folder writes the files tls.crt and tls.key of a server, and ca.crt if there are authorities of
// clients, into a folder.
func (a *Authority) Folder(folder string, server tls.Certificate, clients *Authority) {
	a.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	files := map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate[0]}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
	if clients != nil {
		files["ca.crt"] = clients.PEM
	}

	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *Authority) issue(c *x509.Certificate) tls.Certificate {
	a.t.Helper()
	c.KeyUsage = x509.KeyUsageDigitalSignature
	leaf, key, _ := a.make(c)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// make signs a certificate with a new key, by itself if there is no authority yet.
func (a *Authority) make(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		a.t.Fatal(err)
	}
	c.NotBefore = time.Now().Add(-24 * time.Hour)

	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}

	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		a.t.Fatal(err)
	}
	return made, key, text.Bytes()
}
