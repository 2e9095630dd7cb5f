package infra_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"errand/functions/sweep"
	"errand/shared/adapters/gcp"
	embedded "errand/shared/adapters/local"
	"errand/shared/bus"
	"errand/shared/keys"
	"errand/shared/queue"
	"errand/shared/secret"
	"errand/shared/serve"
	"errand/shared/setup"
)

// keyOfModel is the secret that the worker reads through ERRAND_SECRETS. The other programs
// read keys.Secret.
const keyOfModel = "gemini-api-key"

// The module sets every variable that the programs read, and no others, apart from these.
func TestEnvironment(t *testing.T) {
	elsewhere := map[string]string{
		"PORT":                   "set by Cloud Run",
		"K_SERVICE":              "set by Cloud Run",
		"ERRAND_LISTEN":          "PORT decides it",
		"ERRAND_TLS":             "Cloud Run serves TLS itself",
		"ERRAND_AGENT":           "the definition is in the programs",
		"ERRAND_TURNS":           "turns_per_instance decides how many run at once",
		"ERRAND_OBJECTS":         "Google's own server, which is the default",
		"ERRAND_ISSUER":          "the invoker's tokens come from Google, which is the default",
		"GEMINI_API_KEY":         "the key is a secret that is read through ERRAND_SECRETS, and is in no environment",
		"ALLOY_DB_USER":          "a secret that is read through ERRAND_SECRETS, if IAM does not let the programs in",
		"ALLOY_DB_PASS":          "a secret likewise, and in no environment",
		"ERRAND_KEYS":            "the keys are a secret that is read through ERRAND_SECRETS, and are in no environment",
		"ERRAND_CREDENTIAL_KEYS": "keys likewise",
		"ERRAND_PUSH_ALLOW":      "functions reaches no private receivers: it is in a network for the database or for its address at most",
	}

	others := map[string]string{
		"GOMEMLIMIT":              "read by Go itself",
		"ERRAND_SETTING_SHOP_URL": "a setting of the agent",
	}

	// The service tells these to the program that it runs, if there is something to tell.
	told := map[string]string{
		"ERRAND_CHECKED_BY": "cloudrun", // where Cloud Run checks the callers
		"ERRAND_PROXIES":    "2",        // behind a load balancer
	}

	m := module(t)
	ctx := sharded(t, m, 4)
	set := local(t, ctx, "environment")
	for name := range told {
		if !slices.Contains(setup.Variables(), name) {
			t.Errorf("no program reads %s", name)
		}
	}
	reads := slices.DeleteFunc(setup.Variables(), func(name string) bool { return told[name] != "" })
	for _, name := range reads {
		_, here := set[name]
		if why, ok := elsewhere[name]; here == ok {
			t.Errorf("%s is read by the programs: either run.tf must set it (%t) or there is a reason not to (%q)", name, here, why)
		}
	}

	for name := range set {
		if !slices.Contains(reads, name) && others[name] == "" {
			t.Errorf("run.tf sets %s, which no program reads", name)
		}
	}

	for name, why := range others {
		if _, ok := set[name]; !ok {
			t.Errorf("run.tf does not set %s (%s)", name, why)
		}
	}

	for name, why := range elsewhere {
		if !slices.Contains(reads, name) {
			t.Errorf("%s is not read by the programs (%s)", name, why)
		}
	}

	accepted(t, ctx)

	// An image of a version that had no shards refuses the variable.
	if n, ok := local(t, sharded(t, m, 1), "environment")["ERRAND_SHARDS"]; ok {
		t.Errorf("with one shard, which is the default, run.tf sets ERRAND_SHARDS to %q", n)
	}

	checked := m.scopeWith(t, map[string]cty.Value{"check_internal": cty.True, "ingress": cty.StringVal("load-balancer"), "clients": cty.ListVal([]cty.Value{cty.StringVal("user:a@example.com")})})
	everything := map[string]string{}
	for _, p := range programs {
		maps.Copy(everything, local(t, &hcl.EvalContext{Variables: map[string]cty.Value{"local": checked.Variables["local"].GetAttr("told")}}, p))
	}
	if diff := cmp.Diff(told, everything); diff != "" {
		t.Errorf("what the services tell their programs (-want +got):\n%s", diff)
	}
}

// The programs accept the environment of an AlloyDB too.
func TestAlloyDBEnvironment(t *testing.T) {
	for _, login := range []string{"iam", "secret"} {
		t.Run(login, func(t *testing.T) { accepted(t, alloyDB(t, login)) })
	}
}

