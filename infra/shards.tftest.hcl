# More queues of each lane, and more ranges in the indexes.

mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
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

run "shards" {
  variables {
    shards = 4
  }

  assert {
    condition     = toset([for q in google_cloud_tasks_queue.queue : q.name]) == toset(concat(["errand-sweeps"], flatten([for lane in ["turns", "deliveries", "batches", "bulk"] : [for e in ["", "-1", "-2", "-3"] : "errand-${lane}${e}"]])))
    error_message = "a lane has not four queues, or the first has another name"
  }

  assert {
    condition     = alltrue([for k, q in google_cloud_tasks_queue.queue : q.rate_limits[0].max_concurrent_dispatches == { turns = 80, bulk = 20, batches = 4, deliveries = 50, sweeps = 16 }[split("-", k)[0]]])
    error_message = "the queues of a lane do not share its room"
  }

  assert {
    condition     = google_cloud_tasks_queue.queue["turns-3"].http_target[0].uri_override[0].path_override[0].path == "/turns" && google_cloud_tasks_queue_iam_member.adds["cardserver/turns-3"].name == "errand-turns-3" && length(google_cloud_tasks_queue_iam_member.adds) == 45
    error_message = "nobody adds to a further queue, or it calls nobody"
  }

  assert {
    condition     = output.environment.ERRAND_SHARDS == "4"
    error_message = "the programs do not know of the further queues"
  }

  assert {
    condition     = length(google_firestore_field.field["tasks expires"].index_config[0].indexes) == 0
    error_message = "the writes of all tasks share a range"
  }
}

run "takes_more_turns_with_shards" {
  command = plan
  variables {
    instances          = { worker = 1000 }
    quota              = { cpus = 1000, memory_gib = 1000 }
    turns_per_instance = 6
    shards             = 2
  }

  assert {
    condition     = google_cloud_tasks_queue.queue["turns-1"].rate_limits[0].max_concurrent_dispatches == 3000
    error_message = "two queues do not dispatch more than one"
  }
}

run "refuses_three_shards" {
  command = plan
  variables {
    shards = 3
  }
  expect_failures = [var.shards]
}

run "refuses_shards_without_work" {
  command = plan
  variables {
    instances          = { worker = 1 }
    items_per_instance = 2
    shards             = 4
  }
  expect_failures = [var.items_per_instance]
}
