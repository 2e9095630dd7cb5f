package gcp_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"errand/shared/adapters/gcp"
	"errand/shared/lab/conformance"
	"errand/shared/lab/fake"
	"errand/shared/secret"
)

func openSecrets(t *testing.T, age time.Duration) (*gcp.Secrets, *fake.Secrets, string) {
	t.Helper()
	service, addr := fake.StartSecrets(t)
	return secretsOf(t, gcp.SecretsConfig{Project: "p", Age: age, Endpoint: addr}), service, addr
}

func secretsOf(t *testing.T, c gcp.SecretsConfig) *gcp.Secrets {
	t.Helper()
	s, err := gcp.NewSecrets(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	closes(t, s)
	return s
}

func TestSecretLaws(t *testing.T) {
	const age = 50 * time.Millisecond
	conformance.Secret(t, func(t *testing.T) conformance.SecretBench {
		s, service, _ := openSecrets(t, age)
		return conformance.SecretBench{
			Source: s,
			Set:    func(name string, content []byte) { service.Set("projects/p/secrets/"+name, content) },
			Seen:   age,
		}
	})
}

// Two installations in one project each have a secret of the same name.
func TestPrefixedSecrets(t *testing.T) {
	service, addr := fake.StartSecrets(t)
	service.Set("projects/p/secrets/key", []byte("nobody's"))
	service.Set("projects/p/secrets/one-key", []byte("of one"))
	service.Set("projects/p/secrets/one-key", []byte("of one, newer"))
	service.Set("projects/p/secrets/two-key", []byte("of two"))
	one := secretsOf(t, gcp.SecretsConfig{Project: "p", Prefix: "one", Endpoint: addr})
	if got, err := one.Get(t.Context(), secret.Ref{Name: "key"}); err != nil || got.Reveal() != "of one, newer" {
		t.Errorf("Get of one installation = %q, %v", got.Reveal(), err)
	}
	two := secretsOf(t, gcp.SecretsConfig{Project: "p", Prefix: "two", Endpoint: addr})
	if got, err := two.Get(t.Context(), secret.Ref{Name: "key"}); err != nil || got.Reveal() != "of two" {
		t.Errorf("Get of the other installation = %q, %v", got.Reveal(), err)
	}
	// The error contains the name with which the missing secret must be created.
	three := secretsOf(t, gcp.SecretsConfig{Project: "p", Prefix: "three", Endpoint: addr})
	if got, err := three.Get(t.Context(), secret.Ref{Name: "key"}); !errors.Is(err, secret.ErrNotFound) || !strings.Contains(err.Error(), "projects/p/secrets/three-key/") {
		t.Errorf("Get of a secret without the prefix = %q, %v", got.Reveal(), err)
	}
}

func TestSecretIsAskedForOnceInAWhile(t *testing.T) {
	s, service, _ := openSecrets(t, 0)
	service.Set("projects/p/secrets/key", []byte("value"))
	for range 100 {
		if got, err := s.Get(t.Context(), secret.Ref{Name: "key"}); err != nil || got.Reveal() != "value" {
			t.Fatalf("Get = %q, %v", got.Reveal(), err)
		}
	}
	if got := service.Read(); got != 1 {
		t.Errorf("the service was called %d times, want once", got)
	}
}

func TestDisabledAndDestroyedVersionsAreGone(t *testing.T) {
	s, service, addr := openSecrets(t, 1) // 1 ns: no value stays in the cache
	admin, err := secretmanager.NewClient(t.Context(), option.WithEndpoint(addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	const name = "projects/p/secrets/key"
	service.Set(name, []byte("first"))

	service.Set(name, []byte("second"))

	if _, err := admin.DisableSecretVersion(t.Context(), &secretmanagerpb.DisableSecretVersionRequest{Name: name + "/versions/2"}); err != nil {
		t.Fatal(err)
	}

	// While the newest version is disabled there is no value, and not the one before.
	if got, err := s.Get(t.Context(), secret.Ref{Name: "key"}); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("Get of a disabled version = %q, %v", got.Reveal(), err)
	}
	if _, err := admin.EnableSecretVersion(t.Context(), &secretmanagerpb.EnableSecretVersionRequest{Name: name + "/versions/2"}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), secret.Ref{Name: "key"}); err != nil || got.Reveal() != "second" {
		t.Errorf("Get of an enabled version = %q, %v", got.Reveal(), err)
	}

	if _, err := admin.DestroySecretVersion(t.Context(), &secretmanagerpb.DestroySecretVersionRequest{Name: name + "/versions/2"}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), secret.Ref{Name: "key"}); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("Get of a destroyed version = %q, %v", got.Reveal(), err)
	}
	if _, err := admin.EnableSecretVersion(t.Context(), &secretmanagerpb.EnableSecretVersionRequest{Name: name + "/versions/2"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("enabling a destroyed version: %v", err)
	}
}

func TestOutageOfSecretManager(t *testing.T) {
	s, service, _ := openSecrets(t, 1)
	service.Set("projects/p/secrets/key", []byte("value"))
	if _, err := s.Get(t.Context(), secret.Ref{Name: "key"}); err != nil {
		t.Fatal(err)
	}
	service.Down(status.Error(codes.PermissionDenied, "denied"))
	if got, err := s.Get(t.Context(), secret.Ref{Name: "key"}); err != nil || got.Reveal() != "value" {
		t.Errorf("Get of a secret that was read before = %q, %v", got.Reveal(), err)
	}
	_, err := s.Get(t.Context(), secret.Ref{Name: "other"})
	if err == nil || !strings.Contains(err.Error(), "roles/secretmanager.secretAccessor") || errors.Is(err, secret.ErrNotFound) {
		t.Errorf("Get of another secret = %v, want the remedy", err)
	}
}

func TestSecretsConfigIsChecked(t *testing.T) {
	for _, project := range []string{"", "projects/p", "p q"} {
		if _, err := gcp.NewSecrets(t.Context(), gcp.SecretsConfig{Project: project, Endpoint: nowhere}); err == nil {
			t.Errorf("NewSecrets(%q) = nil", project)
		}
	}
	for _, prefix := range []string{"a/b", "a b", "ä", "../x", strings.Repeat("x", 201)} {
		_, err := gcp.NewSecrets(t.Context(), gcp.SecretsConfig{Project: "p", Prefix: prefix, Endpoint: nowhere})
		if err == nil || !strings.Contains(err.Error(), "prefix") {
			t.Errorf("NewSecrets with the prefix %.20q = %v, want the allowed form", prefix, err)
		}
	}
}
