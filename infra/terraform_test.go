package infra_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"errand/shared/lab/conformance"
)

// schemaPackage has generated bindings of Google's provider, from which the tests read its
// schema. The package describes no infrastructure here.
const schemaPackage = "@cdktf/provider-google@16.12.1"

// A workspace is a copy of the module with an initialised Terraform.
type workspace struct {
	t       *testing.T
	dir     string // folder of the module
	environ []string
}

func needTerraform(t *testing.T) {
	t.Helper()
	conformance.NeedFull(t, "TestEnvironment, and the others that read the module without Terraform")
	_, err := exec.LookPath("terraform")
	conformance.Require(t, "terraform", err == nil, "install Terraform 1.9 or newer, https://developer.hashicorp.com/terraform/install")
}

// newWorkspace copies the module, gives Terraform a provider that knows Google's schema
// from a mirror on disk, and runs init without a network.
func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	needTerraform(t)
	bindings := os.Getenv("ERRAND_TEST_PROVIDER_SCHEMA")
	_, err := os.Stat(bindings)
	conformance.Require(t, "terraform", err == nil,
		"npm pack "+schemaPackage+" --pack-destination DIR, and set ERRAND_TEST_PROVIDER_SCHEMA to the file it makes")

	root := t.TempDir()
	w := &workspace{t: t, dir: filepath.Join(root, "infra")}
	copyModule(t, w.dir)
	schema := filepath.Join(root, "schema")
	unpackBindings(t, bindings, schema)
	config := filepath.Join(root, "terraform.rc")
	w.environ = append(os.Environ(), "TF_CLI_CONFIG_FILE="+config, "ERRAND_TEST_PROVIDER="+schema, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")
	write(t, config, "")

	// Terraform tells under which host it looks for the provider.
	out, err := w.run("providers")
	if err != nil {
		t.Fatal(out)
	}

	host := regexp.MustCompile(`provider\[([^/]+)/` + source + `\]`).FindStringSubmatch(out)
	if host == nil {
		t.Fatalf("terraform providers does not name %s:\n%s", source, out)
	}

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	mirror := filepath.Join(root, "mirror")
	place := filepath.Join(mirror, host[1], filepath.FromSlash(source), version, runtime.GOOS+"_"+runtime.GOARCH)
	if err := os.MkdirAll(place, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(place, "terraform-provider-google_v"+version)); err != nil {
		t.Fatal(err)
	}

	write(t, config, fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror))
	if out, err := w.run("init", "-backend=false"); err != nil {
		t.Fatalf("terraform init:\n%s", out)
	}

	return w
}

func (w *workspace) run(args ...string) (string, error) {
	c := exec.CommandContext(w.t.Context(), "terraform", append(args, "-no-color")...)
	if args[0] == "providers" {
		c.Args = c.Args[:2] // it knows no such flag
	}
	c.Dir, c.Env = w.dir, w.environ
	out, err := c.CombinedOutput()
	return string(out), err
}

// kept stands in the resources that Terraform never deletes. TestKept finds it there.
const kept = "prevent_destroy = true"

// copyModule copies the files that Terraform reads, without those that it keeps beside
// them: above all without the lock file, which has the checksums of the real provider. The
// command test deletes all that it made, so nothing in the copy is kept.
func copyModule(t *testing.T, to string) {
	t.Helper()
	for _, f := range append(glob(t, "*.tf"), glob(t, "*.tftest.hcl")...) {
		if f != refusals {
			write(t, filepath.Join(to, f), strings.ReplaceAll(read(t, f), kept, "prevent_destroy = false"))
		}
	}
	write(t, filepath.Join(to, indexes), read(t, indexes))
	write(t, filepath.Join(to, agentFile), read(t, "testdata/agent.yaml"))
}