// accepted checks that each program accepts its environment.
func accepted(t *testing.T, ctx *hcl.EvalContext) {
	t.Helper()
	for program, store := range local(t, ctx, "stores") {
		environ := []string{"PORT=8080", "K_SERVICE=errand-" + program}
		for name, value := range local(t, ctx, "environment") {
			if name == "ERRAND_STORE" {
				value = store
			}
			environ = append(environ, name+"="+value)
		}

		if _, err := setup.ReadEnv(environ); err != nil {
			t.Errorf("%s refuses %q: %v", program, environ, err)
		}
	}
}

// alloyDB is the module's scope with an AlloyDB and the given login.
func alloyDB(t *testing.T, login string) *hcl.EvalContext {
	t.Helper()
	return module(t).scopeWith(t, map[string]cty.Value{
		"store": cty.StringVal("alloydb"),
		"alloydb": cty.ObjectVal(map[string]cty.Value{
			"login": cty.StringVal(login), "cpus": cty.NumberIntVal(2), "availability": cty.StringVal("REGIONAL"), "version": cty.StringVal("POSTGRES_16"),
			"connections": cty.NumberIntVal(1000), "recovery_days": cty.NumberIntVal(14), "cluster": cty.StringVal(""), "restore": cty.NullVal(cty.DynamicPseudoType),
		}),
	})
}

// ERRAND_STORE names the instance of AlloyDB, and the user that the program logs in as. All
// pools of all instances, of an old and a new version, fit into the server's connections.
func TestAlloyDBStore(t *testing.T) {
	ctx := alloyDB(t, "iam")
	name := func(typ, attr string) string {
		return ctx.Variables[typ].GetAttr("tasks").Index(cty.NumberIntVal(0)).GetAttr(attr).AsString()
	}
	for program, store := range local(t, ctx, "stores") {
		want := "alloydb:projects/my-project/locations/europe-west1/clusters/" + name("google_alloydb_cluster", "cluster_id") +
			"/instances/" + name("google_alloydb_instance", "instance_id") + "?database=errand&ip=private&pool_max_conns=11&user=errand-" + program + "@my-project.iam&role=errand"
		if store != want {
			t.Errorf("the store of %s is %s, want %s", program, store, want)
		}
	}

	for program, store := range local(t, alloyDB(t, "secret"), "stores") {
		if strings.Contains(store, "user=") || strings.Contains(store, "role=") {
			t.Errorf("%s logs in with secrets, and as another user: %s", program, store)
		}
	}

	if db := ctx.Variables["google_firestore_database"].GetAttr("tasks"); db.LengthInt() != 0 {
		t.Errorf("there are %d databases of Firestore beside AlloyDB", db.LengthInt())
	}
}

// Terraform never deletes the records, and says so where protect does not reach.
func TestKept(t *testing.T) {
	var found []string
	for _, b := range module(t).blocks("resource") {
		for _, inner := range b.Body.Blocks {
			if a := inner.Body.Attributes["prevent_destroy"]; a != nil && evaluate(a, nil).True() {
				found = append(found, b.Labels[0]+"."+b.Labels[1])
			}
		}
	}

	if diff := cmp.Diff([]string{"google_alloydb_cluster.tasks"}, found); diff != "" {
		t.Errorf("resources that Terraform never deletes (-want +got):\n%s", diff)
	}
	if n := strings.Count(read(t, "alloydb.tf"), kept); n != 1 {
		t.Errorf("alloydb.tf has %q %d times", kept, n)
	}
}

