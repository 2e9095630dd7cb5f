# Indexes, exemptions and the time to live are said once, beside the queries, in the
# form of Firebase's tools.

locals {
  indexes = jsondecode(file("${path.module}/../shared/adapters/gcp/firestore.indexes.json"))
}

resource "google_firestore_database" "tasks" {
  count = local.firestore ? 1 : 0

  project                 = var.project
  name                    = coalesce(var.database, var.prefix)
  location_id             = coalesce(var.database_location, var.region)
  type                    = "FIRESTORE_NATIVE"
  delete_protection_state = var.protect ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy         = "DELETE"

  # Every minute of the last seven days can be restored.
  # https://cloud.google.com/firestore/docs/pitr
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_${var.backups.point_in_time ? "ENABLED" : "DISABLED"}"

  depends_on = [google_project_service.api]
}

# Backups, which outlive a mistake that is noticed late. A database has at most one schedule
# of each kind. https://cloud.google.com/firestore/docs/backups
resource "google_firestore_backup_schedule" "daily" {
  count = local.firestore && var.backups.daily_days > 0 ? 1 : 0

  project   = var.project
  database  = google_firestore_database.tasks[0].name
  retention = "${var.backups.daily_days * 86400}s"

  daily_recurrence {}
}

resource "google_firestore_backup_schedule" "weekly" {
  count = local.firestore && var.backups.weekly_days > 0 ? 1 : 0

  project   = var.project
  database  = google_firestore_database.tasks[0].name
  retention = "${var.backups.weekly_days * 86400}s"

  weekly_recurrence {
    day = "SUNDAY"
  }
}

# Installations that are older than the choice have the database without a number.
moved {
  from = google_firestore_database.tasks
  to   = google_firestore_database.tasks[0]
}

resource "google_firestore_index" "index" {
  for_each = { for i in local.indexes.indexes : "${i.collectionGroup} ${join(" ", [for f in i.fields : "${f.fieldPath}:${try(f.order, f.arrayConfig)}"])}" => i if local.firestore }

  project     = var.project
  database    = google_firestore_database.tasks[0].name
  collection  = each.value.collectionGroup
  query_scope = each.value.queryScope

  dynamic "fields" {
    for_each = each.value.fields

    content {
      field_path   = fields.value.fieldPath
      order        = try(fields.value.order, null)
      array_config = try(fields.value.arrayConfig, null)
    }
  }

  # Firestore builds the indexes of a database one after another.
  timeouts {
    create = "60m"
    delete = "60m"
  }
}

resource "google_firestore_field" "field" {
  for_each = { for f in local.indexes.fieldOverrides : "${f.collectionGroup} ${f.fieldPath}" => f if local.firestore }

  project    = var.project
  database   = google_firestore_database.tasks[0].name
  collection = each.value.collectionGroup
  field      = each.value.fieldPath

  # An empty index_config takes the field out of all indexes.
  index_config {
    dynamic "indexes" {
      # It takes the writes of all tasks in one range. With shards nobody reads it (docs/scale.md).
      for_each = var.shards > 1 && each.key == "tasks expires" ? [] : each.value.indexes

      content {
        order        = try(indexes.value.order, null)
        array_config = try(indexes.value.arrayConfig, null)
        query_scope  = try(indexes.value.queryScope, "COLLECTION")
      }
    }
  }

  dynamic "ttl_config" {
    for_each = try(each.value.ttl, false) ? [1] : []
    content {}
  }

  timeouts {
    create = "60m"
    update = "60m"
    delete = "60m"
  }
}
