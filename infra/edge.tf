# A domain of one's own in front of the front door: a load balancer with a certificate, and
# Cloud Armor, which bounds the requests of each address. None unless edge names a domain.
# https://cloud.google.com/load-balancing/docs/https/setup-global-ext-https-serverless

locals {
  # The address comes first, so that the domain can lead to it before there is a service.
  edge   = var.edge != null
  edging = local.edge && var.image != ""

  # Whether clients may identify themselves by certificates.
  certifying = local.edge && try(var.edge.client_ca != "", false)
}

resource "google_compute_global_address" "edge" {
  count = local.edge ? 1 : 0

  project    = var.project
  name       = "${var.prefix}-edge"
  depends_on = [google_project_service.api]
}

resource "google_compute_region_network_endpoint_group" "edge" {
  count = local.edging ? 1 : 0

  project               = var.project
  region                = var.region
  name                  = "${var.prefix}-edge"
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = google_cloud_run_v2_service.program["cardserver"].name
  }
}

# Google's rules against attacks on web applications are not among them: they look for SQL and
# scripts, which messages to an agent may well contain.
resource "google_compute_security_policy" "edge" {
  count = local.edging ? 1 : 0

  project = var.project
  name    = "${var.prefix}-edge"

  # https://cloud.google.com/armor/docs/rate-limiting-overview
  rule {
    description = "the share of each address"
    priority    = 1000
    action      = "throttle"

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }

    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"

      rate_limit_threshold {
        count        = var.edge.requests_per_minute
        interval_sec = 60
      }
    }
  }

  rule {
    description = "all others, as each policy must say"
    priority    = 2147483647
    action      = "allow"

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }
  }
}

resource "google_compute_backend_service" "edge" {
  count = local.edging ? 1 : 0

  project               = var.project
  name                  = "${var.prefix}-edge"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  security_policy       = google_compute_security_policy.edge[0].id

  # The program believes these (shared/auth/certificate.go), and the load balancer replaces what
  # clients write there.
  # https://cloud.google.com/load-balancing/docs/https/custom-headers#mtls-variables
  custom_request_headers = local.certifying ? [
    "X-Client-Cert-Chain-Verified:{client_cert_chain_verified}",
    "X-Client-Cert-Hash:{client_cert_sha256_fingerprint}",
    "X-Client-Cert-SPIFFE:{client_cert_spiffe_id}",
  ] : []

  backend {
    group = google_compute_region_network_endpoint_group.edge[0].id
  }
}

resource "google_compute_url_map" "edge" {
  count = local.edging ? 1 : 0

  project         = var.project
  name            = "${var.prefix}-edge"
  default_service = google_compute_backend_service.edge[0].id
}

resource "google_compute_managed_ssl_certificate" "edge" {
  count = local.edging ? 1 : 0

  project = var.project
  name    = "${var.prefix}-edge-${replace(var.edge.domain, ".", "-")}"

  managed {
    domains = [var.edge.domain]
  }

  # Another domain has another certificate, which must be there before the first one goes.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_target_https_proxy" "edge" {
  count = local.edging ? 1 : 0

  project          = var.project
  name             = "${var.prefix}-edge"
  url_map          = google_compute_url_map.edge[0].id
  ssl_certificates = [google_compute_managed_ssl_certificate.edge[0].id]

  server_tls_policy = local.certifying ? google_network_security_server_tls_policy.edge[0].id : null
}

# The authorities of clients. The load balancer checks certificates by them and refuses nobody,
# because the public card needs none and there are other credentials: the program asks.
# https://cloud.google.com/load-balancing/docs/mtls
resource "google_certificate_manager_trust_config" "edge" {
  count = local.edging && local.certifying ? 1 : 0

  project  = var.project
  name     = "${var.prefix}-edge"
  location = "global"

  trust_stores {
    dynamic "trust_anchors" {
      for_each = [for c in split("-----END CERTIFICATE-----", var.edge.client_ca) : "${trimspace(c)}\n-----END CERTIFICATE-----\n" if trimspace(c) != ""]

      content {
        pem_certificate = trust_anchors.value
      }
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_network_security_server_tls_policy" "edge" {
  count = local.edging && local.certifying ? 1 : 0

  project  = var.project
  name     = "${var.prefix}-edge"
  location = "global"

  mtls_policy {
    client_validation_mode         = "ALLOW_INVALID_OR_MISSING_CLIENT_CERT"
    client_validation_trust_config = google_certificate_manager_trust_config.edge[0].id
  }
}

resource "google_compute_global_forwarding_rule" "edge" {
  count = local.edging ? 1 : 0

  project               = var.project
  name                  = "${var.prefix}-edge"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.edge[0].id
  port_range            = "443"
  target                = google_compute_target_https_proxy.edge[0].id
}
