package infra_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// planned are the resources of a plan, by address.
type planned map[string]any

// plan is what Terraform would make in an empty project, with the given variables besides
// those that are always given.
func (w *workspace) plan(variables string) planned {
	w.t.Helper()
	w.onlyTest(`mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
}

variables {
  project  = "my-project"
  region   = "europe-west1"
  settings = { shop_url = "https://shop.example.com" }
  image    = "europe-west1-docker.pkg.dev/my-project/errand/errand@sha256:` + strings.Repeat("0", 64) + `"
  ` + variables + `
}

run "plan" {
  command = plan
}
`)
	out, err := w.run("test", "-verbose", "-json")
	if err != nil {
		w.t.Fatalf("terraform test:\n%s", out)
	}

	got := planned{}
	for line := range strings.Lines(out) {
		var m struct {
			Plan struct {
				Changes []struct {
					Address string
					Change  struct {
						After   any
						Unknown any `json:"after_unknown"`
					}
				} `json:"resource_changes"`
			} `json:"test_plan"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			w.t.Fatal(err, line)
		}
		for _, c := range m.Plan.Changes {
			got[c.Address] = []any{c.Change.After, c.Change.Unknown}
		}
	}

	if len(got) < 50 {
		w.t.Fatalf("the plan has %d resources:\n%s", len(got), out)
	}

	return got
}

// onlyTest makes text the only test of the workspace.
func (w *workspace) onlyTest(text string) {
	w.t.Helper()
	for _, f := range glob(w.t, filepath.Join(w.dir, "*.tftest.hcl")) {
		if err := os.Remove(f); err != nil {
			w.t.Fatal(err)
		}
	}
	write(w.t, filepath.Join(w.dir, "plan.tftest.hcl"), text)
}

// without are the resources that other has not, without their keys.
func (p planned) without(other planned) []string {
	var only []string
	for address := range p {
		if _, ok := other[address]; !ok {
			resource, _, _ := strings.Cut(address, "[")
			only = append(only, resource)
		}
	}
	slices.Sort(only)
	return slices.Compact(only)
}

// changed are the resources that differ from those of other.
func (p planned) changed(other planned) []string {
	var changed []string
	for address, r := range p {
		if o, ok := other[address]; ok && !reflect.DeepEqual(r, o) {
			changed = append(changed, address)
		}
	}
	slices.Sort(changed)
	return changed
}

// Firestore is what an installation gets that chooses nothing, and the choices of an AlloyDB
// change nothing there. With AlloyDB the store is another one, and all else is the same.
func TestStores(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	left := w.plan("")
	firestore := w.plan(`store = "firestore"
  alloydb = { login = "secret", cpus = 64, cluster = "other", connections = 1 }`)
	alloydb := w.plan(`store = "alloydb"`)

	if only, more, changed := left.without(firestore), firestore.without(left), left.changed(firestore); only != nil || more != nil || changed != nil {
		t.Errorf("with Firestore chosen %q are missing, %q are new and %q differ", only, more, changed)
	}

	if diff := cmp.Diff([]string{
		"google_firestore_backup_schedule.daily", "google_firestore_backup_schedule.weekly",
		"google_firestore_database.tasks", "google_firestore_field.field", "google_firestore_index.index",
		"google_project_iam_member.store", "google_project_service.api",
	}, left.without(alloydb)); diff != "" {
		t.Errorf("only with Firestore (-want +got):\n%s", diff)
	}

	if diff := cmp.Diff([]string{
		"google_alloydb_cluster.tasks", "google_alloydb_instance.tasks", "google_alloydb_user.program",
		"google_compute_global_address.store", "google_compute_network.store", "google_compute_subnetwork.store",
		"google_project_iam_member.connects", "google_project_iam_member.logs_in", "google_project_iam_member.uses_services",
		"google_project_service.api", "google_service_networking_connection.store",
	}, alloydb.without(left)); diff != "" {
		t.Errorf("only with AlloyDB (-want +got):\n%s", diff)
	}

	if diff := cmp.Diff([]string{
		`google_cloud_run_v2_service.program["cardserver"]`, `google_cloud_run_v2_service.program["functions"]`, `google_cloud_run_v2_service.program["worker"]`,
	}, left.changed(alloydb)); diff != "" {
		t.Errorf("what AlloyDB changes (-want +got):\n%s", diff)
	}
}
