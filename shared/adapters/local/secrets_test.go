package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"errand/shared/adapters/local"
	"errand/shared/lab/conformance"
	"errand/shared/secret"
)

func TestEnvLaws(t *testing.T) {
	conformance.Secret(t, func(*testing.T) conformance.SecretBench {
		var variables sync.Map
		return conformance.SecretBench{
			Source: local.Env{Lookup: func(name string) (string, bool) {
				v, ok := variables.Load(name)
				if !ok {
					return "", false
				}
				return v.(string), true
			}},
			Set: func(name string, content []byte) {
				variables.Store(strings.ToUpper(strings.ReplaceAll(name, "-", "_")), string(content))
			},
		}
	})
}

func TestFilesLaws(t *testing.T) {
	for name, folder := range map[string]bool{"File": false, "Folder": true} {
		t.Run(name, func(t *testing.T) {
			conformance.Secret(t, func(t *testing.T) conformance.SecretBench {
				dir := t.TempDir()
				write := func(content []byte, path ...string) {
					if err := os.WriteFile(filepath.Join(path...), content, 0o600); err != nil {
						t.Fatal(err)
					}
				}

				return conformance.SecretBench{
					Source: local.Files{Dir: dir},
					Set: func(name string, content []byte) {
						if !folder {
							write(content, dir, name)
							return
						}

						if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
							t.Fatal(err)
						}

						write(content, dir, name, "latest")
					},
				}
			})
		})
	}
}

// A mounted volume is a folder with links to files in another folder, which is replaced at
// every change.
func TestFilesFollowsTheLinksOfAVolume(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "..1"), 0o700),
		os.WriteFile(filepath.Join(dir, "..1", "key"), []byte("mounted"), 0o600),
		os.Symlink("..1", filepath.Join(dir, "..data")),
		os.Symlink("..data/key", filepath.Join(dir, "key")),
		os.Symlink("/etc/hostname", filepath.Join(dir, "outside")),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700),
	} {
		if err != nil {
			t.Skipf("this machine cannot make links: %v", err)
		}
	}

	s := local.Files{Dir: dir}
	if got, err := s.Get(t.Context(), secret.Ref{Name: "key"}); err != nil || got.Reveal() != "mounted" {
		t.Errorf("Get = %q, %v", got.Reveal(), err)
	}
	if got, err := s.Get(t.Context(), secret.Ref{Name: "outside"}); err == nil {
		t.Errorf("Get followed a link out of the folder and read %d bytes", len(got.Reveal()))
	}
	if _, err := s.Get(t.Context(), secret.Ref{Name: "folder"}); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("Get of an empty folder = %v", err)
	}

	if _, err := (local.Files{Dir: filepath.Join(dir, "gone")}).Get(t.Context(), secret.Ref{Name: "key"}); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("Get without the folder = %v", err)
	}
}
