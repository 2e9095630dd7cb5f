output "url" {
  description = "Where clients reach the agent."
  value       = local.environment.ERRAND_URL
}

# While candidate is set, the newest revision is the one that is tried: it may have failed. The
# interface of Cloud Run says projects/PROJECT/locations/REGION/services/SERVICE/revisions/REVISION,
# and takes REVISION alone for the traffic.
output "serving" {
  description = "The revision of each program that serves, for the variable candidate."
  value       = { for p, s in google_cloud_run_v2_service.program : p => try(var.candidate.serving[p], basename(s.latest_ready_revision)) }
}

output "candidate_url" {
  description = "Where the newest front door is reached while candidate is set."
  value       = var.candidate == null ? null : replace(local.urls["cardserver"], "https://", "https://${local.tag}---")
}

output "repository" {
  description = "Where the image is pushed to."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

output "source_bucket" {
  description = "Where Cloud Build finds the source."
  value       = google_storage_bucket.source.name
}

output "builder" {
  description = "Whom Cloud Build builds as."
  value       = google_service_account.builder.id
}

output "secrets" {
  description = "Secrets that need a version: no program starts without access, no webhook is sent without errand-keys, and no task can ask for credentials without errand-credential-keys. Those of agent.yaml are among them."
  value       = [for s in toset([for r in local.reads : split("/", r)[1]]) : google_secret_manager_secret.secret[s].secret_id]
}

output "environment" {
  description = "The environment of the three programs."
  value       = local.environment
}

output "pipelines" {
  description = "The subscriptions of the pipelines, by name."
  value       = { for name, s in google_pubsub_subscription.pipeline : name => "projects/${var.project}/subscriptions/${s.name}" }
}

output "submissions" {
  description = "The subscriptions of the submissions, by name. The access file names their principals under submit."
  value       = { for name, s in google_pubsub_subscription.submit : name => "projects/${var.project}/subscriptions/${s.name}" }
}

output "edge_address" {
  description = "The address to which the domain of edge must lead."
  value       = one(google_compute_global_address.edge[*].address)
}

output "egress_address" {
  description = "The address from which webhooks come, with static_egress. In a network of your own your Cloud NAT has it."
  value       = one(google_compute_address.egress[*].address)
}

output "most" {
  description = "What all instances together need at most: processors, and GiB of memory. While a new version replaces the old one it may be twice as much."
  value       = { cpus = sum(values(var.instances)), memory_gib = sum([for p in local.programs : var.instances[p] * var.memory[p] / 1024]) }
}
