# Task events. Pipelines may have subscriptions of their own on the topic. Topics keep what is
# published in the installation's region, wherever it comes from.
# https://cloud.google.com/pubsub/docs/resource-location-restriction

locals {
  # Made by Google for the project; it forwards dead letters and signs push tokens.
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic" "events" {
  project = var.project
  name    = "${var.prefix}-events"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.api]
}

resource "google_pubsub_topic_iam_member" "publishes" {
  project = var.project
  topic   = google_pubsub_topic.events.name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.program["worker"].member
}

resource "google_pubsub_subscription" "notify" {
  project                    = var.project
  name                       = "${var.prefix}-notify"
  topic                      = google_pubsub_topic.events.id
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"

  push_config {
    push_endpoint = "${local.urls["functions"]}/events"

    oidc_token {
      service_account_email = google_service_account.invoker.email
      audience              = "${local.urls["functions"]}/events"
    }
  }

  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "300s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead.id
    max_delivery_attempts = 100
  }

  expiration_policy {
    ttl = "" # never: the default deletes it after 31 quiet days
  }

  depends_on = [google_service_account_iam_member.pubsub_signs_as_invoker]
}

# What 100 attempts could not deliver. No webhook depends on it, the sweep brings those;
# it is there to be looked at.
resource "google_pubsub_topic" "dead" {
  project = var.project
  name    = "${var.prefix}-events-dead"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.api]
}

# A topic without a subscription keeps nothing.
resource "google_pubsub_subscription" "dead" {
  project                    = var.project
  name                       = "${var.prefix}-events-dead"
  topic                      = google_pubsub_topic.dead.id
  message_retention_duration = "2678400s" # 31 days, the longest

  expiration_policy {
    ttl = ""
  }
}

# https://cloud.google.com/pubsub/docs/dead-letter-topics#grant_forwarding_permissions
resource "google_pubsub_topic_iam_member" "buries" {
  project = var.project
  topic   = google_pubsub_topic.dead.name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "takes_away" {
  project      = var.project
  subscription = google_pubsub_subscription.notify.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
