package kit_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"errand/shared/adapters/local"
	"errand/shared/agent"
	"errand/shared/kit"
)

// Code reads the secrets that agent.yaml names, as they are now, and no others.
func TestSecretsAreThoseOfTheDefinition(t *testing.T) {
	content := "first\n"
	asked := ""
	source := local.Env{Lookup: func(name string) (string, bool) { asked = name; return content, true }}
	env := kit.New(kit.Config{Secrets: []agent.Secret{{Name: "shop-token"}}, Source: source, HTTP: http.DefaultClient, Log: slog.New(slog.DiscardHandler)})

	for _, want := range []string{"first", "second"} {
		content = want + "\n"
		if v, err := env.Secret(t.Context(), "shop-token"); err != nil || v.Text() != want || asked != "SHOP_TOKEN" {
			t.Errorf("Secret = %q, %v, asked for %s", v.Text(), err, asked)
		}
	}

	asked = ""
	for _, name := range []string{"gemini-api-key", "errand-keys", "shop_token", ""} {
		v, err := env.Secret(t.Context(), name)
		if err == nil || v.Reveal() != "" || asked != "" || !strings.Contains(err.Error(), "agent.yaml names no secret "+name) {
			t.Errorf("Secret(%q) = %q, %v, asked for %q", name, v.Reveal(), err, asked)
		}
	}

	if _, err := (kit.Env{}).Secret(t.Context(), "shop-token"); err == nil {
		t.Error("an empty Env gives secrets")
	}
}
