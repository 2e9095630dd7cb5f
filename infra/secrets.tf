# Secrets are made without values: those are added with gcloud, and are in no state file.

locals {
  # Those of the programs, and those that agent.yaml names. The store has a user and a
  # password only where IAM does not do without.
  program_secrets = toset(["access", "errand-credential-keys", "errand-keys", "gemini-api-key"])
  secrets         = setunion(local.program_secrets, local.secret_login ? local.store_secrets : toset([]), local.agent_secrets)

  # Those that are made here. The values of the others come from elsewhere.
  irreplaceable = toset(["access", "errand-keys"])

  # Mounted: the newest version is read by every instance that starts. The front door lets
  # callers in by it, functions sends ID tokens to the origins that it names, and the worker
  # counts the tokens of callers to whom it gives a limit.
  access_file = { folder = "/etc/errand", name = "access.yaml" }

  # Who reads which secret. Keys are asked for through ERRAND_SECRETS while a program
  # runs, and are in no environment. The front door seals the credentials of webhooks, and
  # functions opens them and signs. The worker, which makes the calls of models, does
  # neither. It alone reads the secrets of the agent's own code. The credentials that tasks are
  # given while they run have keys of their own: the front door seals them, the worker opens them.
  reads = toset(concat(
    ["cardserver/errand-keys", "functions/errand-keys"],
    ["cardserver/errand-credential-keys", "worker/errand-credential-keys"],
    var.access == "secret" ? ["cardserver/access", "functions/access", "worker/access"] : [],
    startswith(local.model, "gemini:") ? ["worker/gemini-api-key"] : [],
    [for s in local.agent_secrets : "worker/${s}"],
    local.secret_login ? flatten([for p in local.programs : [for s in local.store_secrets : "${p}/${s}"]]) : [],
  ))
}

resource "google_secret_manager_secret" "secret" {
  for_each = local.secrets

  project   = var.project
  secret_id = "${var.prefix}-${each.key}"

  # The keys open what is stored of webhooks, and are nowhere else.
  deletion_protection = var.protect && contains(local.irreplaceable, each.key)

  # A version that is destroyed by mistake comes back in these days, by enabling it.
  # https://cloud.google.com/secret-manager/docs/delay-destruction-of-secret-versions
  version_destroy_ttl = "2592000s" # 30 days, as long as tasks are kept

  replication {
    dynamic "auto" {
      for_each = length(var.secret_locations) == 0 ? [1] : []
      content {}
    }

    dynamic "user_managed" {
      for_each = length(var.secret_locations) == 0 ? [] : [var.secret_locations]

      content {
        dynamic "replicas" {
          for_each = user_managed.value

          content {
            location = replicas.value
          }
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition     = length(setintersection(setunion(local.program_secrets, local.store_secrets), local.agent_secrets)) == 0
      error_message = "worker/agent/agent.yaml names a secret of the programs (${join(", ", setunion(local.program_secrets, local.store_secrets))}): choose another name, or the agent's own code would read it."
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_iam_member" "reads" {
  for_each = local.reads

  project   = var.project
  secret_id = google_secret_manager_secret.secret[split("/", each.key)[1]].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.program[split("/", each.key)[0]].member
}
