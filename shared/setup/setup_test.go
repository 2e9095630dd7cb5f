package setup_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"errand/shared/agent"
	"errand/shared/files"
	"errand/shared/keys"
	lab "errand/shared/lab/agent"
	"errand/shared/lab/fake"
	"errand/shared/setup"
	"errand/shared/task"
)

func TestReadEnv(t *testing.T) {
	got, err := setup.ReadEnv([]string{
		"PORT=9000", "ERRAND_LISTEN=0.0.0.0:9001", "ERRAND_URL=https://a.example.com/", "ERRAND_AGENT=a.yaml", "ERRAND_STORE=sqlite:x=y.db",
		"ERRAND_FILES=file:f", "ERRAND_OBJECTS=gs:@o.example.com:443", "ERRAND_QUEUE=local", "ERRAND_BUS=local", "ERRAND_REFUSED=pubsub:r", "ERRAND_MODEL=standin:", "ERRAND_PUSH_ALLOW=127.0.0.1:*", "GEMINI_API_KEY=k\n", "K_SERVICE=s",
		"ERRAND_DEDUPE=off", "ERRAND_ORIGINS=https://ui.example.com, http://localhost:3000", "ERRAND_TURNS=9", "ERRAND_SHARDS=4", "ERRAND_PROXIES=2", "ERRAND_CHECKED_BY=cloudrun", "ERRAND_ACCESS=anonymous", "ERRAND_SECRETS=env:", "ERRAND_WORKER_URL=https://w.example.com/", "ERRAND_FUNCTIONS_URL=https://f.example.com",
		"ERRAND_INVOKER=i@p.example.com", "ERRAND_ISSUER=https://i.example.com", "GOOGLE_CLOUD_PROJECT=p", "GOOGLE_CLOUD_LOCATION=l",
		"ERRAND_AGENT_ALLOW=10.0.0.0/8:443", "ERRAND_SETTING_SHOP_URL=u=v", "ERRAND_SETTING_TRIES=", "ERRAND_SECRET_SHOP_TOKEN=t",
		"ERRAND_TEST_ANYTHING=1", "HOME=/", "ERRANDS=1", "nonsense", "=C:",
	})
	want := setup.Env{
		Port: "9000", Listen: "0.0.0.0:9001", URL: "https://a.example.com", Agent: "a.yaml", Store: "sqlite:x=y.db", Files: "file:f",
		Objects: "gs:@o.example.com:443", Queue: "local", Bus: "local", Refused: "pubsub:r", Model: "standin:", PushAllow: "127.0.0.1:*", GeminiKey: "k", Service: "s",
		Dedupe: "off", Origins: "https://ui.example.com, http://localhost:3000", Turns: "9", Shards: "4", Proxies: "2", CheckedBy: "cloudrun", Access: "anonymous", Secrets: "env:", WorkerURL: "https://w.example.com", FunctionsURL: "https://f.example.com", Invoker: "i@p.example.com",
		Issuer: "https://i.example.com", Project: "p", Location: "l",
		AgentAllow: "10.0.0.0/8:443", AgentSettings: map[string]string{"SHOP_URL": "u=v", "TRIES": ""}, AgentSecrets: map[string]string{"SHOP_TOKEN": "t"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	got, err = setup.ReadEnv(nil)
	if diff := cmp.Diff(setup.Env{}, got); diff != "" || err != nil {
		t.Errorf("an empty environment: %v\n%s", err, diff)
	}
}

func TestReadEnvRefuses(t *testing.T) {
	for _, row := range []struct {
		env  string
		want string // in the error; empty: it must pass
	}{
		{"ERRAND_STOR=x", "ERRAND_STOR is not a variable of this program; did you mean ERRAND_STORE?"},
		{"ERRAND_MODLE=x", "did you mean ERRAND_MODEL?"},
		{"ERRAND_PUSHALLOW=x", "did you mean ERRAND_PUSH_ALLOW?"},
		{"ERRAND_PORT=1", "did you mean PORT?"},
		{"ERRAND_GEMINI_API_KEY=x", "did you mean GEMINI_API_KEY?"},
		{"ERRAND_ORIGINS=https://ui.example.com,http://localhost:3000", ""},
		{"ERRAND_ORIGINS=*", "ERRAND_ORIGINS must be origins"}, {"ERRAND_ORIGINS=null", "ERRAND_ORIGINS must be origins"}, {"ERRAND_ORIGINS=ui.example.com", "ERRAND_ORIGINS must be origins"},
		{"ERRAND_ORIGINS=http://[::1]:3000", ""}, {"ERRAND_ORIGINS=https://*", "ERRAND_ORIGINS must be origins"},
		{"ERRAND_ORIGINS=https://ui.example.com:443", "ERRAND_ORIGINS must be origins"}, {"ERRAND_ORIGINS=http://x:", "ERRAND_ORIGINS must be origins"},
		{"ERRAND_ORIGINS=https://ui.example.com/", "ERRAND_ORIGINS must be origins"}, {"ERRAND_ORIGINS=https://ui.example.com,", "ERRAND_ORIGINS must be origins"},
		{"ERRAND_=x", "ERRAND_ is not a variable"},
		{"ERRAND_SETTINGS_SHOP_URL=x", "Settings of agent.yaml begin with ERRAND_SETTING_, its secrets with ERRAND_SECRET_"},
		{"ERRAND_SETTING_=x", "ERRAND_SETTING_ is not a variable"}, {"ERRAND_SECRET_=x", "ERRAND_SECRET_ is not a variable"},
		{"ERRAND_TESTS=x", "ERRAND_TESTS is not a variable"},
		{"PORT=http", "PORT=8080"}, {"PORT=-1", "PORT=8080"}, {"PORT=65536", "PORT=8080"}, {"PORT=0", ""}, {"PORT=", ""},
		{"ERRAND_LISTEN=8080", "ERRAND_LISTEN=0.0.0.0:8080"}, {"ERRAND_LISTEN=127.0.0.1:", "ERRAND_LISTEN=0.0.0.0:8080"},
		{"ERRAND_LISTEN=127.0.0.1:99999", "ERRAND_LISTEN=0.0.0.0:8080"}, {"ERRAND_LISTEN=::1:80", "ERRAND_LISTEN=0.0.0.0:8080"},
		{"ERRAND_LISTEN=:8080", ""}, {"ERRAND_LISTEN=[::1]:0", ""},
		{"ERRAND_URL=agent.example.com", "ERRAND_URL=https://"}, {"ERRAND_URL=ftp://a.example.com", "ERRAND_URL=https://"},
		{"ERRAND_URL=https://u:p@a.example.com", "ERRAND_URL=https://"}, {"ERRAND_URL=https://a.example.com?x", "ERRAND_URL=https://"},
		{"ERRAND_URL=http://a.example.com:81/b", ""},
		{"ERRAND_WORKER_URL=https://w.example.com/turns", "ERRAND_WORKER_URL must be an address without a path"}, {"ERRAND_WORKER_URL=https://w.example.com/", ""},
		{"ERRAND_FUNCTIONS_URL=https://f.example.com/x", "ERRAND_FUNCTIONS_URL must be an address without a path"},
		{"ERRAND_TURNS=many", "ERRAND_TURNS=64"}, {"ERRAND_TURNS=0", "ERRAND_TURNS=64"}, {"ERRAND_TURNS=-1", "ERRAND_TURNS=64"},
		{"ERRAND_TURNS=10001", "from 1 to 10000"}, {"ERRAND_TURNS=1", ""}, {"ERRAND_TURNS=10000", ""}, {"ERRAND_TURNS=", ""},
		{"ERRAND_PROXIES=0", ""}, {"ERRAND_PROXIES=8", ""}, {"ERRAND_PROXIES=", ""},
		{"ERRAND_PROXIES=9", "from 0 to 8"}, {"ERRAND_PROXIES=-1", "ERRAND_PROXIES=2"}, {"ERRAND_PROXIES=one", "ERRAND_PROXIES=2"},
		{"ERRAND_CHECKED_BY=", ""}, {"ERRAND_CHECKED_BY=iap", "ERRAND_CHECKED_BY must be cloudrun"},
		{"ERRAND_CHECKED_BY=cloudrun", "ERRAND_CHECKED_BY is for Cloud Run (K_SERVICE is set)"},
		{"ERRAND_SHARDS=3", "ERRAND_SHARDS must be 1, 2, 4, 8"}, {"ERRAND_SHARDS=16", "ERRAND_SHARDS=4"}, {"ERRAND_SHARDS=8", ""}, {"ERRAND_SHARDS=", ""},
		{"ERRAND_ISSUER=https://i.example.com/", "leave the slash at its end out"}, {"ERRAND_ISSUER=http://127.0.0.1:1", ""},
	} {
		_, err := setup.ReadEnv([]string{row.env})
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.env, err, row.want)
		}
	}

	_, err := setup.ReadEnv([]string{"ERRAND_B=1", "ERRAND_A=1", "PORT=x", "ERRAND_URL=x"})
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("four faults are reported as %v", err)
	}
}