// The names in the environment are those of the module's resources.
func TestNames(t *testing.T) {
	m := module(t)
	ctx := m.scope(t)
	env := local(t, ctx, "environment")

	name := func(typ, name, attr string) string {
		v := ctx.Variables[typ].GetAttr(name)
		if v.Type().IsTupleType() {
			v = v.Index(cty.NumberIntVal(0))
		}
		if v = v.GetAttr(attr); !v.IsKnown() {
			t.Fatalf("%s.%s.%s is not known without Google", typ, name, attr)
		}
		return v.AsString()
	}

	for variable, want := range map[string]string{
		"ERRAND_STORE":   "firestore:my-project/" + name("google_firestore_database", "tasks", "name"),
		"ERRAND_FILES":   "gs:" + name("google_storage_bucket", "files", "name"),
		"ERRAND_QUEUE":   "cloudtasks:projects/my-project/locations/europe-west1/queues/errand",
		"ERRAND_REFUSED": "pubsub:projects/my-project/topics/" + name("google_pubsub_topic", "refused", "name"),
		"ERRAND_BUS":     "pubsub:projects/my-project/topics/" + name("google_pubsub_topic", "events", "name"),
		"ERRAND_SECRETS": "secretmanager:my-project/errand",
		"ERRAND_INVOKER": invoker,
	} {
		if env[variable] != want {
			t.Errorf("%s is %s, want %s", variable, env[variable], want)
		}
	}

	for _, l := range queue.Lanes() {
		if !strings.Contains(read(t, "tasks.tf"), fmt.Sprintf("max_dispatches_per_second = %d\n", l.Rate)) {
			t.Errorf("a queue of the lane %s does not dispatch %d jobs a second", l.Name, l.Rate)
		}
	}

	for _, shards := range []int{1, 4} {
		want := []string{queue.Sweeps}
		for _, l := range queue.Lanes() {
			want = append(want, l.Queues(shards)...)
		}
		slices.Sort(want)
		got := slices.Sorted(maps.Keys(local(t, sharded(t, m, shards), "queues")))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("queues with %d shards (-want +got):\n%s", shards, diff)
		}
	}
	if !strings.Contains(read(t, "tasks.tf"), `"${var.prefix}-${each.key}"`) {
		t.Error("the queues are not named by prefix and lane, as ERRAND_QUEUE expects")
	}

	for program := range local(t, ctx, "signs") {
		if !slices.Contains(programs, program) {
			t.Errorf("%s may sign, but is no program", program)
		}
	}

	for _, set := range []string{"programs", "services", "urls"} {
		if diff := cmp.Diff(programs, slices.Sorted(maps.Keys(local(t, ctx, set)))); diff != "" {
			t.Errorf("local.%s (-want +got):\n%s", set, diff)
		}
	}

	if diff := cmp.Diff([]string{"access", keys.CredentialSecret, keys.Secret, keyOfModel, "shop-token"}, slices.Sorted(maps.Keys(local(t, ctx, "secrets")))); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}

	// On one machine the same secrets are variables of the programs.
	for _, name := range []string{keys.Secret, keys.CredentialSecret, keyOfModel} {
		var asked string
		alone := embedded.Env{Lookup: func(name string) (string, bool) { asked = name; return "", false }}
		if _, err := alone.Get(t.Context(), secret.Ref{Name: name}); !errors.Is(err, secret.ErrNotFound) || !slices.Contains(setup.Variables(), asked) {
			t.Errorf("%s is looked up as %q, which no program reads: %v", name, asked, err)
		}
	}

	if !strings.Contains(read(t, "secrets.tf"), `"${var.prefix}-${each.key}"`) {
		t.Error("the secrets are not named by prefix and name, as ERRAND_SECRETS expects")
	}

	for _, p := range programs {
		if info, err := os.Stat(filepath.Join("..", p)); err != nil || !info.IsDir() {
			t.Errorf("there is no program %s: %v", p, err)
		}
	}
}

// sharded is the module's scope with a number of shards.
func sharded(t *testing.T, m files, shards int) *hcl.EvalContext {
	t.Helper()
	return m.scopeWith(t, map[string]cty.Value{"shards": cty.NumberIntVal(int64(shards))})
}

// Each lane's jobs may be added by those who make its work, and by nobody else: by functions,
// which sweeps, by the program that serves the lane and puts work off, and by the front door,
// whose clients make work of every kind. Deliveries put off are functions' work alone, and so are
// sweeps.
func TestWhoAddsToALane(t *testing.T) {
	for _, shards := range []int{1, 4} {
		want := []string{"functions/" + queue.Sweeps}
		for _, l := range queue.Lanes() {
			for _, name := range l.Queues(shards) {
				want = append(want, "cardserver/"+name, "functions/"+name)
				if l.Service == queue.Worker {
					want = append(want, "worker/"+name)
				}
			}
		}

		slices.Sort(want)
		got := slices.Sorted(maps.Keys(local(t, sharded(t, module(t), shards), "adds")))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("local.adds with %d shards (-want +got):\n%s", shards, diff)
		}
	}
}

