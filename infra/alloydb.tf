# The records in AlloyDB instead of Firestore, with store = "alloydb". README.md has backup,
# restore, failover and upgrade.

locals {
  alloydb   = var.store == "alloydb"
  firestore = var.store == "firestore"
  peered    = local.alloydb && local.own_network

  # Database, and the role that owns it and its tables. SQL makes both (README.md): neither
  # AlloyDB's API nor Google's provider can.
  database = "errand"

  # Each program logs in as its own service account, without a password, or all of them as
  # one user of the database. Secrets hold the name and the password of that user.
  iam_login     = local.alloydb && var.alloydb.login == "iam"
  secret_login  = local.alloydb && !local.iam_login
  store_secrets = toset(["alloy_db_user", "alloy_db_pass"])

  # Instances at most. The limit is each revision's own, and while a new revision replaces
  # the old one there are both. https://cloud.google.com/run/docs/configuring/max-instances
  all_instances = 2 * (var.instances.cardserver + var.instances.worker + var.instances.functions)

  # Connections of each instance. A tenth of the server's connections stays for people and
  # for AlloyDB itself.
  pool = floor(var.alloydb.connections * 0.9 / local.all_instances)

  # The user of an account is its address without the ending.
  # https://cloud.google.com/alloydb/docs/database-users/manage-iam-auth
  store_users = { for p in local.programs : p => local.iam_login ? "&user=${trimsuffix(google_service_account.program[p].email, ".gserviceaccount.com")}&role=${local.database}" : "" }

  # ERRAND_STORE of each program.
  stores = { for p in local.programs : p => local.firestore ? "firestore:${var.project}/${google_firestore_database.tasks[0].name}" :
    "alloydb:projects/${var.project}/locations/${var.region}/clusters/${google_alloydb_cluster.tasks[0].cluster_id}/instances/${google_alloydb_instance.tasks[0].instance_id}?database=${local.database}&ip=private&pool_max_conns=${local.pool}${local.store_users[p]}"
  }
}

# An address in the network is all that reaches the database. Private services access is the
# way that Google recommends where no network is peered behind the network, and needs fewer
# parts than Private Service Connect. AlloyDB takes 256 addresses in each region, and Google
# recommends these 4,096. https://cloud.google.com/alloydb/docs/choose-alloydb-connectivity
# https://cloud.google.com/alloydb/docs/configure-connectivity
resource "google_compute_global_address" "store" {
  count = local.peered ? 1 : 0

  project       = var.project
  name          = "${var.prefix}-alloydb"
  address_type  = "INTERNAL"
  purpose       = "VPC_PEERING"
  prefix_length = 20
  network       = google_compute_network.store[0].id
}

resource "google_service_networking_connection" "store" {
  count = local.peered ? 1 : 0

  network                 = google_compute_network.store[0].id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.store[0].name]
}

# A network of your own has its private services access already.
data "google_compute_subnetwork" "given" {
  count = local.alloydb && !local.own_network ? 1 : 0

  project = try(split("/", var.subnetwork)[1], var.project)
  region  = try(split("/", var.subnetwork)[3], var.region)
  name    = try(split("/", var.subnetwork)[5], var.subnetwork)
}

resource "google_alloydb_cluster" "tasks" {
  count = local.alloydb ? 1 : 0

  project          = var.project
  location         = var.region
  cluster_id       = coalesce(var.alloydb.cluster, var.prefix)
  database_version = var.alloydb.version

  network_config {
    network = local.own_network ? google_compute_network.store[0].id : trimprefix(data.google_compute_subnetwork.given[0].network, "https://www.googleapis.com/compute/v1/")
  }

  # AlloyDB wants a password for its administrator, and the state keeps it. README.md puts
  # another one in its place at once. The programs do not use this user.
  # https://cloud.google.com/alloydb/docs/reference/rest/v1/projects.locations.clusters
  initial_user {
    user     = "postgres"
    password = uuid()
  }

  # Every moment of these days can be restored, from a backup a day and the log after it.
  # https://cloud.google.com/alloydb/docs/backup/overview
  continuous_backup_config {
    enabled              = true
    recovery_window_days = var.alloydb.recovery_days
  }

  # Backups that outlive the cluster.
  automated_backup_policy {
    enabled  = true
    location = var.region

    weekly_schedule {
      days_of_week = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]

      start_times {
        hours = 2
      }
    }

    time_based_retention {
      retention_period = "${var.alloydb.recovery_days * 86400}s"
    }
  }

  dynamic "restore_continuous_backup_source" {
    for_each = var.alloydb.restore == null ? [] : [var.alloydb.restore]

    content {
      cluster       = "projects/${var.project}/locations/${var.region}/clusters/${restore_continuous_backup_source.value.cluster}"
      point_in_time = restore_continuous_backup_source.value.time
    }
  }

  # The provider has no deletion protection here that protect could set.
  lifecycle {
    prevent_destroy = true
    ignore_changes  = [initial_user]
  }

  depends_on = [google_project_service.api, google_service_networking_connection.store]
}

resource "google_alloydb_instance" "tasks" {
  count = local.alloydb ? 1 : 0

  cluster           = google_alloydb_cluster.tasks[0].name
  instance_id       = "primary"
  instance_type     = "PRIMARY"
  availability_type = var.alloydb.availability

  machine_config {
    cpu_count = var.alloydb.cpus
  }

  # https://cloud.google.com/alloydb/docs/reference/database-flags
  database_flags = {
    "alloydb.iam_authentication" = "on"
    "max_connections"            = tostring(var.alloydb.connections)
  }

  client_connection_config {
    ssl_config {
      ssl_mode = "ENCRYPTED_ONLY"
    }
  }

  # The programs refuse to start with fewer.
  lifecycle {
    precondition {
      condition     = local.pool >= 5
      error_message = "alloydb.connections (${var.alloydb.connections}) is too low for instances (${local.all_instances} while a new version replaces the old one), which need 5 connections each and leave a tenth free: raise alloydb.connections to ${ceil(local.all_instances * 5 / 0.9)}, or lower instances."
    }
  }
}

# SQL makes the users members of the role that owns the tables, and Terraform leaves that
# membership alone.
resource "google_alloydb_user" "program" {
  for_each = local.iam_login ? local.programs : toset([])

  cluster        = google_alloydb_cluster.tasks[0].name
  user_id        = trimsuffix(google_service_account.program[each.key].email, ".gserviceaccount.com")
  user_type      = "ALLOYDB_IAM_USER"
  database_roles = ["alloydbiamuser"]

  lifecycle {
    ignore_changes = [database_roles]
  }

  depends_on = [google_alloydb_instance.tasks]
}

# The connector asks for the instance's address and for a certificate, and each call counts
# against a project's quota. AlloyDB's resources have no policies of their own.
# https://github.com/GoogleCloudPlatform/alloydb-go-connector#iam-permissions
resource "google_project_iam_member" "connects" {
  for_each = local.alloydb ? local.programs : toset([])

  project = var.project
  role    = "roles/alloydb.client"
  member  = google_service_account.program[each.key].member
}

resource "google_project_iam_member" "uses_services" {
  for_each = local.alloydb ? local.programs : toset([])

  project = var.project
  role    = "roles/serviceusage.serviceUsageConsumer"
  member  = google_service_account.program[each.key].member
}

# https://cloud.google.com/alloydb/docs/database-users/manage-iam-auth
resource "google_project_iam_member" "logs_in" {
  for_each = local.iam_login ? local.programs : toset([])

  project = var.project
  role    = "roles/alloydb.databaseUser"
  member  = google_service_account.program[each.key].member
}