func TestAddress(t *testing.T) {
	for _, row := range []struct {
		env  setup.Env
		want string
	}{
		{setup.Env{}, "127.0.0.1:8080"},
		{setup.Env{Port: "9000"}, "127.0.0.1:9000"},
		{setup.Env{Port: "9000", Service: "s"}, ":9000"},
		{setup.Env{Port: "9000", Service: "s", Listen: "127.0.0.1:1"}, "127.0.0.1:1"},
	} {
		if got := row.env.Address(); got != row.want {
			t.Errorf("%+v listens on %s, want %s", row.env, got, row.want)
		}
	}
}

// open opens the parts of cardserver. With a managed queue it returns none: such an
// environment must be refused.
func open(t *testing.T, e setup.Env) (*setup.Standalone, error) {
	t.Helper()
	if !e.Local() {
		_, err := setup.OpenFront(t.Context(), e, lab.Definition, slog.New(slog.DiscardHandler))
		return nil, err
	}
	p, err := setup.OpenStandalone(t.Context(), e, lab.Definition, slog.New(slog.DiscardHandler))
	if err != nil && p != nil {
		t.Errorf("parts beside the error %v", err)
	}
	if err == nil {
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return p, err
}

// refused opens the parts in a new folder. It must fail with an error that says all of want
// and no secret, and leave nothing in the folder.
func refused(t *testing.T, e setup.Env, want ...string) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	_, err := open(t, e)
	if err == nil {
		t.Fatal("opened")
	}

	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}

	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the error holds a secret: %v", err)
	}
	if made, err := os.ReadDir(dir); len(made) > 0 || err != nil {
		t.Errorf("made %v, %v", made, err)
	}
}