// The queues of a lane call the lane's own path of the program that serves it, and the queue of
// sweeps the one of sweeps.
func TestTargets(t *testing.T) {
	v := module(t).scope(t).Variables["local"].GetAttr("targets")
	got := map[string]string{}
	for lane, to := range v.Elements() {
		got[lane.AsString()] = to.GetAttr("program").AsString() + to.GetAttr("path").AsString()
	}
	want := map[string]string{queue.Sweeps: string(queue.Functions) + queue.PathSweep}
	for _, l := range queue.Lanes() {
		want[l.Name] = string(l.Service) + l.Path
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("local.targets (-want +got):\n%s", diff)
	}
}

// An instance of the front door has a listener for each task that its requests may follow.
func TestListeners(t *testing.T) {
	n := module(t).scope(t).Variables["local"].GetAttr("services").GetAttr("cardserver").GetAttr("concurrency")
	if got, _ := n.AsBigFloat().Int64(); got != gcp.Listeners {
		t.Errorf("an instance takes %d requests and has %d listeners", got, gcp.Listeners)
	}
}

// The instances of the worker have room for everything that is dispatched to them at once, so
// that items and batches take nothing from the turns that people wait for. Each lane's queue
// dispatches something, and no more than a queue can.
func TestWorkersHaveRoom(t *testing.T) {
	const (
		mostOfAQueue    = 5000 // https://cloud.google.com/tasks/docs/quotas
		mostOfAnAddress = 200  // requests of one address in a program, and Cloud Tasks may be one (docs/limits.md)
	)
	for _, c := range []struct{ instances, turns, items, shards int64 }{
		{20, 4, 4, 1}, {1, 1, 1, 1}, {2, 4, 8, 1}, {3, 32, 1, 1}, {5, 4, 4, 1}, {16, 1, 32, 1}, {17, 4, 4, 1}, {1000, 5, 5, 1}, {1, 96, 96, 1}, {52, 96, 96, 1},
		{20, 4, 4, 4}, {1, 8, 8, 8}, {3, 4, 3, 8}, {104, 96, 96, 2}, {1, 96, 96, 8},
	} {
		ctx := module(t).scopeWith(t, map[string]cty.Value{
			"turns_per_instance": cty.NumberIntVal(c.turns),
			"items_per_instance": cty.NumberIntVal(c.items),
			"shards":             cty.NumberIntVal(c.shards),
			"instances": cty.ObjectVal(map[string]cty.Value{
				"cardserver": cty.NumberIntVal(1), "worker": cty.NumberIntVal(c.instances), "functions": cty.NumberIntVal(1),
			}),
		})
		locals := ctx.Variables["local"]
		number := func(v cty.Value) int64 {
			t.Helper()
			n, exact := v.AsBigFloat().Int64()
			if exact != 0 {
				t.Errorf("%+v: %v is not whole", c, v.AsBigFloat())
			}
			return n
		}

		concurrency := number(locals.GetAttr("services").GetAttr("worker").GetAttr("concurrency"))
		if concurrency > mostOfAnAddress {
			t.Errorf("%+v: %d requests go to one worker, which takes %d of one address", c, concurrency, mostOfAnAddress)
		}

		room := c.instances * concurrency
		for _, l := range queue.Lanes() {
			turns := int64(0)
			for _, name := range l.Queues(int(c.shards)) {
				n := number(locals.GetAttr("queues").GetAttr(name))
				if n < 1 || n > mostOfAQueue {
					t.Errorf("%+v: the queue %s dispatches %d jobs at once", c, name, n)
				}
				if l.Service == queue.Worker {
					room -= n
				}
				turns += n
			}
			if most := c.instances * c.turns; l.Name == queue.Turns && (turns > most || turns <= most-c.shards) {
				t.Errorf("%+v: %d turns at once, want %d, or a few less for equal queues", c, turns, most)
			}
		}

		if room < 0 {
			t.Errorf("%+v: the workers lack room for %d of what is dispatched to them", c, -room)
		}
	}
}

