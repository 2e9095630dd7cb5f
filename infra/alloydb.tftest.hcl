# What must hold of the module with store = "alloydb". Google's provider is mocked: nothing
# is created.

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
  store   = "alloydb"
  settings = {
    shop_url = "https://shop.example.com"
  }
  image = "europe-west1-docker.pkg.dev/my-project/errand/errand@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

override_resource {
  target = google_service_account.program["cardserver"]
  values = { email = "errand-cardserver@my-project.iam.gserviceaccount.com", member = "serviceAccount:cardserver" }
}

override_resource {
  target = google_service_account.program["functions"]
  values = { email = "errand-functions@my-project.iam.gserviceaccount.com", member = "serviceAccount:functions" }
}

override_resource {
  target = google_service_account.program["worker"]
  values = { email = "errand-worker@my-project.iam.gserviceaccount.com", member = "serviceAccount:worker" }
}

run "alloydb" {
  assert {
    condition     = length(google_firestore_database.tasks) + length(google_firestore_index.index) + length(google_firestore_field.field) + length(google_project_iam_member.store) + length(google_firestore_backup_schedule.daily) + length(google_firestore_backup_schedule.weekly) == 0 && !contains(keys(google_project_service.api), "firestore.googleapis.com")
    error_message = "there is a Firestore beside AlloyDB"
  }

  assert {
    condition = { for k, s in google_cloud_run_v2_service.program : k => one([for e in s.template[0].containers[0].env : e.value if e.name == "ERRAND_STORE"]) } == {
      for k in ["cardserver", "functions", "worker"] : k => "alloydb:projects/my-project/locations/europe-west1/clusters/errand/instances/primary?database=errand&ip=private&pool_max_conns=11&user=errand-${k}@my-project.iam&role=errand"
    }
    error_message = "a program does not find the store, or not as itself: ${jsonencode(local.stores)}"
  }

  assert {
    condition     = length(distinct([for s in google_cloud_run_v2_service.program : { for e in s.template[0].containers[0].env : e.name => e.value if e.name != "ERRAND_STORE" }])) == 1 && { for e in google_cloud_run_v2_service.program["cardserver"].template[0].containers[0].env : e.name => e.value } == output.environment
    error_message = "more than the user is each program's own, or the environment that is shown is another one"
  }

  assert {
    condition     = { for k, u in google_alloydb_user.program : k => "${u.user_id} ${u.user_type} ${join(" ", u.database_roles)}" } == { for k in ["cardserver", "functions", "worker"] : k => "errand-${k}@my-project.iam ALLOYDB_IAM_USER alloydbiamuser" } && alltrue([for u in google_alloydb_user.program : u.cluster == google_alloydb_cluster.tasks[0].name])
    error_message = "a program cannot log in, or may do more"
  }

  assert {
    condition     = toset(flatten([for r in [google_project_iam_member.connects, google_project_iam_member.logs_in, google_project_iam_member.uses_services] : [for k, m in r : "${m.role} ${m.member}"]])) == toset(flatten([for k in ["cardserver", "functions", "worker"] : [for r in ["alloydb.client", "alloydb.databaseUser", "serviceusage.serviceUsageConsumer"] : "roles/${r} serviceAccount:${k}"]]))
    error_message = "a program may not connect to AlloyDB, or may do more"
  }

  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : s.template[0].vpc_access[0].egress == "PRIVATE_RANGES_ONLY" && s.template[0].vpc_access[0].network_interfaces[0].subnetwork == google_compute_subnetwork.store[0].id && s.template[0].containers[0].startup_probe[0].failure_threshold == 120])
    error_message = "a program does not reach the database's network, or has no time to"
  }

  assert {
    condition     = google_compute_network.store[0].auto_create_subnetworks == false && alltrue([for network in [google_compute_subnetwork.store[0].network, google_compute_global_address.store[0].network, google_service_networking_connection.store[0].network, google_alloydb_cluster.tasks[0].network_config[0].network] : network == google_compute_network.store[0].id])
    error_message = "the parts are in different networks"
  }

  assert {
    condition     = google_compute_global_address.store[0].purpose == "VPC_PEERING" && google_service_networking_connection.store[0].reserved_peering_ranges == tolist([google_compute_global_address.store[0].name])
    error_message = "AlloyDB has no addresses in the network"
  }

  assert {
    condition     = google_alloydb_cluster.tasks[0].location == "europe-west1" && google_alloydb_cluster.tasks[0].database_version == "POSTGRES_16" && google_alloydb_instance.tasks[0].cluster == google_alloydb_cluster.tasks[0].name && google_alloydb_instance.tasks[0].instance_type == "PRIMARY" && google_alloydb_instance.tasks[0].availability_type == "REGIONAL" && google_alloydb_instance.tasks[0].machine_config[0].cpu_count == 2
    error_message = "the database is not as said"
  }

  assert {
    condition     = google_alloydb_instance.tasks[0].database_flags == tomap({ "alloydb.iam_authentication" = "on", max_connections = "1000" }) && google_alloydb_instance.tasks[0].client_connection_config[0].ssl_config[0].ssl_mode == "ENCRYPTED_ONLY" && length(google_alloydb_instance.tasks[0].network_config) == 0
    error_message = "IAM lets nobody in, or others get in"
  }

  assert {
    condition     = google_alloydb_cluster.tasks[0].continuous_backup_config[0].enabled && google_alloydb_cluster.tasks[0].continuous_backup_config[0].recovery_window_days == 14 && length(google_alloydb_cluster.tasks[0].restore_continuous_backup_source) == 0
    error_message = "no moment can be restored"
  }

  assert {
    condition     = google_alloydb_cluster.tasks[0].automated_backup_policy[0].enabled && length(google_alloydb_cluster.tasks[0].automated_backup_policy[0].weekly_schedule[0].days_of_week) == 7 && google_alloydb_cluster.tasks[0].automated_backup_policy[0].time_based_retention[0].retention_period == "1209600s"
    error_message = "there is no backup each day"
  }

  assert {
    condition     = google_alloydb_cluster.tasks[0].initial_user[0].user == "postgres" && length(google_alloydb_cluster.tasks[0].initial_user[0].password) == 36 && alltrue([for u in google_alloydb_user.program : u.password == null])
    error_message = "the administrator's password can be guessed, or a program has one"
  }

  assert {
    condition     = toset(keys(google_secret_manager_secret_iam_member.reads)) == toset(["cardserver/access", "cardserver/errand-credential-keys", "cardserver/errand-keys", "functions/access", "functions/errand-keys", "worker/access", "worker/errand-credential-keys", "worker/shop-token"])
    error_message = "IAM lets the programs in, and one of them reads a secret for it"
  }

  assert {
    condition     = 2 * (10 + 20 + 10) * local.pool <= 0.9 * 1000 && 2 * (10 + 20 + 10) * (local.pool + 1) > 0.9 * 1000
    error_message = "all instances together have more connections than the server, or leave many free"
  }
}

