# What must hold of the module whatever else is changed in it. Google's provider is
# mocked: nothing is created.

mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }

  # The interface of Cloud Run says the whole name.
  # https://github.com/firebase/firebase-tools/blob/5acc3cf45a9e3bf761c9750539d975904dcc459a/src/gcp/runv2.ts
  mock_resource "google_cloud_run_v2_service" {
    defaults = {
      latest_ready_revision = "projects/my-project/locations/europe-west1/services/errand-any/revisions/errand-any-00001-abc"
    }
  }
}

variables {
  project = "my-project"
  region  = "europe-west1"
  settings = {
    shop_url = "https://shop.example.com"
  }
  image = "europe-west1-docker.pkg.dev/my-project/errand/errand@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

# All rights are there before the services are, which would answer with errors without them.
run "before_there_is_an_image" {
  command = plan
  variables {
    image = ""
    edge  = { domain = "agent.example.com" }
  }

  assert {
    condition     = length(google_cloud_run_v2_service.program) == 0
    error_message = "services are made without an image"
  }

  assert {
    condition     = google_cloud_scheduler_job.sweep.paused
    error_message = "sweeps are asked for and nobody answers"
  }

  assert {
    condition     = length(google_cloud_tasks_queue_iam_member.adds) == 12 && length(google_secret_manager_secret_iam_member.reads) == 8 && length(google_project_iam_member.store) == 3 && length(google_storage_bucket_iam_member.files) == 3 && length(google_project_iam_member.model) == 1 && length(google_service_account_iam_member.acts_as_invoker) == 3
    error_message = "a right is given only with the services"
  }

  assert {
    condition     = length(google_compute_global_address.edge) == 1 && length(google_compute_backend_service.edge) == 0
    error_message = "the domain cannot lead to the load balancer before there is a service"
  }

  assert {
    condition     = contains(keys(google_project_service.api), "compute.googleapis.com")
    error_message = "there is a load balancer without the API for it"
  }
}

# Each run takes seconds, so what has the same variables is one run.
run "as_it_comes" {
  # The services.

  assert {
    condition     = toset([for s in google_cloud_run_v2_service.program : s.name]) == toset(["errand-cardserver", "errand-worker", "errand-functions"])
    error_message = "there are not three services"
  }

  assert {
    condition     = alltrue([for k, s in google_cloud_run_v2_service.program : s.template[0].service_account == google_service_account.program[k].email])
    error_message = "a service does not run as its own service account"
  }

  assert {
    condition     = length(distinct(concat([for s in google_service_account.program : s.account_id], [google_service_account.invoker.account_id, google_service_account.builder.account_id]))) == 5
    error_message = "two of the service accounts are one"
  }

  assert {
    condition     = alltrue([for k, s in google_cloud_run_v2_service.program : s.template[0].containers[0].image == var.image && s.template[0].containers[0].command == tolist(["/${k}"])])
    error_message = "the program is not chosen by command from the one image"
  }

  assert {
    condition     = alltrue([for k in ["worker", "functions"] : google_cloud_run_v2_service.program[k].ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY"])
    error_message = "worker or functions can be reached from outside"
  }

  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : s.invoker_iam_disabled])
    error_message = "Cloud Run takes the signature off tokens that a program has to check"
  }

  assert {
    condition     = length(google_cloud_run_v2_service_iam_binding.clients) == 0
    error_message = "a role is given that nobody asks for"
  }

  assert {
    condition     = google_cloud_run_v2_service.program["cardserver"].ingress == "INGRESS_TRAFFIC_ALL"
    error_message = "clients do not reach the front door"
  }

  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : s.template[0].scaling[0].min_instance_count == 0 && s.template[0].scaling[0].max_instance_count >= 1])
    error_message = "an idle agent runs, or a busy one has no bound"
  }

  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : s.template[0].containers[0].resources[0].cpu_idle && s.template[0].containers[0].resources[0].limits == tomap({ cpu = "1", memory = "512Mi" })])
    error_message = "processor or memory is not as said"
  }

  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : s.template[0].containers[0].startup_probe[0].http_get[0].path == "/ready" && s.template[0].containers[0].liveness_probe[0].http_get[0].path == "/live"])
    error_message = "a service is not probed"
  }

  # The programs learn that a caller has gone only over HTTP/2.
  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : s.template[0].containers[0].ports[0].name == "h2c" && s.template[0].containers[0].ports[0].container_port == 8080])
    error_message = "a program does not learn that its caller has gone"
  }

  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : length(s.traffic) == 1 && one(s.traffic).type == "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST" && one(s.traffic).percent == 100])
    error_message = "a new version gets no requests"
  }

  assert {
    condition     = output.candidate_url == null && output.serving == { for k, s in google_cloud_run_v2_service.program : k => "errand-any-00001-abc" }
    error_message = "the revisions that serve are said to be ${jsonencode(output.serving)}"
  }

  assert {
    condition     = alltrue(flatten([for s in google_cloud_run_v2_service.program : [for e in s.template[0].containers[0].env : !contains(["ERRAND_CHECKED_BY", "ERRAND_PROXIES"], e.name)]]))
    error_message = "a program takes the word of Cloud Run, which checks nobody, or of a load balancer that is not there"
  }

  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : s.custom_audiences == null])
    error_message = "tokens for another address are taken"
  }

  assert {
    condition     = output.most == { cpus = 40, memory_gib = 20 }
    error_message = "the instances need ${jsonencode(output.most)}"
  }

  # Their times.

  # The queues give an attempt 10 minutes, streams live for 50, and Pub/Sub waits for an
  # answer as long as it is told to.
  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => s.template[0].timeout } == { cardserver = "3600s", functions = "600s", worker = "1800s" }
    error_message = "a request ends before whoever sent it gives up"
  }

  assert {
    condition     = google_pubsub_subscription.notify.ack_deadline_seconds >= 10 && google_pubsub_subscription.notify.ack_deadline_seconds <= 600
    error_message = "Pub/Sub would refuse the deadline"
  }

  # Their environment.

  assert {
    condition     = length(distinct([for s in google_cloud_run_v2_service.program : { for e in s.template[0].containers[0].env : e.name => e.value }])) == 1
    error_message = "the programs do not have the same environment"
  }

  # Webhooks are signed in the name of ERRAND_URL, by functions too.
  assert {
    condition     = { for e in google_cloud_run_v2_service.program["functions"].template[0].containers[0].env : e.name => e.value } == output.environment
    error_message = "functions does not have the environment that is shown"
  }

  assert {
    condition = output.environment == {
      ERRAND_STORE          = "firestore:my-project/errand"
      ERRAND_FILES          = "gs:my-project-errand-files"
      ERRAND_QUEUE          = "cloudtasks:projects/my-project/locations/europe-west1/queues/errand"
      ERRAND_BUS            = "pubsub:projects/my-project/topics/errand-events"
      ERRAND_SECRETS        = "secretmanager:my-project/errand"
      ERRAND_MODEL          = "vertex:probe-model"
      ERRAND_URL            = "https://errand-cardserver-123456789012.europe-west1.run.app"
      ERRAND_WORKER_URL     = "https://errand-worker-123456789012.europe-west1.run.app"
      ERRAND_FUNCTIONS_URL  = "https://errand-functions-123456789012.europe-west1.run.app"
      ERRAND_INVOKER        = google_service_account.invoker.email
      ERRAND_ACCESS         = "/etc/errand/access.yaml"
      ERRAND_DEDUPE         = "message-id"
      GOOGLE_CLOUD_PROJECT  = "my-project"
      GOOGLE_CLOUD_LOCATION = "eu"
      GOMEMLIMIT            = "460MiB"

      ERRAND_SETTING_SHOP_URL = "https://shop.example.com"
    }
    error_message = "the environment is ${jsonencode(output.environment)}"
  }

  assert {
    condition     = alltrue([for k in ["cardserver", "functions", "worker"] : try(google_cloud_run_v2_service.program[k].template[0].containers[0].volume_mounts[0].mount_path == "/etc/errand" && google_cloud_run_v2_service.program[k].template[0].volumes[0].secret[0].secret == "errand-access" && google_cloud_run_v2_service.program[k].template[0].volumes[0].secret[0].items[0].path == "access.yaml", false)])
    error_message = "the access file is not where ERRAND_ACCESS says"
  }

  # Queues.

  assert {
    condition     = toset([for q in google_cloud_tasks_queue.queue : q.name]) == toset(["errand-turns", "errand-deliveries", "errand-batches", "errand-bulk", "errand-sweeps"])
    error_message = "the queues are not those that ERRAND_QUEUE begins"
  }

  assert {
    condition     = sum([for lane in ["turns", "bulk", "batches"] : google_cloud_tasks_queue.queue[lane].rate_limits[0].max_concurrent_dispatches]) <= google_cloud_run_v2_service.program["worker"].template[0].scaling[0].max_instance_count * google_cloud_run_v2_service.program["worker"].template[0].max_instance_request_concurrency
    error_message = "more is dispatched than the workers have room for"
  }

  assert {
    condition     = { for lane in ["turns", "bulk", "batches"] : lane => google_cloud_tasks_queue.queue[lane].rate_limits[0].max_concurrent_dispatches } == { turns = 320, bulk = 80, batches = 16 }
    error_message = "batches take room from turns, or have none"
  }

  assert {
    condition     = google_cloud_tasks_queue.queue["deliveries"].rate_limits[0].max_concurrent_dispatches < google_cloud_run_v2_service.program["functions"].template[0].scaling[0].max_instance_count * google_cloud_run_v2_service.program["functions"].template[0].max_instance_request_concurrency
    error_message = "deliveries leave no room for events and sweeps"
  }

  assert {
    condition     = alltrue([for q in google_cloud_tasks_queue.queue : q.retry_config[0].max_attempts == 100 && q.retry_config[0].max_retry_duration == "0s"])
    error_message = "a queue gives up before the programs do"
  }

  assert {
    condition = toset([for k, m in google_cloud_tasks_queue_iam_member.adds : "${k} ${m.name} ${m.role}"]) == toset([for add in [
      "cardserver/turns errand-turns", "cardserver/deliveries errand-deliveries", "cardserver/batches errand-batches", "cardserver/bulk errand-bulk",
      "worker/turns errand-turns", "worker/batches errand-batches", "worker/bulk errand-bulk",
      "functions/turns errand-turns", "functions/deliveries errand-deliveries", "functions/batches errand-batches", "functions/bulk errand-bulk", "functions/sweeps errand-sweeps",
    ] : "${add} roles/cloudtasks.enqueuer"])
    error_message = "somebody adds to a queue who should not, or cannot who should"
  }

  assert {
    condition = { for k, q in google_cloud_tasks_queue.queue : k => "https://${q.http_target[0].uri_override[0].host}${q.http_target[0].uri_override[0].path_override[0].path}" } == {
      turns      = "${output.environment.ERRAND_WORKER_URL}/turns", bulk = "${output.environment.ERRAND_WORKER_URL}/bulk", batches = "${output.environment.ERRAND_WORKER_URL}/batch",
      deliveries = "${output.environment.ERRAND_FUNCTIONS_URL}/deliveries", sweeps = "${output.environment.ERRAND_FUNCTIONS_URL}/sweep",
    }
    error_message = "a queue calls another address than its lane's"
  }

  assert {
    condition     = alltrue([for q in google_cloud_tasks_queue.queue : q.http_target[0].uri_override[0].uri_override_enforce_mode == "ALWAYS" && q.http_target[0].uri_override[0].scheme == "HTTPS"])
    error_message = "a job decides where the invoker's token goes"
  }

  assert {
    condition     = alltrue([for q in google_cloud_tasks_queue.queue : q.http_target[0].oidc_token[0].service_account_email == google_service_account.invoker.email && q.http_target[0].oidc_token[0].audience == "https://${q.http_target[0].uri_override[0].host}${q.http_target[0].uri_override[0].path_override[0].path}"])
    error_message = "a program would refuse the jobs of its queue"
  }

  assert {
    condition     = alltrue([for k, m in google_cloud_tasks_queue_iam_member.adds : m.member == google_service_account.program[split("/", k)[0]].member])
    error_message = "a right to add is another program's"
  }

  assert {
    condition     = alltrue([for k, m in google_service_account_iam_member.acts_as_invoker : m.service_account_id == google_service_account.invoker.name && m.role == "roles/iam.serviceAccountUser" && m.member == google_service_account.program[k].member])
    error_message = "a program cannot have its jobs called by the invoker, or may act as somebody else"
  }

  assert {
    condition     = google_cloud_scheduler_job.sweep.schedule == "* * * * *" && !google_cloud_scheduler_job.sweep.paused && google_cloud_scheduler_job.sweep.http_target[0].uri == "${output.environment.ERRAND_FUNCTIONS_URL}/tick"
    error_message = "no sweep is added every minute"
  }

  assert {
    condition     = google_cloud_scheduler_job.sweep.http_target[0].oidc_token[0].audience == google_cloud_scheduler_job.sweep.http_target[0].uri && google_cloud_scheduler_job.sweep.http_target[0].oidc_token[0].service_account_email == google_service_account.invoker.email
    error_message = "functions would refuse the schedule"
  }

  # Events.

  assert {
    condition     = google_pubsub_subscription.notify.topic == google_pubsub_topic.events.id && google_pubsub_subscription.notify.push_config[0].push_endpoint == "${output.environment.ERRAND_FUNCTIONS_URL}/events"
    error_message = "events are not pushed to functions"
  }

  assert {
    condition     = google_pubsub_subscription.notify.push_config[0].oidc_token[0].audience == google_pubsub_subscription.notify.push_config[0].push_endpoint && google_pubsub_subscription.notify.push_config[0].oidc_token[0].service_account_email == google_service_account.invoker.email
    error_message = "functions would refuse the events"
  }

  assert {
    condition     = google_pubsub_subscription.notify.expiration_policy[0].ttl == "" && google_pubsub_subscription.dead.expiration_policy[0].ttl == ""
    error_message = "a subscription expires"
  }

  assert {
    condition     = google_pubsub_subscription.notify.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead.id && google_pubsub_subscription.dead.topic == google_pubsub_topic.dead.id && google_pubsub_topic.dead.id != google_pubsub_topic.events.id
    error_message = "dead letters are lost"
  }

  assert {
    condition     = google_pubsub_topic_iam_member.buries.topic == google_pubsub_topic.dead.name && google_pubsub_topic_iam_member.buries.role == "roles/pubsub.publisher" && google_pubsub_topic_iam_member.buries.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
    error_message = "Pub/Sub may not publish dead letters"
  }

  assert {
    condition     = google_pubsub_subscription_iam_member.takes_away.subscription == google_pubsub_subscription.notify.name && google_pubsub_subscription_iam_member.takes_away.role == "roles/pubsub.subscriber" && google_pubsub_subscription_iam_member.takes_away.member == google_pubsub_topic_iam_member.buries.member
    error_message = "Pub/Sub may not take dead letters away"
  }

  assert {
    condition     = google_service_account_iam_member.pubsub_signs_as_invoker.service_account_id == google_service_account.invoker.name && google_service_account_iam_member.pubsub_signs_as_invoker.role == "roles/iam.serviceAccountOpenIdTokenCreator"
    error_message = "Pub/Sub may not sign as the invoker, or may do more"
  }

  assert {
    condition     = google_pubsub_topic_iam_member.publishes.topic == google_pubsub_topic.events.name && google_pubsub_topic_iam_member.publishes.role == "roles/pubsub.publisher" && google_pubsub_topic_iam_member.publishes.member == google_service_account.program["worker"].member
    error_message = "the worker may not publish events"
  }

  # No submissions.

  assert {
    condition     = length(google_pubsub_topic.submit) + length(google_pubsub_topic.refused) + length(google_pubsub_subscription.submit) + length(google_pubsub_subscription.refused) + length(google_pubsub_topic_iam_member.refuses) + length(google_storage_bucket_iam_member.inputs) == 0 && !contains(keys(output.environment), "ERRAND_REFUSED")
    error_message = "there are submissions that nobody asked for"
  }

  # No pipelines.

  assert {
    condition     = length(google_pubsub_subscription.pipeline) == 0 && length(google_pubsub_subscription_iam_member.pulls) == 0 && length(output.pipelines) == 0
    error_message = "there are pipelines that nobody asked for"
  }

  # The store.

  assert {
    condition     = google_firestore_database.tasks[0].type == "FIRESTORE_NATIVE" && google_firestore_database.tasks[0].location_id == "europe-west1" && google_firestore_database.tasks[0].delete_protection_state == "DELETE_PROTECTION_ENABLED"
    error_message = "the database is not as said"
  }

  assert {
    condition     = length(google_firestore_index.index) == length(local.indexes.indexes) && length(google_firestore_index.index) > 0
    error_message = "not every index of the file is made"
  }

  assert {
    condition     = length(google_firestore_field.field) == length(local.indexes.fieldOverrides)
    error_message = "not every exemption of the file is made"
  }

  assert {
    condition     = [for f in google_firestore_field.field : "${f.collection} ${f.field}" if length(f.ttl_config) == 1] == ["kv expires", "tasks gone"]
    error_message = "records or entries do not expire"
  }

  assert {
    condition     = alltrue([for f in google_firestore_field.field : length(f.index_config[0].indexes) == 0 if f.collection == "kv"])
    error_message = "an entry is in an index"
  }

  assert {
    condition     = alltrue(concat([for i in google_firestore_index.index : i.database == "errand"], [for f in google_firestore_field.field : f.database == "errand" && length(f.index_config) == 1]))
    error_message = "an index or exemption is of another database, or exempts nothing"
  }

  assert {
    condition     = alltrue([for k, m in google_project_iam_member.store : m.role == "roles/datastore.user" && m.member == google_service_account.program[k].member && m.condition[0].expression == "resource.name == \"projects/my-project/databases/errand\""])
    error_message = "a program reaches another database, or not its own"
  }

  # Backups.

  assert {
    condition     = google_firestore_database.tasks[0].point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_ENABLED"
    error_message = "no minute of the last days can be restored"
  }

  assert {
    condition     = [for s in google_firestore_backup_schedule.daily : "${s.database} ${s.retention} ${length(s.daily_recurrence)} ${length(s.weekly_recurrence)}"] == ["errand 604800s 1 0"] && [for s in google_firestore_backup_schedule.weekly : "${s.database} ${s.retention} ${length(s.daily_recurrence)} ${s.weekly_recurrence[0].day}"] == ["errand 8467200s 0 SUNDAY"]
    error_message = "there is no backup of each day and of each week"
  }

  assert {
    condition     = alltrue(concat([for i in google_firestore_index.index : i.timeouts.create == "60m"], [for f in google_firestore_field.field : f.timeouts.create == "60m" && f.timeouts.update == "60m"]))
    error_message = "an index has no time to be built"
  }

  # Secrets.

  assert {
    condition     = toset([for s in google_secret_manager_secret.secret : s.secret_id if s.deletion_protection]) == toset(["errand-access", "errand-errand-keys"])
    error_message = "the keys or the access file can be deleted"
  }

  assert {
    condition     = alltrue([for s in google_secret_manager_secret.secret : s.version_destroy_ttl == "2592000s"])
    error_message = "a version that is destroyed by mistake is lost"
  }

  # Roles.

  assert {
    condition     = can(regex("^errand_model_[0-9a-f]{8}$", google_project_iam_custom_role.model.role_id)) && can(regex("^errand_signs_[0-9a-f]{8}$", google_project_iam_custom_role.signs.role_id))
    error_message = "a role has the id that one had before a destroy"
  }

  # No AlloyDB, and no network.

  assert {
    condition     = length(google_alloydb_cluster.tasks) + length(google_alloydb_instance.tasks) + length(google_alloydb_user.program) == 0
    error_message = "there is an AlloyDB that nobody asked for, and it costs money"
  }

  assert {
    condition     = length(google_compute_network.store) + length(google_compute_subnetwork.store) + length(google_compute_global_address.store) + length(google_service_networking_connection.store) + length(data.google_compute_subnetwork.given) + length(google_compute_address.egress) + length(google_compute_router.egress) + length(google_compute_router_nat.egress) == 0
    error_message = "there is a network that nobody asked for"
  }

  assert {
    condition     = length(google_project_iam_member.connects) + length(google_project_iam_member.logs_in) + length(google_project_iam_member.uses_services) == 0
    error_message = "a program has roles for AlloyDB, and there is none"
  }

  assert {
    condition     = toset(keys(google_project_service.api)) == toset([for s in ["aiplatform", "artifactregistry", "cloudbuild", "cloudresourcemanager", "cloudscheduler", "cloudtasks", "firestore", "iam", "iamcredentials", "logging", "pubsub", "run", "secretmanager", "serviceusage", "storage"] : "${s}.googleapis.com"])
    error_message = "the APIs are ${jsonencode(keys(google_project_service.api))}"
  }

  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : length(s.template[0].vpc_access) == 0 && s.template[0].containers[0].startup_probe[0].failure_threshold == 30])
    error_message = "a program is in a network, or waits for one"
  }

  assert {
    condition     = toset([for s in google_secret_manager_secret.secret : s.secret_id]) == toset(["errand-access", "errand-errand-credential-keys", "errand-errand-keys", "errand-gemini-api-key", "errand-shop-token"])
    error_message = "there is a secret for a database that has no password"
  }

  # Files.

  assert {
    condition     = google_storage_bucket.files.name == "my-project-errand-files" && google_storage_bucket.files.location == "europe-west1" && google_storage_bucket.files.uniform_bucket_level_access && google_storage_bucket.files.public_access_prevention == "enforced"
    error_message = "files can be given to everybody, or are elsewhere"
  }

  assert {
    condition     = !google_storage_bucket.files.force_destroy
    error_message = "files go with the bucket"
  }

  assert {
    condition     = [for r in google_storage_bucket.files.lifecycle_rule : [for a in r.action : a.type]] == [["AbortIncompleteMultipartUpload"]]
    error_message = "the bucket deletes files by itself, or keeps what was never finished"
  }

  assert {
    condition     = toset([for k, m in google_storage_bucket_iam_member.files : "${k} ${m.bucket} ${m.role}"]) == toset([for p in ["cardserver", "functions", "worker"] : "${p} my-project-errand-files roles/storage.objectUser"]) && alltrue([for k, m in google_storage_bucket_iam_member.files : m.member == google_service_account.program[k].member])
    error_message = "a program does not reach the files, or may do more, or somebody else does"
  }

  assert {
    condition     = google_project_iam_custom_role.signs.permissions == toset(["iam.serviceAccounts.signBlob"]) && toset(keys(google_service_account_iam_member.signs_as_itself)) == toset(["cardserver"])
    error_message = "others sign than give URLs of files away, or they may do more"
  }

  assert {
    condition     = alltrue([for k, m in google_service_account_iam_member.signs_as_itself : m.service_account_id == google_service_account.program[k].name && m.member == google_service_account.program[k].member])
    error_message = "a program signs as another one"
  }

  # The model.

  assert {
    condition     = google_project_iam_custom_role.model.permissions == toset(["aiplatform.endpoints.predict"]) && length(google_project_iam_member.model) == 1 && google_project_iam_member.model[0].member == google_service_account.program["worker"].member
    error_message = "somebody else than the worker may ask models, or it may do more"
  }

  assert {
    condition     = toset([for k, r in google_secret_manager_secret_iam_member.reads : "${k} ${r.secret_id}"]) == toset(["cardserver/access errand-access", "cardserver/errand-credential-keys errand-errand-credential-keys", "cardserver/errand-keys errand-errand-keys", "worker/errand-credential-keys errand-errand-credential-keys", "functions/access errand-access", "functions/errand-keys errand-errand-keys", "worker/access errand-access", "worker/shop-token errand-shop-token"])
    error_message = "a secret is read that is not needed, or not read that is"
  }

  assert {
    condition     = alltrue([for r in google_secret_manager_secret_iam_member.reads : r.role == "roles/secretmanager.secretAccessor" && (r.member != google_service_account.program["worker"].member || contains(["errand-access", "errand-errand-credential-keys", "errand-shop-token"], r.secret_id))])
    error_message = "the worker reads a secret that is not its own, or somebody may do more than read"
  }

  assert {
    condition     = toset(output.secrets) == toset(["errand-access", "errand-errand-credential-keys", "errand-errand-keys", "errand-shop-token"])
    error_message = "the secrets to fill are ${jsonencode(output.secrets)}"
  }

  # No load balancer.

  assert {
    condition     = length(google_compute_global_address.edge) + length(google_compute_region_network_endpoint_group.edge) + length(google_compute_security_policy.edge) + length(google_compute_backend_service.edge) + length(google_compute_url_map.edge) + length(google_compute_managed_ssl_certificate.edge) + length(google_compute_target_https_proxy.edge) + length(google_compute_global_forwarding_rule.edge) == 0 && output.edge_address == null
    error_message = "there is a load balancer that nobody asked for, and it costs money"
  }

  # Regions.

  assert {
    condition     = alltrue([for s in google_secret_manager_secret.secret : length(s.replication[0].auto) == 1 && length(s.replication[0].user_managed) == 0])
    error_message = "Google does not choose where secrets are"
  }

  assert {
    condition     = alltrue([for t in [google_pubsub_topic.events, google_pubsub_topic.dead] : t.message_storage_policy[0].allowed_persistence_regions == toset(["europe-west1"])])
    error_message = "events are kept in another region"
  }

  # Costs.

  assert {
    condition     = [for e in google_logging_project_exclusion.requests : "${e.name} ${e.filter}"] == ["errand-requests log_id(\"run.googleapis.com/requests\") AND resource.labels.service_name=(\"errand-worker\" OR \"errand-functions\") AND resource.labels.location=\"europe-west1\" AND httpRequest.status<300"]
    error_message = "requests that fail are not logged, or those of the front door, or all are"
  }

  assert {
    condition     = { for p in google_artifact_registry_repository.images.cleanup_policies : p.id => "${p.action} ${join(" ", concat([for m in p.most_recent_versions : m.keep_count], [for c in p.condition : c.older_than]))}" } == { newest = "KEEP 10", old = "DELETE 2592000s" } && !google_artifact_registry_repository.images.docker_config[0].immutable_tags
    error_message = "images are kept for ever, or the newest ones are not"
  }

  assert {
    condition     = length(google_billing_budget.project) == 0 && !contains(keys(google_project_service.api), "billingbudgets.googleapis.com")
    error_message = "there is a budget that nobody asked for"
  }
}

