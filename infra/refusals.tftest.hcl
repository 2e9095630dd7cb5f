# Variables that cannot work. Nothing but variables is needed to refuse them, so these tests are
# run with variables.tf and agent.tf alone, which is much faster.

variables {
  project = "my-project"
  region  = "europe-west1"
  settings = {
    shop_url = "https://shop.example.com"
  }
}

run "refuses_a_project_number" {
  command = plan
  variables {
    project = "123456789012"
  }
  expect_failures = [var.project]
}

run "refuses_a_zone" {
  command = plan
  variables {
    region            = "europe-west1-b"
    database_location = "europe-west1"
  }
  expect_failures = [var.region]
}

run "refuses_a_database_nowhere" {
  command = plan
  variables {
    database_location = "Europe"
  }
  expect_failures = [var.database_location]
}

run "refuses_a_database_with_a_short_name" {
  command = plan
  variables {
    database = "e2"
  }
  expect_failures = [var.database]
}

run "refuses_backups_for_ever" {
  command = plan
  variables {
    backups = { weekly_days = 365 }
  }
  expect_failures = [var.backups]
}

run "refuses_half_a_day" {
  command = plan
  variables {
    backups = { daily_days = 0.5 }
  }
  expect_failures = [var.backups]
}

run "refuses_a_long_prefix" {
  command = plan
  variables {
    prefix = "a-very-long-name-for-it"
  }
  expect_failures = [var.prefix]
}

run "refuses_an_ingress_nobody_knows" {
  command = plan
  variables {
    ingress = "INGRESS_TRAFFIC_ALL"
  }
  expect_failures = [var.ingress]
}

run "refuses_an_edge_that_reaches_nothing" {
  command = plan
  variables {
    ingress = "internal"
    edge    = { domain = "agent.example.com" }
  }
  expect_failures = [var.ingress]
}

run "refuses_an_address_for_a_domain" {
  command = plan
  variables {
    edge = { domain = "https://agent.example.com" }
  }
  expect_failures = [var.edge]
}

run "refuses_an_edge_that_lets_nothing_through" {
  command = plan
  variables {
    edge = { domain = "agent.example.com", requests_per_minute = 0 }
  }
  expect_failures = [var.edge]
}

run "refuses_authorities_that_are_none" {
  command = plan
  variables {
    edge = { domain = "agent.example.com", client_ca = "ca.pem" }
  }
  expect_failures = [var.edge]
}