// Specs of managed services, in which nothing is asked before it is used.
const (
	managed = "cloudtasks:projects/p/locations/l/queues/q"
	topic   = "pubsub:projects/p/topics/events"
)

// Whatever cannot work is refused with the variable and what to do, before anything
// is made.
func TestOpenRefuses(t *testing.T) {
	other := t.TempDir()
	yaml := filepath.Join(other, "a.yaml")
	if err := os.WriteFile(yaml, []byte("name: x\nnonsense: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	open755 := filepath.Join(other, "open")
	if err := errors.Join(os.Mkdir(open755, 0o700), os.Chmod(open755, 0o755)); err != nil {
		t.Fatal(err)
	}

	for _, row := range []struct {
		name string
		env  setup.Env
		want []string
	}{
		{"shards of the local queue", setup.Env{Shards: "4"}, []string{"ERRAND_SHARDS", "leave it out", "ERRAND_QUEUE=cloudtasks:"}},
		{"store", setup.Env{Store: "oracle:x"}, []string{"ERRAND_STORE=sqlite:errand.db", "firestore:", `"oracle"`}},
		{"store without file", setup.Env{Store: "sqlite:"}, []string{"ERRAND_STORE=sqlite:errand.db"}},
		{"Postgres with its password", setup.Env{Store: "postgres://u:s3cret@h/d"}, []string{"ERRAND_STORE", "alloy_db_pass"}},
		{"Postgres with its password behind it", setup.Env{Store: "postgres://u@h/d?password=s3cret"}, []string{"ERRAND_STORE", "alloy_db_pass"}},
		{"Postgres that is no URL", setup.Env{Store: "postgres://u:s3cret@h:port/d"}, []string{"ERRAND_STORE", "postgres://USER@HOST/DATABASE"}},
		{"Postgres with few connections", setup.Env{Store: "postgres://u@h/d?sslmode=require&pool_max_conns=2"}, []string{"ERRAND_STORE", "pool_max_conns=2", "at least 5"}},
		{"Postgres in the clear or not", setup.Env{Store: "postgres://u@h1:5432,h2:5433/d"}, []string{"ERRAND_STORE", "sslmode=verify-full"}},
		{"Postgres behind a near name", setup.Env{Store: "postgres://u@localhost/d?host=/run,db.example.com"}, []string{"ERRAND_STORE", "sslmode=verify-full"}},
		{"Postgres with a wrong parameter", setup.Env{Store: "postgres://u@h/d?sslmode=maybe"}, []string{"ERRAND_STORE", "sslmode"}},
		{"AlloyDB without an instance", setup.Env{Store: "alloydb:mine"}, []string{"ERRAND_STORE", "alloydb:projects/PROJECT/locations/LOCATION/clusters/CLUSTER/instances/INSTANCE"}},
		{"AlloyDB by another way", setup.Env{Store: "alloydb:projects/p/locations/l/clusters/c/instances/i?ip=carrier"}, []string{"ERRAND_STORE", "ip=carrier", "private, public or psc"}},
		{"store in no folder", setup.Env{Store: "sqlite:" + filepath.Join(other, "none", "x.db")}, []string{"ERRAND_STORE", "create it or name another file"}},
		{"files", setup.Env{Files: "s3:x"}, []string{"ERRAND_FILES", `"s3"`, "file:FOLDER", "gs:BUCKET"}},
		{"files nowhere", setup.Env{Files: "file:"}, []string{"ERRAND_FILES", "file:FOLDER"}},
		{"files in no bucket", setup.Env{Files: "gs:"}, []string{"ERRAND_FILES", "gs:BUCKET"}},
		{"files in no good bucket", setup.Env{Files: "gs:My_Bucket/../x@nowhere"}, []string{"ERRAND_FILES", "My_Bucket", "../x", "HOST:PORT"}},
		{"files in no folder", setup.Env{Files: "file:" + filepath.Join(other, "none", "x")}, []string{"ERRAND_FILES", "create it or name another"}},
		{"files in a file", setup.Env{Files: "file:" + yaml}, []string{"ERRAND_FILES", "a.yaml", "no folder"}},
		{"files in an open folder", setup.Env{Files: "file:" + open755}, []string{"ERRAND_FILES", "chmod 700 " + open755}},
		{"files beside no file", setup.Env{Store: "firestore:p/d", Keys: "x"}, []string{"ERRAND_FILES=file:FOLDER", "ERRAND_FILES=gs:BUCKET"}},
		{"Cloud Run with a folder", setup.Env{Service: "s", Queue: managed, Bus: topic, Store: "firestore:p/d", Files: "file:" + other}, []string{"ERRAND_FILES=gs:BUCKET", "K_SERVICE"}},
		{"a folder with a managed queue", setup.Env{Queue: managed, Bus: topic, Store: "firestore:p/d", Files: "file:" + other}, []string{"ERRAND_FILES=gs:BUCKET", "managed queue"}},
		{"queue", setup.Env{Queue: "rabbit:x"}, []string{"ERRAND_QUEUE=local", `"rabbit"`}},
		{"bus", setup.Env{Bus: "kafka:x"}, []string{"ERRAND_BUS=local", `"kafka"`}},
		{"model", setup.Env{Model: "gpt:x"}, []string{"ERRAND_MODEL", "gemini:NAME", "standin:"}},
		{"model without key", setup.Env{Model: "gemini:x"}, []string{"ERRAND_MODEL", "GEMINI_API_KEY"}},
		{"model whose key is in no file", setup.Env{Model: "gemini:x", Secrets: "file:" + other}, []string{"ERRAND_MODEL", "gemini-api-key", "ERRAND_SECRETS"}},
		{"secrets", setup.Env{Model: "gemini:x", Secrets: "vault:x"}, []string{"ERRAND_SECRETS", `"vault"`, "secretmanager:PROJECT"}},
		{"vertex without a project", setup.Env{Model: "vertex:x", Location: "l"}, []string{"ERRAND_MODEL=vertex", "GOOGLE_CLOUD_PROJECT"}},
		{"vertex without a location", setup.Env{Model: "vertex:x", Project: "p"}, []string{"ERRAND_MODEL=vertex", "GOOGLE_CLOUD_LOCATION"}},
		{"model of no name", setup.Env{Model: "gemini:a b", GeminiKey: "s3cret"}, []string{"ERRAND_MODEL", "gemini:NAME"}},
		{"model at no URL", setup.Env{Model: "gemini:x@nowhere", GeminiKey: "s3cret"}, []string{"ERRAND_MODEL", "gemini:NAME@URL"}},
		{"stand-in", setup.Env{Model: "standin:delay=soon"}, []string{"ERRAND_MODEL"}},
		{"agent", setup.Env{Agent: filepath.Join(other, "none.yaml")}, []string{"ERRAND_AGENT", "none.yaml"}},
		{"agent with a fault", setup.Env{Agent: yaml}, []string{"ERRAND_AGENT", "a.yaml", "nonsense"}},
		{"push", setup.Env{PushAllow: "localhost"}, []string{"ERRAND_PUSH_ALLOW", "PREFIX:PORT"}},
		{"push everywhere", setup.Env{PushAllow: "0.0.0.0/0:*"}, []string{"ERRAND_PUSH_ALLOW", `"0.0.0.0/0:*"`, "nearly every address"}},
		{"push to the metadata server", setup.Env{PushAllow: "169.254.0.0/16:80"}, []string{"ERRAND_PUSH_ALLOW", "the metadata server"}},
		{"no URL", setup.Env{URL: "agent"}, []string{"ERRAND_URL", "https://host"}},
		{"Cloud Run", setup.Env{Service: "s"}, []string{"ERRAND_QUEUE=cloudtasks:", "ERRAND_BUS=pubsub:", "K_SERVICE"}},
		{"Cloud Run without keys", setup.Env{Service: "s", Queue: managed, Bus: topic, Store: "firestore:p/d", Model: "standin:", URL: "https://x.test"},
			[]string{"ERRAND_KEYS", "errand-keys", "ERRAND_SECRETS", "cardserver keys"}},
		{"damaged keys", setup.Env{Keys: "2026-01-01T00:00:00Z letmein"}, []string{"ERRAND_KEYS", "line 1", "cardserver keys"}},
		{"Cloud Run with SQLite", setup.Env{Service: "s", Queue: managed, Bus: topic}, []string{"ERRAND_STORE=firestore:", "K_SERVICE"}},
		{"SQLite with a managed queue", setup.Env{Queue: managed, Bus: topic}, []string{"ERRAND_STORE=firestore:"}},
		{"half a cloud", setup.Env{Queue: managed}, []string{"ERRAND_QUEUE", "ERRAND_BUS", "both"}},
		{"turns of a managed queue", setup.Env{Queue: managed, Bus: topic, Store: "firestore:p", Turns: "9"}, []string{"ERRAND_TURNS", "turns_per_instance"}},
		{"a queue without its services", setup.Env{Queue: managed, Bus: topic, Store: "firestore:p"}, []string{"ERRAND_WORKER_URL", "ERRAND_FUNCTIONS_URL", "ERRAND_INVOKER"}},
		{"a queue of another form", setup.Env{Queue: "cloudtasks:mine", Bus: topic, Store: "firestore:p"}, []string{"ERRAND_QUEUE", "projects/"}},
		{"access", setup.Env{Access: filepath.Join(other, "none.yaml")}, []string{"ERRAND_ACCESS", "none.yaml"}},
		{"several", setup.Env{Store: "z", Model: "m", PushAllow: "p", Access: "/none"}, []string{"ERRAND_STORE", "ERRAND_MODEL", "ERRAND_PUSH_ALLOW", "ERRAND_ACCESS"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			refused(t, row.env, row.want...)
		})
	}
}

// The zero value runs: the stand-in answers, the file lies in the working folder,
// and a second process is told what holds it.
func TestOpenZero(t *testing.T) {
	t.Chdir(t.TempDir())
	p, err := open(t, setup.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if !p.StandIn || p.Model.Name() != "stand-in" || p.Agent.Name == "" || p.Egress == nil {
		t.Errorf("parts are %+v", p)
	}
	if err := p.Model.Check(t.Context()); err != nil {
		t.Errorf("the stand-in: %v", err)
	}
	if info, err := os.Stat("errand.db"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("errand.db: %v, %v", info, err)
	}
	if _, err := open(t, setup.Env{}); err == nil || !strings.Contains(err.Error(), "ERRAND_STORE") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one: %v", err)
	}
}

// Files are beside the SQLite file by default. The first use creates the folder. Signed URLs
// have the agent's address and a key of its ring.
func TestFilesBesideTheStore(t *testing.T) {
	dir := t.TempDir()
	for spec, folder := range map[string]string{"": filepath.Join(dir, "x.db.files"), "file:" + filepath.Join(dir, "mine"): filepath.Join(dir, "mine")} {
		p, err := setup.OpenStandalone(t.Context(), setup.Env{Store: "sqlite:" + filepath.Join(dir, "x.db"), Files: spec, URL: "https://agent.example.com/a"}, lab.Definition, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there before it is used: %v", folder, err)
		}
		if _, err := p.Files.Put(t.Context(), files.Upload{Name: "tasks/1/f"}, strings.NewReader("content")); err != nil {
			t.Fatal(err)
		}

		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", folder, err)
		}

		signed, err := p.Files.Sign(t.Context(), "tasks/1/f", time.Hour)
		if err != nil || !strings.HasPrefix(signed, "https://agent.example.com/a"+files.Path+"?") {
			t.Errorf("Sign = %q, %v", signed, err)
		}

		w := httptest.NewRecorder()
		p.Files.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, signed, nil))
		if w.Code != http.StatusOK || w.Body.String() != "content" {
			t.Errorf("the signed URL gives %d, %q", w.Code, w.Body)
		}
		if err := p.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
}