# Nothing is made again.
run "applied_again" {
  command = plan

  assert {
    condition     = can(regex("^errand_model_[0-9a-f]{8}$", google_project_iam_custom_role.model.role_id)) && can(regex("^errand_signs_[0-9a-f]{8}$", google_project_iam_custom_role.signs.role_id))
    error_message = "a role is made anew, and what it allows is refused until Google knows the new one"
  }
}

# All parts that one can choose, together.
run "with_all_parts" {
  variables {
    edge          = { domain = "agent.example.com", requests_per_minute = 60, client_ca = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nBB\n-----END CERTIFICATE-----\n" }
    static_egress = true
    database      = "errand-2"
    model         = "gemini:gemini-3.6-flash"

    submissions = {
      nightly = { members = ["serviceAccount:nightly@my-project.iam.gserviceaccount.com", "group:team@example.com"] }
      hourly  = {}
    }
    input_buckets = ["acme-in", "acme-more"]

    pipelines = {
      billing = {
        filter  = "attributes.state = \"TASK_STATE_COMPLETED\""
        members = ["serviceAccount:billing@my-project.iam.gserviceaccount.com", "group:team@example.com"]
      }
      all = {}
    }
  }

  # A load balancer.

  assert {
    condition     = output.environment.ERRAND_URL == "https://agent.example.com" && google_cloud_run_v2_service.program["cardserver"].ingress == "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" && google_cloud_run_v2_service.program["cardserver"].custom_audiences == tolist(["https://agent.example.com"])
    error_message = "the front door can be reached beside the load balancer, or has another address"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => [for e in s.template[0].containers[0].env : e.value if e.name == "ERRAND_PROXIES"] } == { cardserver = ["2"], functions = [], worker = [] }
    error_message = "the front door takes the load balancer for its client, or another program trusts it"
  }

  assert {
    condition     = alltrue([for k in ["worker", "functions"] : google_cloud_run_v2_service.program[k].ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY"]) && google_compute_region_network_endpoint_group.edge[0].cloud_run[0].service == "errand-cardserver" && google_compute_region_network_endpoint_group.edge[0].network_endpoint_type == "SERVERLESS"
    error_message = "the load balancer leads elsewhere than to the front door"
  }

  assert {
    condition     = google_compute_global_forwarding_rule.edge[0].ip_address == google_compute_global_address.edge[0].id && google_compute_global_forwarding_rule.edge[0].target == google_compute_target_https_proxy.edge[0].id && google_compute_target_https_proxy.edge[0].url_map == google_compute_url_map.edge[0].id && google_compute_url_map.edge[0].default_service == google_compute_backend_service.edge[0].id && one(google_compute_backend_service.edge[0].backend).group == google_compute_region_network_endpoint_group.edge[0].id
    error_message = "a part of the load balancer does not lead to the next one"
  }

  assert {
    condition     = google_compute_backend_service.edge[0].load_balancing_scheme == "EXTERNAL_MANAGED" && google_compute_global_forwarding_rule.edge[0].load_balancing_scheme == "EXTERNAL_MANAGED" && google_compute_global_forwarding_rule.edge[0].port_range == "443" && google_compute_managed_ssl_certificate.edge[0].managed[0].domains == tolist(["agent.example.com"]) && google_compute_managed_ssl_certificate.edge[0].name == "errand-edge-agent-example-com" && google_compute_target_https_proxy.edge[0].ssl_certificates == tolist([google_compute_managed_ssl_certificate.edge[0].id])
    error_message = "the load balancer has no certificate for the domain"
  }

  assert {
    condition     = google_compute_backend_service.edge[0].security_policy == google_compute_security_policy.edge[0].id && { for r in google_compute_security_policy.edge[0].rule : r.action => [for o in r.rate_limit_options : "${o.rate_limit_threshold[0].count} in ${o.rate_limit_threshold[0].interval_sec} s for each ${o.enforce_on_key}, then ${o.exceed_action}"] } == { throttle = ["60 in 60 s for each IP, then deny(429)"], allow = [] }
    error_message = "an address has no share of the requests"
  }

  assert {
    condition     = google_compute_target_https_proxy.edge[0].server_tls_policy == google_network_security_server_tls_policy.edge[0].id && google_network_security_server_tls_policy.edge[0].mtls_policy[0].client_validation_trust_config == google_certificate_manager_trust_config.edge[0].id && google_network_security_server_tls_policy.edge[0].mtls_policy[0].client_validation_mode == "ALLOW_INVALID_OR_MISSING_CLIENT_CERT" && length(google_certificate_manager_trust_config.edge[0].trust_stores[0].trust_anchors) == 2
    error_message = "the load balancer does not check the certificates of clients"
  }

  assert {
    condition     = google_compute_backend_service.edge[0].custom_request_headers == toset(["X-Client-Cert-Chain-Verified:{client_cert_chain_verified}", "X-Client-Cert-Hash:{client_cert_sha256_fingerprint}", "X-Client-Cert-SPIFFE:{client_cert_spiffe_id}"]) && { for k, s in google_cloud_run_v2_service.program : k => [for e in s.template[0].containers[0].env : e.value if e.name == "ERRAND_CHECKED_BY"] } == { cardserver = ["loadbalancer"], functions = [], worker = [] }
    error_message = "the front door does not learn of the certificates of clients, or believes what clients write"
  }

  # Webhooks from one address.

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => [for v in s.template[0].vpc_access : "${v.egress} ${v.network_interfaces[0].subnetwork == google_compute_subnetwork.store[0].id}"] } == { cardserver = [], functions = ["ALL_TRAFFIC true"], worker = [] }
    error_message = "webhooks come from another address, or other programs go that way"
  }

  assert {
    condition     = google_compute_router_nat.egress[0].nat_ips == toset([google_compute_address.egress[0].id]) && google_compute_router_nat.egress[0].nat_ip_allocate_option == "MANUAL_ONLY" && google_compute_router_nat.egress[0].router == google_compute_router.egress[0].name && google_compute_router.egress[0].network == google_compute_network.store[0].id && one(google_compute_router_nat.egress[0].subnetwork).name == google_compute_subnetwork.store[0].id && output.egress_address == google_compute_address.egress[0].address
    error_message = "the network has not the address that is shown"
  }

  assert {
    condition     = length(google_compute_global_address.store) + length(google_service_networking_connection.store) == 0 && google_compute_subnetwork.store[0].private_ip_google_access && contains(keys(google_project_service.api), "compute.googleapis.com") && !contains(keys(google_project_service.api), "servicenetworking.googleapis.com")
    error_message = "the network is that of a database, or does not reach Google"
  }

  # A restored database.

  assert {
    condition     = google_firestore_database.tasks[0].name == "errand-2" && output.environment.ERRAND_STORE == "firestore:my-project/errand-2" && alltrue([for m in google_project_iam_member.store : m.condition[0].expression == "resource.name == \"projects/my-project/databases/errand-2\""])
    error_message = "the programs do not use the restored database"
  }

  assert {
    condition     = alltrue(concat([for i in google_firestore_index.index : i.database == "errand-2"], [for f in google_firestore_field.field : f.database == "errand-2"], [for s in google_firestore_backup_schedule.daily : s.database == "errand-2"]))
    error_message = "the restored database has no indexes or no backups"
  }

  assert {
    condition     = output.environment.ERRAND_QUEUE == "cloudtasks:projects/my-project/locations/europe-west1/queues/errand"
    error_message = "the name of the database is that of something else"
  }

  # A model that is asked with a key.

  assert {
    condition     = [for r in google_secret_manager_secret_iam_member.reads : r.member if r.secret_id == "errand-gemini-api-key"] == [google_service_account.program["worker"].member]
    error_message = "the key is not the worker's alone, or not to be read by it"
  }

  assert {
    condition     = toset([for r in google_secret_manager_secret_iam_member.reads : r.member if r.secret_id == "errand-errand-credential-keys"]) == toset([for p in ["cardserver", "worker"] : google_service_account.program[p].member])
    error_message = "the keys of credentials are not for the front door and the worker alone"
  }

  assert {
    condition     = toset([for r in google_secret_manager_secret_iam_member.reads : r.member if r.secret_id == "errand-errand-keys"]) == toset([for p in ["cardserver", "functions"] : google_service_account.program[p].member])
    error_message = "somebody else than cardserver and functions can sign and open, or one of them cannot"
  }

  assert {
    condition     = toset(output.secrets) == toset(["errand-access", "errand-errand-credential-keys", "errand-errand-keys", "errand-gemini-api-key", "errand-shop-token"])
    error_message = "the secrets to fill are ${jsonencode(output.secrets)}"
  }

  assert {
    condition     = alltrue(flatten([for s in google_cloud_run_v2_service.program : [for e in s.template[0].containers[0].env : length(e.value_source) == 0]]))
    error_message = "a secret is in an environment, where it stays until the instance ends"
  }

  assert {
    condition     = length(google_project_iam_member.model) == 0
    error_message = "Vertex AI may be asked, and need not be"
  }

  # Submissions.

  assert {
    condition     = { for k, s in google_pubsub_subscription.submit : k => "${s.name} ${s.topic == google_pubsub_topic.submit[k].id}" } == { nightly = "errand-submit-nightly true", hourly = "errand-submit-hourly true" } && alltrue([for s in google_pubsub_subscription.submit : s.push_config[0].push_endpoint == "${output.environment.ERRAND_FUNCTIONS_URL}/submit"])
    error_message = "submissions are not pushed to functions"
  }

  assert {
    condition     = alltrue([for s in google_pubsub_subscription.submit : s.push_config[0].oidc_token[0].audience == s.push_config[0].push_endpoint && s.push_config[0].oidc_token[0].service_account_email == google_service_account.invoker.email && length(s.push_config[0].no_wrapper) == 0])
    error_message = "functions would refuse submissions, or not know whose they are"
  }

  assert {
    condition     = alltrue([for s in google_pubsub_subscription.submit : s.expiration_policy[0].ttl == "" && s.message_retention_duration == "2678400s" && length(s.dead_letter_policy) == 0 && s.retry_policy[0].minimum_backoff == "1s" && s.retry_policy[0].maximum_backoff == "600s" && s.ack_deadline_seconds <= 600])
    error_message = "a submission that waits for a limit is lost, or moved away"
  }

  assert {
    condition     = output.environment.ERRAND_REFUSED == "pubsub:projects/my-project/topics/errand-refused" && google_pubsub_topic.refused[0].name == "errand-refused" && google_pubsub_subscription.refused[0].topic == google_pubsub_topic.refused[0].id && google_pubsub_subscription.refused[0].expiration_policy[0].ttl == "" && google_pubsub_subscription.refused[0].message_retention_duration == "2678400s"
    error_message = "what is refused is lost"
  }

  assert {
    condition     = google_pubsub_topic_iam_member.refuses[0].topic == google_pubsub_topic.refused[0].name && google_pubsub_topic_iam_member.refuses[0].role == "roles/pubsub.publisher" && google_pubsub_topic_iam_member.refuses[0].member == google_service_account.program["functions"].member
    error_message = "functions may not refuse, or somebody else may"
  }

  assert {
    condition     = toset([for m in google_pubsub_topic_iam_member.submits : "${m.topic} ${m.role} ${m.member}"]) == toset(["errand-submit-nightly roles/pubsub.publisher serviceAccount:nightly@my-project.iam.gserviceaccount.com", "errand-submit-nightly roles/pubsub.publisher group:team@example.com"])
    error_message = "others than its members submit, or may do more"
  }

  assert {
    condition     = { for k, m in google_storage_bucket_iam_member.inputs : k => "${m.bucket} ${m.role} ${m.member == google_service_account.program[split(" ", k)[0]].member}" } == { for p in setproduct(["cardserver", "functions", "worker"], ["acme-in", "acme-more"]) : "${p[0]} ${p[1]}" => "${p[1]} roles/storage.objectViewer true" }
    error_message = "a program does not read the objects that callers name, or may do more"
  }

  assert {
    condition     = output.submissions == { nightly = "projects/my-project/subscriptions/errand-submit-nightly", hourly = "projects/my-project/subscriptions/errand-submit-hourly" }
    error_message = "the subscriptions are said to be ${jsonencode(output.submissions)}"
  }

  # Pipelines.

  assert {
    condition     = { for s in google_pubsub_subscription.pipeline : s.name => s.filter } == { errand-pipeline-billing = "attributes.state = \"TASK_STATE_COMPLETED\"", errand-pipeline-all = "" } && alltrue([for s in google_pubsub_subscription.pipeline : s.topic == google_pubsub_topic.events.id])
    error_message = "a pipeline does not get what it asked for"
  }

  assert {
    condition     = alltrue([for s in google_pubsub_subscription.pipeline : length(s.push_config) == 0 && s.expiration_policy[0].ttl == "" && s.message_retention_duration == "604800s"])
    error_message = "a pipeline does not pull, or loses events while it rests"
  }

  assert {
    condition     = alltrue([for s in google_pubsub_subscription.pipeline : s.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead.id && s.dead_letter_policy[0].max_delivery_attempts == 100 && s.retry_policy[0].minimum_backoff == "1s" && s.retry_policy[0].maximum_backoff == "300s"])
    error_message = "what a pipeline cannot take is lost, or comes for ever"
  }

  assert {
    condition     = toset([for m in google_pubsub_subscription_iam_member.pulls : "${m.subscription} ${m.role} ${m.member}"]) == toset(["errand-pipeline-billing roles/pubsub.subscriber serviceAccount:billing@my-project.iam.gserviceaccount.com", "errand-pipeline-billing roles/pubsub.subscriber group:team@example.com"])
    error_message = "others than its members pull from a pipeline, or may do more"
  }

  assert {
    condition     = toset([for m in google_pubsub_subscription_iam_member.takes_away_from_pipeline : "${m.subscription} ${m.role} ${m.member}"]) == toset([for n in ["errand-pipeline-billing", "errand-pipeline-all"] : "${n} roles/pubsub.subscriber ${google_pubsub_topic_iam_member.buries.member}"])
    error_message = "Pub/Sub may not take the dead letters of a pipeline away"
  }

  assert {
    condition     = output.pipelines == { all = "projects/my-project/subscriptions/errand-pipeline-all", billing = "projects/my-project/subscriptions/errand-pipeline-billing" }
    error_message = "the subscriptions are said to be ${jsonencode(output.pipelines)}"
  }
}

