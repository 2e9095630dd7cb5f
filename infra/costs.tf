# What keeps the bill in sight.

# The lines of Cloud Run about requests that went well say nothing that the lines of worker
# and functions do not, and a task has several.
# https://cloud.google.com/logging/docs/routing/overview#exclusions
resource "google_logging_project_exclusion" "requests" {
  count = var.log_requests == "failed" ? 1 : 0

  project     = var.project
  name        = "${var.prefix}-requests"
  description = "Requests to worker and functions that went well"
  filter      = "log_id(\"run.googleapis.com/requests\") AND resource.labels.service_name=(\"${var.prefix}-worker\" OR \"${var.prefix}-functions\") AND resource.labels.location=\"${var.region}\" AND httpRequest.status<300"
  depends_on  = [google_project_service.api]
}

# https://cloud.google.com/billing/docs/how-to/budgets
resource "google_billing_budget" "project" {
  count = var.budget == null ? 0 : 1

  billing_account = var.budget.account
  display_name    = "${var.prefix} in ${var.project}"

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }

  amount {
    specified_amount {
      units = tostring(var.budget.amount)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1]

    content {
      threshold_percent = threshold_rules.value
    }
  }

  depends_on = [google_project_service.api]
}
