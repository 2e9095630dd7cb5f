package agent_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"errand/shared/agent"
)

// own is a definition with settings and secrets.
const own = minimal + `settings:
  - {name: shop_url, type: url, description: Where the shop is.}
  - {name: greeting, description: How it begins., default: ""}
  - {name: tries, type: integer, description: How often., default: 3}
  - {name: loud, type: boolean, description: In capitals., default: false}
  - {name: wait, type: duration, description: How long., default: 1m30s}
secrets:
  - {name: shop-token, description: The key of the shop.}
`

func parse(t *testing.T, text string) *agent.Agent {
	t.Helper()
	a, err := agent.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSettingsHaveTypesAndDefaults(t *testing.T) {
	a := parse(t, own)
	var got struct {
		URL      string        `setting:"shop_url"`
		Greeting string        `setting:"greeting"`
		Tries    int           `setting:"tries"`
		Loud     bool          `setting:"loud"`
		Wait     time.Duration `setting:"wait"`
	}

	want := got

	for _, row := range []struct {
		given map[string]string
		set   func()
	}{
		{map[string]string{"SHOP_URL": "https://shop.example.com/v1"}, func() {
			want.URL, want.Tries, want.Wait = "https://shop.example.com/v1", 3, 90*time.Second
		}},
		{map[string]string{"SHOP_URL": "http://127.0.0.1:9", "GREETING": "Dear all, ", "TRIES": "-5", "LOUD": "true", "WAIT": "100ms"}, func() {
			want.URL, want.Greeting, want.Tries, want.Loud, want.Wait = "http://127.0.0.1:9", "Dear all, ", -5, true, 100*time.Millisecond
		}},
		{map[string]string{"SHOP_URL": "https://x.test", "TRIES": ""}, func() { // an empty variable sets nothing
			want.URL, want.Greeting, want.Tries, want.Loud, want.Wait = "https://x.test", "", 3, false, 90*time.Second
		}},
	} {
		s, err := a.Configure(row.given)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Into(&got); err != nil {
			t.Fatal(err)
		}

		row.set()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", row.given, diff)
		}
	}
}

func TestConfigureRefuses(t *testing.T) {
	a := parse(t, own)
	for _, row := range []struct {
		given map[string]string
		want  []string // one line each
	}{
		{nil, []string{"ERRAND_SETTING_SHOP_URL is required by agent.yaml: Where the shop is."}},
		{map[string]string{"SHOP_URL": "CANARY"}, []string{"ERRAND_SETTING_SHOP_URL is not of the type url: write https://example.com, for example"}},
		{map[string]string{"SHOP_URL": "https://user:CANARY@x.test"}, []string{"not of the type url"}},
		{map[string]string{"SHOP_URL": "https://x.test", "SHOP_URI": "CANARY"}, []string{"ERRAND_SETTING_SHOP_URI is no setting of agent.yaml; did you mean ERRAND_SETTING_SHOP_URL?"}},
		{map[string]string{"SHOP_URL": "https://x.test", "TRIES": "3.5", "LOUD": "yes", "WAIT": "90", "GREETING": "a\nb"}, []string{
			"ERRAND_SETTING_GREETING is not of the type string",
			"ERRAND_SETTING_TRIES is not of the type integer: write 20",
			"ERRAND_SETTING_LOUD is not of the type boolean: write true",
			"ERRAND_SETTING_WAIT is not of the type duration: write 90s",
		}},
		{map[string]string{"SHOP_URL": "https://x.test", "TRIES": "9999999999999999999"}, []string{"not of the type integer"}},
	} {
		_, err := a.Configure(row.given)
		if err == nil {
			t.Errorf("%v is accepted", row.given)
			continue
		}

		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(row.want) {
			t.Errorf("%v: %d faults, want %d: %v", row.given, len(lines), len(row.want), err)
			continue
		}

		for i, want := range row.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%v: %q, want %q", row.given, lines[i], want)
			}
		}

		if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("the error repeats a value: %v", err)
		}
	}

	if _, err := parse(t, minimal).Configure(map[string]string{"X": "1"}); err == nil || !strings.Contains(err.Error(), "ERRAND_SETTING_X is no setting of agent.yaml, which has none") {
		t.Errorf("without settings: %v", err)
	}
}

