# Files: large replies, batches, uploads, results.

locals {
  # The front door signs URLs of files when clients ask for them. A URL works for a week at
  # most, and a task lives longer.
  signs = toset(["cardserver"])
}

resource "google_storage_bucket" "files" {
  project                     = var.project
  name                        = "${var.project}-${var.prefix}-files"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.protect

  # The programs delete files themselves, with their tasks. Unfinished uploads have no name
  # to delete.
  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_project_service.api]
}

# The role reads, writes, lists and deletes objects, and changes nothing of the bucket.
# https://cloud.google.com/storage/docs/access-control/iam-roles
resource "google_storage_bucket_iam_member" "files" {
  for_each = local.programs

  bucket = google_storage_bucket.files.name
  role   = "roles/storage.objectUser"
  member = google_service_account.program[each.key].member
}

# Google's own role for this also creates tokens.
# https://cloud.google.com/storage/docs/authentication/creating-signatures
resource "google_project_iam_custom_role" "signs" {
  project     = var.project
  role_id     = "${replace(var.prefix, "-", "_")}_signs_${substr(uuid(), 0, 8)}"
  title       = "Errand: sign URLs of files"
  description = "Signs as an account, and nothing else."
  permissions = ["iam.serviceAccounts.signBlob"]

  lifecycle {
    ignore_changes = [role_id] # identities.tf
  }
}

resource "google_service_account_iam_member" "signs_as_itself" {
  for_each = local.signs

  service_account_id = google_service_account.program[each.key].name
  role               = google_project_iam_custom_role.signs.name
  member             = google_service_account.program[each.key].member
}