run "alloydb_with_a_password" {
  variables {
    prefix    = "second-agent"
    instances = { cardserver = 2, worker = 2, functions = 1 }
    alloydb   = { login = "secret", cpus = 4, availability = "ZONAL", version = "POSTGRES_17", connections = 2000, recovery_days = 35 }
  }

  assert {
    condition     = output.environment.ERRAND_STORE == "alloydb:projects/my-project/locations/europe-west1/clusters/second-agent/instances/primary?database=errand&ip=private&pool_max_conns=180" && length(distinct(values(local.stores))) == 1
    error_message = "the programs do not have one store: ${jsonencode(local.stores)}"
  }

  assert {
    condition     = toset([for k, r in google_secret_manager_secret_iam_member.reads : "${k} ${r.secret_id}" if strcontains(k, "/alloy_db_")]) == toset(flatten([for p in ["cardserver", "functions", "worker"] : [for s in ["alloy_db_user", "alloy_db_pass"] : "${p}/${s} second-agent-${s}"]]))
    error_message = "a program does not read the user or the password"
  }

  assert {
    condition     = toset([for s in output.secrets : s if strcontains(s, "-alloy_db_")]) == toset(["second-agent-alloy_db_user", "second-agent-alloy_db_pass"])
    error_message = "the secrets to fill are ${jsonencode(output.secrets)}"
  }

  assert {
    condition     = length(google_alloydb_user.program) == 0 && length(google_project_iam_member.logs_in) == 0 && length(google_project_iam_member.connects) == 3 && length(google_project_iam_member.uses_services) == 3
    error_message = "the programs also log in as themselves, or cannot connect"
  }

  assert {
    condition     = google_alloydb_cluster.tasks[0].database_version == "POSTGRES_17" && google_alloydb_cluster.tasks[0].continuous_backup_config[0].recovery_window_days == 35 && google_alloydb_instance.tasks[0].availability_type == "ZONAL" && google_alloydb_instance.tasks[0].machine_config[0].cpu_count == 4 && google_alloydb_instance.tasks[0].database_flags["max_connections"] == "2000"
    error_message = "the database is not as chosen"
  }
}