run "as_chosen" {
  command = plan
  variables {
    ingress          = "internal"
    model_location   = "global"
    min_instances    = { cardserver = 1, worker = 2 }
    cpu_always       = true
    memory           = { worker = 1024 }
    secret_locations = ["europe-west1", "europe-west4"]
    log_requests     = "all"
    images_kept      = 0
    budget           = { account = "01AB23-01AB23-01AB23", amount = 100 }
    backups          = { point_in_time = false, daily_days = 0, weekly_days = 0 }
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => s.ingress } == { cardserver = "INGRESS_TRAFFIC_INTERNAL_ONLY", functions = "INGRESS_TRAFFIC_INTERNAL_ONLY", worker = "INGRESS_TRAFFIC_INTERNAL_ONLY" }
    error_message = "the front door is reached from elsewhere than chosen"
  }

  assert {
    condition     = output.environment.GOOGLE_CLOUD_LOCATION == "global"
    error_message = "the model is asked elsewhere than chosen"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => "${s.template[0].scaling[0].min_instance_count} ${s.template[0].containers[0].resources[0].cpu_idle}" } == { cardserver = "1 false", functions = "0 false", worker = "2 false" }
    error_message = "instances do not wait for work as chosen"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => "${s.template[0].containers[0].resources[0].limits["memory"]} ${one([for e in s.template[0].containers[0].env : e.value if e.name == "GOMEMLIMIT"])}" } == { cardserver = "512Mi 460MiB", functions = "512Mi 460MiB", worker = "1024Mi 921MiB" } && output.environment.GOMEMLIMIT == "460MiB"
    error_message = "a program does not have its memory, or does not know it"
  }

  assert {
    condition     = output.most == { cpus = 40, memory_gib = 30 }
    error_message = "the instances need ${jsonencode(output.most)}"
  }

  assert {
    condition     = alltrue([for s in google_secret_manager_secret.secret : length(s.replication[0].auto) == 0 && [for r in s.replication[0].user_managed[0].replicas : r.location] == ["europe-west1", "europe-west4"]])
    error_message = "secrets are kept elsewhere than chosen"
  }

  assert {
    condition     = length(google_logging_project_exclusion.requests) == 0
    error_message = "requests are not logged, and should be"
  }

  assert {
    condition     = length(google_artifact_registry_repository.images.cleanup_policies) == 0 && google_artifact_registry_repository.images.docker_config[0].immutable_tags
    error_message = "images go that should be kept"
  }

  assert {
    condition     = [for b in google_billing_budget.project : "${b.billing_account} ${b.amount[0].specified_amount[0].units} ${join(" ", b.budget_filter[0].projects)} ${join(" ", [for r in b.threshold_rules : r.threshold_percent])}"] == ["01AB23-01AB23-01AB23 100 projects/123456789012 0.5 0.9 1"] && contains(keys(google_project_service.api), "billingbudgets.googleapis.com")
    error_message = "nobody is told of the budget"
  }

  assert {
    condition     = length(google_firestore_backup_schedule.daily) + length(google_firestore_backup_schedule.weekly) == 0 && google_firestore_database.tasks[0].point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_DISABLED"
    error_message = "there are backups that nobody wants"
  }
}

