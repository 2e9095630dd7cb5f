package keys

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"errand/shared/secret"
)

// A Keyring returns the ring in the secret's current state. It is safe for concurrent use,
// and as cheap as reading the secret: the ring is made again only when the text has
// changed.
type Keyring struct {
	cfg Config

	mu   sync.Mutex
	text string
	ring Ring
}

// Config is the source of a Keyring.
type Config struct {
	Read func(context.Context) (secret.Value, error) // reads the secret. Required
	Name string                                      // of the secret; empty: [Secret]
}

// New makes a Keyring. It reads nothing yet.
func New(cfg Config) *Keyring {
	if cfg.Name == "" {
		cfg.Name = Secret
	}
	return &Keyring{cfg: cfg}
}

// Ring reads the secret. The error is for the operator and names the remedy.
func (k *Keyring) Ring(ctx context.Context) (Ring, error) {
	v, err := k.cfg.Read(ctx)
	if err != nil {
		return Ring{}, fmt.Errorf("the secret %s, which cardserver keys makes, cannot be read: %w", k.cfg.Name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if text := v.Reveal(); k.ring.keys == nil || text != k.text {
		ring, err := Parse(text)
		if err != nil {
			return Ring{}, fmt.Errorf("the secret %s, which cardserver keys makes, cannot be used: %w", k.cfg.Name, err)
		}
		k.text, k.ring = text, ring
	}
	return k.ring, nil
}

// JWKSAge is how long receivers may keep the key set. It is far below the time between
// the announcement of a key and its use.
const JWKSAge = 5 * time.Minute

// Path is where the key set is served.
const Path = "/.well-known/jwks.json"

// ServeJWKS answers GET with the key set. Without a ring it asks the client to come again,
// and does not give the reason, which is in the logs of the signers.
func (k *Keyring) ServeJWKS(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the key set is read with GET", http.StatusMethodNotAllowed)
		return
	}
	ring, err := k.Ring(r.Context())
	if err != nil {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "the keys cannot be read now; try again later", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(JWKSAge.Seconds())))
	w.Write(ring.JWKS(time.Now())) // if it fails the receiver is gone
}
