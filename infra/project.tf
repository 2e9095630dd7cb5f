data "google_project" "this" {
  project_id = var.project
}

resource "google_project_service" "api" {
  for_each = toset(concat([
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "cloudtasks.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
    ], local.firestore ? ["firestore.googleapis.com"] : [],
    local.alloydb ? ["alloydb.googleapis.com"] : [],
    local.peered ? ["servicenetworking.googleapis.com"] : [],
    local.alloydb || var.static_egress || var.edge != null ? ["compute.googleapis.com"] : [],
    local.certifying ? ["certificatemanager.googleapis.com", "networksecurity.googleapis.com"] : [],
    var.budget == null ? [] : ["billingbudgets.googleapis.com"],
  ))

  project            = var.project
  service            = each.value
  disable_on_destroy = false # others in the project may use it
}

locals {
  programs = toset(["cardserver", "worker", "functions"])

  # The address is known before the service is, so that the services can be told of
  # each other; with the path, it is the audience of the tokens for an endpoint.
  # https://cloud.google.com/run/docs/triggering/https-request#deterministic
  urls = { for p in local.programs : p => "https://${var.prefix}-${p}-${data.google_project.this.number}.${var.region}.run.app" }
}
