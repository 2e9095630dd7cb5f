locals {
  functions_concurrency = 40

  # What differs between the programs. A request ends before whoever sent it gives up:
  # streams are 50 minutes old at most, a dispatched job has 10 minutes.
  services = {
    cardserver = { concurrency = 250, timeout = "3600s", ingress = local.ingresses[local.ingress], unchecked = contains(var.clients, "allUsers") }
    worker     = { concurrency = local.worker_concurrency, timeout = "1800s", ingress = "INGRESS_TRAFFIC_INTERNAL_ONLY", unchecked = !var.check_internal }
    functions  = { concurrency = local.functions_concurrency, timeout = "600s", ingress = "INGRESS_TRAFFIC_INTERNAL_ONLY", unchecked = !var.check_internal }
  }
  running = var.image == "" ? {} : local.services

  # What each program is told of Cloud Run and of what is in front of it.
  #
  # Cloud Run takes the signature off the ID tokens that it checks, and then the program can only
  # take its word for them. Where the program checks them itself, Cloud Run does not: worker and
  # functions let in the invoker's tokens for the very URL and nothing else, and a cardserver for
  # everybody goes by its access file. With the check off nobody needs roles/run.invoker: Cloud
  # Tasks, Pub/Sub and Scheduler ask for a token, not for a role.
  # https://cloud.google.com/run/docs/troubleshooting#signature-removed
  #
  # A load balancer adds two addresses to X-Forwarded-For, the client's and its own. Where a
  # request may also come without it, the last address counts, which nobody can make up.
  # https://cloud.google.com/load-balancing/docs/https#x-forwarded-for_header
  told = { for p in local.programs : p => { for name, value in {
    ERRAND_CHECKED_BY = !local.services[p].unchecked ? "cloudrun" : p == "cardserver" && local.certifying ? "loadbalancer" : ""
    ERRAND_PROXIES    = p == "cardserver" && local.ingress == "load-balancer" ? "2" : ""
  } : name => value if value != "" } }

  # Whom Cloud Run lets in where it checks, and for which addresses besides its own: queues, topic
  # and schedule have tokens for the very path that they call.
  invokers  = { cardserver = var.clients, worker = [google_service_account.invoker.member], functions = [google_service_account.invoker.member] }
  paths     = { worker = ["/turns", "/batch", "/bulk"], functions = ["/deliveries", "/sweep", "/events", "/submit", "/tick"] }
  called    = { for p, paths in local.paths : p => [for path in paths : "${local.urls[p]}${path}" if var.check_internal] }
  audiences = merge(local.called, { cardserver = [for url in [local.url] : url if url != local.urls["cardserver"]] })

  # Who serves: the newest revision, or the one before it while the newest is tried, which then
  # has an address of its own. https://cloud.google.com/run/docs/rollouts-rollbacks-traffic-migration
  tag = "candidate"
  traffic = { for p in local.programs : p => var.candidate == null ? [{ type = "LATEST", revision = null, percent = 100, tag = null }] : [
    { type = "REVISION", revision = var.candidate.serving[p], percent = 100 - var.candidate.percent, tag = null },
    { type = "LATEST", revision = null, percent = var.candidate.percent, tag = local.tag },
  ] }

  # From where clients come. https://cloud.google.com/run/docs/securing/ingress
  ingress = var.ingress != "" ? var.ingress : var.edge == null ? "all" : "load-balancer"
  ingresses = {
    all           = "INGRESS_TRAFFIC_ALL"
    load-balancer = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    internal      = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  }

  # Where clients reach the agent: an address of one's own, that of the load balancer, or the
  # one that Cloud Run gives.
  url = var.url != "" ? var.url : var.edge != null ? "https://${var.edge.domain}" : local.urls["cardserver"]

  # What is asked stays where the installation is, as far as Vertex AI has models there: its
  # location global may be anywhere.
  # https://cloud.google.com/vertex-ai/generative-ai/docs/learn/data-residency
  model_location = var.model_location != "" ? var.model_location : startswith(var.region, "europe-") ? "eu" : startswith(var.region, "us-") ? "us" : "global"

  # One block, the same for the three programs. Only the user of a database and the memory are
  # each program's own: the block has the front door's, and a service has its own instead. A program
  # refuses a variable that it does not know, so those that say nothing are left out: an image of
  # an earlier version then starts too.
  own = { for p in local.programs : p => {
    ERRAND_STORE = local.stores[p]
    GOMEMLIMIT   = "${floor(var.memory[p] * 0.9)}MiB" # the rest is for what the collector does not see
  } }

  submitting = local.submits ? { ERRAND_REFUSED = "pubsub:projects/${var.project}/topics/${google_pubsub_topic.refused[0].name}" } : {}
  chosen     = { ERRAND_AGENT_ALLOW = join(",", var.agent_allow), ERRAND_ORIGINS = join(",", var.origins), ERRAND_SHARDS = var.shards == 1 ? "" : tostring(var.shards) }
  environment = merge(local.settings, { for name, value in local.chosen : name => value if value != "" }, local.submitting, local.own["cardserver"], {
    ERRAND_FILES          = "gs:${google_storage_bucket.files.name}"
    ERRAND_QUEUE          = "cloudtasks:projects/${var.project}/locations/${var.region}/queues/${var.prefix}"
    ERRAND_BUS            = "pubsub:projects/${var.project}/topics/${google_pubsub_topic.events.name}"
    ERRAND_SECRETS        = "secretmanager:${var.project}/${var.prefix}"
    ERRAND_MODEL          = local.model
    ERRAND_URL            = local.url
    ERRAND_WORKER_URL     = local.urls["worker"]
    ERRAND_FUNCTIONS_URL  = local.urls["functions"]
    ERRAND_INVOKER        = google_service_account.invoker.email
    ERRAND_ACCESS         = var.access == "secret" ? "${local.access_file.folder}/${local.access_file.name}" : "anonymous"
    ERRAND_DEDUPE         = var.dedupe
    GOOGLE_CLOUD_PROJECT  = var.project
    GOOGLE_CLOUD_LOCATION = local.model_location
  })
}