// The module calls the paths that the programs serve, and no others, with tokens for these
// paths: the program's authenticator expects them as the audience.
func TestPaths(t *testing.T) {
	m := module(t)
	ctx := m.scope(t)
	functions := local(t, ctx, "urls")["functions"]

	want := map[string]string{
		"google_pubsub_subscription.notify push_endpoint": functions + bus.PathEvents,
		"google_pubsub_subscription.notify audience":      functions + bus.PathEvents,
		"google_pubsub_subscription.submit push_endpoint": functions + bus.PathSubmit,
		"google_pubsub_subscription.submit audience":      functions + bus.PathSubmit,
		"google_cloud_scheduler_job.sweep uri":            functions + sweep.PathTick,
		"google_cloud_scheduler_job.sweep audience":       functions + sweep.PathTick,
		"google_cloud_run_v2_service.program path":        serve.PathLive + " " + serve.PathReady + " ",
	}

	got := map[string]string{}

	m.each(func(resource, name string, a *hclsyntax.Attribute) {
		if !slices.Contains([]string{"path", "uri", "push_endpoint", "audience"}, name) {
			return
		}

		if resource == "google_cloud_tasks_queue.queue" {
			return // TestTargets
		}
		v := evaluate(a, ctx)
		if !v.IsKnown() {
			t.Errorf("%s %s is not known without Google", resource, name)
			return
		}

		key := resource + " " + name
		switch text := v.AsString(); {
		case name != "path":
			got[key] = text
		case strings.HasPrefix(text, "/"): // other values are files
			parts := append(strings.Fields(got[key]), text)
			slices.Sort(parts)
			got[key] = strings.Join(parts, " ") + " "
		}
	})

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths and audiences (-want +got):\n%s", diff)
	}
}

// Where Cloud Run checks the callers of worker and functions, it takes tokens for the paths that
// they serve and for no others.
func TestAudiences(t *testing.T) {
	served := map[string][]string{string(queue.Functions): {queue.PathSweep, bus.PathEvents, bus.PathSubmit, sweep.PathTick}}
	for _, l := range queue.Lanes() {
		served[string(l.Service)] = append(served[string(l.Service)], l.Path)
	}

	for _, choice := range []bool{true, false} {
		ctx := module(t).scopeWith(t, map[string]cty.Value{"check_internal": cty.BoolVal(choice)})
		for program, paths := range served {
			var want, got []string
			for _, path := range paths {
				if choice {
					want = append(want, local(t, ctx, "urls")[program]+path)
				}
			}

			for _, audience := range ctx.Variables["local"].GetAttr("audiences").GetAttr(program).AsValueSlice() {
				got = append(got, audience.AsString())
			}

			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("check_internal = %t: audiences of %s (-want +got):\n%s", choice, program, diff)
			}
		}
	}
}

// Every role has a reason here. A role that is not in the list is a decision.
func TestRoles(t *testing.T) {
	why := map[string]string{
		"google_service_account_iam_member.acts_as_invoker roles/iam.serviceAccountUser":                       "jobs are called with the invoker's token (queue.Queue)",
		"google_service_account_iam_member.pubsub_signs_as_invoker roles/iam.serviceAccountOpenIdTokenCreator": "events are pushed with the invoker's token (bus.PathEvents)",
		"google_project_iam_member.store roles/datastore.user":                                                 "records (task.Store), in one database by a condition",
		"google_project_iam_member.connects roles/alloydb.client":                                              "the address and the certificate of an AlloyDB instance, which has no policy of its own",
		"google_project_iam_member.logs_in roles/alloydb.databaseUser":                                         "records in AlloyDB, without a password",
		"google_project_iam_member.uses_services roles/serviceusage.serviceUsageConsumer":                      "calls of AlloyDB's API, which count against the project's quota",
		"google_cloud_tasks_queue_iam_member.adds roles/cloudtasks.enqueuer":                                   "jobs (queue.Queue)",
		"google_pubsub_topic_iam_member.publishes roles/pubsub.publisher":                                      "events (bus.Publisher)",
		"google_pubsub_topic_iam_member.buries roles/pubsub.publisher":                                         "dead letters, by Pub/Sub itself",
		"google_pubsub_subscription_iam_member.takes_away roles/pubsub.subscriber":                             "dead letters, by Pub/Sub itself",
		"google_pubsub_subscription_iam_member.pulls roles/pubsub.subscriber":                                  "a pipeline's own subscription (docs/events.md)",
		"google_pubsub_subscription_iam_member.takes_away_from_pipeline roles/pubsub.subscriber":               "dead letters, by Pub/Sub itself",
		"google_pubsub_topic_iam_member.submits roles/pubsub.publisher":                                        "a pipeline's own messages (docs/access.md)",
		"google_pubsub_topic_iam_member.refuses roles/pubsub.publisher":                                        "refused messages, by functions (bus.Letters)",
		"google_storage_bucket_iam_member.inputs roles/storage.objectViewer":                                   "objects that callers name (objects.Source), in the buckets that are chosen",
		"google_secret_manager_secret_iam_member.reads roles/secretmanager.secretAccessor":                     "the access file, the key of the model, the keys of webhooks",
		"google_cloud_run_v2_service_iam_binding.clients roles/run.invoker":                                    "clients, and queues, topic and schedule, where Cloud Run asks who they are",
		"google_artifact_registry_repository_iam_member.builder roles/artifactregistry.writer":                 "Cloud Build pushes the image",
		"google_storage_bucket_iam_member.builder roles/storage.objectViewer":                                  "Cloud Build reads the source",
		"google_project_iam_member.builder roles/logging.logWriter":                                            "Cloud Build logs; a project's log has no policy of its own",
		"google_storage_bucket_iam_member.files roles/storage.objectUser":                                      "files (files.Store), in one bucket",
		"google_service_account_iam_member.signs_as_itself (custom)":                                           "the front door signs URLs of files as itself",
		"google_project_iam_member.model (custom)":                                                             "the worker asks a model",
	}

	m := module(t)
	ctx := m.scope(t)
	got := map[string]bool{}

	m.each(func(resource, name string, a *hclsyntax.Attribute) {
		if name != "role" {
			return
		}

		role := "(custom)"
		if v := evaluate(a, ctx); v.IsKnown() && v.Type() == cty.String {
			role = v.AsString()
		}

		got[resource+" "+role] = true
		if why[resource+" "+role] == "" {
			t.Errorf("%s gives %s without a reason in this test", resource, role)
		}
	})

	for role := range why {
		if !got[role] {
			t.Errorf("%s is not given any more", role)
		}
	}

	for _, b := range m.blocks("resource") {
		if strings.Contains(b.Labels[0], "_iam_") && b.Body.Attributes["role"] == nil && b.Labels[0] != "google_project_iam_custom_role" {
			t.Errorf("%s.%s gives a role that this test does not see", b.Labels[0], b.Labels[1])
		}
	}
}

