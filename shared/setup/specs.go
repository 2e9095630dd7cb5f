package setup

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"errand/shared/adapters/gcp"
	"errand/shared/adapters/local"
	"errand/shared/auth"
	"errand/shared/secret"
)

// Local says that queue and bus are in the process: it is the whole agent.
func (e Env) Local() bool { return isLocal(e.Queue) && isLocal(e.Bus) }

func isLocal(spec string) bool { return spec == "" || spec == "local" }

// Hops is the number of trusted proxies, each of which adds the address that it was asked from
// to X-Forwarded-For. On Cloud Run its own front end is one.
func (e Env) Hops() int {
	if n, err := strconv.Atoi(e.Proxies); err == nil {
		return n
	}
	if e.CloudRun() {
		return 1
	}
	return 0
}

// Caller finds the address of a request's sender behind the proxies, for the limits of each
// address. It is nil without a proxy.
func (e Env) Caller() func(*http.Request) netip.Prefix {
	n := e.Hops()
	if n == 0 {
		return nil
	}
	return func(r *http.Request) netip.Prefix { return auth.ClientAddr(r, n) }
}

// together refuses parts that work alone and not with each other.
func (e Env) together() error {
	embedded := e.Embedded()
	switch {
	case isLocal(e.Queue) != isLocal(e.Bus):
		return errors.New("ERRAND_QUEUE and ERRAND_BUS must both be local or both be managed: set ERRAND_QUEUE=cloudtasks:... and ERRAND_BUS=pubsub:..., or leave both out")
	case e.CloudRun() && e.Local():
		return errors.New("ERRAND_QUEUE and ERRAND_BUS are local, and on Cloud Run (K_SERVICE is set) nothing runs between requests: set ERRAND_QUEUE=cloudtasks:... and ERRAND_BUS=pubsub:...; infra/README.md makes both")
	case e.Turns != "" && !isLocal(e.Queue):
		return errors.New("ERRAND_TURNS is for the local queue: a managed queue dispatches as many turns at once as it is told to; set turns_per_instance and items_per_instance in infra/, or max_concurrent_dispatches of the queue")
	case e.QueueShards() > 1 && isLocal(e.Queue):
		return errors.New("ERRAND_SHARDS is for managed queues: leave it out, or set ERRAND_QUEUE=cloudtasks:... and ERRAND_BUS=pubsub:... to have some")
	case embedded && e.CloudRun():
		return errors.New("ERRAND_STORE: SQLite does not survive on Cloud Run (K_SERVICE is set), whose disk is memory: set ERRAND_STORE=firestore:PROJECT/DATABASE or alloydb:INSTANCE")
	case embedded && !e.Local():
		return errors.New("ERRAND_STORE: SQLite is one process's own, and with a managed queue there are three: set ERRAND_STORE=firestore:PROJECT/DATABASE, alloydb:INSTANCE or postgres://USER@HOST/DATABASE")
	case e.CloudRun() && e.Model == "":
		return errors.New("ERRAND_MODEL: say which model answers, for example ERRAND_MODEL=vertex:gemini-3.6-flash")
	}
	return nil
}

// Embedded reports whether the store is a SQLite file, which this process has for itself.
func (e Env) Embedded() bool {
	_, ok := e.file()
	return ok
}

// file is the path of the SQLite file, if that is the store.
func (e Env) file() (path string, ok bool) {
	if e.Store == "" {
		return "errand.db", true
	}
	return strings.CutPrefix(e.Store, "sqlite:")
}

// managed reads the spec of a managed service: KIND:NAME, or KIND:NAME@HOST:PORT for
// another place than the service's own, such as an emulator.
func managed(variable, spec, kind, usage string) (name, endpoint string, err error) {
	is, details, _ := strings.Cut(spec, ":")
	if is != kind || details == "" {
		return "", "", fmt.Errorf("%s: %q is not known; use %s=local or %s=%s", variable, is, variable, variable, usage)
	}
	name, endpoint, _ = strings.Cut(details, "@")
	return name, endpoint, nil
}

// topicOf reads the spec of a managed topic.
func topicOf(spec string) (topic, endpoint string, err error) {
	return managed("ERRAND_BUS", spec, "pubsub", "pubsub:projects/PROJECT/topics/TOPIC")
}

// inVariables reports whether a spec has secrets in variables of the environment.
func inVariables(spec string) bool { return spec == "" || spec == "env:" || spec == "env" }

// secretsOf reads the spec of the secrets. Those of Secret Manager are kept for a
// while; a folder and the environment are read at every use.
func secretsOf(ctx context.Context, e Env) (secret.Source, error) {
	kind, details, _ := strings.Cut(e.Secrets, ":")
	switch {
	case inVariables(e.Secrets):
		return local.Env{Lookup: e.lookup}, nil
	case kind == "file" && details != "":
		return local.Files{Dir: details}, nil
	case kind == "secretmanager" && details != "":
		name, endpoint, _ := strings.Cut(details, "@")
		project, prefix, _ := strings.Cut(name, "/")
		s, err := gcp.NewSecrets(ctx, gcp.SecretsConfig{Project: project, Prefix: prefix, Endpoint: endpoint})
		if err != nil {
			return nil, fmt.Errorf("ERRAND_SECRETS: %w", err)
		}
		return s, nil
	}
	return nil, fmt.Errorf("ERRAND_SECRETS: %q is not known; use env: (the default), file:FOLDER, secretmanager:PROJECT or secretmanager:PROJECT/PREFIX", kind)
}

// lookup is the environment as a source of secrets: those of the programs, and those that
// agent.yaml names.
func (e Env) lookup(variable string) (string, bool) {
	switch variable {
	case "GEMINI_API_KEY":
		return e.GeminiKey, true
	case "ERRAND_KEYS":
		return e.Keys, true
	case "ERRAND_CREDENTIAL_KEYS":
		return e.CredentialKeys, true
	case "ALLOY_DB_USER":
		return e.StoreUser, true
	case "ALLOY_DB_PASS":
		return e.StorePassword, true
	}
	value, ok := e.AgentSecrets[variable]
	return value, ok
}
