package setup_test

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"errand/shared/auth"
	lab "errand/shared/lab/agent"
	"errand/shared/lab/fake"
	"errand/shared/objects"
	"errand/shared/setup"
)

// coreOf returns the core of a program's parts, if they were opened.
func coreOf(err error, core func() *setup.Core) (*setup.Core, error) {
	if err != nil {
		return nil, err
	}
	return core(), nil
}

// Each program reads objects for those callers whom the access file lets have them read, and
// for nobody else. The program itself may read all of them.
func TestObjectsOfCallers(t *testing.T) {
	service := fake.StartStorage(t, "acme-in")
	service.Set("acme-in", "prompts/a.jsonl", []byte("content"))
	_, hash := auth.NewKey()
	access := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(access, []byte("principals: [{name: acme/ci, keys: ["+hash+"], buckets: [gs://acme-in/prompts/]}, {name: bob, tokens: [{issuer: i, subject: b}]}]\n"+
		"issuers: [{name: i, issuer: https://login.example.com, audiences: [a]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	managed := cloud(t)
	managed.Access, managed.Objects = access, "gs:@"+service.Addr
	alone := setup.Env{Access: access, Objects: managed.Objects, Store: "sqlite:" + filepath.Join(t.TempDir(), "errand.db"), Model: "standin:"}
	log := slog.New(slog.DiscardHandler)

	for program, open := range map[string]func() (*setup.Core, error){
		"cardserver": func() (*setup.Core, error) {
			p, err := setup.OpenFront(t.Context(), managed, lab.Definition, log)
			return coreOf(err, func() *setup.Core { return &p.Core })
		},
		"worker": func() (*setup.Core, error) {
			p, err := setup.OpenWorker(t.Context(), managed, lab.Definition, log)
			return coreOf(err, func() *setup.Core { return &p.Core })
		},
		"functions": func() (*setup.Core, error) {
			p, err := setup.OpenFunctions(t.Context(), managed, lab.Definition, log)
			return coreOf(err, func() *setup.Core { return &p.Core })
		},
		"the whole agent": func() (*setup.Core, error) {
			p, err := setup.OpenStandalone(t.Context(), alone, lab.Definition, log)
			return coreOf(err, func() *setup.Core { return &p.Core })
		},
	} {
		parts, err := open()
		if err != nil {
			t.Fatalf("%s: %v", program, err)
		}
		t.Cleanup(func() { _ = parts.Close() })
		o := parts.Objects

		const url = "gs://acme-in/prompts/a.jsonl"
		found, err := o.Stat(t.Context(), "acme/ci", url)
		if err != nil || found.Size != 7 {
			t.Errorf("%s: Stat = %+v, %v", program, found, err)
		}
		r, err := o.Open(t.Context(), "acme/ci", url, found.Generation, 3)
		if err != nil {
			t.Errorf("%s: Open: %v", program, err)
			continue
		}
		if content, err := io.ReadAll(r); string(content) != "tent" || errors.Join(err, r.Close()) != nil {
			t.Errorf("%s: %q, %v", program, content, err)
		}

		service.Calls()
		for owner, url := range map[string]string{"bob": url, "nobody": url, "acme/ci": "gs://acme-in/a.jsonl"} {
			if _, err := o.Stat(t.Context(), owner, url); !errors.Is(err, objects.ErrNotFound) {
				t.Errorf("%s: Stat of %s for %s = %v, want ErrNotFound", program, url, owner, err)
			}
		}
		if n := len(service.Calls()); n != 0 {
			t.Errorf("%s asks Cloud Storage %d times for what nobody may read", program, n)
		}
	}
}
