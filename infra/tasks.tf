# Attempts and waits are decided by the programs, from the record. The queues only have
# to bring a job back until they have: their limits are above ours.

locals {
  # Batches scan, feed and collect, and wait most of the time: a few at once are enough.
  most_batches         = 16
  batches_per_instance = max(min(4, ceil(local.most_batches / var.instances.worker)), ceil(var.shards / var.instances.worker))

  # Turns, items of batches and batches share the worker's instances. What is dispatched must
  # find room, or Cloud Run answers 429 and the whole queue slows down. So the instances have
  # room for all three queues together, and a batch takes no room from the turns that people
  # wait for. https://cloud.google.com/run/docs/about-concurrency
  worker_concurrency = var.turns_per_instance + var.items_per_instance + local.batches_per_instance

  # What the queues of each lane dispatch at once.
  lanes = {
    turns   = var.instances.worker * var.turns_per_instance
    bulk    = var.instances.worker * var.items_per_instance
    batches = min(local.most_batches, var.instances.worker * local.batches_per_instance)

    # Half of the functions' room, the topic and the sweep take the other.
    deliveries = floor(var.instances.functions * local.functions_concurrency / 2)
  }

  # A lane has one queue of its name or, with shards, further ones: NAME-1, NAME-2 ... They
  # share its room, and each has at most what a queue can do. The sweeps of all lanes have a
  # queue of their own, with room for those of a minute.
  # https://cloud.google.com/tasks/docs/quotas
  endings = [for i in range(var.shards) : i == 0 ? "" : "-${i}"]
  queues = merge({ sweeps = 4 * var.shards }, [for lane, n in local.lanes : {
    for e in local.endings : "${lane}${e}" => min(5000, max(1, floor(n / var.shards)))
  }]...)

  # Where the jobs of each lane go, and the sweeps.
  targets = {
    turns      = { program = "worker", path = "/turns" }
    bulk       = { program = "worker", path = "/bulk" }
    batches    = { program = "worker", path = "/batch" }
    deliveries = { program = "functions", path = "/deliveries" }
    sweeps     = { program = "functions", path = "/sweep" }
  }

  # Who adds to which queues. The front door accepts messages, batches, answers to items and
  # webhooks. A turn, an item and a batch park themselves, and a batch feeds items. A failed
  # delivery is repeated, and the sweep repairs all of them.
  adds = toset(concat(["functions/sweeps"], flatten([for add in [
    "cardserver/turns", "cardserver/deliveries", "cardserver/batches", "cardserver/bulk",
    "worker/turns", "worker/batches", "worker/bulk",
    "functions/turns", "functions/deliveries", "functions/batches", "functions/bulk",
  ] : [for e in local.endings : "${add}${e}"]])))
}

resource "google_cloud_tasks_queue" "queue" {
  for_each = local.queues

  project  = var.project
  location = var.region
  name     = "${var.prefix}-${each.key}"

  # Whatever address and token a job names, the queue calls this one, as the invoker: whoever
  # can add to it cannot have the invoker's token sent elsewhere. Whether they still need to be
  # allowed to act as the invoker (identities.tf) only an account can show: jobs name it too.
  # https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues#HttpTarget
  http_target {
    uri_override {
      scheme                    = "HTTPS"
      host                      = trimprefix(local.urls[local.targets[split("-", each.key)[0]].program], "https://")
      uri_override_enforce_mode = "ALWAYS"

      path_override {
        path = local.targets[split("-", each.key)[0]].path
      }
    }

    oidc_token {
      service_account_email = google_service_account.invoker.email
      audience              = "${local.urls[local.targets[split("-", each.key)[0]].program]}${local.targets[split("-", each.key)[0]].path}"
    }
  }

  rate_limits {
    max_dispatches_per_second = 500
    max_concurrent_dispatches = each.value
  }

  retry_config {
    max_attempts       = 100
    max_retry_duration = "0s" # no limit: the attempts decide
    min_backoff        = "1s"
    max_backoff        = "300s"
    max_doublings      = 8
  }

  depends_on = [google_project_service.api]
}

resource "google_cloud_tasks_queue_iam_member" "adds" {
  for_each = local.adds

  project  = var.project
  location = var.region
  name     = google_cloud_tasks_queue.queue[split("/", each.key)[1]].name
  role     = "roles/cloudtasks.enqueuer"
  member   = google_service_account.program[split("/", each.key)[0]].member
}

# Repair: functions adds the sweeps of each lane. A minute that fails is followed by
# another one.
resource "google_cloud_scheduler_job" "sweep" {
  project          = var.project
  region           = var.region
  name             = "${var.prefix}-sweep"
  description      = "Adds the sweeps"
  schedule         = "* * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "30s"
  paused           = var.image == "" # nobody would answer

  retry_config {
    retry_count = 0
  }

  http_target {
    http_method = "POST"
    uri         = "${local.urls["functions"]}/tick"

    oidc_token {
      service_account_email = google_service_account.invoker.email
      audience              = "${local.urls["functions"]}/tick"
    }
  }

  depends_on = [google_project_service.api]
}
