package setup

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"errand/shared/agent"
	"errand/shared/strict"
)

// An Env holds the variables of the environment, each checked alone. Its zero value runs
// everything on one machine.
type Env struct {
	Port      string // PORT: the port of the default address; empty: 8080
	Listen    string // ERRAND_LISTEN: address to listen on; empty: loopback, on Cloud Run everywhere
	TLS       string // ERRAND_TLS: folder with the certificate of cardserver; empty: connections are not encrypted
	URL       string // ERRAND_URL: where clients reach the agent; empty: where they sent the request
	Agent     string // ERRAND_AGENT: path of agent.yaml; empty: the embedded one
	Store     string // ERRAND_STORE: spec of the store; empty: sqlite:errand.db
	Files     string // ERRAND_FILES: spec of the place of files; empty: a folder beside the SQLite file
	Objects   string // ERRAND_OBJECTS: spec of where objects in buckets are read; empty: gs:
	Queue     string // ERRAND_QUEUE: spec of the queue; empty: local
	Bus       string // ERRAND_BUS: spec of the event topic; empty: local
	Refused   string // ERRAND_REFUSED: spec of the topic of submitted messages that cannot become tasks; empty: no topic submits
	Model     string // ERRAND_MODEL: spec of the model; empty: agent.yaml's with a key, else standin:
	PushAllow string // ERRAND_PUSH_ALLOW: private destinations that webhooks may have
	Origins   string // ERRAND_ORIGINS: origins of the web pages that may call
	Dedupe    string // ERRAND_DEDUPE: message-id, the default, or off
	Access    string // ERRAND_ACCESS: path of the file of those who may call, or anonymous
	Proxies   string // ERRAND_PROXIES: proxies that add to X-Forwarded-For; empty: one on Cloud Run, none elsewhere
	CheckedBy string // ERRAND_CHECKED_BY: cloudrun, if Cloud Run's own check of callers is on; empty: nobody checks before the program
	Secrets   string // ERRAND_SECRETS: spec of where secrets are; empty: env:
	GeminiKey string // GEMINI_API_KEY: the secret gemini-api-key of env:
	Keys      string // ERRAND_KEYS: the secret errand-keys of env:

	CredentialKeys string // ERRAND_CREDENTIAL_KEYS: the secret errand-credential-keys of env:

	StoreUser     string // ALLOY_DB_USER: the secret alloy_db_user of env:, for a Postgres database
	StorePassword string // ALLOY_DB_PASS: the secret alloy_db_pass of env:

	// Variables for the agent's own code. The programs that run turns check them against
	// agent.yaml, and the others ignore them.
	AgentAllow    string            // ERRAND_AGENT_ALLOW: private destinations that it may reach
	AgentSettings map[string]string // ERRAND_SETTING_NAME, by NAME
	AgentSecrets  map[string]string // ERRAND_SECRET_NAME, by NAME: its secrets of env:

	Turns string // ERRAND_TURNS: turns that the local queue runs at once, and items of batches beside them; empty: as many as their lanes have slots

	Shards string // ERRAND_SHARDS: managed queues of each lane, and more than one if the indexes of Firestore have many ranges; empty: 1

	WorkerURL    string // ERRAND_WORKER_URL: where Cloud Tasks reaches the worker
	FunctionsURL string // ERRAND_FUNCTIONS_URL: where Cloud Tasks, Pub/Sub and Scheduler reach the functions
	Invoker      string // ERRAND_INVOKER: e-mail of the service account that they call as
	Issuer       string // ERRAND_ISSUER: who signs its tokens; empty: Google
	Project      string // GOOGLE_CLOUD_PROJECT: of Vertex AI and of the traces in logs
	Location     string // GOOGLE_CLOUD_LOCATION: of Vertex AI
	Service      string // K_SERVICE: the service's name, which Cloud Run sets
}

// CloudRun reports whether the program runs on Cloud Run.
func (e Env) CloudRun() bool { return e.Service != "" }

