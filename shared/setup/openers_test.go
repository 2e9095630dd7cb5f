package setup_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand/shared/auth"
	"errand/shared/keys"
	lab "errand/shared/lab/agent"
	"errand/shared/setup"
)

// cloud is an environment that all three programs start in. Nothing asks the services,
// which do not exist.
func cloud(t *testing.T) setup.Env {
	t.Helper()
	t.Setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
	ring, err := keys.Generate("", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return setup.Env{
		Store: "firestore:p", Files: "gs:my-bucket@127.0.0.1:9", Queue: managed + "@127.0.0.1:9", Bus: topic + "@127.0.0.1:9", Model: "standin:", Keys: ring,
		URL: "https://agent.example.com", WorkerURL: "https://worker.example.com", FunctionsURL: "https://functions.example.com",
		Access: "anonymous", Invoker: "invoker@p.iam.gserviceaccount.com",
	}
}

// openers open the parts of each program, and close them again.
var openers = map[string]func(context.Context, setup.Env) error{
	"cardserver": func(ctx context.Context, e setup.Env) error {
		p, err := setup.OpenFront(ctx, e, lab.Definition, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		return p.Close()
	},
	"worker": func(ctx context.Context, e setup.Env) error {
		p, err := setup.OpenWorker(ctx, e, lab.Definition, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		return p.Close()
	},
	"functions": func(ctx context.Context, e setup.Env) error {
		p, err := setup.OpenFunctions(ctx, e, lab.Definition, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		return p.Close()
	},
}

// Each program starts in the same environment, and checks only the variables that it uses.
func TestProgramsRefuseWhatTheyUse(t *testing.T) {
	everyone := []string{"cardserver", "functions", "worker"}
	for _, row := range []struct {
		name   string
		change func(*setup.Env)
		by     []string // the programs that refuse it
		want   []string
	}{
		{"nothing", func(*setup.Env) {}, nil, nil},
		{"local queue", func(e *setup.Env) { e.Queue, e.Bus = "", "" }, everyone, []string{"nothing to do with a local queue", "cloudtasks:", "pubsub:"}},
		{"queue", func(e *setup.Env) { e.Queue = "rabbit:x" }, everyone, []string{"ERRAND_QUEUE"}},
		{"bus", func(e *setup.Env) { e.Bus = "kafka:x" }, everyone, []string{"ERRAND_BUS", "pubsub:"}},
		{"files", func(e *setup.Env) { e.Files = "" }, everyone, []string{"ERRAND_FILES=gs:BUCKET"}},
		{"refused", func(e *setup.Env) { e.Refused = "kafka:x" }, []string{"functions"}, []string{"ERRAND_REFUSED", "pubsub:projects/PROJECT/topics/TOPIC"}},
		{"refused to no topic", func(e *setup.Env) { e.Refused = "pubsub:refused" }, []string{"functions"}, []string{"ERRAND_REFUSED", "not \"refused\""}},
		{"refused, and no agent", func(e *setup.Env) { e.Refused, e.Agent = topic+"@127.0.0.1:9", "/none.yaml" }, everyone, []string{"ERRAND_AGENT"}},
		{"refused messages", func(e *setup.Env) { e.Refused = topic + "@127.0.0.1:9" }, nil, nil},
		{"objects", func(e *setup.Env) { e.Objects = "s3:" }, everyone, []string{"ERRAND_OBJECTS", "use gs: or gs:@HOST:PORT"}},
		{"objects of one bucket", func(e *setup.Env) { e.Objects = "gs:acme-in" }, everyone, []string{"ERRAND_OBJECTS", "The access file names the buckets"}},
		{"objects nowhere", func(e *setup.Env) { e.Objects = "gs:@nowhere" }, everyone, []string{"ERRAND_OBJECTS", "HOST:PORT"}},
		{"objects at no address", func(e *setup.Env) { e.Objects = "gs:@" }, everyone, []string{"ERRAND_OBJECTS", "HOST:PORT"}},
		{"store", func(e *setup.Env) { e.Store = "oracle:x" }, everyone, []string{"ERRAND_STORE"}},
		{"model", func(e *setup.Env) { e.Model = "gpt:x" }, []string{"worker"}, []string{"ERRAND_MODEL"}},
		{"agent", func(e *setup.Env) { e.Agent = "/none.yaml" }, []string{"cardserver", "worker"}, []string{"ERRAND_AGENT"}},
		{"access", func(e *setup.Env) { e.Access = "/none.yaml" }, everyone, []string{"ERRAND_ACCESS"}},
		{"webhooks", func(e *setup.Env) { e.PushAllow = "x" }, []string{"cardserver", "functions"}, []string{"ERRAND_PUSH_ALLOW"}},
		{"keys of credentials", func(e *setup.Env) { e.CredentialKeys = "2026-01-01T00:00:00Z letmein" }, []string{"cardserver", "worker"}, []string{"ERRAND_CREDENTIAL_KEYS", "errand-credential-keys", "line 1"}},
		{"keys", func(e *setup.Env) { e.Keys = "" }, []string{"cardserver", "functions"}, []string{"ERRAND_KEYS"}},
		{"URL", func(e *setup.Env) { e.URL = "" }, []string{"functions"}, []string{"ERRAND_URL", "in the name of the agent"}},
		{"two faults", func(e *setup.Env) { e.Store, e.Files = "z", "s3:x" }, everyone, []string{"ERRAND_STORE", "ERRAND_FILES"}},
		{"secrets, once", func(e *setup.Env) { e.Secrets, e.Model = "vault:x", "gemini:x" }, everyone, []string{"ERRAND_SECRETS"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			env := cloud(t)
			row.change(&env)

			for program, open := range openers {
				err := open(t.Context(), env)
				if refused := err != nil; refused != strings.Contains(strings.Join(row.by, " "), program) {
					t.Errorf("%s: %v, want a refusal by %v", program, err, row.by)
				}
				if err == nil {
					continue
				}

				for _, want := range row.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s does not say %q: %v", program, want, err)
					}
				}

				if strings.Count(err.Error(), "ERRAND_SECRETS") > 1 {
					t.Errorf("%s says it twice: %v", program, err)
				}
			}
		})
	}
}

// An opener that fails at a late step closes the store that it has opened.
func TestFailedOpenerClosesTheStore(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("errand.db.keys", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, setup.Env{}); err == nil || !strings.Contains(err.Error(), "errand.db.keys") {
		t.Fatalf("with a folder in the place of the keys: %v", err)
	}
	if err := os.Remove("errand.db.keys"); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, setup.Env{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Outside Cloud Run no program has ID tokens, and the functions say so.
func TestNoIDTokensOutsideCloudRun(t *testing.T) {
	f, err := setup.OpenFunctions(t.Context(), cloud(t), lab.Definition, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if token, err := f.IDToken(t.Context(), "https://receiver.example.com"); token != "" || err == nil || !strings.Contains(err.Error(), "service account") {
		t.Errorf("IDToken = %q, %v, want an error that names the account", token, err)
	}

	c, err := setup.OpenFront(t.Context(), cloud(t), lab.Definition, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.IDTokens {
		t.Error("the front door lets clients register webhooks with ID tokens")
	}
}

// The functions read the access file, which says where ID tokens may go, and refuse to start
// without the one that is named.
func TestFunctionsReadTheAccessFile(t *testing.T) {
	e := cloud(t)
	e.Access = filepath.Join(t.TempDir(), "access.yaml")
	if err := openers["functions"](t.Context(), e); err == nil || !strings.Contains(err.Error(), "access.yaml") {
		t.Errorf("without the file: %v", err)
	}

	_, hash := auth.NewKey()
	text := "principals: [{name: acme/ci, keys: ['" + hash + "'], idTokens: ['https://hooks.example.com']}]"
	if err := os.WriteFile(e.Access, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := setup.OpenFunctions(t.Context(), e, lab.Definition, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, row := range []struct {
		owner, origin string
		want          bool
	}{
		{"acme/ci", "https://hooks.example.com", true}, {"acme/ci", "https://other.example.com", false}, {"acme/other", "https://hooks.example.com", false},
	} {
		if got := f.Access.IDTokens(row.owner, row.origin); got != row.want {
			t.Errorf("ID tokens of %s to %s: %v, want %v", row.owner, row.origin, got, row.want)
		}
	}
}
