package gcp

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"time"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"errand/shared/secret"
)

// SecretsConfig names the place of secrets. Project is required.
type SecretsConfig struct {
	Project string        // the id of the project
	Prefix  string        // the secret NAME has the name PREFIX-NAME there; empty: NAME
	Age     time.Duration // how old a value may be; default: as in secret.Cache

	Endpoint string // HOST:PORT; empty: the usual one
	Options  []option.ClientOption
}

// Secrets is a secret.Source in Secret Manager, with a secret.Cache in front. In Secret
// Manager Latest is the newest version. If the newest version is disabled, Latest has no
// value, and the version before is not used instead.
type Secrets struct {
	*secret.Cache
	client *secretmanager.Client
}

var _ secret.Source = (*Secrets)(nil)

var (
	projectID    = regexp.MustCompile(`^[A-Za-z0-9.:-]+$`)
	secretPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]{0,200}$`) // of the 255 characters of a secret's name
)

// NewSecrets returns Secrets. It does not call the service.
func NewSecrets(ctx context.Context, c SecretsConfig) (*Secrets, error) {
	var bad error
	if !projectID.MatchString(c.Project) {
		bad = fmt.Errorf("the secrets need the id of a project, not %q", c.Project)
	}
	if !secretPrefix.MatchString(c.Prefix) {
		bad = errors.Join(bad, fmt.Errorf("the prefix of the secrets must be at most 200 letters, digits, - and _, not %q", c.Prefix))
	}
	client, err := dial(ctx, "Secret Manager", secretmanager.NewClient, bad, c.Endpoint, c.Options)
	if err != nil {
		return nil, err
	}
	names := "projects/" + c.Project + "/secrets/"
	if c.Prefix != "" {
		names += c.Prefix + "-"
	}
	return &Secrets{&secret.Cache{From: vault{client, names}, Age: c.Age}, client}, nil
}

// Close ends the connection.
func (s *Secrets) Close() error { return s.client.Close() }

// A vault is the source behind the cache.
type vault struct {
	client *secretmanager.Client
	names  string // the beginning of every secret's name
}

// soonAgain retries early. The library would wait two seconds before its first retry, but
// the callers here are answering a request.
var soonAgain = gax.WithRetry(func() gax.Retryer {
	return gax.OnCodes([]codes.Code{codes.Unavailable, codes.ResourceExhausted},
		gax.Backoff{Initial: 100 * time.Millisecond, Max: time.Second, Multiplier: 2})
})

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (v vault) Get(ctx context.Context, ref secret.Ref) (secret.Value, error) {
	name := v.names + ref.Name + "/versions/latest"
	resp, err := v.client.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{Name: name}, soonAgain)
	switch status.Code(err) {
	case codes.OK:
	case codes.NotFound:
		return secret.Value{}, fmt.Errorf("%s: %w", name, secret.ErrNotFound)
	case codes.FailedPrecondition:
		return secret.Value{}, fmt.Errorf("%s: %w: the version is disabled or destroyed", name, secret.ErrNotFound)
	case codes.PermissionDenied:
		return secret.Value{}, fmt.Errorf("%s: %w; this program's service account needs roles/secretmanager.secretAccessor on the secret", name, err)
	default:
		return secret.Value{}, fmt.Errorf("reading %s: %w", name, err)
	}
	p := resp.GetPayload()
	if sum := crc32.Checksum(p.GetData(), castagnoli); p.DataCrc32C != nil && uint32(p.GetDataCrc32C()) != sum {
		return secret.Value{}, fmt.Errorf("reading %s: the received value is damaged", name)
	}
	value, err := secret.NewValue(p.GetData())
	if err != nil {
		return secret.Value{}, fmt.Errorf("%s: %w", name, err)
	}
	return value, nil
}