run "refuses_certificates_that_anybody_could_make_up" {
  command = plan
  variables {
    ingress = "all"
    edge    = { domain = "agent.example.com", client_ca = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n" }
  }
  expect_failures = [var.ingress]
}

run "refuses_certificates_beside_the_check_of_google" {
  command = plan
  variables {
    clients = ["user:alice@example.com"]
    edge    = { domain = "agent.example.com", client_ca = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n" }
  }
  expect_failures = [var.edge]
}

run "refuses_more_that_wait_than_there_are" {
  command = plan
  variables {
    min_instances = { functions = 11 }
  }
  expect_failures = [var.min_instances]
}

run "refuses_a_quota_of_nothing" {
  command = plan
  variables {
    quota = { cpus = 0 }
  }
  expect_failures = [var.quota]
}

run "refuses_a_continent_for_secrets" {
  command = plan
  variables {
    secret_locations = ["europe"]
  }
  expect_failures = [var.secret_locations]
}

run "refuses_labels_in_capitals" {
  command = plan
  variables {
    labels = { Team = "billing" }
  }
  expect_failures = [var.labels]
}

run "refuses_a_budget_of_an_unknown_account" {
  command = plan
  variables {
    budget = { account = "my-account", amount = 100 }
  }
  expect_failures = [var.budget]
}

run "refuses_to_keep_half_an_image" {
  command = plan
  variables {
    images_kept = 0.5
  }
  expect_failures = [var.images_kept]
}

run "refuses_to_log_something_else" {
  command = plan
  variables {
    log_requests = "none"
  }
  expect_failures = [var.log_requests]
}

run "refuses_a_short_prefix" {
  command = plan
  variables {
    prefix = "abc"
  }
  expect_failures = [var.prefix]
}

run "refuses_a_tag" {
  command = plan
  variables {
    image = "europe-west1-docker.pkg.dev/my-project/errand/errand:latest"
  }
  expect_failures = [var.image]
}

run "refuses_a_model_without_a_kind" {
  command = plan
  variables {
    model = "gemini-3.6-flash"
  }
  expect_failures = [var.model]
}

run "refuses_a_setting_that_the_agent_does_not_name" {
  command = plan
  variables {
    settings = { shop_url = "https://shop.example.com", shop_uri = "https://shop.example.com" }
  }
  expect_failures = [var.settings]
}

run "refuses_to_leave_a_required_setting_out" {
  command = plan
  variables {
    settings = {}
  }
  expect_failures = [var.settings]
}

run "refuses_a_setting_of_another_type" {
  command = plan
  variables {
    settings = { shop_url = "https://shop.example.com", tries = "three" }
  }
  expect_failures = [var.settings]
}

run "refuses_destinations_without_a_way" {
  command = plan
  variables {
    agent_allow = ["10.0.0.0/8:443"]
  }
  expect_failures = [var.agent_allow]
}

run "refuses_a_destination_by_name" {
  command = plan
  variables {
    agent_allow = ["shop.internal:443"]
    subnetwork  = "inner"
  }
  expect_failures = [var.agent_allow]
}

run "refuses_an_address_for_an_origin" {
  command = plan
  variables {
    origins = ["https://ui.example.com/chat"]
  }
  expect_failures = [var.origins]
}

run "refuses_a_network_for_a_subnetwork" {
  command = plan
  variables {
    subnetwork = "projects/my-project/global/networks/default"
  }
  expect_failures = [var.subnetwork]
}

run "refuses_a_model_location" {
  command = plan
  variables {
    model_location = "europe-west1-b"
  }
  expect_failures = [var.model_location]
}

run "refuses_an_access_nobody_knows" {
  command = plan
  variables {
    access = "public"
  }
  expect_failures = [var.access]
}

run "refuses_an_agent_for_everybody" {
  command = plan
  variables {
    access = "anonymous"
  }
  expect_failures = [var.clients]
}

run "refuses_clients_that_are_none" {
  command = plan
  variables {
    clients = ["team@example.com"]
  }
  expect_failures = [var.clients]
}

run "refuses_everybody_with_an_account" {
  command = plan
  variables {
    clients = ["group:team@example.com", "allAuthenticatedUsers"]
  }
  expect_failures = [var.clients]
}

run "refuses_a_dedupe_nobody_knows" {
  command = plan
  variables {
    dedupe = "on"
  }
  expect_failures = [var.dedupe]
}

run "refuses_plain_http" {
  command = plan
  variables {
    url = "http://agent.example.com"
  }
  expect_failures = [var.url]
}

run "refuses_half_an_instance" {
  command = plan
  variables {
    instances = { worker = 0.5 }
  }
  expect_failures = [var.instances]
}

run "refuses_crowded_workers" {
  command = plan
  variables {
    turns_per_instance = 97
    memory             = { worker = 4096 }
    quota              = { memory_gib = 80 }
  }
  expect_failures = [var.turns_per_instance]
}

run "refuses_many_turns_in_little_memory" {
  command = plan
  variables {
    turns_per_instance = 61
    items_per_instance = 4
  }
  expect_failures = [var.turns_per_instance]
}

run "refuses_more_turns_than_a_queue_dispatches" {
  command = plan
  variables {
    instances          = { worker = 1000 }
    quota              = { cpus = 1000, memory_gib = 1000 }
    turns_per_instance = 6
  }
  expect_failures = [var.turns_per_instance]
}

run "refuses_crowds_of_items" {
  command = plan
  variables {
    items_per_instance = 0
  }
  expect_failures = [var.items_per_instance]
}

run "refuses_more_items_than_a_queue_dispatches" {
  command = plan
  variables {
    instances          = { worker = 1000 }
    quota              = { cpus = 1000, memory_gib = 1000 }
    items_per_instance = 6
  }
  expect_failures = [var.items_per_instance]
}

run "refuses_an_instance_without_memory" {
  command = plan
  variables {
    memory = { functions = 64 }
  }
  expect_failures = [var.memory]
}

run "refuses_a_pipeline_without_a_name" {
  command = plan
  variables {
    pipelines = { "Billing " = {} }
  }
  expect_failures = [var.pipelines]
}

run "refuses_a_filter_of_nothing" {
  command = plan
  variables {
    pipelines = { billing = { filter = "state = TASK_STATE_COMPLETED" } }
  }
  expect_failures = [var.pipelines]
}

run "refuses_a_long_filter" {
  command = plan
  variables {
    pipelines = { billing = { filter = join(" OR ", [for i in range(8) : "attributes.state = \"TASK_STATE_COMPLETED\""]) } }
  }
  expect_failures = [var.pipelines]
}

run "refuses_a_pipeline_for_everybody" {
  command = plan
  variables {
    pipelines = { billing = { members = ["allUsers"] } }
  }
  expect_failures = [var.pipelines]
}

run "refuses_a_submission_without_a_name" {
  command = plan
  variables {
    submissions = { "Nightly " = {} }
  }
  expect_failures = [var.submissions]
}

run "refuses_submissions_of_everybody" {
  command = plan
  variables {
    submissions = { nightly = { members = ["allAuthenticatedUsers"] } }
  }
  expect_failures = [var.submissions]
}

run "refuses_submissions_of_nobody" {
  command = plan
  variables {
    access      = "anonymous"
    clients     = ["group:team@example.com"]
    submissions = { nightly = {} }
  }
  expect_failures = [var.submissions]
}

run "refuses_an_address_for_a_bucket" {
  command = plan
  variables {
    input_buckets = ["gs://acme-in/"]
  }
  expect_failures = [var.input_buckets]
}

run "refuses_a_store_nobody_knows" {
  command = plan
  variables {
    store = "spanner"
  }
  expect_failures = [var.store]
}

run "refuses_a_location_for_alloydb" {
  command = plan
  variables {
    store             = "alloydb"
    database_location = "eur3"
  }
  expect_failures = [var.database_location]
}

run "refuses_half_a_connection" {
  command = plan
  variables {
    store   = "alloydb"
    alloydb = { connections = 1000.5 }
  }
  expect_failures = [var.alloydb]
}

run "refuses_a_login_nobody_knows" {
  command = plan
  variables {
    store   = "alloydb"
    alloydb = { login = "password" }
  }
  expect_failures = [var.alloydb]
}

run "refuses_a_database_of_firestore" {
  command = plan
  variables {
    store    = "alloydb"
    database = "errand-2"
  }
  expect_failures = [var.database]
}

run "refuses_three_processors" {
  command = plan
  variables {
    store   = "alloydb"
    alloydb = { cpus = 3 }
  }
  expect_failures = [var.alloydb]
}

run "refuses_an_availability_nobody_knows" {
  command = plan
  variables {
    store   = "alloydb"
    alloydb = { availability = "GLOBAL" }
  }
  expect_failures = [var.alloydb]
}

run "refuses_a_minor_version" {
  command = plan
  variables {
    store   = "alloydb"
    alloydb = { version = "POSTGRES_16_2" }
  }
  expect_failures = [var.alloydb]
}

run "refuses_a_year_of_recovery" {
  command = plan
  variables {
    store   = "alloydb"
    alloydb = { recovery_days = 365 }
  }
  expect_failures = [var.alloydb]
}

run "refuses_a_cluster_in_capitals" {
  command = plan
  variables {
    store   = "alloydb"
    alloydb = { cluster = "Errand" }
  }
  expect_failures = [var.alloydb]
}

run "refuses_to_restore_in_place" {
  command = plan
  variables {
    alloydb = { restore = { cluster = "errand", time = "2026-01-31T12:00:00Z" } }
  }
  expect_failures = [var.alloydb]
}

run "refuses_to_restore_yesterday" {
  command = plan
  variables {
    alloydb = { cluster = "errand-2", restore = { cluster = "errand", time = "yesterday" } }
  }
  expect_failures = [var.alloydb]
}

run "refuses_a_candidate_beside_another_service" {
  command = plan
  variables {
    candidate = { serving = { cardserver = "errand-worker-00001-abc", worker = "errand-worker-00001-abc", functions = "errand-functions-00001-abc" } }
  }
  expect_failures = [var.candidate]
}

run "refuses_a_candidate_that_gets_everything" {
  command = plan
  variables {
    candidate = { serving = { cardserver = "errand-cardserver-00001-abc", worker = "errand-worker-00001-abc", functions = "errand-functions-00001-abc" }, percent = 100 }
  }
  expect_failures = [var.candidate]
}