// variables are the variables that the programs read. docs/environment.md lists the same.
var variables = map[string]func(*Env, string){
	"PORT":                   func(e *Env, v string) { e.Port = v },
	"ERRAND_LISTEN":          func(e *Env, v string) { e.Listen = v },
	"ERRAND_TLS":             func(e *Env, v string) { e.TLS = v },
	"ERRAND_URL":             func(e *Env, v string) { e.URL = strings.TrimSuffix(v, "/") },
	"ERRAND_AGENT":           func(e *Env, v string) { e.Agent = v },
	"ERRAND_STORE":           func(e *Env, v string) { e.Store = v },
	"ERRAND_FILES":           func(e *Env, v string) { e.Files = v },
	"ERRAND_OBJECTS":         func(e *Env, v string) { e.Objects = v },
	"ERRAND_QUEUE":           func(e *Env, v string) { e.Queue = v },
	"ERRAND_BUS":             func(e *Env, v string) { e.Bus = v },
	"ERRAND_REFUSED":         func(e *Env, v string) { e.Refused = v },
	"ERRAND_MODEL":           func(e *Env, v string) { e.Model = v },
	"ERRAND_PUSH_ALLOW":      func(e *Env, v string) { e.PushAllow = v },
	"ERRAND_AGENT_ALLOW":     func(e *Env, v string) { e.AgentAllow = v },
	"ERRAND_ORIGINS":         func(e *Env, v string) { e.Origins = v },
	"ERRAND_DEDUPE":          func(e *Env, v string) { e.Dedupe = v },
	"ERRAND_TURNS":           func(e *Env, v string) { e.Turns = v },
	"ERRAND_ACCESS":          func(e *Env, v string) { e.Access = v },
	"ERRAND_PROXIES":         func(e *Env, v string) { e.Proxies = v },
	"ERRAND_CHECKED_BY":      func(e *Env, v string) { e.CheckedBy = v },
	"ERRAND_SECRETS":         func(e *Env, v string) { e.Secrets = v },
	"GEMINI_API_KEY":         func(e *Env, v string) { e.GeminiKey = strings.TrimSpace(v) }, // files end in a newline
	"ERRAND_KEYS":            func(e *Env, v string) { e.Keys = v },
	"ERRAND_CREDENTIAL_KEYS": func(e *Env, v string) { e.CredentialKeys = v },
	"ALLOY_DB_USER":          func(e *Env, v string) { e.StoreUser = v },
	"ALLOY_DB_PASS":          func(e *Env, v string) { e.StorePassword = v },

	"ERRAND_SHARDS":         func(e *Env, v string) { e.Shards = v },
	"ERRAND_WORKER_URL":     func(e *Env, v string) { e.WorkerURL = strings.TrimSuffix(v, "/") },
	"ERRAND_FUNCTIONS_URL":  func(e *Env, v string) { e.FunctionsURL = strings.TrimSuffix(v, "/") },
	"ERRAND_INVOKER":        func(e *Env, v string) { e.Invoker = v },
	"ERRAND_ISSUER":         func(e *Env, v string) { e.Issuer = v },
	"GOOGLE_CLOUD_PROJECT":  func(e *Env, v string) { e.Project = v },
	"GOOGLE_CLOUD_LOCATION": func(e *Env, v string) { e.Location = v },
	"K_SERVICE":             func(e *Env, v string) { e.Service = v },
}

