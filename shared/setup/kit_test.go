package setup_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"errand/shared/egress"
	lab "errand/shared/lab/agent"
	"errand/shared/lab/fake"
	"errand/shared/setup"
)

// shopkeeper is a definition whose code needs settings and a secret.
const shopkeeper = `name: Shopkeeper
description: Sells.
version: 1.0.0
model: m
skills: [{id: s, name: S, description: d, tags: [t]}]
settings:
  - {name: shop_url, type: url, description: Where the shop is.}
  - {name: tries, type: integer, description: How often., default: 3}
secrets:
  - {name: shop-token, description: The key of the shop.}
`

func shop(t *testing.T) setup.Env {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(shopkeeper), 0o600); err != nil {
		t.Fatal(err)
	}
	return setup.Env{
		Agent: path, AgentSettings: map[string]string{"SHOP_URL": "https://shop.example.com"}, AgentSecrets: map[string]string{"SHOP_TOKEN": "s3cret"},
	}
}

// The agent's own code gets its settings, its secrets from any place of secrets, and a way
// out to the destinations that the operator allows.
func TestKit(t *testing.T) {
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer inner.Close()
	manager, addr := fake.StartSecrets(t)
	manager.Set("projects/p/secrets/errand-shop-token", []byte("managed"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shop-token"), []byte("filed\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	for spec, want := range map[string]string{"": "s3cret", "env:": "s3cret", "file:" + dir: "filed", "secretmanager:p/errand@" + addr: "managed"} {
		t.Run(spec, func(t *testing.T) {
			env := shop(t)
			t.Chdir(t.TempDir())
			env.Secrets, env.AgentAllow = spec, strings.TrimPrefix(inner.URL, "http://")
			if want != "s3cret" {
				env.AgentSecrets = nil
			}

			p, err := open(t, env)
			if err != nil {
				t.Fatal(err)
			}

			var got struct {
				URL   string `setting:"shop_url"`
				Tries int    `setting:"tries"`
			}
			if err := p.Kit.Settings(&got); err != nil || got.URL != "https://shop.example.com" || got.Tries != 3 {
				t.Errorf("settings %+v, %v", got, err)
			}
			if v, err := p.Kit.Secret(t.Context(), "shop-token"); err != nil || v.Text() != want {
				t.Errorf("the secret is %q, %v, want %q", v.Text(), err, want)
			}

			resp, err := p.Kit.HTTP().Get(inner.URL)
			if err != nil {
				t.Fatal(err)
			}

			resp.Body.Close()
		})
	}
}

// The agent's own code does not reach the installation itself, even where its address is
// allowed.
func TestKitDoesNotLeadBack(t *testing.T) {
	reached := false
	self := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer self.Close()
	env := shop(t)
	t.Chdir(t.TempDir())
	env.URL, env.AgentAllow = self.URL, "127.0.0.1:*"
	p, err := open(t, env)
	if err != nil {
		t.Fatal(err)
	}

	resp, err := p.Kit.HTTP().Get(self.URL)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, egress.ErrRefused) || reached {
		t.Errorf("its own address: %v, reached %t", err, reached)
	}
}

// A missing or wrong setting, secret or destination stops the start.
func TestKitRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*setup.Env)
		want   []string
	}{
		{"nothing set", func(e *setup.Env) { e.AgentSettings, e.AgentSecrets = nil, nil }, []string{
			"ERRAND_SETTING_SHOP_URL is required by agent.yaml: Where the shop is.", "ERRAND_SECRET_SHOP_TOKEN is required by agent.yaml: The key of the shop."}},
		{"an unknown setting", func(e *setup.Env) { e.AgentSettings["SHOP_URI"] = "s3cret" }, []string{"ERRAND_SETTING_SHOP_URI is no setting of agent.yaml; did you mean ERRAND_SETTING_SHOP_URL?"}},
		{"a setting of another type", func(e *setup.Env) { e.AgentSettings["TRIES"] = "s3cret" }, []string{"ERRAND_SETTING_TRIES is not of the type integer"}},
		{"an unknown secret", func(e *setup.Env) { e.AgentSecrets["SHOP_TOKENS"] = "s3cret" }, []string{"ERRAND_SECRET_SHOP_TOKENS is no secret of agent.yaml; did you mean ERRAND_SECRET_SHOP_TOKEN?"}},
		{"an empty secret", func(e *setup.Env) { e.AgentSecrets["SHOP_TOKEN"] = "" }, []string{"ERRAND_SECRET_SHOP_TOKEN is required"}},
		{"a secret of space alone", func(e *setup.Env) { e.AgentSecrets["SHOP_TOKEN"] = " \n" }, []string{"the secret shop-token is required by agent.yaml (The key of the shop.), and its value is only space"}},
		{"a secret in no file", func(e *setup.Env) { e.Secrets, e.AgentSecrets = "file:"+t.TempDir(), nil }, []string{"the secret shop-token is required by agent.yaml (The key of the shop.)", "shop-token/latest"}},
		{"secrets in two places", func(e *setup.Env) { e.Secrets = "file:" + t.TempDir() }, []string{"ERRAND_SECRET_... is set, and ERRAND_SECRETS says that secrets are elsewhere"}},
		{"the metadata server", func(e *setup.Env) { e.AgentAllow = "169.254.169.254:80" }, []string{"ERRAND_AGENT_ALLOW", "the metadata server"}},
		{"destinations", func(e *setup.Env) { e.AgentAllow = "shop.internal:443" }, []string{"ERRAND_AGENT_ALLOW", "names are not possible"}},
		{"all at once", func(e *setup.Env) { e.AgentSettings, e.AgentAllow, e.Store = nil, "x", "y" }, []string{"ERRAND_SETTING_SHOP_URL", "ERRAND_AGENT_ALLOW", "ERRAND_STORE"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			env := shop(t)
			row.change(&env)
			refused(t, env, row.want...)
		})
	}
}