// Files are in the given bucket, below the prefix.
func TestFilesInABucket(t *testing.T) {
	t.Chdir(t.TempDir())
	service := fake.StartStorage(t, "my-bucket")
	for spec, before := range map[string]string{"gs:my-bucket@" + service.Addr: "tasks/1/f+", "gs:my-bucket/a/b@" + service.Addr: "a/b/tasks/1/f+"} {
		service.Calls()
		p, err := open(t, setup.Env{Files: spec})
		if err != nil {
			t.Fatal(err)
		}
		if calls := service.Calls(); len(calls) != 0 {
			t.Errorf("the bucket is asked before it is used: %q", calls)
		}
		if _, err := p.Files.Put(t.Context(), files.Upload{Name: "tasks/1/f"}, strings.NewReader("content")); err != nil {
			t.Fatal(err)
		}

		for _, name := range service.Objects(t, "my-bucket") {
			if !strings.HasPrefix(name, before) {
				t.Errorf("%s: there is %s, want what begins with %s", spec, name, before)
			}
		}

		if err := p.Files.DeleteAll(t.Context(), "tasks"); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil { // frees the SQLite file for the next one
			t.Error(err)
		}
	}
}

// The keys that were there at the start are missed, not replaced, and are good again when
// they are back.
func TestLostKeysAreNotReplaced(t *testing.T) {
	t.Chdir(t.TempDir())
	p, err := open(t, setup.Env{})
	if err != nil {
		t.Fatal(err)
	}
	const file = "errand.db.keys"
	if err := os.Rename(file, "away"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Keys.Ring(t.Context()); err == nil || !strings.Contains(err.Error(), "put it back") {
		t.Errorf("without its file the ring is read with %v, want to be told to put it back", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there again: %v", file, err)
	}
	if err := os.Rename("away", file); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Keys.Ring(t.Context()); err != nil {
		t.Errorf("when the file is back: %v", err)
	}
}

// No webhook leads back to the installation, even where its address is allowed, and
// another port of the same host is another receiver.
func TestWebhooksDoNotLeadBack(t *testing.T) {
	t.Chdir(t.TempDir())
	p, err := open(t, setup.Env{
		URL: "http://127.0.0.1:8080", Listen: "0.0.0.0:9191", WorkerURL: "https://worker.example.com", FunctionsURL: "https://functions.example.com:8443",
		PushAllow: "127.0.0.1:*",
	})
	if err != nil {
		t.Fatal(err)
	}
	for url, own := range map[string]bool{
		"http://127.0.0.1:8080/":              true,
		"http://localhost:8080/x":             true,
		"http://127.0.0.1:9191/":              true,
		"http://127.0.0.1:9099/":              false,
		"https://worker.example.com/turns":    true,
		"https://worker.example.com:8443/":    false,
		"https://FUNCTIONS.example.com.:8443": true,
		"https://hooks.example.com/":          false,
	} {
		err := p.Egress.CheckURL(url)
		if got := err != nil && strings.Contains(err.Error(), "this agent itself"); got != own || !own && err != nil {
			t.Errorf("CheckURL(%s) = %v, want own %v", url, err, own)
		}
	}
}

// Which model answers, and where it is asked.
func TestOpenModel(t *testing.T) {
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("X-Goog-Api-Key") + " " + r.URL.Path
		_, _ = w.Write([]byte(`{"name":"models/x"}`))
	}))

	defer srv.Close()
	yaml := filepath.Join(t.TempDir(), "agent.yaml")
	text := "name: x\ndescription: x\nversion: 1.0.0\nmodel: of-the-file\nskills:\n  - {id: a, name: a, description: a, tags: [a]}\n"
	if err := os.WriteFile(yaml, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, row := range []struct {
		env     setup.Env
		name    string
		standIn bool
		asked   string
	}{
		{setup.Env{}, "stand-in", true, ""},
		{setup.Env{Model: "standin", GeminiKey: "k"}, "stand-in", true, ""},
		{setup.Env{Model: "standin:delay=1ms"}, "stand-in", true, ""},
		{setup.Env{GeminiKey: "k", Agent: yaml}, "of-the-file", false, "-"},
		{setup.Env{Model: "gemini:mine", GeminiKey: "k", Agent: yaml}, "mine", false, "-"},
		{setup.Env{Model: "gemini:", GeminiKey: "k", Agent: yaml}, "of-the-file", false, "-"},
		{setup.Env{Model: "gemini:mine@" + srv.URL, GeminiKey: "k"}, "mine", false, "k /v1beta/models/mine"},
		{setup.Env{Model: "gemini:@" + srv.URL, GeminiKey: "k", Agent: yaml}, "of-the-file", false, "k /v1beta/models/of-the-file"},
	} {
		t.Run(row.env.Model, func(t *testing.T) {
			t.Chdir(t.TempDir())
			p, err := open(t, row.env)
			if err != nil {
				t.Fatal(err)
			}
			if p.Model.Name() != row.name || p.StandIn != row.standIn {
				t.Errorf("model %q, stand-in %t; want %q, %t", p.Model.Name(), p.StandIn, row.name, row.standIn)
			}
			if row.asked == "-" {
				return // it would be Google
			}

			asked = ""
			if err := p.Model.Check(t.Context()); err != nil || asked != row.asked {
				t.Errorf("%v: asked %q, want %q", err, asked, row.asked)
			}
		})
	}
}