resource "google_cloud_run_v2_service" "program" {
  for_each = local.running

  project              = var.project
  location             = var.region
  name                 = "${var.prefix}-${each.key}"
  ingress              = each.value.ingress
  invoker_iam_disabled = each.value.unchecked
  deletion_protection  = false # there is nothing in it to lose

  # Tokens for an address of one's own, or for the path that is called, are for this service too.
  # https://cloud.google.com/run/docs/configuring/custom-audiences
  custom_audiences = length(local.audiences[each.key]) > 0 ? local.audiences[each.key] : null

  # Said, so that the next apply takes back what was moved by hand.
  dynamic "traffic" {
    for_each = local.traffic[each.key]

    content {
      type     = "TRAFFIC_TARGET_ALLOCATION_TYPE_${traffic.value.type}"
      revision = traffic.value.revision
      percent  = traffic.value.percent
      tag      = traffic.value.tag
    }
  }

  template {
    service_account                  = google_service_account.program[each.key].email
    max_instance_request_concurrency = each.value.concurrency
    timeout                          = each.value.timeout

    dynamic "vpc_access" {
      for_each = contains(local.in_network, each.key) ? [local.subnetwork] : []

      content {
        egress = local.leaves_by[each.key]

        network_interfaces {
          subnetwork = vpc_access.value
        }
      }
    }

    scaling {
      min_instance_count = var.min_instances[each.key]
      max_instance_count = var.instances[each.key]
    }

    containers {
      image   = var.image
      command = ["/${each.key}"]

      # Over HTTP/1 Cloud Run does not tell a program that its caller has gone, and the streams
      # of clients that left would stay. With this name it speaks HTTP/2 to the program, and
      # HTTP/1 for the probes; the programs understand both on one port.
      # https://cloud.google.com/run/docs/configuring/http2
      ports {
        name           = "h2c"
        container_port = 8080
      }

      resources {
        cpu_idle          = !var.cpu_always # nothing is done between requests
        startup_cpu_boost = true
        limits            = { cpu = "1", memory = "${var.memory[each.key]}Mi" }
      }

      startup_probe {
        period_seconds    = 1
        timeout_seconds   = 1
        failure_threshold = local.alloydb ? 120 : 30 # a network may take a minute. https://cloud.google.com/run/docs/configuring/vpc-direct-vpc#limitations

        http_get {
          path = "/ready"
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3

        http_get {
          path = "/live"
        }
      }

      dynamic "env" {
        for_each = merge(local.environment, local.own[each.key], local.told[each.key])

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "volume_mounts" {
        for_each = contains(local.reads, "${each.key}/access") ? ["access"] : []

        content {
          name       = volume_mounts.value
          mount_path = local.access_file.folder
        }
      }
    }

    dynamic "volumes" {
      for_each = contains(local.reads, "${each.key}/access") ? ["access"] : []

      content {
        name = volumes.value

        secret {
          secret = google_secret_manager_secret.secret["access"].secret_id

          items {
            version = "latest"
            path    = local.access_file.name
          }
        }
      }
    }
  }

  # A revision that is made before its rights would answer with errors until it has them.
  depends_on = [
    google_alloydb_user.program,
    google_compute_router_nat.egress,
    google_cloud_tasks_queue_iam_member.adds,
    google_pubsub_topic_iam_member.refuses,
    google_firestore_field.field,
    google_firestore_index.index,
    google_project_iam_member.connects,
    google_project_iam_member.logs_in,
    google_project_iam_member.model,
    google_project_iam_member.store,
    google_project_iam_member.uses_services,
    google_pubsub_topic_iam_member.publishes,
    google_secret_manager_secret_iam_member.reads,
    google_service_account_iam_member.acts_as_invoker,
    google_service_account_iam_member.signs_as_itself,
    google_storage_bucket_iam_member.files,
  ]
}

# Whom Cloud Run lets through where it checks the callers. Binding, not member: whoever else
# was allowed to call is not any more.
resource "google_cloud_run_v2_service_iam_binding" "clients" {
  for_each = { for program, s in local.running : program => s if !s.unchecked }

  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.program[each.key].name
  role     = "roles/run.invoker"
  members  = local.invokers[each.key]
}

# Cloud Run refuses a service whose instances could need more than the project may have, and
# says so only when it makes the service. This is a warning before.
check "quota" {
  assert {
    condition     = alltrue([for p in local.programs : var.instances[p] <= var.quota.cpus && var.instances[p] * var.memory[p] / 1024 <= var.quota.memory_gib])
    error_message = "instances and memory may need more than the ${var.quota.cpus} processors or ${var.quota.memory_gib} GiB that this project is said to have for one service in ${var.region}: ${join(", ", [for p in sort(local.programs) : "${p} ${var.instances[p]} processors and ${var.instances[p] * var.memory[p] / 1024} GiB"])}. Lower instances or memory, or ask Google for more and set quota to what you have (README.md)."
  }
}
