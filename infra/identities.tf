# Nothing runs as a default service account, and there are no keys: each program has
# an identity of its own, with what it needs and on the resource it needs it on.

resource "google_service_account" "program" {
  for_each = local.programs

  project      = var.project
  account_id   = "${var.prefix}-${each.key}"
  display_name = "Errand: ${each.key}"
  depends_on   = [google_project_service.api]
}

# The invoker is whom queues, topic and schedule call as; worker and functions let in
# nobody else, and it can do nothing else: it has no role anywhere.
resource "google_service_account" "invoker" {
  project      = var.project
  account_id   = "${var.prefix}-invoker"
  display_name = "Errand: calls worker and functions"
  depends_on   = [google_project_service.api]
}

# Whoever adds a job with the invoker's token must be allowed to act as it.
# https://cloud.google.com/tasks/docs/creating-http-target-tasks#sa
resource "google_service_account_iam_member" "acts_as_invoker" {
  for_each = local.programs

  service_account_id = google_service_account.invoker.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.program[each.key].member
}

# Pub/Sub signs the tokens of its push requests itself.
# https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
resource "google_service_account_iam_member" "pubsub_signs_as_invoker" {
  service_account_id = google_service_account.invoker.name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.pubsub_agent
}

# A database has no policy of its own: the condition does what one would.
# https://cloud.google.com/firestore/docs/manage-databases#configure_per-database_access_permissions
resource "google_project_iam_member" "store" {
  for_each = local.firestore ? local.programs : toset([])

  project = var.project
  role    = "roles/datastore.user"
  member  = google_service_account.program[each.key].member

  condition {
    title      = "${var.prefix} database only"
    expression = "resource.name == \"projects/${var.project}/databases/${google_firestore_database.tasks[0].name}\""
  }
}

# Vertex AI's own roles also create endpoints and start trainings. A deleted role's id cannot be used
# again for up to 37 days, so each installation draws its own when it is made: the one after a
# destroy has another, and an installation that is older than this keeps the one that it has.
# https://registry.terraform.io/providers/hashicorp/google/6.50.0/docs/resources/google_project_iam_custom_role
resource "google_project_iam_custom_role" "model" {
  project     = var.project
  role_id     = "${replace(var.prefix, "-", "_")}_model_${substr(uuid(), 0, 8)}"
  title       = "Errand: ask a model"
  description = "Asks Google's models, and nothing else of Vertex AI."
  permissions = ["aiplatform.endpoints.predict"]

  lifecycle {
    ignore_changes = [role_id]
  }
}

resource "google_project_iam_member" "model" {
  count = startswith(local.model, "vertex:") ? 1 : 0

  project = var.project
  role    = google_project_iam_custom_role.model.name
  member  = google_service_account.program["worker"].member
}