// Keys that cannot be read stop no program. It says what to do, and nothing of what was
// in the secret.
func TestCheckKeys(t *testing.T) {
	const keysName = "projects/p/secrets/errand-errand-keys"
	ended, end := context.WithCancel(t.Context())
	end()

	for _, row := range []struct {
		name string
		ctx  context.Context
		set  func(*fake.Secrets)
		want []string // empty: nothing is said
		not  string
	}{
		{"keys", t.Context(), nil, nil, ""},
		{"no version", t.Context(), nil, []string{"level=ERROR", "cardserver keys", "a version of the secret errand-keys", "ERRAND_SECRETS", "projects/p/secrets/errand-errand-keys", "alert=true"}, ""},
		{"no keys in it", t.Context(), func(s *fake.Secrets) { s.Set(keysName, []byte("CANARY")) }, []string{"level=ERROR", "cannot be used", "alert=true"}, "CANARY"},
		{"no right", t.Context(), func(s *fake.Secrets) { s.Down(status.Error(codes.PermissionDenied, "no")) }, []string{"level=ERROR", "roles/secretmanager.secretAccessor", "alert=true"}, ""},
		{"no time", ended, nil, []string{"level=ERROR", "in time"}, "alert"},
	} {
		t.Run(row.name, func(t *testing.T) {
			manager, addr := fake.StartSecrets(t)
			if row.want == nil {
				text, err := keys.Generate("", time.Now())
				if err != nil {
					t.Fatal(err)
				}
				manager.Set(keysName, []byte(text))
			}

			if row.set != nil {
				row.set(manager)
			}

			t.Chdir(t.TempDir())
			var log bytes.Buffer
			p, err := setup.OpenStandalone(t.Context(), setup.Env{Secrets: "secretmanager:p/errand@" + addr}, lab.Definition, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			p.CheckKeys(row.ctx)
			said := log.String()

			for _, want := range row.want {
				if !strings.Contains(said, want) {
					t.Errorf("CheckKeys does not say %q: %s", want, said)
				}
			}

			if row.want == nil && said != "" || row.not != "" && strings.Contains(said, row.not) {
				t.Errorf("CheckKeys says %s", said)
			}
		})
	}
}

// The key of the model is a secret, wherever secrets are: with a prefix where several
// installations share a project. It is asked for again when it has changed.
func TestKeyOfTheModelIsASecret(t *testing.T) {
	var asked atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Header.Get("X-Goog-Api-Key"))
		_, _ = w.Write([]byte(`{"name":"models/x"}`))
	}))

	defer srv.Close()
	dir := t.TempDir()
	write := func(key string) {
		if err := os.WriteFile(filepath.Join(dir, "gemini-api-key"), []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	write("first")
	manager, addr := fake.StartSecrets(t)
	manager.Set("projects/p/secrets/errand-gemini-api-key", []byte("managed"))

	for spec, want := range map[string]string{"file:" + dir: "first", "secretmanager:p/errand@" + addr: "managed"} {
		t.Chdir(t.TempDir())
		p, err := open(t, setup.Env{Model: "gemini:x@" + srv.URL, Secrets: spec})
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		if err := p.Model.Check(t.Context()); err != nil || asked.Load() != want {
			t.Errorf("%s: asked with %v, want %s: %v", spec, asked.Load(), want, err)
		}

		if strings.HasPrefix(spec, "file:") {
			write("second")
			if err := p.Model.Check(t.Context()); err != nil || asked.Load() != "second" {
				t.Errorf("after the rotation: asked with %v, %v", asked.Load(), err)
			}
		}
	}
}

// The longest run that a definition may ask for is the longest that there is.
func TestLongestRun(t *testing.T) {
	a, err := agent.Parse([]byte("name: A\ndescription: d\nversion: 1.0.0\nmodel: m\nskills: [{id: s, name: S, description: d, tags: [t]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := setup.Rules(a).Run; got != task.LongestRun {
		t.Errorf("a run takes %v, want %v", got, task.LongestRun)
	}
}
