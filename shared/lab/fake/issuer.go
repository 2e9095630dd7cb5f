package fake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// An Issuer issues ID tokens. It has a discovery document and a JWKS endpoint, and signs any
// claims, as tests need it. A real issuer must not do that.
type Issuer struct {
	URL string // the issuer's name and its address

	mu   sync.Mutex
	keys []signer // the newest key last
}

// Paths of an Issuer.
const (
	pathDiscovery = "/.well-known/openid-configuration"
	pathKeys      = "/keys"
	pathToken     = "/token"
)

// Algorithms of an Issuer.
const (
	RS256 = "RS256" // Google's algorithm
	ES256 = "ES256"
)

// NewIssuer serves an Issuer with one RS256 key until the test ends.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{}
	i.Rotate(t, RS256)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathDiscovery, i.discovery)
	mux.HandleFunc("GET "+pathKeys, i.jwks)
	mux.HandleFunc("POST "+pathToken, i.token)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	i.URL = s.URL
	return i
}

// Rotate adds a key that signs tokens from now on. The old keys stay in the JWKS.
func (i *Issuer) Rotate(t testing.TB, alg string) {
	t.Helper()
	k, err := newSigner(alg)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, k)
}

// Claims returns the claims of an ID token that Google issues for a service account: valid for
// an hour, with a verified e-mail address. A test changes the claims that it tests.
func (i *Issuer) Claims(email, audience string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": i.URL, "aud": audience, "sub": "113774264463038321964", "azp": "113774264463038321964",
		"email": email, "email_verified": true, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
}

// Token signs claims with the newest key.
func (i *Issuer) Token(claims map[string]any) (string, error) {
	i.mu.Lock()
	k := i.keys[len(i.keys)-1]
	i.mu.Unlock()
	header, err := json.Marshal(map[string]string{"alg": k.alg, "kid": k.id, "typ": "JWT"})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := encode(header) + "." + encode(payload)
	signature, err := k.sign([]byte(text))
	if err != nil {
		return "", err
	}
	return text + "." + encode(signature), nil
}

// IDToken returns an ID token like those that Google issues for a service account. It has the
// signature of TasksOptions.Token.
func (i *Issuer) IDToken(email, audience string) (string, error) {
	return i.Token(i.Claims(email, audience))
}

// RemoteToken returns a function like IDToken that calls the issuer at base, in another
// process.
func RemoteToken(base string) func(email, audience string) (string, error) {
	return func(email, audience string) (string, error) {
		resp, err := http.PostForm(base+pathToken, url.Values{"email": {email}, "audience": {audience}})
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		token, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("requesting a token: %s", resp.Status)
		}
		return string(token), err
	}
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + pathKeys, "token_endpoint": i.URL + pathToken, "authorization_endpoint": i.URL + "/auth",
		"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{RS256, ES256},
	})
}

func (i *Issuer) jwks(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	keys := []map[string]string{}
	for _, k := range i.keys {
		keys = append(keys, k.public)
	}
	writeJSON(w, map[string]any{"keys": keys})
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	token, err := i.IDToken(r.FormValue("email"), r.FormValue("audience"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, token)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // fails only if the reader has gone
}

// A signer is one key.
type signer struct {
	id, alg string
	public  map[string]string // as a JWK
	sign    func(text []byte) ([]byte, error)
}

func newSigner(alg string) (signer, error) {
	k := signer{id: rand.Text(), alg: alg}
	k.public = map[string]string{"kid": k.id, "alg": alg, "use": "sig"}

	switch alg {
	case RS256:
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return k, err
		}
		k.public["kty"], k.public["n"], k.public["e"] = "RSA", encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes())
		k.sign = func(text []byte) ([]byte, error) {
			sum := sha256.Sum256(text)
			return rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		}

	case ES256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return k, err
		}

		point, err := key.PublicKey.Bytes() // 4, x, y
		if err != nil {
			return k, err
		}

		k.public["kty"], k.public["crv"], k.public["x"], k.public["y"] = "EC", "P-256", encode(point[1:33]), encode(point[33:])
		k.sign = func(text []byte) ([]byte, error) {
			sum := sha256.Sum256(text)
			r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
			if err != nil {
				return nil, err
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
		}

	default:
		return k, fmt.Errorf("unknown algorithm %q; use %s or %s", alg, RS256, ES256)
	}

	return k, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