// Programs that run no turns pass settings and secrets over: one block of variables serves
// all three.
func TestSettingsConcernTheWorkerAlone(t *testing.T) {
	for program, open := range openers {
		env := cloud(t)
		env.AgentSettings, env.AgentSecrets = map[string]string{"NOBODYS": "x"}, map[string]string{"NOBODYS": "x"}
		if err := open(t.Context(), env); (err != nil) != (program == "worker") {
			t.Errorf("%s: %v", program, err)
		}
	}
}

// A secret that is missing from a service stops no program. The log has the remedy.
func TestCheckSecrets(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(*fake.Secrets)
		want []string // empty: nothing is said
	}{
		{"there", func(s *fake.Secrets) { s.Set("projects/p/secrets/shop-token", []byte("s3cret")) }, nil},
		{"no version", func(*fake.Secrets) {}, []string{"level=ERROR", "secret=shop-token", "add a version", "alert=true"}},
		{"no right", func(s *fake.Secrets) { s.Down(status.Error(codes.PermissionDenied, "no")) }, []string{"level=ERROR", "roles/secretmanager.secretAccessor", "alert=true"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			manager, addr := fake.StartSecrets(t)
			row.set(manager)
			env := shop(t)
			t.Chdir(t.TempDir())
			env.Secrets, env.AgentSecrets = "secretmanager:p@"+addr, nil
			env.Keys = "" // they are asked for when the program runs

			var log bytes.Buffer
			p, err := setup.OpenStandalone(t.Context(), env, lab.Definition, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			log.Reset()
			p.CheckSecrets(t.Context())

			for _, want := range row.want {
				if !strings.Contains(log.String(), want) {
					t.Errorf("CheckSecrets does not say %q: %s", want, &log)
				}
			}

			if row.want == nil && log.Len() > 0 || strings.Contains(log.String(), "s3cret") {
				t.Errorf("CheckSecrets says %s", &log)
			}
		})
	}
}
