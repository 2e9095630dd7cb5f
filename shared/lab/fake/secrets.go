package fake

import (
	"context"
	"hash/crc32"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Secrets is Secret Manager in memory.
type Secrets struct {
	secretmanagerpb.UnimplementedSecretManagerServiceServer

	mu      sync.Mutex
	secrets map[string][]*version // by the secret's name; version 1 first
	read    int
	down    error
}

type version struct {
	state secretmanagerpb.SecretVersion_State
	data  []byte
	made  *timestamppb.Timestamp
}

// StartSecrets serves empty Secrets until the test ends, and returns their address.
func StartSecrets(t testing.TB) (*Secrets, string) {
	t.Helper()
	s := &Secrets{secrets: map[string][]*version{}}
	return s, serve(t, func(g *grpc.Server) { secretmanagerpb.RegisterSecretManagerServiceServer(g, s) })
}

const maxSecret = 64 << 10

var (
	secretName    = regexp.MustCompile(`^projects/[^/]+/secrets/[A-Za-z0-9_-]{1,255}$`)
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
	stateEnabled  = secretmanagerpb.SecretVersion_ENABLED
	stateDisabled = secretmanagerpb.SecretVersion_DISABLED
	stateGone     = secretmanagerpb.SecretVersion_DESTROYED
)

// Set adds a version to projects/P/secrets/NAME and returns the version's number. It creates a
// missing secret and does not check the size.
func (s *Secrets) Set(name string, data []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[name] = append(s.secrets[name], &version{stateEnabled, data, timestamppb.Now()})
	return strconv.Itoa(len(s.secrets[name]))
}

// Read returns the number of requests for values.
func (s *Secrets) Read() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read
}

// Down makes every call fail with err, until a call with nil.
func (s *Secrets) Down(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

// CreateSecret implements secretmanagerpb.SecretManagerServiceServer.
func (s *Secrets) CreateSecret(_ context.Context, req *secretmanagerpb.CreateSecretRequest) (*secretmanagerpb.Secret, error) {
	name := req.GetParent() + "/secrets/" + req.GetSecretId()
	if !secretName.MatchString(name) {
		return nil, status.Error(codes.InvalidArgument, "not a secret's name")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.secrets[name]; ok {
		return nil, status.Errorf(codes.AlreadyExists, "Secret [%s] already exists.", name)
	}
	s.secrets[name] = nil
	return &secretmanagerpb.Secret{Name: name}, nil
}

// AddSecretVersion implements secretmanagerpb.SecretManagerServiceServer.
func (s *Secrets) AddSecretVersion(_ context.Context, req *secretmanagerpb.AddSecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
	data := req.GetPayload().GetData()
	if len(data) == 0 || len(data) > maxSecret {
		return nil, status.Error(codes.InvalidArgument, "The payload must have 1 to 65536 bytes.")
	}
	s.mu.Lock()
	_, ok := s.secrets[req.GetParent()]
	s.mu.Unlock()
	if !ok {
		return nil, status.Errorf(codes.NotFound, "Secret [%s] not found.", req.GetParent())
	}
	number := s.Set(req.GetParent(), data)
	return s.GetSecretVersion(context.Background(), &secretmanagerpb.GetSecretVersionRequest{Name: req.GetParent() + "/versions/" + number})
}

// GetSecretVersion implements secretmanagerpb.SecretManagerServiceServer.
func (s *Secrets) GetSecretVersion(_ context.Context, req *secretmanagerpb.GetSecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, v, err := s.find(req.GetName())
	if err != nil {
		return nil, err
	}
	return &secretmanagerpb.SecretVersion{Name: name, State: v.state, CreateTime: v.made}, nil
}

// AccessSecretVersion implements secretmanagerpb.SecretManagerServiceServer.
func (s *Secrets) AccessSecretVersion(_ context.Context, req *secretmanagerpb.AccessSecretVersionRequest) (*secretmanagerpb.AccessSecretVersionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read++
	name, v, err := s.find(req.GetName())
	if err != nil {
		return nil, err
	}
	if v.state != stateEnabled {
		return nil, status.Errorf(codes.FailedPrecondition, "Secret Version [%s] is in %v state.", name, v.state)
	}
	sum := int64(crc32.Checksum(v.data, castagnoli))
	return &secretmanagerpb.AccessSecretVersionResponse{
		Name: name, Payload: &secretmanagerpb.SecretPayload{Data: v.data, DataCrc32C: &sum},
	}, nil
}

// EnableSecretVersion implements secretmanagerpb.SecretManagerServiceServer.
func (s *Secrets) EnableSecretVersion(_ context.Context, req *secretmanagerpb.EnableSecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
	return s.setState(req.GetName(), stateEnabled)
}

// DisableSecretVersion implements secretmanagerpb.SecretManagerServiceServer.
func (s *Secrets) DisableSecretVersion(_ context.Context, req *secretmanagerpb.DisableSecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
	return s.setState(req.GetName(), stateDisabled)
}

// DestroySecretVersion implements secretmanagerpb.SecretManagerServiceServer.
func (s *Secrets) DestroySecretVersion(_ context.Context, req *secretmanagerpb.DestroySecretVersionRequest) (*secretmanagerpb.SecretVersion, error) {
	return s.setState(req.GetName(), stateGone)
}

func (s *Secrets) setState(name string, state secretmanagerpb.SecretVersion_State) (*secretmanagerpb.SecretVersion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, v, err := s.find(name)
	if err != nil {
		return nil, err
	}
	if v.state == stateGone && state != stateGone {
		return nil, status.Errorf(codes.FailedPrecondition, "Secret Version [%s] is destroyed.", name)
	}
	v.state = state
	if state == stateGone {
		v.data = nil
	}
	return &secretmanagerpb.SecretVersion{Name: name, State: v.state, CreateTime: v.made}, nil
}

// find returns the version with a name. Latest is the newest version in any state.
func (s *Secrets) find(name string) (string, *version, error) {
	if s.down != nil {
		return "", nil, s.down
	}
	parent, number, ok := strings.Cut(name, "/versions/")
	if !ok || !secretName.MatchString(parent) {
		return "", nil, status.Error(codes.InvalidArgument, "not a version's name")
	}
	all := s.secrets[parent]
	n := len(all)
	if number != "latest" {
		var err error
		if n, err = strconv.Atoi(number); err != nil {
			return "", nil, status.Error(codes.InvalidArgument, "not a version's number")
		}
	}
	if n < 1 || n > len(all) {
		return "", nil, status.Errorf(codes.NotFound, "Secret [%s] not found or has no version %s.", parent, number)
	}
	return parent + "/versions/" + strconv.Itoa(n), all[n-1], nil
}
