# Topics to which pipelines publish lines and names of manifests: none unless asked for. The
# access file says whose tasks the messages of each subscription are.

locals {
  submits = length(var.submissions) > 0

  # Who may publish, one by one: "nightly serviceAccount:..." and so on.
  publishes = { for p in flatten([for name, s in var.submissions : [for m in s.members : { submission = name, member = m }]]) : "${p.submission} ${p.member}" => p }

  # Who reads objects: the front door and functions look at manifests, the worker runs them.
  inputs = { for p in setproduct(local.programs, var.input_buckets) : "${p[0]} ${p[1]}" => { program = p[0], bucket = p[1] } }
}

resource "google_pubsub_topic" "submit" {
  for_each = var.submissions

  project = var.project
  name    = "${var.prefix}-submit-${each.key}"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.api]
}

resource "google_pubsub_topic_iam_member" "submits" {
  for_each = local.publishes

  project = var.project
  topic   = google_pubsub_topic.submit[each.value.submission].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member
}

# There is no dead letter policy: it would count a message that waits for a limit, and move it
# away after 100 attempts. Functions itself refuses what can never become a task, with the
# reason. https://cloud.google.com/pubsub/docs/dead-letter-topics
resource "google_pubsub_subscription" "submit" {
  for_each = var.submissions

  project                    = var.project
  name                       = "${var.prefix}-submit-${each.key}"
  topic                      = google_pubsub_topic.submit[each.key].id
  ack_deadline_seconds       = 120
  message_retention_duration = "2678400s" # 31 days, the longest. https://cloud.google.com/pubsub/docs/subscription-properties

  push_config {
    push_endpoint = "${local.urls["functions"]}/submit"

    oidc_token {
      service_account_email = google_service_account.invoker.email
      audience              = "${local.urls["functions"]}/submit"
    }
  }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "600s"
  }

  expiration_policy {
    ttl = "" # never: a pipeline that rests for a month finds it again
  }

  depends_on = [google_service_account_iam_member.pubsub_signs_as_invoker]
}

# What can never become a task, with the reason.
resource "google_pubsub_topic" "refused" {
  count = local.submits ? 1 : 0

  project = var.project
  name    = "${var.prefix}-refused"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.api]
}

# A topic without a subscription keeps nothing.
resource "google_pubsub_subscription" "refused" {
  count = local.submits ? 1 : 0

  project                    = var.project
  name                       = "${var.prefix}-refused"
  topic                      = google_pubsub_topic.refused[0].id
  message_retention_duration = "2678400s"

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic_iam_member" "refuses" {
  count = local.submits ? 1 : 0

  project = var.project
  topic   = google_pubsub_topic.refused[0].name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.program["functions"].member
}

# Buckets whose objects callers may name, if the access file lets them. A program that may
# list a bucket is told that an object does not exist, and is not only refused.
resource "google_storage_bucket_iam_member" "inputs" {
  for_each = local.inputs

  bucket = each.value.bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.program[each.value.program].member
}
