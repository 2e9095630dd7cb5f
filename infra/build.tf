# Where the image is kept, and who builds it when Cloud Build does (cloudbuild.yaml).

resource "google_artifact_registry_repository" "images" {
  project       = var.project
  location      = var.region
  repository_id = var.prefix
  format        = "DOCKER"

  # An image that is wanted again is built again. The newest ones are for a step back.
  # https://cloud.google.com/artifact-registry/docs/repositories/cleanup-policy
  dynamic "cleanup_policies" {
    for_each = var.images_kept == 0 ? {} : { newest = "KEEP", old = "DELETE" }

    content {
      id     = cleanup_policies.key
      action = cleanup_policies.value

      dynamic "most_recent_versions" {
        for_each = cleanup_policies.value == "KEEP" ? [var.images_kept] : []

        content {
          keep_count = most_recent_versions.value
        }
      }

      dynamic "condition" {
        for_each = cleanup_policies.value == "DELETE" ? [1] : []

        content {
          older_than = "2592000s" # 30 days
        }
      }
    }
  }

  # Services name an image by its digest, so no tag decides what is deployed. Where tags cannot be
  # moved, images with tags cannot be deleted.
  # https://cloud.google.com/artifact-registry/docs/repositories/update-repo-settings
  docker_config {
    immutable_tags = var.images_kept == 0
  }

  depends_on = [google_project_service.api]
}

resource "google_storage_bucket" "source" {
  project                     = var.project
  name                        = "${var.project}-${var.prefix}-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_service_account" "builder" {
  project      = var.project
  account_id   = "${var.prefix}-builder"
  display_name = "Errand: builds the image"
  depends_on   = [google_project_service.api]
}

resource "google_artifact_registry_repository_iam_member" "builder" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

resource "google_storage_bucket_iam_member" "builder" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder.member
}

resource "google_project_iam_member" "builder" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder.member
}
