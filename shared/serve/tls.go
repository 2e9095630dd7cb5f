package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The files of a folder with certificates, by the names that Kubernetes gives them.
// https://kubernetes.io/docs/concepts/configuration/secret/#tls-secrets
const (
	certFile = "tls.crt" // the program's certificate and the chain to its authority
	keyFile  = "tls.key" // its private key
	caFile   = "ca.crt"  // the authorities of clients' certificates; may be missing
)

// certificatesEvery is how old what was read of the files may be. Certificates are renewed days
// before they end.
const certificatesEvery = time.Minute

// Certificates are the certificate of the program, and the authorities whose certificates
// its clients may show, in the files tls.crt, tls.key and ca.crt of a folder. The files are read
// again while the program runs.
type Certificates struct {
	folder string
	log    *slog.Logger
	now    func() time.Time

	mu   sync.Mutex
	read time.Time
	text [3][]byte // of the files
	kept *tls.Config
}

// ReadCertificates reads the files of a folder. An error names the file and the remedy.
func ReadCertificates(folder string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{folder: folder, log: log, now: time.Now}
	if err := c.again(); err != nil {
		return nil, err
	}
	return c, nil
}

// Config is for connections of now. A client without a certificate is let in, because what is
// public needs none and there are other credentials; one with a wrong or an old certificate is
// not.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, SessionTicketsDisabled: true, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return c.current(), nil
	}}
}

// current is the configuration by the files as they were a minute ago at most. Files that
// cannot be read change nothing.
func (c *Certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.read) >= certificatesEvery {
		if err := c.again(); err != nil {
			c.log.Error("the certificates stay as they were", "alert", true, "err", err)
		}
	}
	return c.kept
}

// again reads the files, and makes another configuration if they have changed. No session is ever
// resumed: it could outlive the authority that let its client in.
func (c *Certificates) again() error {
	c.read = c.now()
	var text [3][]byte
	for i, name := range []string{certFile, keyFile, caFile} {
		var err error
		if text[i], err = os.ReadFile(filepath.Join(c.folder, name)); err != nil && (name != caFile || !errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("%w; the folder needs %s and %s, and %s if clients may show certificates", err, certFile, keyFile, caFile)
		}
	}
	if c.kept != nil && bytes.Equal(text[0], c.text[0]) && bytes.Equal(text[1], c.text[1]) && bytes.Equal(text[2], c.text[2]) {
		return nil
	}

	pair, err := tls.X509KeyPair(text[0], text[1])
	if err != nil {
		return fmt.Errorf("%s and %s in %s: %w; they must be a certificate in PEM and its key", certFile, keyFile, c.folder, err)
	}
	next := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, SessionTicketsDisabled: true, Certificates: []tls.Certificate{pair}}
	if text[2] != nil {
		next.ClientAuth, next.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		if !next.ClientCAs.AppendCertsFromPEM(text[2]) {
			return fmt.Errorf("%s in %s has no certificate in PEM: put the authorities of clients there, or remove it", caFile, c.folder)
		}
	}
	c.kept, c.text = next, text
	return nil
}

// withTLS tells the handler of the TLS of a request's connection. The connections of HTTP are
// those of this package, so net/http does not see that there is TLS below.
func withTLS(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if state := tlsOf(r.Context()); state != nil {
			copied := *r
			copied.TLS = state
			r = &copied
		}
		h.ServeHTTP(w, r)
	})
}

// tlsOf is the TLS of a request's connection; nil: it has none.
func tlsOf(ctx context.Context) *tls.ConnectionState {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return nil
	}
	t, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := t.ConnectionState()
	return &state
}