run "in_the_united_states" {
  command = plan
  variables {
    region    = "us-central1"
    instances = { worker = 40 }
    quota     = { cpus = 40 }
  }

  assert {
    condition     = output.environment.GOOGLE_CLOUD_LOCATION == "us"
    error_message = "what is asked leaves the United States"
  }

  assert {
    condition     = output.most == { cpus = 60, memory_gib = 30 }
    error_message = "the instances need ${jsonencode(output.most)}"
  }
}

run "in_asia_with_many_turns" {
  command = plan
  variables {
    region             = "asia-east1"
    turns_per_instance = 96
    items_per_instance = 96
    memory             = { worker = 1024 }
  }

  assert {
    condition     = output.environment.GOOGLE_CLOUD_LOCATION == "global"
    error_message = "the model is asked where there is none"
  }

  assert {
    condition     = google_cloud_run_v2_service.program["worker"].template[0].max_instance_request_concurrency == 193
    error_message = "a worker has no room for what it may run"
  }
}

run "own_code_on_one_worker" {
  variables {
    settings    = { shop_url = "https://other.example.com", tries = "5", wait = "" }
    agent_allow = ["10.0.0.0/8:443", "[fd00::/8]:*"]
    origins     = ["https://ui.example.com", "http://localhost:3000"]
    subnetwork  = "inner"

    instances          = { worker = 1 }
    turns_per_instance = 1
    items_per_instance = 2
  }

  assert {
    condition     = { for k, v in output.environment : k => v if startswith(k, "ERRAND_SETTING_") || contains(["ERRAND_AGENT_ALLOW", "ERRAND_ORIGINS"], k) } == { ERRAND_SETTING_SHOP_URL = "https://other.example.com", ERRAND_SETTING_TRIES = "5", ERRAND_AGENT_ALLOW = "10.0.0.0/8:443,[fd00::/8]:*", ERRAND_ORIGINS = "https://ui.example.com,http://localhost:3000" }
    error_message = "settings, origins or destinations are not passed on: ${jsonencode(output.environment)}"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => [for v in s.template[0].vpc_access : "${v.egress} ${v.network_interfaces[0].subnetwork}"] } == { cardserver = [], functions = [], worker = ["PRIVATE_RANGES_ONLY inner"] }
    error_message = "another program than the worker is in the network, or the worker is not"
  }

  assert {
    condition     = [for r in google_secret_manager_secret_iam_member.reads : r.member if r.secret_id == "errand-shop-token"] == [google_service_account.program["worker"].member]
    error_message = "the agent's secret is not the worker's alone, or not to be read by it"
  }

  assert {
    condition     = { for lane in ["turns", "bulk", "batches"] : lane => google_cloud_tasks_queue.queue[lane].rate_limits[0].max_concurrent_dispatches } == { turns = 1, bulk = 2, batches = 4 } && google_cloud_run_v2_service.program["worker"].template[0].max_instance_request_concurrency == 7
    error_message = "one worker has no room for what is dispatched to it"
  }
}