// The module has no keys, no values of secrets and no default service account, and gives
// rights to all users only at the front door.
func TestNothingIsGivenAway(t *testing.T) {
	m := module(t)
	for _, b := range m.blocks("resource") {
		if regexp.MustCompile(`_key$|_secret_version$|_iam_policy$|^google_project_iam_binding$|^random_|^local_`).MatchString(b.Labels[0]) {
			t.Errorf("%s.%s is a key, a value or takes the project's policy", b.Labels[0], b.Labels[1])
		}
	}

	accounts := 0
	m.each(func(resource, name string, a *hclsyntax.Attribute) {
		if strings.HasPrefix(resource, "google_cloud_run") && name == "service_account" {
			accounts++
		}
	})

	if accounts != len(slices.DeleteFunc(m.blocks("resource"), func(b *hclsyntax.Block) bool { return b.Labels[0] != "google_cloud_run_v2_service" })) {
		t.Error("a service runs as a default service account")
	}

	for _, name := range append(glob(t, "*.tf"), "cloudbuild.yaml", "README.md", "../Dockerfile") {
		text := read(t, name)
		if found := regexp.MustCompile(`compute@developer|@appspot|roles/(owner|editor|viewer)\b|BEGIN [A-Z ]*PRIVATE KEY|AIza[0-9A-Za-z_-]{10}`).FindString(text); found != "" {
			t.Errorf("%s has %s", name, found)
		}

		text = strings.ReplaceAll(text, `contains(var.clients, "allUsers")`, "") // a condition, which gives nothing
		if n := strings.Count(text, `"allUsers"`); n > 0 && name != "variables.tf" {
			t.Errorf("%s gives rights to all users", name)
		}
	}
}

// The file of indexes has the form that firestore.tf reads.
func TestIndexes(t *testing.T) {
	var file struct {
		Indexes []struct {
			CollectionGroup, QueryScope string
			Fields                      []struct{ FieldPath, Order, ArrayConfig string }
		}
		FieldOverrides []struct {
			CollectionGroup, FieldPath string
			TTL                        bool
			Indexes                    []struct{ Order, ArrayConfig, QueryScope string }
		}
	}

	d := json.NewDecoder(strings.NewReader(read(t, indexes)))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if len(file.Indexes) == 0 || len(file.FieldOverrides) == 0 {
		t.Error("no indexes or no exemptions")
	}

	for _, i := range file.Indexes {
		if i.CollectionGroup == "" || i.QueryScope == "" || len(i.Fields) < 2 {
			t.Errorf("not an index: %+v", i)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return names
}
