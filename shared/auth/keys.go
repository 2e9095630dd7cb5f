package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/time/rate"

	"errand/shared/loopback"
)

const (
	// GoogleIssuer signs the ID tokens of Google accounts and of Google Cloud's queues,
	// subscriptions and schedulers.
	GoogleIssuer = "https://accounts.google.com"
	// GoogleKeys is the address of its keys.
	GoogleKeys = "https://www.googleapis.com/oauth2/v3/certs"
)

const (
	fetchTimeout = 5 * time.Second
	maxKeySet    = 256 << 10 // bytes; Google's has 2 KiB
	maxKeys      = 500       // of a set; reading a key takes far more memory than its text
	// fresh is how long keys are used without asking again: a key that the issuer withdrew
	// is refused that long after at the latest.
	fresh = time.Hour
	// kept is how long keys are used while the issuer does not answer.
	kept = 24 * time.Hour
	// fetchEvery is the shortest time between two fetches, with one more allowed at once.
	// Until then every key id that was not in the last answer is unknown, so a thousand
	// made-up ids cost no more than one, and need no memory.
	fetchEvery = 10 * time.Second
)

// errKeys says that the issuer's keys cannot be fetched. It is no verdict on the token.
var errKeys = errors.New("auth: the issuer's keys cannot be fetched")

// A Doer sends requests: an http.Client or something like it.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Keys are the public keys of one issuer. They are fetched on demand and kept while the
// issuer is out of reach. All who trust the issuer share one Keys. Safe for concurrent use.
type Keys struct {
	cfg   KeysConfig
	limit *rate.Limiter

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time     // when keys were last received
	failed  error         // of the last fetch
	flight  chan struct{} // closed at the end of the current fetch; nil: there is none
}

// KeysConfig is the place of an issuer's keys.
type KeysConfig struct {
	Issuer string           // the iss of its tokens, to the letter. Required
	URL    string           // of its key set; empty: the issuer's discovery document has it (OpenID Connect Discovery 1.0)
	Client Doer             // nil: one that follows no redirects
	Now    func() time.Time // nil: time.Now
}

// NewKeys makes the keys of an issuer. It fetches nothing yet.
func NewKeys(c KeysConfig) *Keys {
	if c.Client == nil {
		c.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Keys{cfg: c, limit: rate.NewLimiter(rate.Every(fetchEvery), 2)}
}

// find returns the keys with this id for this algorithm. The error is unknownKey, or
// errKeys if the issuer could not be asked.
func (k *Keys) find(ctx context.Context, id, alg string) ([]crypto.PublicKey, error) {
	found, age := k.cached(id, alg)
	if len(found) > 0 && age < kept {
		if age >= fresh {
			k.fetch() // no request waits for it
		}
		return found, nil
	}

	if flight := k.fetch(); flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errKeys, ctx.Err())
		}
	}

	found, age = k.cached(id, alg)
	k.mu.Lock()
	defer k.mu.Unlock()

	switch {
	case len(found) > 0 && age < kept:
		return found, nil
	case k.failed != nil:
		return nil, fmt.Errorf("%w: %w", errKeys, k.failed)
	case age >= kept:
		return nil, errKeys // too early to ask again
	}

	return nil, unknownKey
}

// cached looks among the keys that are here, and returns their age.
func (k *Keys) cached(id, alg string) (found []crypto.PublicKey, age time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.keys {
		if key.KeyID == id && (key.Algorithm == "" || key.Algorithm == alg) {
			found = append(found, key.Key)
		}
	}
	return found, k.cfg.Now().Sub(k.fetched)
}

// fetch begins to fetch the keys, unless a fetch is running or was made just now. The
// channel is closed at the end of the fetch; it is nil if none is running.
func (k *Keys) fetch() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight != nil || !k.limit.AllowN(k.cfg.Now(), 1) {
		return k.flight
	}
	flight := make(chan struct{})
	k.flight = flight
	go func() {
		// The fetch has its own context: the request that began it may be gone before the
		// others are.
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		keys, err := k.load(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		if err == nil {
			k.keys, k.fetched = keys, k.cfg.Now()
		}
		k.failed, k.flight = err, nil
		close(flight)
	}()
	return flight
}

func (k *Keys) load(ctx context.Context) ([]jose.JSONWebKey, error) {
	at := k.cfg.URL
	if at == "" {
		var doc struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := k.get(ctx, discovery(k.cfg.Issuer), &doc); err != nil {
			return nil, err
		}
		if doc.Issuer != k.cfg.Issuer {
			return nil, errors.New("the discovery document is of another issuer")
		}

		if err := checkURL(doc.Keys); err != nil {
			return nil, fmt.Errorf("the discovery document's jwks_uri %w", err)
		}

		at = doc.Keys
	}

	var set struct {
		Keys keySet `json:"keys"`
	}
	if err := k.get(ctx, at, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) == 0 {
		return nil, fmt.Errorf("%s has no key that can be used", at)
	}
	return set.Keys, nil
}

// A keySet is the usable keys of a set. They are read one at a time, because a list of all
// values would take many times the memory of the text.
type keySet []jose.JSONWebKey

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *keySet) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if begin, err := d.ReadToken(); err != nil || begin.Kind() != jsontext.KindBeginArray {
		return errors.Join(err, errors.New("the keys are no list"))
	}

	for n := 0; d.PeekKind() != jsontext.KindEndArray; n++ {
		raw, err := d.ReadValue()
		if err != nil {
			return err
		}
		if n == maxKeys {
			return errors.New("too many keys")
		}
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && usable(key) {
			*s = append(*s, key)
		}
	}

	_, err := d.ReadToken()
	return err
}

// usable passes over weak keys, and keys for another use.
func usable(key jose.JSONWebKey) bool {
	if key.KeyID == "" || key.Use != "" && key.Use != "sig" || !key.Valid() {
		return false
	}
	switch pub := key.Key.(type) {
	case *rsa.PublicKey:
		return pub.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		return pub.Curve == elliptic.P256() // the curve of ES256
	}
	return false
}

func (k *Keys) get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := k.cfg.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxKeySet+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", url, err)
	}
	if len(data) > maxKeySet {
		return fmt.Errorf("%s answered more than %d KiB", url, maxKeySet>>10)
	}
	if json.Unmarshal(data, into) != nil {
		return fmt.Errorf("%s answered something else than it should, or more than %d keys", url, maxKeys)
	}
	return nil
}

// discovery is the address of an issuer's discovery document.
func discovery(issuer string) string {
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

// checkURL allows http to this machine only: an attacker who can change the keys on their
// way can be anyone.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback.Is(u.Host)) {
		return errors.New("must be a complete address such as https://login.example.com")
	}
	return nil
}