run "alloydb_restored_in_a_network" {
  variables {
    prefix     = "restored"
    alloydb    = { cluster = "restored-2", restore = { cluster = "restored", time = "2026-01-31T12:00:00Z" } }
    subnetwork = "projects/host/regions/europe-west1/subnetworks/inner"
  }

  override_data {
    target = data.google_compute_subnetwork.given[0]
    values = { network = "https://www.googleapis.com/compute/v1/projects/host/global/networks/shared" }
  }

  assert {
    condition     = length(google_compute_network.store) + length(google_compute_subnetwork.store) + length(google_compute_global_address.store) + length(google_service_networking_connection.store) == 0
    error_message = "there is a network beside the given one"
  }

  assert {
    condition     = "${data.google_compute_subnetwork.given[0].project} ${data.google_compute_subnetwork.given[0].region} ${data.google_compute_subnetwork.given[0].name}" == "host europe-west1 inner" && google_alloydb_cluster.tasks[0].network_config[0].network == "projects/host/global/networks/shared"
    error_message = "the database is not in the network of the subnetwork"
  }

  assert {
    condition     = alltrue([for s in google_cloud_run_v2_service.program : s.template[0].vpc_access[0].network_interfaces[0].subnetwork == "projects/host/regions/europe-west1/subnetworks/inner"])
    error_message = "a program is not in the given network"
  }

  assert {
    condition     = google_alloydb_cluster.tasks[0].cluster_id == "restored-2" && google_alloydb_cluster.tasks[0].restore_continuous_backup_source[0].cluster == "projects/my-project/locations/europe-west1/clusters/restored" && google_alloydb_cluster.tasks[0].restore_continuous_backup_source[0].point_in_time == "2026-01-31T12:00:00Z"
    error_message = "the cluster is not the chosen moment of the old one"
  }
}

run "alloydb_in_a_network_by_name" {
  variables {
    subnetwork = "inner"
  }

  assert {
    condition     = "${data.google_compute_subnetwork.given[0].project} ${data.google_compute_subnetwork.given[0].region} ${data.google_compute_subnetwork.given[0].name}" == "my-project europe-west1 inner"
    error_message = "a subnetwork by its name is looked for elsewhere"
  }
}

run "refuses_more_instances_than_connections" {
  command = plan
  variables {
    quota     = { cpus = 1000, memory_gib = 1000 }
    instances = { worker = 200 }
  }
  expect_failures = [google_alloydb_instance.tasks]
}
