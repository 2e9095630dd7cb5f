# A network of the installation's own, for AlloyDB and for an address that stays: none unless
# one of them is chosen, and none beside the one that subnetwork names.

locals {
  own_network = (local.alloydb || var.static_egress) && var.subnetwork == ""

  # Who is in a network, and where. The agent's own code runs in the worker alone, and so does
  # its way into the network. AlloyDB is in the network, for all of them, and functions sends
  # webhooks from the address that stays.
  in_network = local.alloydb ? local.programs : toset(concat(var.subnetwork == "" ? [] : ["worker"], var.static_egress ? ["functions"] : []))
  subnetwork = local.own_network ? google_compute_subnetwork.store[0].id : var.subnetwork
  leaves_by  = { for p in local.programs : p => var.static_egress && p == "functions" ? "ALL_TRAFFIC" : "PRIVATE_RANGES_ONLY" }
}

resource "google_compute_network" "store" {
  count = local.own_network ? 1 : 0

  project                 = var.project
  name                    = var.prefix
  auto_create_subnetworks = false
  depends_on              = [google_project_service.api]
}

# Cloud Run takes two addresses for each instance, and wants 64 at least. Google's own services
# are reached without the address that stays.
# https://cloud.google.com/run/docs/configuring/vpc-direct-vpc#direct-vpc-ip-allocation
# https://cloud.google.com/vpc/docs/private-google-access
resource "google_compute_subnetwork" "store" {
  count = local.own_network ? 1 : 0

  project                  = var.project
  region                   = var.region
  name                     = var.prefix
  network                  = google_compute_network.store[0].id
  ip_cidr_range            = "10.0.0.0/20"
  private_ip_google_access = true
}

# The address that receivers of webhooks see. A network of your own has its Cloud NAT already.
# https://cloud.google.com/run/docs/configuring/static-outbound-ip
resource "google_compute_address" "egress" {
  count = local.own_network && var.static_egress ? 1 : 0

  project    = var.project
  region     = var.region
  name       = "${var.prefix}-egress"
  depends_on = [google_project_service.api]
}

resource "google_compute_router" "egress" {
  count = local.own_network && var.static_egress ? 1 : 0

  project = var.project
  region  = var.region
  name    = "${var.prefix}-egress"
  network = google_compute_network.store[0].id
}

resource "google_compute_router_nat" "egress" {
  count = local.own_network && var.static_egress ? 1 : 0

  project                            = var.project
  region                             = var.region
  name                               = "${var.prefix}-egress"
  router                             = google_compute_router.egress[0].name
  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = [google_compute_address.egress[0].id]
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.store[0].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
}
