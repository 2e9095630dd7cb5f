package auth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// The headers in which a load balancer passes on what it knows of the client's certificate, by
// the names in Google's documentation. The operator sets them (infra/edge.tf does).
// https://cloud.google.com/load-balancing/docs/https/custom-headers#mtls-variables
const (
	certVerified = "X-Client-Cert-Chain-Verified" // {client_cert_chain_verified}: true or false
	certHash     = "X-Client-Cert-Hash"           // {client_cert_sha256_fingerprint}: Base64
	certSPIFFE   = "X-Client-Cert-SPIFFE"         // {client_cert_spiffe_id}: empty without one
)

// certificate are the names of the certificate by which the sender of a request identified its
// connection, as the access file writes them; none: it has none that was verified. The headers are
// believed only where nobody reaches the program past the load balancer. A certificate may expire
// while its connection lasts.
func certificate(r *http.Request, balanced bool, now time.Time) (names []string, err error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		leaf := r.TLS.VerifiedChains[0][0]
		if now.After(leaf.NotAfter) {
			return nil, expired
		}
		return namesOf(leaf), nil
	}
	if !balanced {
		return nil, nil
	}

	for _, name := range []string{certVerified, certHash, certSPIFFE} {
		if len(r.Header.Values(name)) > 1 {
			return nil, ambiguous
		}
	}
	if r.Header.Get(certVerified) != "true" {
		return nil, nil
	}
	digest, err := base64.StdEncoding.DecodeString(padded(r.Header.Get(certHash)))
	if err != nil || len(digest) != sha256.Size {
		return nil, malformed
	}
	names = []string{"sha256:" + hex.EncodeToString(digest)}
	if id := r.Header.Get(certSPIFFE); id != "" {
		names = append(names, id)
	}
	return names, nil
}

// padded is Base64 with the signs at its end that some leave out.
func padded(s string) string {
	s = strings.TrimRight(s, "=")
	return s + strings.Repeat("=", (4-len(s)%4)%4)
}

// namesOf are the names of a certificate: its fingerprint, and its SPIFFE ID if it has exactly one
// (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md).
func namesOf(c *x509.Certificate) []string {
	digest := sha256.Sum256(c.Raw)
	names := []string{"sha256:" + hex.EncodeToString(digest[:])}
	if len(c.URIs) == 1 && c.URIs[0].Scheme == "spiffe" {
		names = append(names, c.URIs[0].String())
	}
	return names
}

// byCertificate goes by the names of a certificate.
func (l *roster) byCertificate(names []string) (Principal, string, error) {
	for _, name := range names {
		if owner := l.certificates[name]; owner != "" {
			return Principal{Owner: owner, Via: "certificate " + shortened(name), proof: &proof{certificate: name}}, "", nil
		}
	}
	return Principal{}, "", nobody
}

// shortened is a name for logs: the beginning of a fingerprint, which is no secret.
func shortened(name string) string {
	if digest, ok := strings.CutPrefix(name, "sha256:"); ok {
		return digest[:12]
	}
	return name
}

var (
	fingerprintForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	spiffeForm      = regexp.MustCompile(`^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+$`)
)

func checkCertificate(s string) string {
	if !fingerprintForm.MatchString(s) && !spiffeForm.MatchString(s) {
		return "must be sha256: and the fingerprint in 64 lower-case digits (openssl x509 -in client.crt -outform DER | sha256sum), or a SPIFFE ID such as spiffe://acme.example/agent"
	}
	return ""
}