// unpackBindings extracts the bindings of the module's resources from the package.
func unpackBindings(t *testing.T, from, to string) {
	t.Helper()
	wanted := map[string]bool{"provider": true}

	for _, b := range module(t).blocks("resource", "data") {
		name := strings.ReplaceAll(strings.TrimPrefix(b.Labels[0], "google_"), "_", "-")
		if b.Type == "data" {
			name = "data-google-" + name
		}
		wanted[name] = true
	}

	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}

	for files := tar.NewReader(gz); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}

		folder, ok := strings.CutPrefix(path.Dir(h.Name), "package/lib/")
		if !ok || !wanted[folder] {
			continue
		}

		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}

		write(t, filepath.Join(to, strings.Replace(folder, "data-google-", "data-", 1), path.Base(h.Name)), string(text))
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Terraform accepts the module, and the module's assertions hold (*.tftest.hcl), against
// the schema of Google's provider.
func TestTerraform(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	if out, err := w.run("validate"); err != nil {
		t.Fatalf("terraform validate:\n%s", out)
	}
	if out, err := w.run("fmt", "-check", "-diff"); err != nil {
		t.Errorf("terraform fmt:\n%s", out)
	}
	out, err := w.run("test")
	if err != nil {
		t.Fatalf("terraform test:\n%s", out)
	}
	if !regexp.MustCompile(`Success! [1-9][0-9]* passed, 0 failed`).MatchString(out) {
		t.Errorf("terraform test tested nothing:\n%s", out)
	}
}

// refusals are tests of variables alone.
const refusals = "refusals.tftest.hcl"

// Terraform refuses variables that cannot work. It needs no more than variables to do so.
func TestTerraformRefusesVariables(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	root := t.TempDir()
	w := &workspace{t: t, dir: filepath.Join(root, "infra"), environ: append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")}
	for _, f := range []string{"variables.tf", "agent.tf", refusals} {
		write(t, filepath.Join(w.dir, f), read(t, f))
	}
	write(t, filepath.Join(w.dir, agentFile), read(t, "testdata/agent.yaml"))

	if out, err := w.run("fmt", "-check", "-diff"); err != nil {
		t.Errorf("terraform fmt:\n%s", out)
	}
	out, err := w.run("test")
	if want := strings.Count(read(t, refusals), "expect_failures = [var."); err != nil || !strings.Contains(out, fmt.Sprintf("Success! %d passed, 0 failed", want)) {
		t.Errorf("terraform test: %v, want %d refusals:\n%s", err, want, out)
	}
}

// The schema finds faults that only the provider would have found otherwise.
func TestTerraformRefuses(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	text, wants := "", []string{}

	for i, row := range []struct{ name, text, want string }{
		{"unknown argument", `resource "google_pubsub_topic" "x" {
  name     = "x"
  nonsense = "y"
}`, "Unsupported argument"},
		{"missing argument", `resource "google_pubsub_topic" "x" {}`, "Missing required argument"},
		{"wrong type", `resource "google_cloud_tasks_queue" "x" {
  location = "x"
  rate_limits { max_concurrent_dispatches = "many" }
}`, "a number is required"},
		{"missing block", `resource "google_cloud_run_v2_service" "x" {
  name     = "x"
  location = "x"
}`, "Insufficient template blocks"},
		{"block twice", `resource "google_cloud_tasks_queue" "x" {
  location = "x"
  rate_limits {}
  rate_limits {}
}`, "Too many rate_limits blocks"},
		{"unknown output", `output "x" { value = google_service_account.invoker.nonsense }`, "Unsupported attribute"},
	} {
		text += strings.Replace(row.text, `"x" {`, fmt.Sprintf(`"x%d" {`, i), 1) + "\n"
		wants = append(wants, row.want)
	}

	write(t, filepath.Join(w.dir, "x.tf"), text)
	out, err := w.run("validate")
	for _, want := range wants {
		if err == nil || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("terraform validate does not say %q:\n%s", want, out)
		}
	}
}