run "callers_that_google_knows" {
  variables {
    access  = "anonymous"
    clients = ["group:team@example.com"]
    url     = "https://agent.example.com"
  }

  assert {
    condition     = output.environment.ERRAND_ACCESS == "anonymous" && toset(keys(google_secret_manager_secret_iam_member.reads)) == toset(["cardserver/errand-credential-keys", "cardserver/errand-keys", "functions/errand-keys", "worker/errand-credential-keys", "worker/shop-token"]) && alltrue([for k in ["cardserver", "functions", "worker"] : length(google_cloud_run_v2_service.program[k].template[0].volumes) == 0])
    error_message = "the access file is read for nothing"
  }

  assert {
    condition     = { for k, b in google_cloud_run_v2_service_iam_binding.clients : "${k} ${b.name} ${b.role}" => b.members } == { "cardserver errand-cardserver roles/run.invoker" = toset(["group:team@example.com"]) }
    error_message = "others than the clients reach the front door, or may do more"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => s.invoker_iam_disabled } == { cardserver = false, functions = true, worker = true }
    error_message = "Cloud Run does not ask who the clients are, or asks who the invoker is"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => [for e in s.template[0].containers[0].env : e.value if e.name == "ERRAND_CHECKED_BY"] } == { cardserver = ["cloudrun"], functions = [], worker = [] }
    error_message = "the front door does not know that Cloud Run checks its clients, or another program believes it"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => join(" ", s.custom_audiences == null ? [] : s.custom_audiences) } == { cardserver = "https://agent.example.com", functions = "", worker = "" }
    error_message = "Cloud Run refuses tokens for the address that clients use, or takes them for another service"
  }
}

