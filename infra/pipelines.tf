# Subscriptions of pipelines on the task events: none unless asked for. docs/events.md
# says what comes and what a consumer has to do.

locals {
  # Who may pull, one by one: "billing serviceAccount:..." and so on.
  pulls = { for p in flatten([for name, p in var.pipelines : [for m in p.members : { pipeline = name, member = m }]]) : "${p.pipeline} ${p.member}" => p }
}

resource "google_pubsub_subscription" "pipeline" {
  for_each = var.pipelines

  project                    = var.project
  name                       = "${var.prefix}-pipeline-${each.key}"
  topic                      = google_pubsub_topic.events.id
  filter                     = each.value.filter # another filter is another subscription
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s" # 7 days

  # What a consumer gives back comes later and later, as long as the agent is away.
  retry_policy {
    minimum_backoff = "1s"
    maximum_backoff = "300s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead.id
    max_delivery_attempts = 100
  }

  expiration_policy {
    ttl = "" # never: a pipeline that rests for a month finds it again
  }
}

resource "google_pubsub_subscription_iam_member" "pulls" {
  for_each = local.pulls

  project      = var.project
  subscription = google_pubsub_subscription.pipeline[each.value.pipeline].name
  role         = "roles/pubsub.subscriber"
  member       = each.value.member
}

resource "google_pubsub_subscription_iam_member" "takes_away_from_pipeline" {
  for_each = var.pipelines

  project      = var.project
  subscription = google_pubsub_subscription.pipeline[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