func TestSettingsFitTheirFields(t *testing.T) {
	s, err := parse(t, own).Configure(map[string]string{"SHOP_URL": "https://x.test"})
	if err != nil {
		t.Fatal(err)
	}

	for _, row := range []struct {
		into any
		want string
	}{
		{struct{}{}, "a pointer to a struct, not into struct {}"},
		{(*struct{})(nil), "a pointer to a struct"},
		{new(string), "a pointer to a struct, not into *string"},
		{&struct{ URL string }{}, "the field URL must be exported and name its setting in a tag"},
		{&struct {
			url string `setting:"shop_url"`
		}{}, "the field url must be exported"},
		{&struct {
			URL string `setting:"shop_uri"`
		}{}, "agent.yaml names no setting shop_uri; did you mean shop_url?"},
		{&struct {
			Tries string `setting:"tries"`
		}{}, "the field Tries must be of the type int, which its setting tries has"},
		{&struct {
			Wait int `setting:"wait"`
		}{}, "the field Wait must be of the type time.Duration"},
	} {
		if err := s.Into(row.into); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("Into(%T) = %v, want %q", row.into, err, row.want)
		}
	}

	if err := s.Into(&struct{}{}); err != nil {
		t.Errorf("no fields: %v", err)
	}
}

// The README's example is a definition, with the variables that it names.
func TestSettingsOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml settings\n(.*?)```").FindSubmatch(readme)
	if found == nil {
		t.Fatal("the README shows no settings")
	}
	a := parse(t, minimal+regexp.MustCompile("(?m)^  ").ReplaceAllString(string(found[1]), ""))
	for _, v := range []string{a.Settings[0].Variable(), a.Secrets[0].Variable()} {
		if !strings.Contains(string(found[1]), v) {
			t.Errorf("the README does not name %s", v)
		}
	}
}

func TestSettingsAndSecretsOfADefinition(t *testing.T) {
	a := parse(t, own)
	if v := a.Settings[0].Variable(); v != "ERRAND_SETTING_SHOP_URL" {
		t.Errorf("the setting's variable is %s", v)
	}
	if v := a.Secrets[0].Variable(); v != "ERRAND_SECRET_SHOP_TOKEN" {
		t.Errorf("the secret's variable is %s", v)
	}

	for _, row := range []struct{ text, want string }{
		{"settings: [{name: shopUrl, description: d}]", "line 10: settings[0].name: must be a name of small letters, digits and _"},
		{"settings: [{name: a, description: d}, {name: a, description: d}]", `settings[1]: "a" stands in the list twice`},
		{"settings: [{name: a}]", "settings[0].description: is required"},
		{"settings: [{name: a, description: d, type: text}]", "settings[0].type: must be one of boolean, duration, integer, string, url"},
		{"settings: [{name: a, description: d, type: integer, default: CANARY}]", "settings[0].default: is not of the type integer: write 20"},
		{"settings: [{name: a, description: d, type: url, default: ''}]", "settings[0].default: is not of the type url"},
		{"settings: [{name: a, description: d, required: true}]", "settings[0].required: unknown key; known here: name, description, type, default"},
		{"secrets: [{name: shop_token, description: d}]", "secrets[0].name: must be a name of small letters, digits and -"},
		{"secrets: [{name: a}]", "secrets[0].description: is required"},
		{"secrets: [{name: a, description: d}, {name: a, description: d}]", `secrets[1]: "a" stands in the list twice`},
		{"secrets: [{name: errand-keys, description: d}]", `secrets[0].name: "errand-keys" belongs to the programs`},
		{"secrets: [{name: gemini-api-key, description: d}]", "belongs to the programs"},
		{"secrets: [{name: access, description: d}]", "belongs to the programs"},
		{"secrets: [{name: a, description: d, value: CANARY}]", "secrets[0].value: unknown key"},
	} {
		_, err := agent.Parse([]byte(minimal + row.text + "\n"))
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v, want %q", row.text, err, row.want)
		}
	}
}