run "choices" {
  variables {
    prefix            = "second-agent"
    database_location = "eur3"
    url               = "https://agent.example.com"
    protect           = false
    dedupe            = "off"
    static_egress     = true
    subnetwork        = "inner"
    check_internal    = true

    candidate = {
      serving = { cardserver = "second-agent-cardserver-00007-abc", worker = "second-agent-worker-00009-def", functions = "second-agent-functions-00003-ghi" }
      percent = 10
    }
  }

  # Another try begins with what serves, and not with what this one tries.

  assert {
    condition     = output.serving == { cardserver = "second-agent-cardserver-00007-abc", worker = "second-agent-worker-00009-def", functions = "second-agent-functions-00003-ghi" }
    error_message = "what is tried is said to serve: ${jsonencode(output.serving)}"
  }

  # Cloud Run checks the callers of worker and functions.

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => s.invoker_iam_disabled } == { cardserver = true, functions = false, worker = false }
    error_message = "Cloud Run does not check the callers of worker and functions"
  }

  assert {
    condition     = { for k, b in google_cloud_run_v2_service_iam_binding.clients : "${b.name} ${b.role}" => b.members } == { for p in ["functions", "worker"] : "second-agent-${p} roles/run.invoker" => toset([google_service_account.invoker.member]) }
    error_message = "others than the invoker reach worker and functions, or it does not"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => join(" ", s.custom_audiences) } == { cardserver = "https://agent.example.com", functions = join(" ", [for path in ["deliveries", "sweep", "events", "submit", "tick"] : "${output.environment.ERRAND_FUNCTIONS_URL}/${path}"]), worker = join(" ", [for path in ["turns", "batch", "bulk"] : "${output.environment.ERRAND_WORKER_URL}/${path}"]) }
    error_message = "Cloud Run refuses the tokens of queues, topic or schedule"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => [for e in s.template[0].containers[0].env : e.value if e.name == "ERRAND_CHECKED_BY"] } == { cardserver = [], functions = ["cloudrun"], worker = ["cloudrun"] } && !contains(keys(output.environment), "ERRAND_CHECKED_BY")
    error_message = "a program takes the word of nobody, or does not take that of Cloud Run"
  }

  # A new version is tried.

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => [for t in s.traffic : "${trimprefix(t.type, "TRAFFIC_TARGET_ALLOCATION_TYPE_")} ${coalesce(t.revision, "-")} ${t.percent} ${coalesce(t.tag, "-")}"] } == { for k, r in { cardserver = "00007-abc", functions = "00003-ghi", worker = "00009-def" } : k => ["REVISION second-agent-${k}-${r} 90 -", "LATEST - 10 candidate"] }
    error_message = "the newest revisions get other requests than chosen"
  }

  assert {
    condition     = output.candidate_url == "https://candidate---second-agent-cardserver-123456789012.europe-west1.run.app"
    error_message = "the new front door is not where it is said to be"
  }

  # What else can be chosen.

  assert {
    condition     = output.environment.ERRAND_URL == "https://agent.example.com" && output.environment.ERRAND_QUEUE == "cloudtasks:projects/my-project/locations/europe-west1/queues/second-agent" && output.environment.ERRAND_DEDUPE == "off"
    error_message = "choices are not passed on"
  }

  assert {
    condition     = output.environment.ERRAND_SECRETS == "secretmanager:my-project/second-agent" && toset([for s in google_secret_manager_secret.secret : s.secret_id]) == toset(["second-agent-access", "second-agent-errand-credential-keys", "second-agent-errand-keys", "second-agent-gemini-api-key", "second-agent-shop-token"])
    error_message = "the secrets are not those that ERRAND_SECRETS begins"
  }

  assert {
    condition     = output.environment.ERRAND_FILES == "gs:my-project-second-agent-files" && google_storage_bucket.files.force_destroy
    error_message = "the bucket is not as chosen"
  }

  assert {
    condition     = google_firestore_database.tasks[0].location_id == "eur3" && google_firestore_database.tasks[0].name == "second-agent" && google_firestore_database.tasks[0].delete_protection_state == "DELETE_PROTECTION_DISABLED"
    error_message = "the database is not as chosen"
  }

  assert {
    condition     = !anytrue([for s in google_secret_manager_secret.secret : s.deletion_protection])
    error_message = "a secret cannot be deleted, and should be"
  }

  assert {
    condition     = { for k, s in google_cloud_run_v2_service.program : k => [for v in s.template[0].vpc_access : "${v.egress} ${v.network_interfaces[0].subnetwork}"] } == { cardserver = [], functions = ["ALL_TRAFFIC inner"], worker = ["PRIVATE_RANGES_ONLY inner"] } && length(google_compute_network.store) + length(google_compute_address.egress) == 0
    error_message = "webhooks do not leave through the given network, or there is another one"
  }
}

# Terraform tests nothing more after a failure that was expected and does not come, so these
# are the last ones.

run "says_the_quota_before_it_refuses" {
  command = plan
  variables {
    instances = { worker = 40 }
  }
  expect_failures = [check.quota]
}

run "says_the_quota_of_memory" {
  command = plan
  variables {
    memory = { worker = 4096 }
  }
  expect_failures = [check.quota]
}
