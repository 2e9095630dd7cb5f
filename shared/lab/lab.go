// Package lab is for tests: it makes what the frame gives to an installation's own code,
// and puts an agent of the tests in the place of worker/agent. It is in no program.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"errand/shared/agent"
	"errand/shared/egress"
	"errand/shared/kit"
	"errand/shared/secret"
)

// Given are settings and secrets by their names in agent.yaml.
type Given struct{ Settings, Secrets map[string]string }

// Env makes what tools and an executor are given, from a definition and what an
// installation would set. It is checked as at the start of a program. Its HTTP client also
// reaches this machine, where tests have their servers.
func Env(t testing.TB, definition []byte, given Given) kit.Env {
	t.Helper()
	a, err := agent.Parse(definition)
	if err != nil {
		t.Fatal(err)
	}

	variables := map[string]string{}
	for name, value := range given.Settings {
		variables[strings.ToUpper(name)] = value
	}

	settings, err := a.Configure(variables)
	if err != nil {
		t.Fatal(err)
	}

	for _, s := range a.Secrets {
		if given.Secrets[s.Name] == "" {
			t.Fatalf("agent.yaml names the secret %s, and the test gives none", s.Name)
		}
	}

	allow, err := egress.ParseAllow("127.0.0.0/8:*,[::1]:*")
	if err != nil {
		t.Fatal(err)
	}

	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	client, err := egress.NewHTTP(egress.Config{Allow: allow}, log)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(client.CloseIdleConnections)
	return kit.New(kit.Config{Settings: settings, Secrets: a.Secrets, Source: secrets(given.Secrets), HTTP: client, Log: log})
}

type secrets map[string]string

// Get implements secret.Source.
func (s secrets) Get(_ context.Context, ref secret.Ref) (secret.Value, error) {
	return secret.NewValue([]byte(s[ref.Name]))
}

// Root is the folder of the module that the test runs in.
func Root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("there is no go.mod here or above")
		}
		dir = up
	}
	return "", err
}

// Overlay writes a file for go build -overlay into dir, with which programs are built of
// shared/lab/agent in the place of worker/agent, and returns the flag.
func Overlay(dir string) (flag string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}

	replace := map[string]string{}
	own, theirs := filepath.Join(root, "worker", "agent"), filepath.Join(root, "shared", "lab", "agent")
	for _, from := range []struct{ dir, by string }{{own, ""}, {theirs, theirs}} {
		files, err := os.ReadDir(from.dir)
		if err != nil {
			return "", err
		}

		for _, f := range files {
			by := ""
			if from.by != "" {
				by = filepath.Join(from.by, f.Name())
			}
			if !f.IsDir() {
				replace[filepath.Join(own, f.Name())] = by
			}
		}
	}

	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}

	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("writing the overlay: %w", err)
	}

	return "-overlay=" + path, nil
}