// Variables are the names of all variables that the programs read, sorted. They leave out
// the variables of settings and secrets, whose names agent.yaml chooses.
func Variables() []string {
	var names []string
	for n := range variables {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// ReadEnv reads the environment, in the form of os.Environ. Its error lists every fault
// with its remedy. Variables that begin with ERRAND_TEST_ belong to the tests and are
// ignored.
func ReadEnv(environ []string) (Env, error) {
	var e Env
	var bad []error
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if set := variables[name]; set != nil {
			set(&e, value)
			continue
		}
		if e.setOwn(name, value) {
			continue
		}
		if strings.HasPrefix(name, "ERRAND_") && !strings.HasPrefix(name, "ERRAND_TEST_") {
			bad = append(bad, fmt.Errorf("%s is not a variable of this program; %s", name, advice(name)))
		}
	}
	slices.SortFunc(bad, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	bad = append(bad, e.check()...)
	return e, errors.Join(bad...)
}

// setOwn sets a setting or a secret of the agent, if name is one's.
func (e *Env) setOwn(name, value string) bool {
	for prefix, to := range map[string]*map[string]string{agent.SettingPrefix: &e.AgentSettings, agent.SecretPrefix: &e.AgentSecrets} {
		if own, ok := strings.CutPrefix(name, prefix); ok && own != "" {
			if *to == nil {
				*to = map[string]string{}
			}
			(*to)[own] = value
			return true
		}
	}
	return false
}

func (e Env) check() []error {
	var bad []error
	if e.Port != "" {
		if _, err := strconv.ParseUint(e.Port, 10, 16); err != nil {
			bad = append(bad, fmt.Errorf("PORT must be a number from 0 to 65535, for example PORT=8080"))
		}
	}

	if e.Listen != "" {
		_, port, err := net.SplitHostPort(e.Listen)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("ERRAND_LISTEN must be an address and a port, for example ERRAND_LISTEN=0.0.0.0:8080"))
		}
	}

	for _, a := range []struct{ name, value, what, example string }{
		{"ERRAND_URL", e.URL, "the address clients use", "https://agent.example.com"},
		{"ERRAND_WORKER_URL", e.WorkerURL, "the address of the worker", "https://errand-worker-123.europe-west1.run.app"},
		{"ERRAND_FUNCTIONS_URL", e.FunctionsURL, "the address of the functions", "https://errand-functions-123.europe-west1.run.app"},
		{"ERRAND_ISSUER", e.Issuer, "the issuer of the invoker's tokens", "https://accounts.google.com"},
	} {
		if u, err := url.Parse(a.value); a.value != "" && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
			bad = append(bad, fmt.Errorf("%s must be %s, for example %s=%s", a.name, a.what, a.name, a.example))
		}
	}

	for _, a := range []struct{ name, value string }{{"ERRAND_WORKER_URL", e.WorkerURL}, {"ERRAND_FUNCTIONS_URL", e.FunctionsURL}} {
		if u, err := url.Parse(a.value); err == nil && u.Path != "" { // the programs serve their paths at the root
			bad = append(bad, fmt.Errorf("%s must be an address without a path, for example https://%s", a.name, u.Host))
		}
	}

	for _, origin := range e.AllowedOrigins() {
		if !isOrigin(origin) {
			bad = append(bad, fmt.Errorf("ERRAND_ORIGINS must be origins as browsers send them, with commas between them: scheme, host in lower case, and the port unless it is the usual one, for example ERRAND_ORIGINS=https://ui.example.com,http://localhost:3000"))
			break
		}
	}

	if strings.HasSuffix(e.Issuer, "/") {
		bad = append(bad, errors.New("ERRAND_ISSUER is compared to the letter with what tokens say: leave the slash at its end out"))
	}
	if n := e.LocalTurns(); e.Turns != "" && (n < 1 || n > maxTurns) {
		bad = append(bad, fmt.Errorf("ERRAND_TURNS must be a number of turns from 1 to %d, for example ERRAND_TURNS=64", maxTurns))
	}
	if n, err := strconv.Atoi(e.Proxies); e.Proxies != "" && (err != nil || n < 0 || n > maxProxies) {
		bad = append(bad, fmt.Errorf("ERRAND_PROXIES must be the number of proxies in front that add to X-Forwarded-For, from 0 to %d, for example ERRAND_PROXIES=2", maxProxies))
	}
	if e.Shards != "" && !slices.Contains(shards, e.Shards) {
		bad = append(bad, fmt.Errorf("ERRAND_SHARDS must be %s, for example ERRAND_SHARDS=4", strings.Join(shards, ", ")))
	}
	if e.Dedupe != "" && e.Dedupe != dedupeByID && e.Dedupe != dedupeOff {
		bad = append(bad, fmt.Errorf("ERRAND_DEDUPE must be %s, the default, or %s if clients give different messages the same messageId", dedupeByID, dedupeOff))
	}

	if e.TLS != "" && e.CloudRun() {
		bad = append(bad, errors.New("ERRAND_TLS is not for Cloud Run, which serves TLS itself: leave it out"))
	}

	switch {
	case e.CheckedBy != "" && e.CheckedBy != checkedByCloudRun && e.CheckedBy != checkedByBalancer:
		bad = append(bad, fmt.Errorf("ERRAND_CHECKED_BY must be %s or %s, or be left out if nobody checks callers before the program", checkedByCloudRun, checkedByBalancer))
	case e.Checked() && !e.CloudRun():
		bad = append(bad, errors.New("ERRAND_CHECKED_BY is for Cloud Run (K_SERVICE is set): elsewhere callers reach the program past its check, and could be anybody they say; leave it out"))
	}

	return bad
}