// The assertions notice each of these faults, which are all made at once.
func TestTerraformTestNotices(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)

	faults := []struct{ file, old, new, want string }{
		{"run.tf", `timeout = "600s", ingress = "INGRESS_TRAFFIC_INTERNAL_ONLY", unchecked = !var.check_internal`, `timeout = "600s", ingress = "INGRESS_TRAFFIC_INTERNAL_ONLY", unchecked = false`, "takes the signature off tokens"},
		{"run.tf", `members  = local.invokers[each.key]`, `members  = ["allUsers"]`, "others than the clients reach the front door"},
		{"run.tf", `functions = [google_service_account.invoker.member]`, `functions = ["user:a@example.com"]`, "others than the invoker reach worker and functions"},
		{"run.tf", `"${local.urls[p]}${path}" if var.check_internal`, `local.urls[p] if var.check_internal`, "Cloud Run refuses the tokens of queues, topic or schedule"},
		{"run.tf", `!local.services[p].unchecked ? "cloudrun"`, `p == "functions" ? "cloudrun"`, "the front door does not know that Cloud Run checks its clients"},
		{"edge.tf", `"X-Client-Cert-Hash:{client_cert_sha256_fingerprint}",`, ``, "the front door does not learn of the certificates of clients"},
		{"edge.tf", `server_tls_policy = local.certifying ? google_network_security_server_tls_policy.edge[0].id : null`, `server_tls_policy = null`, "the load balancer does not check the certificates of clients"},
		{"run.tf", `== "load-balancer" ? "2"`, `== "load-balancer" ? "1"`, "the front door takes the load balancer for its client"},
		{"run.tf", `percent = 100 - var.candidate.percent`, `percent = 100`, "the newest revisions get other requests than chosen"},
		{"outputs.tf", `"https://${local.tag}---"`, `"https://new---"`, "the new front door is not where it is said to be"},
		{"outputs.tf", `var.candidate.serving[p]`, `var.candidate.other[p]`, "what is tried is said to serve"},
		{"outputs.tf", `basename(s.latest_ready_revision)`, `s.latest_ready_revision`, "the revisions that serve are said to be"},
		{"run.tf", `timeout = "1800s", ingress = "INGRESS_TRAFFIC_INTERNAL_ONLY"`, `timeout = "1800s", ingress = "INGRESS_TRAFFIC_ALL"`, "reached from outside"},
		{"run.tf", `google_service_account.program[each.key].email`, `google_service_account.invoker.email`, "own service account"},
		{"run.tf", `limits            = { cpu = "1"`, `limits            = { cpu = "2"`, "processor or memory"},
		{"run.tf", `min_instance_count = var.min_instances[each.key]`, `min_instance_count = 1`, "an idle agent runs"},
		{"run.tf", `path = "/live"`, `path = "/"`, "not probed"},
		{"tasks.tf", `turns   = var.instances.worker * var.turns_per_instance`, `turns   = var.instances.worker * var.turns_per_instance + 100`, "more is dispatched than the workers have room for"},
		{"tasks.tf", `bulk    = var.instances.worker * var.items_per_instance`, `bulk    = 1`, "batches take room from turns, or have none"},
		{"tasks.tf", `min(4, ceil(local.most_batches / var.instances.worker))`, `1`, "one worker has no room"},
		{"tasks.tf", `"worker/turns", `, `"worker/turns", "worker/deliveries", `, "somebody adds to a queue"},
		{"tasks.tf", `max_attempts       = 100`, `max_attempts       = 5`, "gives up before the programs do"},
		{"pubsub.tf", `ttl = ""`, `ttl = "86400s"`, "a subscription expires"},
		{"pubsub.tf", `topic   = google_pubsub_topic.dead.name`, `topic   = google_pubsub_topic.events.name`, "may not publish dead letters"},
		{"submissions.tf", `push_endpoint = "${local.urls["functions"]}/submit"`, `push_endpoint = "${local.urls["functions"]}/events"`, "submissions are not pushed to functions"},
		{"submissions.tf", `audience              = "${local.urls["functions"]}/submit"`, `audience              = local.urls["functions"]`, "functions would refuse submissions"},
		{"submissions.tf", `maximum_backoff = "600s"`, `maximum_backoff = "60s"`, "a submission that waits for a limit is lost, or moved away"},
		{"submissions.tf", `topic                      = google_pubsub_topic.refused[0].id`, `topic                      = google_pubsub_topic.events.id`, "what is refused is lost"},
		{"submissions.tf", `google_service_account.program["functions"].member`, `"allUsers"`, "functions may not refuse, or somebody else may"},
		{"submissions.tf", `member  = each.value.member`, `member  = "allUsers"`, "others than its members submit"},
		{"submissions.tf", `"roles/storage.objectViewer"`, `"roles/storage.objectAdmin"`, "a program does not read the objects that callers name, or may do more"},
		{"submissions.tf", `count = local.submits ? 1 : 0`, `count = 1`, "there are submissions that nobody asked for"},
		{"pipelines.tf", `each.value.filter #`, `"" #`, "does not get what it asked for"},
		{"pipelines.tf", `"604800s"`, `"600s"`, "loses events while it rests"},
		{"pipelines.tf", `google_pubsub_topic.dead.id`, `google_pubsub_topic.events.id`, "what a pipeline cannot take is lost"},
		{"pipelines.tf", `"roles/pubsub.subscriber"`, `"roles/pubsub.editor"`, "others than its members pull"},
		{"pipelines.tf", `= local.pubsub_agent`, `= "allUsers"`, "may not take the dead letters of a pipeline away"},
		{"identities.tf", `databases/${google_firestore_database.tasks[0].name}`, `databases/x`, "reaches another database"},
		{"tasks.tf", `"ALWAYS"`, `"IF_NOT_EXISTS"`, "a job decides where the invoker's token goes"},
		{"tasks.tf", `path = "/batch"`, `path = "/bulk"`, "a queue calls another address than its lane's"},
		{"tasks.tf", `audience              = "${local.urls[local.targets`, `audience              = "x${local.urls[local.targets`, "a program would refuse the jobs of its queue"},
		{"tasks.tf", `i == 0 ? "" : "-${i}"`, `i == 0 ? "" : "-x${i}"`, "a lane has not four queues"},
		{"tasks.tf", `sweeps = 4 * var.shards`, `sweeps = 3 * var.shards`, "the queues of a lane do not share its room"},
		{"run.tf", `tostring(var.shards)`, `"1"`, "the programs do not know of the further queues"},
		{"firestore.tf", `var.shards > 1 && each.key`, `false && each.key`, "the writes of all tasks share a range"},
		{"firestore.tf", `try(each.value.ttl, false) ?`, `each.key == "tasks gone" ?`, "records or entries do not expire"},
		{"firestore.tf", `? [] : each.value.indexes`, `? [] : each.key == "kv owner" ? [{ order = "ASCENDING" }] : each.value.indexes`, "an entry is in an index"},
		{"project.tf", `local.firestore ? ["firestore.googleapis.com"] : []`, `["firestore.googleapis.com", "spanner.googleapis.com"]`, "the APIs are"},
		{"firestore.tf", `local.firestore ? 1 : 0`, `1`, "there is a Firestore beside AlloyDB"},
		{"firestore.tf", `google_firestore_database.tasks[0].name
  retention = "${var.backups.daily_days * 86400}s"`, `"other"
  retention = "1s"`, "there is no backup of each day and of each week"},
		{"firestore.tf", `var.backups.weekly_days > 0`, `true`, "there are backups that nobody wants"},
		{"firestore.tf", `"ENABLED" : "DISABLED"}`, `"DISABLED" : "DISABLED"}`, "no minute of the last days can be restored"},
		{"firestore.tf", `update = "60m"`, ``, "an index has no time to be built"},
		{"firestore.tf", `coalesce(var.database, var.prefix)`, `var.prefix`, "the programs do not use the restored database"},
		{"secrets.tf", `var.protect && contains`, `contains`, "a secret cannot be deleted, and should be"},
		{"secrets.tf", `toset(["access", "errand-keys"])`, `toset(["access"])`, "the keys or the access file can be deleted"},
		{"secrets.tf", `"2592000s"`, `"86400s"`, "a version that is destroyed by mistake is lost"},
		{"identities.tf", `_model_${substr(uuid(), 0, 8)}`, `_model`, "a role has the id that one had before a destroy"},
		{"run.tf", `name           = "h2c"`, `name           = "http1"`, "a program does not learn that its caller has gone"},
		{"run.tf", `percent = 100, tag = null }] :`, `percent = 0, tag = null }] :`, "a new version gets no requests"},
		{"run.tf", `if url != local.urls["cardserver"]`, `if true`, "tokens for another address are taken"},
		{"run.tf", `merge(local.called, {`, `merge(local.called, { worker = [local.url] }, {`, "Cloud Run refuses tokens for the address that clients use, or takes them for another service"},
		{"run.tf", `internal      = "INGRESS_TRAFFIC_INTERNAL_ONLY"`, `internal      = "INGRESS_TRAFFIC_ALL"`, "the front door is reached from elsewhere than chosen"},
		{"run.tf", `"INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"`, `"INGRESS_TRAFFIC_ALL"`, "the front door can be reached beside the load balancer"},
		{"run.tf", `startswith(var.region, "us-") ? "us" : "global"`, `"us"`, "the model is asked where there is none"},
		{"run.tf", `var.model_location != "" ? var.model_location :`, ``, "the model is asked elsewhere than chosen"},
		{"run.tf", `!var.cpu_always`, `true`, "instances do not wait for work as chosen"},
		{"run.tf", `var.instances[p] <= var.quota.cpus &&`, ``, "check.quota, was expected to report an error"},
		{"run.tf", `floor(var.memory[p] * 0.9)`, `floor(var.memory[p] * 0.1)`, "a program does not have its memory, or does not know it"},
		{"outputs.tf", `sum(values(var.instances))`, `2 * sum(values(var.instances))`, "the instances need"},
		{"identities.tf", `count = startswith(local.model, "vertex:") ? 1 : 0`, `count = startswith(local.model, "vertex:") && var.image != "" ? 1 : 0`, "a right is given only with the services"},
		{"secrets.tf", `location = replicas.value`, `location = var.region`, "secrets are kept elsewhere than chosen"},
		{"secrets.tf", `length(var.secret_locations) == 0 ? [1] : []`, `[1]`, "secrets are kept elsewhere than chosen"},
		{"pubsub.tf", `allowed_persistence_regions = [var.region]`, `allowed_persistence_regions = ["us-central1"]`, "events are kept in another region"},
		{"edge.tf", `local.edge && var.image != ""`, `local.edge`, "the domain cannot lead to the load balancer before there is a service"},
		{"edge.tf", `google_cloud_run_v2_service.program["cardserver"].name`, `"errand-worker"`, "the load balancer leads elsewhere than to the front door"},
		{"edge.tf", `google_compute_url_map.edge[0].id`, `"other"`, "a part of the load balancer does not lead to the next one"},
		{"edge.tf", `domains = [var.edge.domain]`, `domains = ["example.com"]`, "the load balancer has no certificate for the domain"},
		{"edge.tf", `enforce_on_key = "IP"`, `enforce_on_key = "ALL"`, "an address has no share of the requests"},
		{"network.tf", `p == "functions" ?`, `p == "worker" ?`, "webhooks do not leave through the given network"},
		{"network.tf", `[google_compute_address.egress[0].id]`, `[]`, "the network has not the address that is shown"},
		{"network.tf", `private_ip_google_access = true`, `private_ip_google_access = false`, "the network is that of a database, or does not reach Google"},
		{"costs.tf", `httpRequest.status<300`, `httpRequest.status<600`, "requests that fail are not logged"},
		{"costs.tf", `count = var.log_requests == "failed" ? 1 : 0`, `count = 1`, "requests are not logged, and should be"},
		{"costs.tf", `projects = ["projects/${data.google_project.this.number}"]`, `projects = []`, "nobody is told of the budget"},
		{"build.tf", `keep_count = most_recent_versions.value`, `keep_count = 1`, "images are kept for ever, or the newest ones are not"},
		{"build.tf", `immutable_tags = var.images_kept == 0`, `immutable_tags = false`, "images go that should be kept"},
		{"project.tf", `var.edge != null ? ["compute`, `false ? ["compute`, "there is a load balancer without the API for it"},
		{"project.tf", `var.budget == null ? [] :`, ``, "there is a budget that nobody asked for"},
		{"alloydb.tf", `restore_continuous_backup_source.value.time`, `"2020-01-01T00:00:00Z"`, "the cluster is not the chosen moment"},
		{"alloydb.tf", `&role=${local.database}`, ``, "a program does not find the store, or not as itself"},
		{"alloydb.tf", `user_type      = "ALLOYDB_IAM_USER"`, `user_type      = "ALLOYDB_BUILT_IN"`, "a program cannot log in, or may do more"},
		{"alloydb.tf", `"roles/alloydb.databaseUser"`, `"roles/alloydb.admin"`, "a program may not connect to AlloyDB, or may do more"},
		{"alloydb.tf", `uuid()`, `"postgres"`, "the administrator's password can be guessed"},
		{"alloydb.tf", `"VPC_PEERING"`, `"PRIVATE_SERVICE_CONNECT"`, "AlloyDB has no addresses in the network"},
		{"alloydb.tf", `"alloydb.iam_authentication" = "on"`, `"alloydb.iam_authentication" = "off"`, "IAM lets nobody in"},
		{"alloydb.tf", `var.alloydb.recovery_days * 86400`, `86400`, "there is no backup each day"},
		{"alloydb.tf", `recovery_window_days = var.alloydb.recovery_days`, `recovery_window_days = 1`, "no moment can be restored"},
		{"alloydb.tf", `0.9 / local.all_instances)`, `0.9 / local.all_instances) + 1`, "have more connections than the server"},
		{"alloydb.tf", `"https://www.googleapis.com/compute/v1/"`, `""`, "the database is not in the network of the subnetwork"},
		{"alloydb.tf", `[5], var.subnetwork)`, `[4], var.subnetwork)`, "the database is not in the network of the subnetwork"},
		{"run.tf", `local.alloydb ? 120 : 30`, `30`, "has no time to"},
		{"secrets.tf", `[for s in local.store_secrets : "${p}/${s}"]`, `[for s in local.store_secrets : "worker/${s}"]`, "a program does not read the user or the password"},
		{"files.tf", `public_access_prevention    = "enforced"`, `public_access_prevention    = "inherited"`, "files can be given to everybody"},
		{"files.tf", `!var.protect`, `true`, "files go with the bucket"},
		{"files.tf", `"AbortIncompleteMultipartUpload"`, `"Delete"`, "the bucket deletes files by itself"},
		{"files.tf", `"roles/storage.objectUser"`, `"roles/storage.objectAdmin"`, "a program does not reach the files, or may do more"},
		{"files.tf", `"iam.serviceAccounts.signBlob"`, `"iam.serviceAccounts.getAccessToken"`, "others sign than give URLs of files away, or they may do more"},
		{"files.tf", `service_account_id = google_service_account.program[each.key].name`, `service_account_id = google_service_account.invoker.name`, "a program signs as another one"},
		{"pubsub.tf", `audience              = "${local.urls["functions"]}/events"`, `audience              = local.urls["functions"]`, "functions would refuse the events"},
		{"tasks.tf", `audience              = "${local.urls["functions"]}/tick"`, `audience              = local.urls["functions"]`, "functions would refuse the schedule"},
		{"secrets.tf", `"worker/gemini-api-key"`, `"functions/gemini-api-key"`, "not the worker's alone"},
		{"secrets.tf", `"functions/errand-keys"`, `"functions/errand-keys", "worker/errand-keys"`, "can sign and open"},
		{"secrets.tf", `"cardserver/errand-credential-keys", "worker/errand-credential-keys"`, `"cardserver/errand-credential-keys", "functions/errand-credential-keys"`, "the keys of credentials"},
		{"secrets.tf", `roles/secretmanager.secretAccessor`, `roles/secretmanager.admin`, "the worker reads a secret that is not its own"},
		{"secrets.tf", `"functions/access", "worker/access"`, `"functions/access"`, "the access file is not where ERRAND_ACCESS says"},
		{"secrets.tf", `"worker/${s}"`, `"functions/${s}"`, "the agent's secret is not the worker's alone"},
		{"network.tf", `toset(concat(var.subnetwork == "" ? [] : ["worker"], var.static_egress ? ["functions"] : []))`, `local.programs`, "another program than the worker is in the network"},
		{"agent.tf", `if value != ""`, ``, "settings, origins or destinations are not passed on"},
		{"run.tf", `value = env.value`, `value = each.key == "functions" && env.key == "ERRAND_URL" ? "" : env.value`, "functions does not have the environment"},
		{"run.tf", `secretmanager:${var.project}/${var.prefix}`, `secretmanager:${var.project}`, "not those that ERRAND_SECRETS begins"},
	}

	for _, f := range faults {
		file := filepath.Join(w.dir, f.file)
		text := read(t, file)
		if !strings.Contains(text, f.old) {
			t.Fatalf("%s has no %s", f.file, f.old)
		}
		write(t, file, strings.ReplaceAll(text, f.old, f.new))
	}

	out, err := w.run("test")
	if err == nil {
		t.Error("terraform test passes")
	}

	for _, f := range faults {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), f.want) {
			t.Errorf("terraform test does not say %q", f.want)
		}
	}

	if t.Failed() {
		t.Log(out)
	}
}
