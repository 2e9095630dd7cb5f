package agent

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"errand/shared/strict"
)

// A Setting is a value that each installation of the agent chooses for itself, such as the
// address of a service. The agent's own code reads it; the model does not see it.
type Setting struct {
	// Name is its name in code. Required, unique: small letters, digits and _. The
	// variable ERRAND_SETTING_NAME, in capitals, sets it.
	Name string `yaml:"name"`
	// Description tells its purpose to the person who installs the agent. Required.
	Description string `yaml:"description"`
	// Type is string, integer, boolean, duration (such as 90s) or url (http or https).
	// Default: string.
	Type string `yaml:"type"`
	// Default is its value if no variable sets it. Without a default it is required.
	Default *string `yaml:"default"`
}

// A Secret is the name of a secret that the agent's own code may read. Its value is never
// in a definition.
type Secret struct {
	// Name is its name in code and where secrets are kept. Required, unique: small
	// letters, digits and -. With ERRAND_SECRETS=env: the variable ERRAND_SECRET_NAME
	// holds it, in capitals and with _ for -.
	Name string `yaml:"name"`
	// Description tells its purpose to the person who installs the agent. Required.
	Description string `yaml:"description"`
}

// Prefixes of the variables of settings and secrets.
const (
	SettingPrefix = "ERRAND_SETTING_"
	SecretPrefix  = "ERRAND_SECRET_"
)

// Variable is the variable that sets it.
func (s Setting) Variable() string { return SettingPrefix + strings.ToUpper(s.Name) }

// Variable is the variable that holds it with ERRAND_SECRETS=env:.
func (s Secret) Variable() string {
	return SecretPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// A Type describes the values of a setting.
type Type struct {
	Pattern string // RE2; Terraform checks the same one
	Example string
	read    func(string) (any, error)
}

// Types are the types that a setting may have. The text of a string is one line.
func Types() map[string]Type {
	return map[string]Type{
		"string":   {`^[^[:cntrl:]]+$`, "any line", func(s string) (any, error) { return s, nil }},
		"integer":  {`^-?[0-9]{1,18}$`, "20", func(s string) (any, error) { return strconv.Atoi(s) }},
		"boolean":  {`^(true|false)$`, "true", func(s string) (any, error) { return s == "true", nil }},
		"duration": {`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`, "90s", func(s string) (any, error) { return time.ParseDuration(s) }},
		"url":      {`^https?://[^[:cntrl:][:space:]/?#@]+([/?#][^[:cntrl:][:space:]]*)?$`, "https://example.com", func(s string) (any, error) { return s, nil }},
	}
}

// parse reads a value. Its error names the type and an example, and not the value, which
// may be a secret that stands in the wrong place.
func (s Setting) parse(value string) (any, error) {
	if value == "" && s.Type == "string" { // a default may be empty
		return "", nil
	}
	t := Types()[s.Type]
	v, err := t.read(value)
	if err != nil || !regexp.MustCompile(t.Pattern).MatchString(value) {
		return nil, fmt.Errorf("is not of the type %s: write %s, for example", s.Type, t.Example)
	}
	return v, nil
}

// Settings are the values of an agent's settings, checked, by name.
type Settings struct{ values map[string]any }

// Configure checks the settings of an installation. given has the values of variables by
// their names without SettingPrefix; an empty value counts as none. The error lists every fault
// with its remedy.
func (a *Agent) Configure(given map[string]string) (Settings, error) {
	s := Settings{map[string]any{}}
	var bad []error
	var known []string

	for _, d := range a.Settings {
		known = append(known, d.Variable())
		value := given[strings.TrimPrefix(d.Variable(), SettingPrefix)]

		switch {
		case value == "" && d.Default == nil:
			bad = append(bad, fmt.Errorf("%s is required by agent.yaml: %s", d.Variable(), d.Description))
			continue
		case value == "":
			value = *d.Default
		}

		v, err := d.parse(value)
		if err != nil {
			bad = append(bad, fmt.Errorf("%s %w", d.Variable(), err))
		}

		s.values[d.Name] = v
	}

	for _, name := range slices.Sorted(maps.Keys(given)) {
		if variable := SettingPrefix + name; !slices.Contains(known, variable) {
			bad = append(bad, fmt.Errorf("%s is no setting of agent.yaml%s", variable, meant(variable, known)))
		}
	}

	return s, errors.Join(bad...)
}

// CheckSecrets checks the secrets that an installation sets in variables, by the names of
// these without SecretPrefix.
func (a *Agent) CheckSecrets(given map[string]string) error {
	var bad []error
	var known []string
	for _, s := range a.Secrets {
		known = append(known, s.Variable())
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if variable := SecretPrefix + name; !slices.Contains(known, variable) {
			bad = append(bad, fmt.Errorf("%s is no secret of agent.yaml%s", variable, meant(variable, known)))
		}
	}
	return errors.Join(bad...)
}

// meant says which of the known names was probably meant, or that there is none.
func meant(name string, known []string) string {
	best, _ := strict.Nearest(name, known, func(s string) string { return s })
	if best == "" {
		return ", which has none"
	}
	return "; did you mean " + best + "?"
}

// Into copies the settings into a struct: each field names its setting in a tag, such as
// `setting:"shop_url"`. A string and a url become a string, an integer an int, a boolean
// a bool, a duration a time.Duration. The error lists every field that does not fit.
func (s Settings) Into(to any) error {
	v := reflect.ValueOf(to)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("settings are copied into a pointer to a struct, not into %T", to)
	}

	var bad []error
	v = v.Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("setting")
		value, ok := s.values[name]

		switch {
		case name == "" || !field.IsExported():
			bad = append(bad, fmt.Errorf("the field %s must be exported and name its setting in a tag, such as `setting:\"shop_url\"`", field.Name))
		case !ok:
			bad = append(bad, fmt.Errorf("agent.yaml names no setting %s%s", name, meant(name, slices.Sorted(maps.Keys(s.values)))))
		case field.Type != reflect.TypeOf(value):
			bad = append(bad, fmt.Errorf("the field %s must be of the type %T, which its setting %s has", field.Name, value, name))
		default:
			v.Field(i).Set(reflect.ValueOf(value))
		}
	}

	return errors.Join(bad...)
}