// The values of ERRAND_CHECKED_BY.
const (
	checkedByCloudRun = "cloudrun"
	checkedByBalancer = "loadbalancer"
)

// Balanced reports whether a load balancer in front has checked the certificates of clients.
func (e Env) Balanced() bool { return e.CheckedBy == checkedByBalancer }

// Checked reports whether Cloud Run has checked the callers of the program.
func (e Env) Checked() bool { return e.CheckedBy == checkedByCloudRun }

// maxProxies bounds ERRAND_PROXIES: no chain of proxies is longer.
const maxProxies = 8

// maxTurns bounds ERRAND_TURNS: each turn takes a goroutine and a call of the model.
const maxTurns = 10_000

// LocalTurns is the number of turns that the local queue runs at once, and of items of
// batches beside them; 0: as many as their lanes have slots.
func (e Env) LocalTurns() int {
	n, err := strconv.Atoi(e.Turns)
	if err != nil {
		return 0
	}
	return n
}

// shards are the values of ERRAND_SHARDS.
var shards = []string{"1", "2", "4", "8"}

// QueueShards is the number of managed queues of each lane.
func (e Env) QueueShards() int {
	n, err := strconv.Atoi(e.Shards)
	if err != nil {
		return 1
	}
	return n
}

// Values of ERRAND_DEDUPE.
const (
	dedupeByID = "message-id"
	dedupeOff  = "off"
)

// Reused reports whether clients give different messages the same id. Then no message is
// recognised by its id.
func (e Env) Reused() bool { return e.Dedupe == dedupeOff }

// AllowedOrigins are the origins of the web pages of other sites that may call.
func (e Env) AllowedOrigins() []string {
	if e.Origins == "" {
		return nil
	}
	all := strings.Split(e.Origins, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// isOrigin reports whether s is an origin as browsers write it: without the usual port.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	usual := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	plain := usual != "" && u.Hostname() != "" && u.Port() != usual && !strings.HasSuffix(u.Host, ":") && !strings.Contains(u.Host, "*")
	return plain && s == u.Scheme+"://"+strings.ToLower(u.Host)
}

// Address is the address to listen on.
func (e Env) Address() string {
	if e.Listen != "" {
		return e.Listen
	}
	port := e.Port
	if port == "" {
		port = "8080"
	}
	if e.CloudRun() {
		return ":" + port
	}
	return "127.0.0.1:" + port
}

// loopback is the program's address on its own machine. It is empty if only the listener
// knows it, and on Cloud Run, where a program shares its machine with no other.
func (e Env) loopback() string {
	_, port, err := net.SplitHostPort(e.Address())
	if err != nil || port == "0" || e.CloudRun() {
		return ""
	}
	return "http://" + net.JoinHostPort("127.0.0.1", port)
}

// advice names the known variable that is nearest to an unknown one. The prefix does not
// count: ERRAND_PORT means PORT. If no variable is near, it also names the prefixes.
func advice(name string) string {
	const prefix, few = "ERRAND_", 4
	best, distance := strict.Nearest(name, Variables(), func(s string) string { return strings.TrimPrefix(s, prefix) })
	text := "did you mean " + best + "?"
	if distance > few {
		text += " Settings of agent.yaml begin with " + agent.SettingPrefix + ", its secrets with " + agent.SecretPrefix
	}
	return text
}
